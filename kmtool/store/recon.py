"""SQL of a reconcile run: candidates, buckets of lines, figures and buckets of orders.

Set-based: one statement per step, whatever the number of lines. Each statement writes only what
differs, so a run without new facts touches no row; every function returns how many it touched.

An account plays both sides with one kind of file. Where it has files of trades and files of wallet
movements, trades decide about orders and movements about the wallet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kmtool.domain.recon import DELIVERY_LIMIT_MS, FACTS, Verdict
from kmtool.store.db import Db, Row


@dataclass(frozen=True, slots=True)
class Scope:
    """One account in one run: which sides its files play, and the time."""

    account: str
    currency: str
    has_trade: bool
    has_flow: bool
    split: bool
    now_ms: int
    actor: str

    @property
    def trade_side(self) -> str:
        """Return the SQL condition of lines that decide about orders."""
        return "l.plane = 'trade'" if self.has_trade else "1 = 1"

    @property
    def money_side(self) -> str:
        """Return the SQL condition of lines that move the wallet."""
        return "l.plane <> 'trade'" if self.has_flow else "1 = 1"


_LINES = "FROM statement_lines l JOIN line_versions v ON v.id = l.version_id AND v.ignored = 0"

_CANDIDATES = f"""
    SELECT l.id AS line_id, 'P1' AS pass, o.id AS order_id {_LINES}
      JOIN orders o ON o.account = l.account AND o.ext_txn_id = v.ext_txn_id AND o.ext_txn_id <> ''
     WHERE l.account = :account AND v.kind IN ('SALE', 'REFUND', 'DISPUTE', 'FEE')
    UNION ALL
    SELECT l.id, 'P2', o.id {_LINES}
      JOIN orders o ON o.account = l.account AND o.number = v.order_ref
     WHERE l.account = :account AND v.order_ref <> ''
       AND v.kind IN ('SALE', 'REFUND', 'DISPUTE', 'FEE', 'SUBSIDY', 'ADJUST')
    UNION ALL
    SELECT l.id, 'P3', o.id {_LINES}
      JOIN refunds r ON r.number = v.refund_ref
      JOIN orders o ON o.id = r.order_id AND o.account = l.account
     WHERE l.account = :account AND v.refund_ref <> '' AND v.kind IN ('REFUND', 'DISPUTE', 'FEE')
    UNION ALL
    SELECT l.id, 'P4', o.id {_LINES}
      JOIN orders o ON o.account = l.account AND o.number = v.mined_ref
     WHERE l.account = :account AND v.mined_ref <> ''
       AND v.kind IN ('FEE', 'ADJUST', 'SUBSIDY', 'REFUND')
