"""SQL of what must hold after a run (invariants), of the digest, the run row and the money line."""

from __future__ import annotations

import hashlib

from kmtool.domain.recon import FACTS
from kmtool.store.db import Db, Row
from kmtool.store.recon import Scope
from kmtool.store.statements import ACTIVE


def broken(db: Db, scope: Scope, opening_minor: int, entries_after: int) -> list[str]:
    """Return the invariants that do not hold, in words; empty when all do."""
    given = {
        "account": scope.account,
        "currency": scope.currency,
        "opening": opening_minor,
        "after": entries_after,
    }
    found = []
    for name, sql in _checks(scope).items():
        wanted = {key: value for key, value in given.items() if f":{key}" in sql}
        row = db.one(sql, **wanted)
        if row is not None:
            found.append(f"{name}: {', '.join(f'{k} {v}' for k, v in row.items())}")
    return found


def _checks(scope: Scope) -> dict[str, str]:
    return {
        "I1 every line of a file is in a bucket": f"""SELECT f.id AS file, f.rows, n.found,
            f.net_minor AS net, n.net AS found_net FROM statement_files f LEFT JOIN (
            SELECT fl.file_id, count(*) AS found, CAST(sum(v.net_minor) AS BIGINT) AS net
              FROM file_lines fl JOIN statement_lines l ON l.id = fl.line_id AND l.bucket <> ''
              JOIN line_versions v ON v.id = fl.version_id GROUP BY fl.file_id) n
            ON n.file_id = f.id WHERE f.account = :account AND f.state IN {ACTIVE}
            AND (f.rows <> coalesce(n.found, 0) OR f.net_minor <> coalesce(n.net, 0)) LIMIT 1""",
        "I2 net = gross + adjust - fee": """SELECT v.id AS version FROM statement_lines l
            JOIN line_versions v ON v.id = l.version_id WHERE l.account = :account
            AND v.net_minor <> v.gross_minor + v.adjust_minor - v.fee_minor LIMIT 1""",
        "I3 declared totals = what was read": f"""SELECT f.id AS file, t.name
            FROM statement_totals t JOIN statement_files f ON f.id = t.file_id
            WHERE f.account = :account AND f.state IN {ACTIVE} AND f.accepted = ''
            AND t.strict = 1 AND (
                (t.count IS NOT NULL AND t.count <> coalesce(t.parsed_count, -1))
                OR (t.sum_e5 IS NOT NULL AND (t.parsed_sum_e5 IS NULL
                    OR t.sum_e5 <> t.parsed_sum_e5))) LIMIT 1""",
        "I4 every ledger entry sums to zero": """SELECT entry_id AS entry, currency
            FROM ledger_postings WHERE entry_id > :after GROUP BY entry_id, currency
            HAVING sum(amount_minor) <> 0 LIMIT 1""",
        "I5 wallet = opening + what moved": f"""SELECT b.balance, m.moved FROM (
            SELECT CAST(coalesce(sum(amount_minor), 0) AS BIGINT) AS balance FROM ledger_postings
             WHERE account = 'wallet:' || :account AND currency = :currency) b, (
            SELECT CAST(coalesce(sum(v.net_minor), 0) AS BIGINT) AS moved FROM statement_lines l
              JOIN line_versions v ON v.id = l.version_id AND v.ignored = 0
             WHERE l.account = :account AND v.currency = :currency AND {scope.money_side}) m
            WHERE b.balance <> m.moved + :opening""",
        "I6 refunds are no more than receipts, or an exception": """SELECT order_id AS "order"
            FROM order_buckets WHERE account = :account AND refunded_minor > settled_minor
            AND bucket NOT IN ('EXCEPTION', 'OUT_OF_SCOPE') LIMIT 1""",
        "I7 an order's matched lines = its settled figure": f"""SELECT b.order_id AS "order",
            b.settled_minor AS stored, coalesce(t.s, 0) AS matched FROM order_buckets b LEFT JOIN (
            SELECT l.order_id, sum(v.gross_minor) AS s FROM statement_lines l
              JOIN line_versions v ON v.id = l.version_id JOIN line_matches m ON m.line_id = l.id
               AND m.ended_ms IS NULL AND m.order_id = l.order_id
             WHERE l.account = :account AND l.bucket = 'MATCHED_SALE' AND {scope.trade_side}
             GROUP BY l.order_id) t ON t.order_id = b.order_id
            WHERE b.account = :account AND b.settled_minor <> coalesce(t.s, 0) LIMIT 1""",
        "I10 every line is in one bucket": """SELECT id AS line FROM statement_lines
            WHERE account = :account AND ((version_id IS NULL) <> (bucket = '')) LIMIT 1""",
        "I10 every order is in one bucket": """SELECT o.id AS "order" FROM orders o
            LEFT JOIN order_buckets b ON b.order_id = o.id AND b.account = o.account
            WHERE o.account = :account AND coalesce(b.bucket, '') = '' LIMIT 1""",
    }


