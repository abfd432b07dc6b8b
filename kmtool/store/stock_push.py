"""SQL of the stock figures that channels are told."""

from __future__ import annotations

from kmtool.store.db import Db, Row


def demand(db: Db) -> dict[str, int]:
    """Return SKU → keys that paid lines of all channels still need (those without keys yet).

    Lines with keys bound are left out: their keys have left the free counter already.
    """
    waiting = (
        "FROM lines l JOIN orders o ON o.id = l.order_id"
        " WHERE l.state NOT IN ('delivered', 'cancelled', 'closed')"
        " AND l.state IN ('new', 'ready', 'held') AND o.history = 0"
        " AND o.status NOT IN ('unpaid', 'closed')"
    )
    rows = db.all(
        "SELECT d.sku, CAST(sum(d.n) AS BIGINT) AS n FROM ("
        f"SELECT l.sku, l.needed AS n {waiting} AND l.sku IS NOT NULL AND l.kind <> 'bundle'"
        " UNION ALL SELECT b.sku, w.needed * b.units AS n FROM"
        f" (SELECT l.sku, l.needed {waiting} AND l.kind = 'bundle') w"
        " JOIN bundle_items b ON b.bundle_sku = w.sku) d GROUP BY d.sku"
    )
    return {row["sku"]: int(row["n"]) for row in rows}


def listings(db: Db, channel: str, day_ago_ms: int) -> list[Row]:
    """Return the listings of a channel that are on, with their product and the last sale seen."""
    return db.all(
        "SELECT i.id, i.item_id, i.variant_id, i.title, i.sku, i.units, i.pushed, i.pushed_ms,"
        " i.shelf, p.kind, p.state AS product_state, p.buffer, p.shelf_floor, x.seen_ms"
        " FROM listings i"
        " JOIN products p ON p.sku = i.sku LEFT JOIN (SELECT l.item_id, l.variant_id,"
        "  max(o.seen_ms) AS seen_ms FROM orders o JOIN lines l ON l.order_id = o.id"
        "  WHERE o.channel = :channel AND o.paid_ms >= :since GROUP BY l.item_id, l.variant_id) x"
        " ON x.item_id = i.item_id AND x.variant_id = i.variant_id"
        " WHERE i.channel = :channel AND i.state = 'on' AND p.kind IN ('key', 'bundle', 'text')"
        " ORDER BY i.id",
        channel=channel,
        since=day_ago_ms,
    )


def free(db: Db) -> dict[str, int]:
    """Return SKU → free keys (a key with several uses counts as many)."""
    return {row["sku"]: row["free"] for row in db.all("SELECT sku, free FROM stock")}


def bundles(db: Db) -> dict[str, list[tuple[str, int]]]:
    """Return bundle → its parts (SKU, units), but those that never run out."""
    found: dict[str, list[tuple[str, int]]] = {}
    rows = db.all(
        "SELECT b.bundle_sku, b.sku, b.units FROM bundle_items b JOIN products p ON p.sku = b.sku"
        " WHERE p.kind = 'key' ORDER BY b.bundle_sku, b.sku"
    )
    for row in rows:
        found.setdefault(row["bundle_sku"], []).append((row["sku"], row["units"]))
    return found


def empty_bundles(db: Db) -> set[str]:
    """Return bundles without any part: nothing can be sold as them."""
    rows = db.all(
        "SELECT p.sku FROM products p WHERE p.kind = 'bundle' AND NOT EXISTS"
        " (SELECT 1 FROM bundle_items b WHERE b.bundle_sku = p.sku)"
    )
    return {row["sku"] for row in rows}


def note_pushed(db: Db, listing_id: int, figure: int, now_ms: int) -> None:
    """Remember the figure a channel was told."""
    db.run(
        "UPDATE listings SET pushed = :n, pushed_ms = :now WHERE id = :id",
        n=figure,
        now=now_ms,
        id=listing_id,
    )


def read_at(db: Db, channel: str) -> int | None:
    """Return when a channel was last pulled to its end."""
    value = db.value(
        "SELECT updated_ms FROM cursors WHERE channel = :c AND stream = 'orders'", c=channel
    )
    return None if value is None else int(value)
