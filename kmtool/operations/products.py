"""Products and what each channel calls them: add, change, map, list what waits for a mapping.

A mapping gives waiting order lines of that listing their product in the same transaction, so that
the next delivery run looks at them anew.
"""

from __future__ import annotations

from dataclasses import dataclass

from kmtool.domain.states import LineKind, is_unlimited
from kmtool.errors import NotFound, Refused, UsageError
from kmtool.operations import bundles
from kmtool.operations.bundles import Part
from kmtool.operations.product_terms import check
from kmtool.shop import Shop
from kmtool.store import keys as key_store
from kmtool.store import products as store
from kmtool.store.db import Row

CODE_MAX = 64
UNITS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Listing:
    """What a channel shows: item and variant, and how many units of the product one piece is."""

    channel: str
    item: str
    variant: str
    title: str
    sku: str
    units: int
    price_minor: int | None
    state: str


@dataclass(frozen=True, slots=True)
class Product:
    """A product with its prices, its free stock and its listings.

    `free` is None for what never runs out; `uses` is how many buyers one key serves. `held` of the
    free keys are kept back for orders, `buffer` are never offered to channels.
    """

    sku: str
    title: str
    kind: str
    state: str
    currency: str
    price_minor: int | None
    floor_minor: int | None
    low_stock: int | None
    free: int | None
    guide: str = ""
    listings: tuple[Listing, ...] = ()
    uses: int = 1
    parts: tuple[Part, ...] = ()
    account_rule: str = ""
    supplier: str = ""
    supplier_item: str = ""
    cap_minor: int | None = None
    held: int = 0
    buffer: int = 0
    shelf_floor: int | None = None


@dataclass(frozen=True, slots=True)
class Products:
    """Products by SKU; `more` says that there are others."""

    products: tuple[Product, ...]
    more: bool = False