_DIGEST = (
    "SELECT 'line|' || l.row_key || '|' || CAST(l.occ AS TEXT) || '|' || v.content || '|'"
    " || l.bucket || '|' || l.code || '|' || coalesce(o.channel || ':' || o.number, '') || '|'"
    " || l.pass AS t FROM statement_lines l JOIN line_versions v ON v.id = l.version_id"
    " LEFT JOIN orders o ON o.id = l.order_id WHERE l.account = :a ORDER BY l.row_key, l.occ",
    "SELECT 'order|' || o.channel || ':' || o.number || '|' || b.bucket || '|' || b.code || '|'"
    " || b.reason || '|' || CAST(b.settled_minor AS TEXT) || '|' || CAST(b.refunded_minor AS TEXT)"
    " || '|' || CAST(b.adjust_minor AS TEXT) || '|' || CAST(b.fee_minor AS TEXT) AS t"
    " FROM order_buckets b JOIN orders o ON o.id = b.order_id WHERE b.account = :a"
    " ORDER BY o.channel, o.number",
    "SELECT 'exception|' || code || '|' || subject || '|' || CAST(amount_minor AS TEXT) AS t"
    " FROM exceptions WHERE account = :a AND state <> 'resolved' ORDER BY code, subject",
    "SELECT 'ledger|' || account || '|' || currency || '|' || "
    "CAST(CAST(sum(amount_minor) AS BIGINT) AS TEXT) AS t"
    " FROM ledger_postings WHERE account IN ('wallet:' || :a,"
    " 'wallet_transit:' || :a, 'clearing:' || :a, 'transit:' || :a, 'transfer:' || :a)"
    " GROUP BY account, currency"
    " HAVING sum(amount_minor) <> 0 ORDER BY account, currency",
)


def digest(db: Db, account: str) -> str:
    """Return the SHA-256 over everything a run decides for an account, without our own numbers."""
    found = hashlib.sha256()
    for sql in _DIGEST:
        for row in db.all(sql, a=account):
            found.update(row["t"].encode("utf-8") + b"\n")
    return found.hexdigest()


def last_run(db: Db, account: str) -> Row | None:
    """Return the last run of an account that changed something."""
    return db.one("SELECT * FROM recon_runs WHERE account = :a ORDER BY id DESC LIMIT 1", a=account)


def add_run(db: Db, scope: Scope, changes: int, digest_text: str) -> None:
    """Write the run row: counts and the digest."""
    db.run(
        "INSERT INTO recon_runs (account, at_ms, actor, changes, lines, orders, open_exceptions,"
        " digest) SELECT CAST(:a AS TEXT), CAST(:now AS BIGINT), CAST(:actor AS TEXT),"
        " CAST(:changes AS BIGINT), (SELECT count(*) FROM statement_lines WHERE account = :a"
        " AND version_id IS NOT NULL), (SELECT count(*) FROM order_buckets WHERE account = :a),"
        " (SELECT count(*) FROM exceptions WHERE account = :a AND state <> 'resolved'),"
        " CAST(:digest AS TEXT)",
        a=scope.account,
        now=scope.now_ms,
        actor=scope.actor,
        changes=changes,
        digest=digest_text,
    )


def last_entry(db: Db) -> int:
    """Return the number of the newest ledger entry."""
    return int(db.value("SELECT coalesce(max(id), 0) FROM ledger_entries"))