"""


def assign(db: Db, scope: Scope) -> int:
    """Give each line the order of its first pass with a candidate; manual decisions stand above."""
    return db.run(
        f"""WITH candidates AS ({_CANDIDATES}), counted AS (
            SELECT line_id, pass, count(DISTINCT order_id) AS n, min(order_id) AS order_id,
                   row_number() OVER (PARTITION BY line_id ORDER BY pass) AS place
              FROM candidates GROUP BY line_id, pass)
        UPDATE statement_lines SET order_id = d.order_id, pass = d.pass, candidates = d.n FROM (
            SELECT l.id,
                   CASE WHEN l.version_id IS NULL THEN NULL WHEN m.id IS NOT NULL THEN m.order_id
                        WHEN c.n = 1 THEN c.order_id END AS order_id,
                   CASE WHEN l.version_id IS NULL THEN '' WHEN m.id IS NOT NULL THEN m.pass
                        ELSE coalesce(c.pass, '') END AS pass,
                   CASE WHEN m.id IS NULL THEN coalesce(c.n, 0) ELSE 0 END AS n
              FROM statement_lines l
              LEFT JOIN counted c ON c.line_id = l.id AND c.place = 1
              LEFT JOIN line_matches m ON m.line_id = l.id AND m.ended_ms IS NULL
                    AND m.pass IN ('manual', 'write_off', 'apart')
             WHERE l.account = :account) d
         WHERE d.id = statement_lines.id
           AND (coalesce(statement_lines.order_id, 0) <> coalesce(d.order_id, 0)
                OR statement_lines.pass <> d.pass OR statement_lines.candidates <> d.n)""",
        account=scope.account,
    )


def classify(db: Db, scope: Scope) -> int:
    """Put each line into exactly one bucket, with a code if it is an exception."""
    return db.run(
        f"""UPDATE statement_lines SET bucket = d.bucket, code = d.code, posting = d.posting FROM (
            SELECT x.id, x.bucket, CASE WHEN x.bucket <> 'EXCEPTION' THEN ''
                    WHEN x.kind = 'UNKNOWN' THEN 'UNKNOWN_TYPE'
                    WHEN x.foreign_money = 1 THEN 'CURRENCY_MISMATCH'
                    WHEN x.candidates > 1 THEN 'AMBIGUOUS'
                    WHEN x.lossy = 1 THEN 'LOSSY_ID' ELSE 'MISSING_ORDER' END AS code,
                   CASE WHEN x.bucket IN ('', 'IGNORED_STATUS', 'NON_BUSINESS') THEN ''
                    WHEN x.bucket = 'WRITTEN_OFF' THEN 'write_off'
                    WHEN x.bucket = 'EXCEPTION' THEN
                        CASE WHEN x.money = 1 THEN 'suspense' ELSE '' END
                    WHEN x.bucket = 'TRANSFER' THEN
                        CASE WHEN x.kind = 'PAYOUT' THEN 'payout' ELSE 'transfer' END
                    WHEN x.trade = 0 AND x.order_id IS NOT NULL THEN 'between'
                    WHEN x.bucket = 'FEE' THEN 'fee'
                    WHEN x.bucket = 'SUBSIDY_ADJUST' THEN
                        CASE WHEN x.net_minor < 0 THEN 'compensation' ELSE 'subsidy' END
                    ELSE 'settle' END
                   || CASE WHEN x.bucket NOT IN ('', 'IGNORED_STATUS', 'NON_BUSINESS', 'EXCEPTION')
                            AND x.money = 0 THEN '|between' ELSE '' END AS posting
              FROM (SELECT l.id, l.order_id, l.candidates, v.kind, v.net_minor,
                    CASE WHEN {scope.trade_side} THEN 1 ELSE 0 END AS trade,
                    CASE WHEN {scope.money_side} THEN 1 ELSE 0 END AS money,
                    CASE WHEN o.currency <> v.currency THEN 1 ELSE 0 END AS foreign_money,
                    CASE WHEN v.order_ref_raw <> '' AND v.order_ref = '' AND v.ext_txn_id = ''
                          AND v.refund_ref = '' THEN 1 ELSE 0 END AS lossy,
                    CASE WHEN v.id IS NULL THEN '' WHEN l.pass = 'write_off' THEN 'WRITTEN_OFF'
                     WHEN v.ignored = 1 THEN 'IGNORED_STATUS'
                     WHEN v.kind = 'NEUTRAL' THEN 'NON_BUSINESS'
                     WHEN v.kind IN ('TRANSFER', 'PAYOUT') THEN 'TRANSFER'
                     WHEN v.kind = 'UNKNOWN' OR o.currency <> v.currency THEN 'EXCEPTION'
                     WHEN v.kind = 'FEE' THEN 'FEE'
                     WHEN v.kind IN ('SUBSIDY', 'ADJUST') THEN 'SUBSIDY_ADJUST'
                     WHEN o.id IS NULL THEN 'EXCEPTION'
                     WHEN v.kind = 'SALE' OR (v.kind = 'DISPUTE' AND v.gross_minor > 0)
                     THEN 'MATCHED_SALE' ELSE 'MATCHED_REFUND' END AS bucket
                 FROM statement_lines l
                 LEFT JOIN line_versions v ON v.id = l.version_id
                 LEFT JOIN orders o ON o.id = l.order_id
                WHERE l.account = :account) x) d
         WHERE d.id = statement_lines.id
           AND (statement_lines.bucket, statement_lines.code, statement_lines.posting)
               <> (d.bucket, d.code, d.posting)""",
        account=scope.account,
    )


def record_matches(db: Db, scope: Scope) -> int:
    """Write the matches that came and end the automatic ones that no longer hold."""
    ended = db.run(
        "UPDATE line_matches SET ended_ms = :now FROM statement_lines l"
        " WHERE l.id = line_matches.line_id AND l.account = :account"
        " AND line_matches.ended_ms IS NULL AND line_matches.pass IN ('P1', 'P2', 'P3', 'P4')"
        " AND (coalesce(l.order_id, 0) <> line_matches.order_id OR l.pass <> line_matches.pass)",
        account=scope.account,
        now=scope.now_ms,
    )
    return ended + db.run(
        "INSERT INTO line_matches (line_id, order_id, pass, evidence, actor, reason, at_ms)"
        " SELECT l.id, l.order_id, l.pass, CASE l.pass WHEN 'P1' THEN v.ext_txn_id"
        " WHEN 'P2' THEN v.order_ref WHEN 'P3' THEN v.refund_ref ELSE v.mined_ref END,"
        " 'rule', '', CAST(:now AS BIGINT) FROM statement_lines l"
        " JOIN line_versions v ON v.id = l.version_id"
        " WHERE l.account = :account AND l.order_id IS NOT NULL"
        " AND l.pass IN ('P1', 'P2', 'P3', 'P4') AND NOT EXISTS (SELECT 1 FROM line_matches m"
        " WHERE m.line_id = l.id AND m.ended_ms IS NULL)",
        account=scope.account,
        now=scope.now_ms,
    )


def _situation() -> str:
    """Return the SQL of an order's facts as bits, in the order of `FACTS`."""
    conditions = {
        "in_scope": "f.scope = 1",
        "settled": "f.s > 0",
        "too_much": "f.s > f.p",
        "too_little": "f.s < f.p",
        "refunds_seen": "f.r > 0",
        "refunds_above_sales": "f.r > f.s",
        "refunds_equal_sales": "f.r = f.s",
        "refunds_above_record": "f.r > f.q",
        "refunds_below_record": "f.r < f.q",
        "paid_twice": "f.full_payments > 1",
        "charged_back": "f.chargebacks > 0",
        "paid": "f.paid = 1",
        "cancelled": "f.status = 'closed' AND f.q = 0 AND f.r = 0",
        "delivered": "f.delivered = 1",
        "overdue_delivery": (
            "f.delivered = 0 AND f.history = 0 AND f.status <> 'closed' AND f.q < f.p"
            " AND f.r < f.p AND f.event_ms < :late_ms"
        ),
        "split": ":split = 1",
        "due": "e.due = 1",
        "covered": "e.covered = 1",
        "refund_due": "x.due = 1",
        "refund_covered": "x.covered = 1",
    }
    assert tuple(conditions) == FACTS, "facts and bits must have one order"
    bits = (
        f"CASE WHEN {conditions[name]} THEN {1 << n} ELSE 0 END" for n, name in enumerate(FACTS)
    )
    return "(" + " + ".join(bits) + ")"


