"""SQL of exceptions: opened, resolved and reopened by rule in sets; resolved by hand one by one.

The key is (code, subject), so a run never duplicates. A run resolves what no longer holds and
reopens what holds again; one that a person resolved comes back only if its evidence changed. Every
transition is a row of `exception_moves`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kmtool.domain.recon import Verdict
from kmtool.store.db import Db, Row
from kmtool.store.recon import Scope
from kmtool.store.statements import ACTIVE


@dataclass(frozen=True, slots=True)
class Gap:
    """Days without a statement, as ISO dates."""

    first: str
    last: str

    def subject(self, account: str) -> str:
        """Return the key of the exception."""
        return f"days:{account}:{self.first}..{self.last}"


_AMOUNT = """CASE r.code WHEN 'MISSING_PAYOUT' THEN b.expected_minor - b.settled_minor
    WHEN 'DELIVERED_UNPAID' THEN b.expected_minor
    WHEN 'AMOUNT_MISMATCH' THEN CASE WHEN b.refunded_minor > b.settled_minor
        THEN b.settled_minor - b.refunded_minor ELSE b.settled_minor - b.expected_minor END
    WHEN 'DUPLICATE_PAYOUT' THEN b.settled_minor - b.expected_minor
    WHEN 'REFUND_NOT_RECORDED' THEN b.refunded_minor - b.recorded_minor
    WHEN 'REFUND_MISSING' THEN b.recorded_minor - b.refunded_minor
    WHEN 'CHARGEBACK' THEN b.refunded_minor
    WHEN 'STATUS_MISMATCH' THEN b.settled_minor
    ELSE CASE WHEN b.settled_minor > 0 THEN b.settled_minor ELSE b.expected_minor END END"""


def _desired(verdicts: Mapping[int, Verdict], gaps: Sequence[Gap], account: str) -> tuple[str, Row]:
    """Return the SQL of every exception that holds now (a WITH without its last query)."""
    rules = [(bits, code) for bits, v in verdicts.items() for code in v.codes] or [(-1, "")]
    values = ", ".join(f"({bits}, '{code}')" for bits, code in rules)
    params: Row = {"currency": "", "account": account}
    days = []
    for n, gap in enumerate(gaps):
        params[f"gap{n}"] = gap.subject(account)
        days.append(
            f"SELECT 'COVERAGE_GAP', CAST(:gap{n} AS TEXT), 0, :currency, '',"
            " CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT)"
        )
    line = "'line:' || l.account || ':' || l.row_key || '#' || CAST(l.occ AS TEXT)"
    sql = f"""WITH rules (situation, code) AS (VALUES {values}),
    desired (code, subject, amount_minor, currency, evidence, line_id, order_id, file_id) AS (
        SELECT l.code, {line}, CASE WHEN v.gross_minor <> 0 THEN v.gross_minor ELSE v.net_minor END,
               v.currency, v.content, l.id, l.order_id, CAST(NULL AS BIGINT)
          FROM statement_lines l JOIN line_versions v ON v.id = l.version_id
         WHERE l.account = :account AND l.bucket = 'EXCEPTION'
        UNION ALL
        SELECT 'LINE_CHANGED', {line}, v.net_minor, v.currency, v.content, l.id, l.order_id,
               CAST(NULL AS BIGINT)
          FROM statement_lines l JOIN line_versions v ON v.id = l.version_id
         WHERE l.account = :account AND l.id IN (SELECT w.line_id FROM line_versions w
               JOIN file_lines fl ON fl.version_id = w.id
               JOIN statement_files f ON f.id = fl.file_id AND f.state IN {ACTIVE}
               WHERE f.account = :account GROUP BY w.line_id HAVING count(DISTINCT w.content) > 1)
        UNION ALL
        SELECT 'SUMMARY_MISMATCH', 'file:' || f.sha256, f.net_minor, :currency, f.sha256,
               CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), f.id
          FROM statement_files f
         WHERE f.account = :account AND f.state IN {ACTIVE} AND f.accepted <> ''
        UNION ALL
        SELECT r.code, 'order:' || o.channel || ':' || o.number, {_AMOUNT}, b.currency,
               CAST(b.expected_minor AS TEXT) || '/' || CAST(b.settled_minor AS TEXT) || '/'
               || CAST(b.refunded_minor AS TEXT) || '/' || CAST(b.recorded_minor AS TEXT),
               CAST(NULL AS BIGINT), o.id, CAST(NULL AS BIGINT)
          FROM order_buckets b JOIN rules r ON r.situation = b.situation
          JOIN orders o ON o.id = b.order_id WHERE b.account = :account
        {"".join(" UNION ALL " + day for day in days)})"""
    return sql, params


def open_and_reopen(
    db: Db, scope: Scope, verdicts: Mapping[int, Verdict], gaps: Sequence[Gap]
) -> int:
    """Open what holds and is not known, reopen what holds again, refresh figures that changed."""
    sql, params = _desired(verdicts, gaps, scope.account)
    params.update(currency=scope.currency, now=scope.now_ms)
    return db.run(
        f"""{sql} INSERT INTO exceptions (code, subject, account, state, resolution, amount_minor,
            currency, evidence, line_id, order_id, file_id, actor, reason, opened_ms, moved_ms,
            moves)
        SELECT code, subject, CAST(:account AS TEXT), 'open', '', amount_minor, currency,
               evidence, line_id, order_id, file_id, 'rule', '', CAST(:now AS BIGINT),
               CAST(:now AS BIGINT), 1 FROM desired WHERE 1 = 1
        ON CONFLICT (code, subject) DO UPDATE SET
            moves = CASE WHEN exceptions.state = 'resolved' THEN exceptions.moves + 1
                ELSE exceptions.moves END,
            moved_ms = CASE WHEN exceptions.state = 'resolved' THEN excluded.moved_ms
                ELSE exceptions.moved_ms END,
            actor = CASE WHEN exceptions.state = 'resolved' THEN 'rule' ELSE exceptions.actor END,
            reason = CASE WHEN exceptions.state = 'resolved' THEN '' ELSE exceptions.reason END,
            state = CASE WHEN exceptions.state = 'resolved' THEN 'reopened'
                ELSE exceptions.state END,
            resolution = '', amount_minor = excluded.amount_minor, evidence = excluded.evidence,
            order_id = excluded.order_id
         WHERE (exceptions.state = 'resolved' AND exceptions.resolution = 'rule')
            OR (exceptions.evidence, exceptions.amount_minor)
               <> (excluded.evidence, excluded.amount_minor)
            OR (exceptions.state <> 'resolved'
                AND coalesce(exceptions.order_id, 0) <> coalesce(excluded.order_id, 0))""",
        **params,
    )


def resolve_by_rule(
    db: Db, scope: Scope, verdicts: Mapping[int, Verdict], gaps: Sequence[Gap]
) -> int:
    """Resolve what no longer holds."""
    sql, params = _desired(verdicts, gaps, scope.account)
    params.update(currency=scope.currency, now=scope.now_ms)
    return db.run(
        f"""{sql} UPDATE exceptions SET state = 'resolved', resolution = 'rule', actor = 'rule',
            reason = 'no longer holds', moved_ms = :now, moves = moves + 1
         WHERE account = :account AND state <> 'resolved'
           AND (code, subject) NOT IN (SELECT code, subject FROM desired)""",
        **params,
    )


def record_moves(db: Db, account: str) -> int:
    """Write the transitions that have no row yet."""
    return db.run(
        "INSERT INTO exception_moves (exception_id, n, state, resolution, actor, reason, at_ms)"
        " SELECT e.id, e.moves, e.state, e.resolution, e.actor, e.reason, e.moved_ms"
        " FROM exceptions e LEFT JOIN exception_moves m ON m.exception_id = e.id AND m.n = e.moves"
        " WHERE e.account = :a AND m.exception_id IS NULL",
        a=account,
    )


def listing(
    db: Db, *, accounts: Sequence[str] | None = None, open_only: bool = True, code: str = ""
) -> list[Row]:
    """Return exceptions with what they are about, oldest first."""
    where, params = ["1 = 1"], {}
    if open_only:
        where.append("e.state <> 'resolved'")
    if code:
        where.append("e.code = :code")
        params["code"] = code
    if accounts is not None:
        names = {f"a{n}": account for n, account in enumerate(accounts)}
        where.append(f"e.account IN ({', '.join(':' + n for n in names) or 'NULL'})")
        params.update(names)
    return db.all(f"{_EXCEPTION} WHERE {' AND '.join(where)} ORDER BY e.id", **params)


_EXCEPTION = """SELECT e.id, e.code, e.subject, e.account, e.state, e.resolution, e.amount_minor,
    e.currency, e.evidence, e.line_id, e.order_id, e.file_id, e.actor, e.reason, e.opened_ms,
    e.moved_ms, e.moves, coalesce(o.channel, '') AS channel, coalesce(o.number, '') AS number,
    coalesce(o.buyer_name, '') AS buyer, coalesce(f.profile, '') AS profile
    FROM exceptions e LEFT JOIN orders o ON o.id = e.order_id
    LEFT JOIN statement_lines l ON l.id = e.line_id
    LEFT JOIN statement_files f ON f.id = coalesce(e.file_id, (SELECT max(fl.file_id)
        FROM file_lines fl WHERE fl.line_id = e.line_id))"""


def find(db: Db, exception_id: int) -> Row | None:
    """Return one exception."""
    return db.one(f"{_EXCEPTION} WHERE e.id = :id", id=exception_id)


def moves(db: Db, exception_id: int) -> list[Row]:
    """Return the transitions of an exception, oldest first."""
    return db.all(
        "SELECT n, state, resolution, actor, reason, at_ms FROM exception_moves"
        " WHERE exception_id = :id ORDER BY n",
        id=exception_id,
    )


def resolve(db: Db, exception_id: int, actor: str, reason: str, now_ms: int) -> bool:
    """Resolve one by hand; False when it is not open."""
    return (
        db.run(
            "UPDATE exceptions SET state = 'resolved', resolution = 'manual', actor = :actor,"
            " reason = :reason, moved_ms = :now, moves = moves + 1"
            " WHERE id = :id AND state <> 'resolved'",
            id=exception_id,
            actor=actor,
            reason=reason,
            now=now_ms,
        )
        == 1
    )