def money(db: Db, account: str, from_ms: int, to_ms: int) -> Row:
    """Return what was due and what became of it, over orders paid in `[from_ms, to_ms)`.

    due = received + fees + refunded + not_due + missing + unexplained. `unmatched` is money on
    statements that no order explains, `other` fees and subsidies of no order; both stand beside.
    """
    due, covered = (1 << FACTS.index(name) for name in ("due", "covered"))
    ripe = f"(b.situation & {due}) <> 0 AND (b.situation & {covered}) <> 0"
    rest = "b.charge_minor - b.settled_minor"
    row = db.one(
        f"""SELECT {_sum("b.charge_minor")} AS due,
            {_sum("b.settled_minor - b.refunded_minor + b.adjust_minor - b.fee_minor")} AS received,
            {_sum("b.fee_minor - b.adjust_minor")} AS fees, {_sum("b.refunded_minor")} AS refunded,
            {
            _sum(
                f"CASE WHEN b.settled_minor = 0 AND NOT ({ripe}) THEN {rest}"
                f" WHEN b.bucket = 'PARTLY_SETTLED' THEN {rest} END"
            )
        } AS not_due,
            {_sum(f"CASE WHEN b.settled_minor = 0 AND {ripe} THEN {rest} END")} AS missing,
            {
            _sum(f"CASE WHEN b.settled_minor <> 0 AND b.bucket <> 'PARTLY_SETTLED' THEN {rest} END")
        } AS unexplained
          FROM order_buckets b WHERE b.account = :a AND b.bucket <> 'OUT_OF_SCOPE'
           AND b.event_ms >= :from_ms AND b.event_ms < :to_ms""",
        a=account,
        from_ms=from_ms,
        to_ms=to_ms,
    )
    beside = db.one(
        f"""SELECT {_sum("CASE WHEN l.bucket = 'EXCEPTION' THEN v.net_minor END")} AS unmatched,
            {
            _sum(
                "CASE WHEN l.bucket IN ('FEE', 'SUBSIDY_ADJUST') AND l.order_id IS NULL"
                " THEN v.net_minor END"
            )
        } AS other
          FROM statement_lines l JOIN line_versions v ON v.id = l.version_id
         WHERE l.account = :a AND v.occurred_ms >= :from_ms AND v.occurred_ms < :to_ms""",
        a=account,
        from_ms=from_ms,
        to_ms=to_ms,
    )
    assert row is not None
    assert beside is not None
    return row | beside


def _sum(expression: str) -> str:
    return f"CAST(coalesce(sum({expression}), 0) AS BIGINT)"


def counts(db: Db, account: str, from_ms: int, to_ms: int) -> tuple[Row, Row, Row]:
    """Return how many lines and orders are in each bucket, and open exceptions by code."""
    given = {"a": account, "from_ms": from_ms, "to_ms": to_ms}
    lines = db.all(
        "SELECT l.bucket AS k, count(*) AS n FROM statement_lines l JOIN line_versions v"
        " ON v.id = l.version_id WHERE l.account = :a AND v.occurred_ms >= :from_ms"
        " AND v.occurred_ms < :to_ms GROUP BY l.bucket ORDER BY l.bucket",
        **given,
    )
    orders = db.all(
        "SELECT bucket AS k, count(*) AS n FROM order_buckets WHERE account = :a"
        " AND event_ms >= :from_ms AND event_ms < :to_ms GROUP BY bucket ORDER BY bucket",
        **given,
    )
    open_ones = db.all(
        "SELECT code AS k, count(*) AS n FROM exceptions WHERE account = :a"
        " AND state <> 'resolved' GROUP BY code ORDER BY code",
        a=account,
    )
    return _counted(lines), _counted(orders), _counted(open_ones)


def _counted(rows: list[Row]) -> Row:
    return {row["k"]: int(row["n"]) for row in rows}


def openings(db: Db, account: str) -> int:
    """Return how many opening entries an account has."""
    return int(
        db.value(
            "SELECT count(DISTINCT p.entry_id) FROM ledger_postings p JOIN ledger_entries e"
            " ON e.id = p.entry_id WHERE e.event = 'opening' AND p.account = 'wallet:' || :a",
            a=account,
        )
    )
