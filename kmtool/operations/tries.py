"""The records of sending, and what a slice of effects looks at, asked once.

A slice is what one transaction of intents or outcomes covers. Its facts are read after the rows of
its orders are locked; every change goes by compare-and-set all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from kmtool.domain.ids import LineId
from kmtool.domain.states import EffectKind, EffectState
from kmtool.operations.routes import Parcel
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, orders, products
from kmtool.store.db import Db, Row

WAITING = (EffectState.PENDING, EffectState.RETRY_AT)


@dataclass
class Sent:
    """Counts of one round: lines delivered, unclear, for a person, failed for now."""

    delivered: int = 0
    unknown: int = 0
    needs_you: int = 0
    failed: int = 0
    shipped: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, part: Sent) -> None:
        """Add what a part of the work did."""
        self.delivered += part.delivered
        self.unknown += part.unknown
        self.needs_you += part.needs_you
        self.failed += part.failed
        self.shipped += part.shipped
        self.notes += part.notes


@dataclass(slots=True)  # one for each effect: a frozen one takes four times as long to make
class Begun:
    """An attempt on record, ready for the network."""

    effect: Row
    attempt_id: int
    n: int
    parcel: Parcel
    line_ids: tuple[LineId, ...]
    seen: Slice | None = None
    """What its intent left behind, where nothing but the order needs to be read again."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The facts of some effects: their state now, orders, parcels, lines by parcel, live
    allocations by line and, of those, the ones each effect carries; products that are off.

    Of orders there is what sending looks at (`orders.brief`). Sealed texts and keys are there only
    before sending.
    """

    effects: dict[int, Row]
    orders: dict[int, Row]
    parcels: dict[int, Row]
    lines: dict[int, list[Row]]
    bound: dict[int, list[Row]]
    keys: dict[int, list[Row]]
    off: frozenset[str] = frozenset()

    def order(self, effect: Row) -> Row:
        """Return the order of an effect."""
        return self.orders[effect["order_id"]]

    def lines_of(self, effect: Row) -> list[Row]:
        """Return the lines an effect hands over (none for an effect of the whole order)."""
        return self.lines.get(effect["parcel_id"], [])

    def keys_of(self, effect: Row) -> list[Row]:
        """Return the live allocations whose keys an effect hands over."""
        return self.keys.get(effect["id"], [])


def look(shop: Shop, due: Sequence[Row], *, sealed: bool = True) -> Slice:
    """Read the facts of some effects as they are now; `sealed` with their texts and keys."""
    db = shop.db
    parcel_ids = sorted({row["parcel_id"] for row in due if row["parcel_id"] is not None})
    lines = deliveries.lines_of_parcels(db, parcel_ids)
    line_ids = sorted({line["id"] for found in lines.values() for line in found})
    bound: dict[int, list[Row]] = {}
    for key in deliveries.carried(db, line_ids) if sealed else deliveries.bonds(db, line_ids):
        bound.setdefault(key["line_id"], []).append(key)
    parcels = deliveries.parcels if sealed else deliveries.parcel_numbers
    return Slice(
        effects=effects.moves(db, [row["id"] for row in due]),
        orders=orders.brief(db, sorted({row["order_id"] for row in due})),
        parcels=parcels(db, parcel_ids),
        lines=lines,
        bound=bound,
        keys={row["id"]: _keys_of(row, lines.get(row["parcel_id"], ()), bound) for row in due},
        off=_off(db, lines) if sealed else frozenset(),
    )


def remembered(shop: Shop, done: Sequence[Begun]) -> Slice | None:
    """Return the facts as the intents of one slice left them, with its orders as they are now.

    None when they must be read. Whatever moved meanwhile is met by a compare-and-set whose count
    is then wrong, and the outcomes are written one by one from what is read.
    """
    seen = done[0].seen
    if seen is None or any(one.seen is not seen for one in done):
        return None
    news = orders.news(shop.db, sorted({one.effect["order_id"] for one in done}))
    return replace(seen, orders={n: {**seen.orders[n], **row} for n, row in news.items()})


def _off(db: Db, lines: Mapping[int, Sequence[Row]]) -> frozenset[str]:
    skus = {line["sku"] for found in lines.values() for line in found if line["sku"]}
    return products.switched_off(db, sorted(skus))


def _keys_of(effect: Row, lines: Sequence[Row], bound: Mapping[int, Sequence[Row]]) -> list[Row]:
    """Return the keys of an effect's own parcel.

    A key from before parcels were named on it belongs to the first one.
    """
    own = {effect["parcel_id"]} | ({None} if effect["kind"] == EffectKind.HAND_OVER else set())
    return [key for line in lines for key in bound.get(line["id"], ()) if key["parcel_id"] in own]