_SALE = "CASE WHEN l.bucket = 'MATCHED_SALE' THEN {} END"
_REFUND = "CASE WHEN l.bucket = 'MATCHED_REFUND' THEN {} END"
_KEEPS = "l.bucket IN ('MATCHED_SALE', 'MATCHED_REFUND')"


def _money(expression: str) -> str:
    return f"CAST(coalesce(sum({expression}), 0) AS BIGINT)"


def _sums(scope: Scope) -> str:
    """Return the SQL of what the statement says per order (S, R, A, F and counts)."""
    return f"""SELECT l.order_id, {_money(_SALE.format("v.gross_minor"))} AS s,
        -{_money(_REFUND.format("v.gross_minor"))} AS r,
        {
        _money(
            f"CASE WHEN {_KEEPS} THEN v.adjust_minor"
            " WHEN l.bucket = 'SUBSIDY_ADJUST' THEN v.net_minor END"
        )
    } AS a,
        {
        _money(f"CASE WHEN {_KEEPS} THEN v.fee_minor WHEN l.bucket = 'FEE' THEN -v.net_minor END")
    } AS f,
        count(DISTINCT CASE WHEN l.bucket = 'MATCHED_SALE' AND v.kind = 'SALE'
            AND v.gross_minor = o.expected_gross_minor THEN v.ext_txn_id END) AS full_payments,
        count(CASE WHEN v.kind = 'DISPUTE' AND v.gross_minor < 0 THEN 1 END) AS chargebacks
      {_LINES} JOIN orders o ON o.id = l.order_id
     WHERE l.account = :account AND l.bucket IN ('MATCHED_SALE', 'MATCHED_REFUND', 'FEE',
           'SUBSIDY_ADJUST') AND {scope.trade_side} GROUP BY l.order_id"""


_RECORDED = """SELECT order_id, CAST(sum(amount_minor) AS BIGINT) AS q,
    max(coalesce(at_ms, seen_ms)) AS at_ms FROM refunds WHERE state = 'done' GROUP BY order_id"""

