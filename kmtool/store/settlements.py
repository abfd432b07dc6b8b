"""SQL of supplier settlement: what is owed and not on a sheet, closed sheets, payments.

A consignment key is owed from its delivery, a buy-out batch from its acceptance. A closed sheet is
inserted whole in one transaction and never touched again (triggers in schema_settlement.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.store.db import Db, Row

_SHEET = (
    "id, number, supplier, month, nth, chain, cut, period_from, period_to, zone, currency,"
    " closed_ms, actor, shop_name, supplier_name, payee_tail, settle_days, rule, program,"
    " opening_minor, cost_minor, returned_minor, adjusted_minor, settled_minor, discount_minor,"
    " commission_minor, closing_minor, carried_in_minor, payable_minor, carried_out_minor,"
    " unpaid_before_minor, open_minor, accrued_total_minor, undone_total_minor, paid_total_minor,"
    " lines, keys, detail_sha256, prev_hash, hash"
)
_LINE = (
    "seq, kind, allocation_id, batch_id, batch, batch_sha256, line_no, tail, sku, delivered_ms,"
    " quantity, cost_e5, amount_minor, order_tail, ref_number, ref_seq, reason"
)
_OPEN = "seq, batch, line_no, tail, delivered_ms, eligible_on, amount_minor, reason"
_BATCH = (
    "seq, batch_id, batch, file_name, file_sha256, sku, title, mode, cost_e5, opening, received,"
    " sold, ended, closing, quantity, amount_minor"
)
_BORNE = (
    "(SELECT count(*) FROM supplier_debits d WHERE d.allocation_id = a.id AND d.state = 'dropped')"
)
"""Whether the shop bears a key that went bad: its supplier keeps the money."""
_CHARGED = (
    "(a.exclusive = 0 AND EXISTS (SELECT 1 FROM supplier_debits d WHERE d.allocation_id = a.id"
    " AND d.state <> 'dropped'))"
)
"""Whether the supplier bears a use of a key that goes on serving others."""
_PAID = (
    "(SELECT CAST(coalesce(sum(p.amount_minor), 0) AS BIGINT) FROM settlement_payments p"
    " WHERE p.settlement_id = settlements.id) AS paid_minor"
)


def freeze(db: Db) -> None:
    """Begin a closing: one at a time, and all that follows reads one state of the database.

    Must be the first statement of the transaction. SQLite has one writer and needs nothing.
    """
    if db.dialect == "postgresql" and not db.rehearsing:
        db.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        db.run("LOCK TABLE settlements IN EXCLUSIVE MODE")


def open_keys(db: Db, supplier: str, currency: str) -> list[Row]:
    """Return delivered consignment keys of a supplier that are on no sheet, oldest first."""
    return db.all(
        "SELECT a.id AS allocation_id, a.state, a.batch_id, a.sku, a.cost_e5, a.amount_minor,"
        " a.delivered_ms, k.tail, k.line_no, l.state AS line_state,"
        f" CASE WHEN {_CHARGED} THEN 'defective' WHEN a.exclusive = 0"
        " AND k.state IN ('free', 'expired', 'quarantine') THEN 'delivered' ELSE k.state"
        " END AS key_state,"
        " o.number AS order_number, o.refund, o.hold_reason, b.number AS batch, b.file_sha256,"
        f" {_BORNE} AS borne"
        " FROM allocations a JOIN batches b ON b.id = a.batch_id JOIN keys k ON k.id = a.key_id"
        " JOIN lines l ON l.id = a.line_id JOIN orders o ON o.id = l.order_id"
        " WHERE b.supplier = :s AND a.currency = :c AND a.mode = 'consignment'"
        " AND a.state IN ('delivered', 'replaced') AND a.delivered_ms IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM settlement_lines x"
        " WHERE x.allocation_id = a.id AND x.kind = 'sale')"
        " ORDER BY a.delivered_ms, a.id",
        s=supplier,
        c=currency,
    )


def settled_keys_gone_bad(db: Db, supplier: str, currency: str) -> list[Row]:
    """Return keys on closed sheets that turned out bad since and were not taken back yet."""
    return db.all(
        "SELECT x.allocation_id, x.batch_id, x.batch, x.batch_sha256, x.line_no, x.tail, x.sku,"
        " x.cost_e5, x.amount_minor, x.order_tail, x.seq AS ref_seq, s.number AS ref_number,"
        " a.state, k.state AS key_state, l.state AS line_state"
        " FROM settlement_lines x JOIN settlements s ON s.id = x.settlement_id"
        " JOIN allocations a ON a.id = x.allocation_id JOIN keys k ON k.id = a.key_id"
        " JOIN lines l ON l.id = a.line_id"
        " WHERE s.supplier = :s AND s.currency = :c AND x.kind = 'sale'"
        " AND (a.state = 'replaced' OR (l.state = 'closed'"
        f" AND (k.state IN ('defective', 'void', 'returned') OR {_CHARGED})))"
        " AND NOT EXISTS (SELECT 1 FROM settlement_lines y"
        " WHERE y.allocation_id = x.allocation_id AND y.kind = 'clawback')"
        f" AND {_BORNE} = 0 ORDER BY x.allocation_id",
        s=supplier,
        c=currency,
    )


def agreed_debits(db: Db, supplier: str, currency: str) -> list[Row]:
    """Return bought keys that a supplier agreed to take back and that are on no sheet yet."""
    return db.all(
        "SELECT d.allocation_id, a.batch_id, b.number AS batch, b.file_sha256 AS batch_sha256,"
        " k.line_no, k.tail, a.sku, a.cost_e5, d.amount_minor, o.number AS order_number,"
        " (SELECT min(x.seq) FROM settlement_lines x WHERE x.batch_id = a.batch_id"
        "  AND x.kind = 'batch') AS ref_seq,"
        " (SELECT min(s.number) FROM settlement_lines x JOIN settlements s"
        "  ON s.id = x.settlement_id WHERE x.batch_id = a.batch_id AND x.kind = 'batch')"
        " AS ref_number FROM supplier_debits d JOIN allocations a ON a.id = d.allocation_id"
        " JOIN batches b ON b.id = a.batch_id JOIN keys k ON k.id = a.key_id"
        " JOIN orders o ON o.id = d.order_id WHERE d.supplier = :s AND d.currency = :c"
        " AND d.state = 'accepted' AND a.mode = 'buyout' AND NOT EXISTS (SELECT 1"
        "  FROM settlement_lines y WHERE y.allocation_id = d.allocation_id"
        "  AND y.kind = 'clawback') ORDER BY d.id",
        s=supplier,
        c=currency,
    )


def bought_batches(db: Db, supplier: str, currency: str) -> list[Row]:
    """Return buy-out batches with what sheets have for them so far, oldest first."""
    return db.all(
        "SELECT b.id AS batch_id, b.number AS batch, b.file_sha256, b.sku, b.cost_e5, b.state,"
        " b.accepted, b.removed, b.currency, b.imported_ms,"
        " (SELECT min(x.seq) FROM settlement_lines x WHERE x.batch_id = b.id"
        " AND x.kind = 'batch') AS ref_seq,"
        " (SELECT min(s.number) FROM settlement_lines x JOIN settlements s"
        " ON s.id = x.settlement_id WHERE x.batch_id = b.id AND x.kind = 'batch') AS ref_number,"
        " (SELECT CAST(coalesce(sum(x.amount_minor), 0) AS BIGINT) FROM settlement_lines x"
        " WHERE x.batch_id = b.id) AS settled_minor"
        " FROM batches b WHERE b.supplier = :s AND b.currency = :c AND b.mode = 'buyout'"
        " AND b.kind = 'stock' ORDER BY b.imported_ms, b.id",
        s=supplier,
        c=currency,
    )


def accrued(db: Db, supplier: str, currency: str) -> int:
    """Return all that was ever delivered of a supplier's consignment keys, in minor units."""
    return int(
        db.value(
            "SELECT CAST(coalesce(sum(a.amount_minor), 0) AS BIGINT) FROM allocations a"
            " JOIN batches b ON b.id = a.batch_id WHERE b.supplier = :s AND a.currency = :c"
            " AND a.mode = 'consignment' AND a.state IN ('delivered', 'replaced')"
            " AND a.delivered_ms IS NOT NULL",
            s=supplier,
            c=currency,
        )
    )


