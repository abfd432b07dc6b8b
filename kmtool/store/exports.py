"""SQL of exports: whole tables. Keys leave as tails; sealed only when they are to be opened."""

from __future__ import annotations

from kmtool.store.db import Db, Row


def orders(db: Db, from_ms: int, to_ms: int) -> list[Row]:
    """Return one row per order line, by the time it was paid (else created) in [from, to)."""
    return db.all(
        "WITH given AS (SELECT a.line_id, min(a.delivered_ms) AS delivered_ms,"
        " CAST(coalesce(sum(a.amount_minor), 0) AS BIGINT) AS cost_minor FROM allocations a"
        " WHERE a.state = 'delivered' GROUP BY a.line_id)"
        " SELECT o.channel, o.number, o.status, o.refund, o.created_ms, o.paid_ms, o.currency,"
        " o.total_minor, o.refunded_minor, o.buyer_name, o.ext_txn_id, l.id AS line_id, l.line_no,"
        " l.title, l.sku, l.quantity, l.amount_minor, l.state, l.gate, g.delivered_ms,"
        " g.cost_minor"
        " FROM orders o LEFT JOIN lines l ON l.order_id = o.id LEFT JOIN given g"
        " ON g.line_id = l.id"
        " WHERE coalesce(o.paid_ms, o.created_ms) >= :since"
        " AND coalesce(o.paid_ms, o.created_ms) < :until"
        " ORDER BY coalesce(o.paid_ms, o.created_ms), o.id, l.id",
        since=from_ms,
        until=to_ms,
    )


def tails_of_lines(db: Db, from_ms: int, to_ms: int) -> list[Row]:
    """Return (line id, tail) of the keys that lines of `orders` got, oldest first."""
    return db.all(
        "SELECT a.line_id, k.tail FROM allocations a JOIN keys k ON k.id = a.key_id"
        " JOIN lines l ON l.id = a.line_id JOIN orders o ON o.id = l.order_id"
        " WHERE a.state IN ('exposed', 'delivered')"
        " AND coalesce(o.paid_ms, o.created_ms) >= :since"
        " AND coalesce(o.paid_ms, o.created_ms) < :until ORDER BY a.id",
        since=from_ms,
        until=to_ms,
    )


def keys(db: Db) -> list[Row]:
    """Return all keys with where they came from and where they went."""
    return db.all(_KEYS.format(sealed="") + _KEYS_ORDER)


def keys_sealed(db: Db) -> list[Row]:
    """Return the same with what is needed to open each key."""
    return db.all(_KEYS.format(sealed=" k.fingerprint, k.sealed, k.data_key_id,") + _KEYS_ORDER)


_KEYS = (
    "SELECT k.id, k.sku, k.tail,{sealed} k.state, k.line_no, k.expires_ms, k.state_ms,"
    " b.number AS batch, b.supplier, b.mode, b.cost_e5, b.currency, b.imported_ms,"
    " o.channel, o.number, a.delivered_ms, a.amount_minor"
    " FROM keys k JOIN batches b ON b.id = k.batch_id"
    " LEFT JOIN allocations a ON a.id = (SELECT max(x.id) FROM allocations x"
    " WHERE x.key_id = k.id AND x.state <> 'withdrawn')"
    " LEFT JOIN lines l ON l.id = a.line_id LEFT JOIN orders o ON o.id = l.order_id"
)
_KEYS_ORDER = " ORDER BY k.batch_id, k.line_no, k.id"


def count_keys(db: Db) -> int:
    """Return how many keys there are."""
    return int(db.value("SELECT count(*) FROM keys"))


def stock(db: Db) -> list[Row]:
    """Return one row per product: keys by state, and what the free ones cost in 1e-5 units."""
    return db.all(
        "WITH held AS (SELECT k.sku,"
        " sum(CASE WHEN k.state = 'free' THEN 1 ELSE 0 END) AS free,"
        " sum(CASE WHEN k.state IN ('reserved', 'exposed') THEN 1 ELSE 0 END) AS moving,"
        " sum(CASE WHEN k.state = 'delivered' THEN 1 ELSE 0 END) AS delivered,"
        " sum(CASE WHEN k.state NOT IN ('free', 'reserved', 'exposed', 'delivered')"
        " THEN 1 ELSE 0 END) AS other,"
        " min(CASE WHEN k.state = 'free' THEN k.expires_ms END) AS expires_ms,"
        " sum(CASE WHEN k.state = 'free' THEN b.cost_e5 ELSE 0 END) AS cost_e5"
        " FROM keys k JOIN batches b ON b.id = k.batch_id GROUP BY k.sku)"
        " SELECT p.sku, p.title, p.state, p.currency, p.price_minor, p.low_stock,"
        " CAST(coalesce(h.free, 0) AS BIGINT) AS free,"
        " CAST(coalesce(h.moving, 0) AS BIGINT) AS moving,"
        " CAST(coalesce(h.delivered, 0) AS BIGINT) AS delivered,"
        " CAST(coalesce(h.other, 0) AS BIGINT) AS other, h.expires_ms,"
        " CAST(coalesce(h.cost_e5, 0) AS BIGINT) AS cost_e5"
        " FROM products p LEFT JOIN held h ON h.sku = p.sku ORDER BY p.sku"
    )


def recon(db: Db) -> list[Row]:
    """Return one row per statement line in force, with the order it was matched with."""
    return db.all(
        "SELECT s.account, v.occurred_ms, v.kind, v.ext_txn_id, v.order_ref, v.refund_ref,"
        " v.gross_minor, v.adjust_minor, v.fee_minor, v.net_minor, v.currency, v.note, s.bucket,"
        " s.code, s.pass, o.channel, o.number"
        " FROM statement_lines s JOIN line_versions v ON v.id = s.version_id"
        " LEFT JOIN orders o ON o.id = s.order_id ORDER BY s.account, v.occurred_ms, s.id"
    )
