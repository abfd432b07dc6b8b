"""What the gates look at for a chunk of orders, asked once, and what its lines take meanwhile.

Orders and stock counters are locked first, so the figures hold until the transaction ends; what
earlier lines of the chunk take is counted here and needs no second question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kmtool.domain.gates import Limits
from kmtool.domain.money import minor_to_e5
from kmtool.domain.states import LineKind
from kmtool.operations import shared
from kmtool.operations.quotas import Rooms
from kmtool.operations.take import Parts, available, needs
from kmtool.shop import Shop
from kmtool.store import deliveries, holds, house, orders, products, rollups, uses
from kmtool.store.db import Row

HOUR_MS = 3_600_000
AHEAD = 20_000
"""How many of the next keys of a product are looked at for their cost; a line that takes more is
asked about by itself."""

Buyer = tuple[str, str]


@dataclass
class Shelf:
    """What is left of a product: keys for paid lines, the unit costs (e5) of the next to leave,
    and how many keys earlier lines of the chunk take."""

    free: int = 0
    costs: list[int] = field(default_factory=list)
    newest_e5: int = 0
    taken: int = 0


@dataclass
class Facts:
    """The answers for a chunk of orders. `orders` and `lines` by order id.

    `held` is (line, SKU) → keys that were kept back for that very line before it was paid, `shared`
    SKU → kind of products whose keys serve several buyers, `wanted` (line, pieces) → what it takes.
    """

    shop: Shop
    now_ms: int
    limits: Limits
    orders: dict[int, Row] = field(default_factory=dict)
    lines: dict[int, list[Row]] = field(default_factory=dict)
    paused: dict[str, Row] = field(default_factory=dict)
    parts: Parts = field(default_factory=dict)
    products: dict[str, Row] = field(default_factory=dict)
    listings: dict[tuple[str, str, str], Row] = field(default_factory=dict)
    shelves: dict[str, Shelf] = field(default_factory=dict)
    held: dict[tuple[int, str], int] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    sku_hour: dict[str, tuple[int, int]] = field(default_factory=dict)
    buyer_hour: dict[Buyer, int] = field(default_factory=dict)
    refusals: dict[int, tuple[str, bool]] = field(default_factory=dict)
    wanted: dict[tuple[int, int], list[tuple[str, int]]] = field(default_factory=dict)
    rooms: Rooms = field(init=False)

    def __post_init__(self) -> None:
        self.rooms = Rooms(self.shop, self.orders, packing=True)

    def listing(self, order: Row, line: Row) -> Row | None:
        """Return the listing a line was sold by."""
        return self.listings.get((order["channel"], line["item_id"], line["variant_id"]))

    def needs(self, line: Row) -> list[tuple[str, int]]:
        """Return (SKU, keys) that a line takes (`take.needs`), worked out once."""
        name = (line["id"], line["needed"])
        found = self.wanted.get(name)
        if found is None:
            found = self.wanted[name] = needs(line, self.parts)
        return found

    def pieces_possible(self, line: Row) -> int:
        """Return for how many of a line's pieces there are keys (that its buyer has not got)."""
        left = [self._left(line, sku) * line["needed"] // n for sku, n in self.needs(line) if n]
        return max(0, min(left)) if left else 0

    def _left(self, line: Row, sku: str) -> int:
        shelf = self.shelves[sku]
        left = shelf.free - shelf.taken
        if self.held:
            left += self.held.get((line["id"], sku), 0)
        if sku not in self.shared or self.shared[sku] == LineKind.TEXT:
            return left
        buyer = shared.buyer_of(self.orders[line["order_id"]])
        return min(left, uses.possible(self.shop.db, sku, self.now_ms, buyer))

    def cost_e5(self, line: Row) -> int:
        """Return the dearest unit cost among the keys that would leave (of a bundle, the sum).

        Of a top-up it is what one piece may cost at most.
        """
        if line["kind"] == LineKind.TOPUP:
            product = self.products.get(line["sku"]) or {}
            return minor_to_e5(product.get("cap_minor") or 0, self.shop.config.shop.currency)
        cost = 0
        for sku, n in self.needs(line):
            if n > 0:
                cost += self._dearest(sku, n) * n
        return -(-cost // max(1, int(line["needed"])))

    def _dearest(self, sku: str, n: int) -> int:
        shelf = self.shelves[sku]
        if sku in self.shared:
            return shelf.newest_e5
        if shelf.taken + n > AHEAD and shelf.free > AHEAD:
            asked = deliveries.dearest_next(self.shop.db, sku, shelf.taken + n, self.now_ms)
            return asked or shelf.newest_e5
        ahead = shelf.costs[shelf.taken : shelf.taken + n]
        return max(ahead) if ahead else shelf.newest_e5

    def hour_of_sku(self, line: Row) -> tuple[int, int]:
        """Return (pieces, money) of a line's product within the last hour."""
        return self.sku_hour.get(line["sku"] or "", (0, 0))

    def busiest(self, line: Row) -> tuple[str, int, int]:
        """Return (SKU, keys this line takes of it, keys of it within the last hour).

        Of a bundle it is the part, or the bundle itself, that is nearest to its limit.
        """
        if line["kind"] == LineKind.KEY:
            return line["sku"] or "", line["needed"], self.hour_of_sku(line)[0]
        taken = [*self.needs(line), (line["sku"] or "", line["needed"])]
        every = [(sku, n, self.sku_hour.get(sku, (0, 0))[0]) for sku, n in taken]
        return max(every, key=lambda one: one[1] + one[2])

    def hour_of_buyer(self, order: Row) -> int:
        """Return the pieces of an order's buyer within the last hour."""
        buyer = buyer_of(order)
        return self.buyer_hour.get(buyer, 0) if buyer[1] else 0

    def count(self, order: Row, line: Row, sign: int = 1) -> None:
        """Count a line that goes, so that later ones see it; with -1 take that back."""
        for sku, n in self.needs(line):
            shelf = self.shelves[sku]
            shelf.taken += sign * n
            if self.held:
                shelf.free += sign * self.held.get((line["id"], sku), 0)
        for sku, n in parts_of(line, self.parts):
            there, worth = self.sku_hour.get(sku, (0, 0))
            self.sku_hour[sku] = (there + sign * n, worth)
        pieces, money = self.hour_of_sku(line)
        self.sku_hour[line["sku"]] = (
            pieces + sign * line["needed"],
            money + sign * line["amount_minor"],
        )
        buyer = buyer_of(order)
        self.buyer_hour[buyer] = self.buyer_hour.get(buyer, 0) + sign * line["needed"]


def buyer_of(order: Row) -> Buyer:
    """Return who buys, for the burst brake: the channel's own id, else the name."""
    return order["channel"], order["buyer_ref"] or order["buyer_name"]


def parts_of(line: Row, parts: Parts) -> list[tuple[str, int]]:
    """Return (SKU, keys) of the parts of a bundle: they count for the burst brake beside it."""
    return needs(line, parts) if line["kind"] == "bundle" else []


def gather(shop: Shop, order_ids: Sequence[int]) -> Facts:
    """Ask everything the gates look at for some orders, each kind of fact once."""
    db, now = shop.db, shop.now_ms()
    brakes = shop.config.brakes
    limits = Limits(
        below_cost=brakes.below_cost,
        sku_pieces=brakes.sku_pieces_per_hour,
        sku_value_minor=brakes.sku_value_per_hour_minor,
        buyer_pieces=brakes.buyer_pieces_per_hour,
    )
    facts = Facts(shop, now, limits, orders.some(db, order_ids), paused=house.pauses(db))
    lines = orders.lines_of(db, order_ids)
    for line in lines:
        facts.lines.setdefault(line["order_id"], []).append(line)
    sold = sorted({line["sku"] for line in lines if line["sku"]})
    bundles = sorted({line["sku"] for line in lines if line["sku"] and line["kind"] == "bundle"})
    facts.parts = deliveries.bundle_parts(db, bundles)
    inside = {sku for parts in facts.parts.values() for sku, _ in parts}
    facts.products = products.by_sku(db, sorted(inside.union(sold)))
    facts.listings = products.listings_of(
        db, {(facts.orders[line["order_id"]]["channel"], line["item_id"]) for line in lines}
    )
    _look_at_shelves(facts, lines)
    counted = {*sold, *(sku for parts in facts.parts.values() for sku, _ in parts)}
    facts.sku_hour = rollups.sku_figures(db, sorted(counted), now - HOUR_MS)
    buyers = sorted({buyer_of(order) for order in facts.orders.values()})
    facts.buyer_hour = rollups.buyer_figures(db, [b for b in buyers if b[1]], now - HOUR_MS)
    return facts


def _look_at_shelves(facts: Facts, lines: Sequence[Row]) -> None:
    db, now = facts.shop.db, facts.now_ms
    totals: dict[str, int] = {}
    for line in lines:
        for sku, n in facts.needs(line):
            totals[sku] = totals.get(sku, 0) + max(0, n)
    skus = sorted(totals)
    deliveries.expire_all(db, skus, now)
    free = available(facts.shop, skus)
    facts.held = holds.own(db, [line["id"] for line in lines], now)
    ahead = {
        sku: deliveries.next_batches(db, sku, min(n, AHEAD), now) for sku, n in totals.items() if n
    }
    batches = deliveries.batches(db, [batch for found in ahead.values() for batch in found])
    short = [sku for sku in skus if len(ahead.get(sku, ())) < min(totals[sku], AHEAD)]
    newest = deliveries.newest_costs(db, short)
    facts.shared = uses.shared_skus(db, skus)
    newest.update((sku, uses.dearest(db, sku, now)) for sku in facts.shared)
    for sku in skus:
        costs = [batches[batch]["cost_e5"] for batch in ahead.get(sku, ())]
        facts.shelves[sku] = Shelf(free.get(sku, 0), costs, newest.get(sku, 0))


def pause_of(paused: dict[str, Row], channel: str, sku: str | None) -> str:
    """Return what is paused above this line, empty when nothing is."""
    for scope, name in (("all", "all"), (f"channel:{channel}", channel), (f"sku:{sku}", sku or "")):
        if scope in paused:
            return name
    return ""