def other_currencies(db: Db, supplier: str, currency: str) -> list[str]:
    """Return currencies of a supplier's batches that are not the supplier's own."""
    rows = db.all(
        "SELECT DISTINCT currency FROM batches WHERE supplier = :s AND currency <> :c"
        " AND kind = 'stock' ORDER BY currency",
        s=supplier,
        c=currency,
    )
    return [row["currency"] for row in rows]


_ENDED = "k.state IN ('defective', 'void', 'expired', 'returned')"
_UNSOLD = (
    f"{_ENDED} AND NOT EXISTS (SELECT 1 FROM allocations a"
    " WHERE a.key_id = k.id AND a.delivered_ms IS NOT NULL)"
)


def batch_stock(db: Db, supplier: str, currency: str) -> list[Row]:
    """Return per batch of a supplier: title, keys held, ended unsold, delivered, settled.

    What is paid when it was sold counts in uses, each with its share of the key's cost; what was
    bought, in keys. Texts cost nothing and are left out.
    """
    return db.all(
        "WITH held AS (SELECT k.batch_id, count(*) AS held, sum(k.uses) AS uses,"
        f" sum(CASE WHEN {_UNSOLD} THEN 1 ELSE 0 END) AS ended,"
        f" sum(CASE WHEN k.uses > 1 AND {_ENDED} THEN k.uses_left"
        f"  WHEN k.uses = 1 AND {_UNSOLD} THEN 1 ELSE 0 END) AS ended_uses"
        " FROM keys k GROUP BY k.batch_id),"
        " sold AS (SELECT a.batch_id, count(DISTINCT a.key_id) AS sold FROM allocations a"
        " WHERE a.delivered_ms IS NOT NULL GROUP BY a.batch_id),"
        " settled AS (SELECT x.batch_id, count(*) AS settled FROM settlement_lines x"
        " WHERE x.kind = 'sale' GROUP BY x.batch_id)"
        " SELECT b.id AS batch_id, b.number AS batch, b.file_name, b.file_sha256, b.sku, p.title,"
        " b.mode, CAST(CASE WHEN b.mode = 'buyout' OR coalesce(h.held, 0) = 0 THEN b.cost_e5"
        "  ELSE b.cost_e5 * h.held / h.uses END AS BIGINT) AS cost_e5,"
        " CAST(b.accepted - b.removed + CASE WHEN b.mode = 'buyout' THEN 0"
        "  ELSE coalesce(h.uses - h.held, 0) END AS BIGINT) AS received,"
        " CAST(coalesce(CASE WHEN b.mode = 'buyout' THEN h.held ELSE h.uses END, 0) AS BIGINT)"
        " AS held,"
        " CAST(coalesce(CASE WHEN b.mode = 'buyout' THEN h.ended ELSE h.ended_uses END, 0)"
        " AS BIGINT) AS ended,"
        " CAST(coalesce(d.sold, 0) AS BIGINT) AS sold,"
        " CAST(coalesce(t.settled, 0) AS BIGINT) AS settled"
        " FROM batches b JOIN products p ON p.sku = b.sku LEFT JOIN held h ON h.batch_id = b.id"
        " LEFT JOIN sold d ON d.batch_id = b.id LEFT JOIN settled t ON t.batch_id = b.id"
        " WHERE b.supplier = :s AND b.currency = :c AND b.kind = 'stock' AND p.kind <> 'text'"
        " ORDER BY b.sku, b.imported_ms, b.id",
        s=supplier,
        c=currency,
    )