_PROGRESS = """SELECT order_id,
    max(CASE WHEN state = 'delivered' OR (state IN ('closed', 'refund_case')
        AND coalesce(acknowledged_ms, sent_ms) IS NOT NULL) THEN 1 ELSE 0 END) AS handed,
    max(CASE WHEN state IN ('delivered', 'closed', 'cancelled', 'refund_case') THEN 0
        ELSE 1 END) AS pending FROM lines GROUP BY order_id"""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of event times that share one answer to «due?» and «covered until due?»."""

    from_ms: int
    to_ms: int
    due: bool
    covered: bool


def _spans(spans: Sequence[Span]) -> str:
    """Return the rows of the calendar; own integers, so they stand in the text."""
    rows = [(s.from_ms, s.to_ms, int(s.due), int(s.covered)) for s in spans] or [(0, 0, 0, 0)]
    return ", ".join(f"({a}, {b}, {c}, {d})" for a, b, c, d in rows)


_FIGURES = (
    "account", "expected_minor", "charge_minor", "settled_minor", "refunded_minor",
    "adjust_minor", "fee_minor", "recorded_minor", "currency", "event_ms", "refund_ms", "situation",
)  # fmt: skip


def sum_up(db: Db, scope: Scope, spans: Sequence[Span]) -> int:
    """Write each order's figures and situation where they changed."""
    new = ", ".join(f"excluded.{name}" for name in _FIGURES)
    old = ", ".join(f"order_buckets.{name}" for name in _FIGURES)
    return db.run(
        f"""WITH calendar (from_ms, to_ms, due, covered) AS (VALUES {_spans(spans)}),
        figures AS (
            SELECT o.id, o.account, o.expected_gross_minor AS p, o.currency, o.status, o.history,
                   coalesce(t.s, 0) AS s, coalesce(t.r, 0) AS r, coalesce(t.a, 0) AS a,
                   coalesce(t.f, 0) AS f, coalesce(t.full_payments, 0) AS full_payments,
                   coalesce(t.chargebacks, 0) AS chargebacks,
                   coalesce(q.q, o.refunded_minor) AS q,
                   coalesce(q.at_ms, o.revision_ms) AS refund_ms,
                   coalesce(o.paid_ms, o.created_ms) AS event_ms,
                   CASE WHEN o.paid_ms IS NOT NULL AND o.status <> 'unpaid' THEN 1 ELSE 0 END
                     AS paid,
                   CASE WHEN o.status IN ('shipped', 'done') OR (g.handed = 1 AND g.pending = 0)
                        THEN 1 ELSE 0 END AS delivered,
                   CASE WHEN o.expected_gross_minor > 0 AND (o.history = 0 OR t.s IS NOT NULL)
                        THEN 1 ELSE 0 END AS scope
              FROM orders o
              LEFT JOIN ({_sums(scope)}) t ON t.order_id = o.id
              LEFT JOIN ({_RECORDED}) q ON q.order_id = o.id
              LEFT JOIN ({_PROGRESS}) g ON g.order_id = o.id
             WHERE o.account = :account)
        INSERT INTO order_buckets (order_id, bucket, code, reason, {", ".join(_FIGURES)})
        SELECT f.id, '', '', '', f.account, f.p,
               CASE WHEN f.paid = 1 AND f.scope = 1 THEN f.p ELSE 0 END, f.s, f.r, f.a, f.f, f.q,
               f.currency, f.event_ms, CASE WHEN f.q > 0 THEN f.refund_ms ELSE 0 END, {_situation()}
          FROM figures f
          LEFT JOIN calendar e ON f.event_ms >= e.from_ms AND f.event_ms < e.to_ms
          LEFT JOIN calendar x ON f.q > 0 AND f.refund_ms >= x.from_ms AND f.refund_ms < x.to_ms
         WHERE 1 = 1
        ON CONFLICT (order_id) DO UPDATE SET ({", ".join(_FIGURES)}) = ({new})
         WHERE ({old}) <> ({new})""",
        account=scope.account,
        split=int(scope.split),
        late_ms=scope.now_ms - DELIVERY_LIMIT_MS,
    )


def situations(db: Db, account: str) -> list[int]:
    """Return the situations the orders of an account are in: few, however many orders."""
    rows = db.all(
        "SELECT DISTINCT situation FROM order_buckets WHERE account = :a ORDER BY situation",
        a=account,
    )
    return [row["situation"] for row in rows]


