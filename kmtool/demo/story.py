"""Counts what the demo day brought: in the books, and at the simulated buyers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from kmtool.demo.world import World
from kmtool.operations.find_order import named
from kmtool.operations.reconcile import MoneyLine, Reconciliation
from kmtool.operations.settle import Closed
from kmtool.shop import Shop
from kmtool.store import demo as figures


@dataclass(frozen=True, slots=True)
class Books:
    """What the evening brought: the reconciliation, the sheets, and how many were pasted."""

    money: Reconciliation
    sheets: tuple[Closed, ...]
    pasted: int


@dataclass(frozen=True, slots=True)
class Sheet:
    """A settlement sheet of the story."""

    number: str
    supplier: str
    payable_minor: int
    keys: int
    workbook: str


@dataclass(frozen=True, slots=True)
class Story:
    """The day in figures; `agrees` is whether the counts at both ends fit together."""

    folder: str
    day: str
    morning_ms: int
    orders: int
    orders_by_channel: dict[str, int]
    batches: int
    keys_imported: int
    duplicates: int
    delivered: int
    by_itself: int
    by_hand: int
    keys_delivered: int
    keys_at_buyers: int
    keys_at_two_buyers: int
    healed: int
    waiting: dict[str, int]
    cancelled: int
    refund_cases: int
    currency: str
    money: MoneyLine
    missing_orders: tuple[str, ...]
    sheets: tuple[Sheet, ...]
    agrees: bool


def tell(shop: Shop, world: World, books: Books) -> Story:
    """Count the day."""
    states = figures.order_states(shop.db)
    by_channel = figures.orders_by_channel(shop.db)
    batches = figures.batches(shop.db)
    keys_delivered = figures.keys_delivered(shop.db)
    held, doubled, complete = _at_the_buyers(shop, world)
    waiting = dict(sorted(figures.waiting(shop.db).items()))
    orders = sum(by_channel.values())
    delivered = states.get("delivered", 0)
    ended = states.get("cancelled", 0) + states.get("refund_case", 0)
    return Story(
        folder=str(shop.config.root),
        day=world.day,
        morning_ms=shop.now_ms(),
        orders=orders,
        orders_by_channel=by_channel,
        batches=batches["batches"],
        keys_imported=batches["accepted"],
        duplicates=batches["duplicates"],
        delivered=delivered,
        by_itself=delivered - books.pasted,
        by_hand=books.pasted,
        keys_delivered=keys_delivered,
        keys_at_buyers=held,
        keys_at_two_buyers=doubled,
        healed=figures.healed(shop.db),
        waiting=waiting,
        cancelled=states.get("cancelled", 0),
        refund_cases=states.get("refund_case", 0),
        currency="CNY",
        money=books.money.money,
        missing_orders=tuple(p.subject for p in books.money.problems if p.code == "MISSING_PAYOUT"),
        sheets=tuple(
            Sheet(s.number, s.supplier, s.payable_minor, s.keys, s.workbook or "")
            for s in books.sheets
            if s.number is not None
        ),
        agrees=(
            complete
            and doubled == 0
            and orders == len(world.maple.orders) + len(world.taobao)
            and orders == delivered + ended + sum(waiting.values())
        ),
    )


def _at_the_buyers(shop: Shop, world: World) -> tuple[int, int, bool]:
    """Look at what each buyer of the marketplace received: (keys, keys at two buyers, all whole).

    Whole: an order the books call delivered has exactly the keys that are bound to it, as text, in
    its chat, and no other order shows any.
    """
    holders: Counter[str] = Counter()
    whole = True
    for number in world.maple.orders:
        received = "\n".join(world.maple.received(number))
        order = named(shop, number)
        bound = figures.keys_of_order(shop.db, order["id"])
        for row in bound:
            key = shop.vault.open(row["sealed"], row["data_key_id"], bytes(row["fingerprint"]))
            whole &= key.text() in received
        shown = {line for line in received.split("\n") if shop_knows(shop, line)}
        whole &= len(shown) == len(bound)
        holders.update(shown)
    return len(holders), sum(1 for n in holders.values() if n > 1), whole


def shop_knows(shop: Shop, line: str) -> bool:
    """Tell whether a line of a message is a key of this shop."""
    return figures.is_key(shop.db, shop.vault.fingerprint(line.strip().encode()))