def shown_so_far(db: Db, supplier: str) -> dict[int, Row]:
    """Return batch id → sums of what closed sheets showed of it (received, sold, ended)."""
    rows = db.all(
        "SELECT x.batch_id, CAST(sum(x.received) AS BIGINT) AS received,"
        " CAST(sum(x.sold) AS BIGINT) AS sold, CAST(sum(x.ended) AS BIGINT) AS ended"
        " FROM settlement_batches x JOIN settlements s ON s.id = x.settlement_id"
        " WHERE s.supplier = :s GROUP BY x.batch_id",
        s=supplier,
    )
    return {row["batch_id"]: row for row in rows}


def first_fact_ms(db: Db, supplier: str) -> int | None:
    """Return when the first batch of a supplier came in."""
    value = db.value(
        "SELECT min(imported_ms) FROM batches WHERE supplier = :s AND kind = 'stock'", s=supplier
    )
    return None if value is None else int(value)


def last_sheet(db: Db, supplier: str, currency: str) -> Row | None:
    """Return the newest closed sheet of a supplier."""
    return db.one(
        f"SELECT {_SHEET} FROM settlements WHERE supplier = :s AND currency = :c"
        " ORDER BY chain DESC LIMIT 1",
        s=supplier,
        c=currency,
    )


def next_places(db: Db, supplier: str, month: str) -> tuple[int, int]:
    """Return (next number in the month, next place in the supplier's chain)."""
    nth = db.value(
        "SELECT coalesce(max(nth), 0) + 1 FROM settlements WHERE supplier = :s AND month = :m",
        s=supplier,
        m=month,
    )
    chain = db.value(
        "SELECT coalesce(max(chain), 0) + 1 FROM settlements WHERE supplier = :s", s=supplier
    )
    return int(nth), int(chain)


def totals(db: Db, supplier: str, currency: str) -> tuple[int, int]:
    """Return (sum of all payables, sum of all payments) of a supplier's sheets."""
    payable = db.value(
        "SELECT CAST(coalesce(sum(payable_minor), 0) AS BIGINT) FROM settlements"
        " WHERE supplier = :s AND currency = :c",
        s=supplier,
        c=currency,
    )
    paid = db.value(
        "SELECT CAST(coalesce(sum(p.amount_minor), 0) AS BIGINT) FROM settlement_payments p"
        " JOIN settlements s ON s.id = p.settlement_id WHERE s.supplier = :s AND s.currency = :c",
        s=supplier,
        c=currency,
    )
    return int(payable), int(paid)