def place_orders(db: Db, account: str, verdicts: Mapping[int, Verdict]) -> int:
    """Put each order into the bucket its situation means."""
    rows = ", ".join(
        f"({bits}, '{v.bucket}', '{v.code}', '{v.reason}')" for bits, v in verdicts.items()
    )
    if not rows:
        return 0
    return db.run(
        f"""WITH verdicts (situation, bucket, code, reason) AS (VALUES {rows})
        UPDATE order_buckets SET bucket = d.bucket, code = d.code, reason = d.reason
          FROM verdicts d WHERE d.situation = order_buckets.situation
           AND order_buckets.account = :a
           AND (order_buckets.bucket, order_buckets.code, order_buckets.reason)
               <> (d.bucket, d.code, d.reason)""",
        a=account,
    )


def place_outside(db: Db, accounts: Sequence[str]) -> int:
    """Put the orders of no configured account out of scope."""
    known = ", ".join(f":a{n}" for n in range(len(accounts))) or "''"
    return db.run(
        "INSERT INTO order_buckets (order_id, account, bucket, code, reason, expected_minor,"
        " charge_minor, settled_minor, refunded_minor, adjust_minor, fee_minor, recorded_minor,"
        " currency, event_ms, refund_ms, situation) SELECT o.id, o.account, 'OUT_OF_SCOPE', '',"
        " 'account', o.expected_gross_minor, CASE WHEN o.paid_ms IS NOT NULL"
        " AND o.status <> 'unpaid' AND o.history = 0 THEN o.expected_gross_minor ELSE 0 END, 0, 0,"
        " 0, 0, o.refunded_minor, o.currency, coalesce(o.paid_ms, o.created_ms), 0, 0"
        f" FROM orders o WHERE o.account NOT IN ({known})"
        " ON CONFLICT (order_id) DO UPDATE SET charge_minor = excluded.charge_minor,"
        " expected_minor = excluded.expected_minor, recorded_minor = excluded.recorded_minor,"
        " event_ms = excluded.event_ms WHERE (order_buckets.charge_minor,"
        " order_buckets.expected_minor, order_buckets.recorded_minor, order_buckets.event_ms)"
        " <> (excluded.charge_minor, excluded.expected_minor, excluded.recorded_minor,"
        " excluded.event_ms)",
        **{f"a{n}": account for n, account in enumerate(accounts)},
    )


def event_range(db: Db, account: str) -> tuple[int, int] | None:
    """Return the first and last moment that may need a statement (payments and refunds)."""
    row: Row | None = db.one(
        "SELECT min(t) AS first, max(t) AS last FROM ("
        " SELECT coalesce(paid_ms, created_ms) AS t FROM orders WHERE account = :a UNION ALL"
        " SELECT coalesce(r.at_ms, r.seen_ms) FROM refunds r JOIN orders o ON o.id = r.order_id"
        " WHERE o.account = :a AND r.state = 'done' UNION ALL SELECT revision_ms FROM orders"
        " WHERE account = :a AND refunded_minor > 0) moments",
        a=account,
    )
    return None if row is None or row["first"] is None else (row["first"], row["last"])


def next_wait(db: Db, account: str, after_ms: int) -> int | None:
    """Return the next event whose order waits for a statement, from `after_ms` on."""
    due, covered = (1 << FACTS.index(name) for name in ("refund_due", "refund_covered"))
    below = 1 << FACTS.index("refunds_below_record")
    found = db.value(
        "SELECT min(t) FROM (SELECT min(event_ms) AS t FROM order_buckets WHERE account = :a"
        " AND bucket = 'NOT_DUE' AND reason = 'coverage' AND event_ms >= :after UNION ALL"
        " SELECT min(refund_ms) FROM order_buckets WHERE account = :a AND refund_ms >= :after"
        f" AND refund_ms > 0 AND (situation & {below}) <> 0 AND (situation & {due}) <> 0"
        f" AND (situation & {covered}) = 0 AND (situation & 1) <> 0) waits",
        a=account,
        after=after_ms,
    )
    return None if found is None else int(found)


def outside_accounts(db: Db, accounts: Sequence[str]) -> list[str]:
    """Return the account names of orders that kmtool.toml does not know (mostly the empty one)."""
    rows = db.all("SELECT DISTINCT account FROM order_buckets ORDER BY account")
    return [row["account"] for row in rows if row["account"] not in accounts]


def lock(db: Db) -> None:
    """Let one run at a time decide (SQLite has one writer anyway)."""
    db.value("SELECT value FROM meta WHERE name = 'database_id' {lock}")
