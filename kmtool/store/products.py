"""SQL of products and listings (what a channel shows → which product, how many units of it)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kmtool.store.db import Db, Row, all_in

_PRODUCT = (
    "SELECT sku, title, kind, state, currency, price_minor, floor_minor, low_stock, buffer, guide,"
    " created_ms, uses, shared, account_rule, supplier, supplier_item, cap_minor,"
    " shelf_floor FROM products"
)
_LISTING = (
    "SELECT id, channel, item_id, variant_id, title, sku, units, price_minor, state, pushed,"
    " pushed_ms FROM listings"
)
PRODUCT_COLUMNS = (
    "title",
    "kind",
    "state",
    "price_minor",
    "floor_minor",
    "low_stock",
    "buffer",
    "guide",
    "uses",
    "account_rule",
    "supplier",
    "supplier_item",
    "cap_minor",
    "shelf_floor",
)
"""What `set_product` may change."""


def product(db: Db, sku: str) -> Row | None:
    """Return a product."""
    return db.one(f"{_PRODUCT} WHERE sku = :sku", sku=sku)


def by_sku(db: Db, skus: Sequence[str]) -> dict[str, Row]:
    """Return products by SKU."""
    rows = all_in(db, f"{_PRODUCT} WHERE sku IN {{in}}", skus)
    return {row["sku"]: row for row in rows}


def listings_of(db: Db, items: Iterable[tuple[str, str]]) -> dict[tuple[str, str, str], Row]:
    """Return (channel, item, variant) → mapping, of all variants of some (channel, item)."""
    by_channel: dict[str, list[str]] = {}
    for channel, item in sorted(set(items)):
        by_channel.setdefault(channel, []).append(item)
    return {
        (row["channel"], row["item_id"], row["variant_id"]): row
        for channel, names in by_channel.items()
        for row in all_in(
            db,
            f"{_LISTING} WHERE channel = :channel AND item_id IN {{in}}",
            names,
            channel=channel,
        )
    }


def products(db: Db, limit: int) -> list[Row]:
    """Return products with their free counter, by SKU."""
    return db.all(
        "SELECT p.sku, p.title, p.kind, p.state, p.currency, p.price_minor, p.floor_minor,"
        " p.low_stock, coalesce(s.free, 0) AS free"
        " FROM products p LEFT JOIN stock s ON s.sku = p.sku ORDER BY p.sku LIMIT :n",
        n=limit,
    )


def switched_off(db: Db, skus: Sequence[str]) -> frozenset[str]:
    """Return which of these products are off."""
    sql = "SELECT sku FROM products WHERE state = 'off' AND sku IN {in}"
    return frozenset(row["sku"] for row in all_in(db, sql, skus))


def add_product(db: Db, **values: object) -> bool:
    """Insert a product (sku, title, kind, currency, prices …, now_ms); False when it is there."""
    return (
        db.run(
            "INSERT INTO products (sku, title, kind, state, currency, price_minor, floor_minor,"
            " low_stock, buffer, guide, created_ms) VALUES (:sku, :title, :kind, 'on', :currency,"
            " :price_minor, :floor_minor, :low_stock, :buffer, :guide, :now_ms)"
            " ON CONFLICT (sku) DO NOTHING",
            **values,
        )
        == 1
    )


def set_product(db: Db, sku: str, **changes: object) -> bool:
    """Change columns of a product (`PRODUCT_COLUMNS`); tell whether there is one."""
    assert changes and set(changes) <= set(PRODUCT_COLUMNS)
    sets = ", ".join(f"{name} = :{name}" for name in changes)
    return db.run(f"UPDATE products SET {sets} WHERE sku = :sku", sku=sku, **changes) == 1


def set_shared(db: Db, sku: str) -> None:
    """Remember that some keys of a product serve several buyers; this is never taken back."""
    db.run("UPDATE products SET shared = 1 WHERE sku = :sku AND shared = 0", sku=sku)


def set_line_kind(db: Db, sku: str, kind: str) -> None:
    """Let waiting lines of a product follow its kind."""
    db.run(
        "UPDATE lines SET kind = :kind WHERE sku = :sku"
        " AND state IN ('new', 'ready', 'held', 'unmapped') AND kind <> :kind",
        kind=kind,
        sku=sku,
    )


def was_used(db: Db, sku: str) -> bool:
    """Tell whether a product holds keys, or a line of it was bound or bought."""
    return bool(
        db.value(
            "SELECT CASE WHEN EXISTS (SELECT 1 FROM keys WHERE sku = :sku) OR EXISTS"
            " (SELECT 1 FROM lines WHERE sku = :sku AND reserved_ms IS NOT NULL)"
            " THEN 1 ELSE 0 END",
            sku=sku,
        )
    )


def was_sold(db: Db, sku: str) -> bool:
    """Tell whether keys were ever bound to a line of this product."""
    return (
        db.value(
            "SELECT 1 FROM lines WHERE sku = :sku AND reserved_ms IS NOT NULL LIMIT 1", sku=sku
        )
        is not None
    )


def bundle_parts(db: Db, sku: str) -> list[Row]:
    """Return what a bundle is made of, with the title, kind and free counter of each part."""
    return db.all(
        "SELECT b.sku, b.units, p.title, p.kind, p.state, coalesce(s.free, 0) AS free"
        " FROM bundle_items b JOIN products p ON p.sku = b.sku LEFT JOIN stock s ON s.sku = b.sku"
        " WHERE b.bundle_sku = :sku ORDER BY b.sku",
        sku=sku,
    )


def bundles_of(db: Db, sku: str) -> list[str]:
    """Return the bundles a product is part of."""
    rows = db.all("SELECT bundle_sku FROM bundle_items WHERE sku = :s ORDER BY bundle_sku", s=sku)
    return [row["bundle_sku"] for row in rows]


def set_bundle(db: Db, sku: str, parts: Sequence[tuple[str, int]]) -> None:
    """Replace what a bundle is made of."""
    db.run("DELETE FROM bundle_items WHERE bundle_sku = :sku", sku=sku)
    db.many(
        "INSERT INTO bundle_items (bundle_sku, sku, units) VALUES (:bundle, :sku, :units)",
        [{"bundle": sku, "sku": part, "units": units} for part, units in parts],
    )


def listing(db: Db, channel: str, item_id: str, variant_id: str) -> Row | None:
    """Return the mapping of one item and variant of a channel."""
    return db.one(
        f"{_LISTING} WHERE channel = :channel AND item_id = :item AND variant_id = :variant",
        channel=channel,
        item=item_id,
        variant=variant_id,
    )


def listings(db: Db, *, sku: str = "", channel: str = "") -> list[Row]:
    """Return mappings, of one product or channel or all."""
    return db.all(
        f"{_LISTING} WHERE (:sku = '' OR sku = :sku) AND (:channel = '' OR channel = :channel)"
        " ORDER BY channel, item_id, variant_id",
        sku=sku,
        channel=channel,
    )


def put_listing(db: Db, **values: object) -> Row:
    """Insert or change a mapping (channel, item_id, variant_id, title, sku, units, price_minor).

    An empty title and a missing price leave what is there.
    """
    found = db.one(
        "INSERT INTO listings (channel, item_id, variant_id, title, sku, units, price_minor,"
        " state) VALUES (:channel, :item_id, :variant_id, :title, :sku, :units, :price_minor,"
        " 'on') ON CONFLICT (channel, item_id, variant_id) DO UPDATE SET sku = excluded.sku,"
        " units = excluded.units,"
        " title = CASE WHEN excluded.title = '' THEN listings.title ELSE excluded.title END,"
        " price_minor = coalesce(excluded.price_minor, listings.price_minor)"
        " RETURNING channel, item_id, variant_id, title, sku, units, price_minor, state",
        **values,
    )
    assert found is not None
    return found


def map_lines(db: Db, listing: Row, kind: str, now_ms: int) -> int:
    """Give waiting lines of a listing its product, to be looked at anew; return how many.

    Compare-and-set on states that stand before any key was taken: `unmapped`, `held`, and `new`
    as long as it has no product.
    """
    return db.run(
        "UPDATE lines SET sku = :sku, needed = quantity * :units, kind = :kind, state = 'new',"
        " gate = '', reason = '', since_ms = :now"
        " WHERE (state IN ('unmapped', 'held') OR state = 'new' AND sku IS NULL)"
        " AND item_id = :item AND variant_id = :variant"
        " AND order_id IN (SELECT id FROM orders WHERE channel = :channel)",
        sku=listing["sku"],
        units=listing["units"],
        kind=kind,
        now=now_ms,
        item=listing["item_id"],
        variant=listing["variant_id"],
        channel=listing["channel"],
    )


def unmapped(db: Db, limit: int) -> list[Row]:
    """Return listings that wait for a mapping: what they are called, how many lines and pieces."""
    return db.all(
        "SELECT o.channel, l.item_id, l.variant_id, max(l.title) AS title, count(*) AS lines,"
        " CAST(sum(l.quantity) AS BIGINT) AS pieces, min(o.paid_ms) AS oldest_ms"
        " FROM lines l JOIN orders o ON o.id = l.order_id WHERE l.sku IS NULL"
        " AND l.state IN ('new', 'ready', 'held', 'unmapped')"
        " GROUP BY o.channel, l.item_id, l.variant_id"
        " ORDER BY count(*) DESC, o.channel, l.item_id, l.variant_id LIMIT :n",
        n=limit,
    )