def insert_sheet(db: Db, values: Row) -> int:
    """Insert a closed sheet (its columns by name) and return its id."""
    names = _SHEET.split(", ", 1)[1]
    return int(
        db.value(
            f"INSERT INTO settlements ({names}) VALUES ({_marks(names)}) RETURNING id", **values
        )
    )


def insert_parts(
    db: Db, settlement_id: int, lines: Sequence[Row], batches: Sequence[Row], left: Sequence[Row]
) -> None:
    """Insert the lines, the stock of the batches and the open lines of a sheet."""
    for table, columns, rows in (
        ("settlement_lines", _LINE, lines),
        ("settlement_batches", _BATCH, batches),
        ("settlement_open", _OPEN, left),
    ):
        db.many(
            f"INSERT INTO {table} (settlement_id, {columns}) VALUES (:sheet, {_marks(columns)})",
            [{"sheet": settlement_id, **row} for row in rows],
        )


def sheet(db: Db, number: str, *, lock: bool = False) -> Row | None:
    """Return a closed sheet with what was paid on it."""
    return db.one(
        f"SELECT {_SHEET}, {_PAID} FROM settlements WHERE number = :n"
        + (" {lock}" if lock else ""),
        n=number,
    )


def sheets(db: Db, supplier: str, limit: int) -> list[Row]:
    """Return closed sheets with what was paid on them, newest first; all suppliers for ''."""
    return db.all(
        f"SELECT {_SHEET}, {_PAID} FROM settlements WHERE (:s = '' OR supplier = :s)"
        " ORDER BY closed_ms DESC, id DESC LIMIT :limit",
        s=supplier,
        limit=limit,
    )


def count_sheets(db: Db, supplier: str) -> int:
    """Return how many sheets are closed; of all suppliers for ''."""
    return int(
        db.value("SELECT count(*) FROM settlements WHERE (:s = '' OR supplier = :s)", s=supplier)
    )


def chain(db: Db, supplier: str) -> list[Row]:
    """Return (number, chain, prev_hash, hash) of a supplier's sheets in closing order."""
    return db.all(
        "SELECT number, chain, prev_hash, hash FROM settlements WHERE supplier = :s ORDER BY chain",
        s=supplier,
    )


def lines(db: Db, settlement_id: int) -> list[Row]:
    """Return the lines of a sheet, by sequence number."""
    return db.all(
        f"SELECT {_LINE} FROM settlement_lines WHERE settlement_id = :id ORDER BY seq",
        id=settlement_id,
    )


def facts_of_lines(db: Db, settlement_id: int) -> list[Row]:
    """Return seq → what the delivery ledger says of the keys on a sheet (sales and clawbacks)."""
    return db.all(
        "SELECT x.seq, a.amount_minor,"
        " CASE WHEN x.kind = 'sale' THEN a.delivered_ms END AS delivered_ms"
        " FROM settlement_lines x JOIN allocations a ON a.id = x.allocation_id"
        " WHERE x.settlement_id = :id ORDER BY x.seq",
        id=settlement_id,
    )


def batches(db: Db, settlement_id: int) -> list[Row]:
    """Return the stock of batches as a sheet shows it."""
    return db.all(
        f"SELECT {_BATCH} FROM settlement_batches WHERE settlement_id = :id ORDER BY seq",
        id=settlement_id,
    )


def left_open(db: Db, settlement_id: int) -> list[Row]:
    """Return what a sheet left open."""
    return db.all(
        f"SELECT {_OPEN} FROM settlement_open WHERE settlement_id = :id ORDER BY seq",
        id=settlement_id,
    )


def payments(db: Db, settlement_id: int) -> list[Row]:
    """Return the payments of a sheet, oldest first."""
    return db.all(
        "SELECT voucher, amount_minor, paid_on, at_ms, actor, note FROM settlement_payments"
        " WHERE settlement_id = :id ORDER BY id",
        id=settlement_id,
    )


def add_payment(db: Db, values: Row) -> bool:
    """Insert a payment; False when this voucher stands on the sheet already."""
    return (
        db.run(
            "INSERT INTO settlement_payments (settlement_id, voucher, amount_minor, paid_on, at_ms,"
            " actor, note) VALUES (:settlement_id, :voucher, :amount_minor, :paid_on, :at_ms,"
            " :actor, :note) ON CONFLICT (settlement_id, voucher) DO NOTHING",
            **values,
        )
        == 1
    )


def _marks(columns: str) -> str:
    return ", ".join(f":{name.strip()}" for name in columns.split(","))