@dataclass(frozen=True, slots=True)
class Mapped:
    """A mapping that was made, and how many waiting order lines it set going."""

    listing: Listing
    lines: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A listing without a product, and what waits for it."""

    channel: str
    item: str
    variant: str
    title: str
    lines: int
    pieces: int
    oldest_ms: int | None


@dataclass(frozen=True, slots=True)
class Unmapped:
    """Listings that wait for a mapping, the busiest first."""

    listings: tuple[Waiting, ...]


@dataclass(frozen=True, slots=True)
class Fields:
    """What can be said of a product; None leaves it as it is (or at its default)."""

    title: str | None = None
    kind: str | None = None
    state: str | None = None
    price_minor: int | None = None
    floor_minor: int | None = None
    low_stock: int | None = None
    buffer: int | None = None
    guide: str | None = None
    uses: int | None = None
    account_rule: str | None = None
    supplier: str | None = None
    supplier_item: str | None = None
    cap_minor: int | None = None
    parts: tuple[tuple[str, int], ...] | None = None
    shelf_floor: int | None = None

    def given(self) -> dict[str, object]:
        """Return what was said of the product's own columns."""
        named = {name: getattr(self, name) for name in store.PRODUCT_COLUMNS}
        if self.parts is not None:
            named["kind"] = LineKind.BUNDLE.value
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping to be made."""

    channel: str
    item: str
    variant: str
    sku: str
    units: int = 1
    price_minor: int | None = None
    title: str = ""


def check_code(text: str, what: str) -> None:
    """Refuse a SKU or supplier code that would be a nuisance everywhere."""
    if not text or len(text) > CODE_MAX or text != text.strip() or text.startswith("-"):
        raise UsageError(
            detail="a {what} has 1 to {code_max} characters, no spaces around it and no leading -",
            what=what,
            code_max=CODE_MAX,
        )
    if not text.isprintable():
        raise UsageError(detail="a {what} holds only printable characters", what=what)


def add(shop: Shop, sku: str, fields: Fields) -> Product:
    """Add a product; `Refused` when the SKU is taken."""
    shop.must_be_writable()
    with shop.db.tx():
        if not insert(shop, sku, fields):
            raise Refused(
                detail="there is a product {sku} already", mend="kmtool product set {sku}", sku=sku
            )
    return show(shop, sku)


def ensure(shop: Shop, sku: str, title: str = "") -> None:
    """Add a product inside the open transaction unless there is one."""
    insert(shop, sku, Fields(title=title or sku))


def insert(shop: Shop, sku: str, fields: Fields) -> bool:
    """Add a product inside the open transaction; False when the SKU is taken."""
    check_code(sku, "SKU")
    check(shop, fields)
    given = fields.given()
    if given.get("kind") == LineKind.BUNDLE and fields.parts is None:
        raise UsageError(detail="a bundle names its parts", mend="--bundle SKU:2,SKU2")
    later = {name: given.pop(name) for name in _LATER if name in given}
    values = {
        "title": sku,
        "kind": LineKind.KEY.value,
        "price_minor": None,
        "floor_minor": None,
        "low_stock": None,
        "buffer": 0,
        "guide": "",
        **given,
    }
    values.pop("state", None)
    added = store.add_product(
        shop.db, sku=sku, currency=shop.config.shop.currency, now_ms=shop.now_ms(), **values
    )
    if added:
        key_store.add_stock(shop.db, sku, 0)
        if later:
            store.set_product(shop.db, sku, **later)
        _follow(shop, sku, fields, str(values["kind"]))
        shop.audit("product.add", f"product:{sku}", str(values["title"]))
    return added


def change(shop: Shop, sku: str, fields: Fields) -> Product:
    """Change what is given; raises `NotFound`."""
    shop.must_be_writable()
    if not fields.given():
        raise UsageError(detail="nothing to change", mend="kmtool product set --help")
    with shop.db.tx():
        alter(shop, sku, fields)
    return show(shop, sku)


def alter(shop: Shop, sku: str, fields: Fields) -> None:
    """Change a product inside the open transaction."""
    check(shop, fields)
    changes = fields.given()
    before = store.product(shop.db, sku)
    if before is None:
        raise NotFound(kind="product", name=sku)
    kind = str(changes.get("kind", before["kind"]))
    if kind != before["kind"]:
        _may_change_kind(shop, sku, kind, fields)
    store.set_product(shop.db, sku, **changes)
    _follow(shop, sku, fields, kind)
    if kind != before["kind"]:
        store.set_line_kind(shop.db, sku, kind)
    told = ", ".join(f"{name}={value}" for name, value in changes.items() if name != "guide")
    shop.audit("product.set", f"product:{sku}", told)


def _may_change_kind(shop: Shop, sku: str, kind: str, fields: Fields) -> None:
    """What was sold as one kind stays of that kind: its lines are checked by it for ever."""
    if kind == LineKind.BUNDLE and fields.parts is None:
        raise UsageError(detail="a bundle names its parts", mend="--bundle SKU:2,SKU2")
    if store.was_used(shop.db, sku) or store.bundles_of(shop.db, sku):
        raise Refused(
            detail="{sku} holds keys, was sold, or is part of a bundle; it keeps its kind",
            sku=sku,
            mend="kmtool product add NEW_SKU --kind {sort}",
            sort=kind,
        )


def _follow(shop: Shop, sku: str, fields: Fields, kind: str) -> None:
    """Write what stands beside the product's own row."""
    if fields.parts is not None:
        bundles.set_parts(shop, sku, fields.parts)
    if kind == LineKind.TEXT or (fields.uses or 1) > 1:
        store.set_shared(shop.db, sku)


_LATER = ("uses", "account_rule", "supplier", "supplier_item", "cap_minor", "shelf_floor")


def show(shop: Shop, sku: str) -> Product:
    """Return a product with its listings; raises `NotFound`."""
    row = store.product(shop.db, sku)
    if row is None:
        raise NotFound(kind="product", name=sku)
    counted = key_store.stock(shop.db, sku)[0]
    row |= {"free": counted["free"], "held": counted["held"]}
    return _product(shop, row, store.listings(shop.db, sku=sku))


def every(shop: Shop, limit: int) -> Products:
    """Return products by SKU, at most `limit`."""
    rows = store.products(shop.db, limit + 1)
    return Products(tuple(_product(shop, row, []) for row in rows[:limit]), more=len(rows) > limit)


def map_listing(shop: Shop, mapping: Mapping) -> Mapped:
    """Say which product a listing is; its waiting lines are looked at anew. Raises `NotFound`."""
    shop.must_be_writable()
    with shop.db.tx():
        return put_mapping(shop, mapping)


def put_mapping(shop: Shop, mapping: Mapping) -> Mapped:
    """Make a mapping inside the open transaction and set its waiting lines going."""
    db = shop.db
    product = store.product(db, mapping.sku)
    if product is None:
        raise NotFound(
            kind="product", name=mapping.sku, mend="kmtool product add {name}, then map it again"
        )
    if not 1 <= mapping.units <= UNITS_MAX:
        raise UsageError(
            detail="a listing is 1 to {units_max} units", units_max=UNITS_MAX, mend="--units 1"
        )
    check(shop, Fields(price_minor=mapping.price_minor))
    if not mapping.channel or not mapping.item:
        raise UsageError(detail="a mapping needs the channel and the item's id there")
    row = store.put_listing(
        db,
        channel=mapping.channel,
        item_id=mapping.item,
        variant_id=mapping.variant,
        title=mapping.title,
        sku=mapping.sku,
        units=mapping.units,
        price_minor=mapping.price_minor,
    )
    lines = store.map_lines(db, row, product["kind"], shop.now_ms())
    shop.audit(
        "product.map",
        f"product:{mapping.sku}",
        f"{mapping.channel} {mapping.item} {mapping.variant} × {mapping.units}; {lines} lines",
    )
    return Mapped(_listing(row), lines)


def unmapped(shop: Shop, limit: int) -> Unmapped:
    """Return the listings that wait for a mapping."""
    return Unmapped(
        tuple(
            Waiting(
                channel=row["channel"],
                item=row["item_id"],
                variant=row["variant_id"],
                title=row["title"],
                lines=row["lines"],
                pieces=row["pieces"],
                oldest_ms=row["oldest_ms"],
            )
            for row in store.unmapped(shop.db, limit)
        )
    )


def _product(shop: Shop, row: Row, listings: list[Row]) -> Product:
    parts = bundles.parts(shop, row["sku"]) if row["kind"] == LineKind.BUNDLE else ()
    free: int | None = row["free"]
    if is_unlimited(row["kind"]):
        free = None
    elif parts:
        free = bundles.whole(parts)
    return Product(
        sku=row["sku"],
        title=row["title"],
        kind=row["kind"],
        state=row["state"],
        currency=row["currency"],
        price_minor=row["price_minor"],
        floor_minor=row["floor_minor"],
        low_stock=row["low_stock"],
        free=free,
        guide=row.get("guide", ""),
        listings=tuple(_listing(listing) for listing in listings),
        uses=row.get("uses", 1),
        parts=parts,
        account_rule=row.get("account_rule", ""),
        supplier=row.get("supplier", ""),
        supplier_item=row.get("supplier_item", ""),
        cap_minor=row.get("cap_minor"),
        held=row.get("held", 0),
        buffer=row.get("buffer", 0),
        shelf_floor=row.get("shelf_floor"),
    )


def _listing(row: Row) -> Listing:
    return Listing(
        channel=row["channel"],
        item=row["item_id"],
        variant=row["variant_id"],
        title=row["title"],
        sku=row["sku"],
        units=row["units"],
        price_minor=row["price_minor"],
        state=row["state"],
    )
