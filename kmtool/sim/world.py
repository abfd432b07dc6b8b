"""The truth outside: what channels and buyers know. Nothing of it is read from the shop's database.

An order is named by (channel, number). A buyer's letters hold the texts that arrived; the keys in
them are found by their form (`K-S1-000001`). What the owner decided (a refund agreed to, a key
replaced) is put on record here by the act that did it, because it changes what must be true later.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from kmtool.domain.states import OrderStatus, RefundState
from kmtool.ports import Buyer, Features, LineFact, OrderFact, RefundFact
from kmtool.sim.acts_truth import Owner

KEY = re.compile(r"\b[A-Z]-[A-Z0-9]+-[0-9]{6}\b")
"""A key is 「K-SKU-000001」; shared keys begin with U, texts with T, top-ups have none."""
CURRENCY = "CNY"
HAND = "hand"
"""The route of what the owner pastes himself."""

Name = tuple[str, str]
"""(channel, order number)"""


@dataclass(frozen=True, slots=True)
class Ware:
    """What a channel lists: `units` keys of `sku` per piece, at `price_minor` per piece.

    `kind` is key, shared, text, bundle or topup; `parts` says of a bundle (SKU, units) of each.
    """

    item_id: str
    sku: str
    price_minor: int
    units: int = 1
    kind: str = "key"
    parts: tuple[tuple[str, int], ...] = ()

    def wanted(self, quantity: int) -> dict[str, int]:
        """Return SKU → keys that a buyer of so many pieces must hold in the end."""
        if self.kind == "topup":
            return {}
        if self.kind == "text":
            return {self.sku: min(1, quantity)}
        if self.kind == "bundle":
            return {sku: units * quantity for sku, units in self.parts}
        return {self.sku: self.units * quantity}


@dataclass(frozen=True, slots=True)
class Site:
    """A channel as it is: what it declares, what its courier declares."""

    name: str
    channel: Features
    courier: Features
    wares: tuple[Ware, ...] = ()
    other: Features | None = None
    """What its second courier declares, where it has one."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that arrived at a buyer."""

    seq: int
    at_ms: int
    route: str
    marker: str
    text: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bought:
    """A purchase as its supplier keeps it: when it was called for, and when it is done."""

    our_no: str
    account: str
    quantity: int
    charged_minor: int
    called_ms: int
    ready_ms: int


@dataclass
class Placed:
    """An order as its channel and its buyer know it. `fact` is the newest revision.

    `visible_ms`: when the newest revision shows in the channel's lists. `extra` counts keys by SKU
    that the owner gave on top (replacements); `excused` are keys that do not count any more
    (defective, void); `ended` says why the order needs no keys any more (the owner's decision);
    `repeats` is how many second copies of its messages are explained by what the owner did.
    """

    channel: str
    fact: OrderFact
    wares: tuple[Ware, ...]
    old: list[OrderFact] = field(default_factory=list)
    visible_ms: int = 0
    letters: list[Letter] = field(default_factory=list)
    shipped: int = 0
    extra: dict[str, int] = field(default_factory=dict)
    excused: set[str] = field(default_factory=set)
    ended: str = ""
    repeats: int = 0
    forgotten: int = 0
    """How many more are, where its route cannot be asked: the shop was set back since."""
    told_ended: int = 0
    """Sequence of the commit after which the shop knew that nothing may be sent; 0: it does not."""
    told_ms: int = 0
    """The newest revision that the shop was told of."""
    addresses: dict[str, tuple[str, int]] = field(default_factory=dict)
    """message → where its tries go, and `repeats` when that was settled."""
    read: tuple[int, int] = (0, 0)
    """When the shop looked at it last, and how often its clock had jumped by then."""
    decided_ms: int = 0
    """Up to this revision the owner decided about its refunds: it may go out all the same."""
    held: int = 0
    """Sequence of the commit by which the owner held it; 0: not held."""
    let_go: int = 0
    """Sequence of the commit by which the owner last released it; 0: never."""
    quantity: dict[str, int] = field(default_factory=dict)
    """line number → pieces that the owner set (`order release --quantity`)."""
    doubtful: set[str] = field(default_factory=set)
    """Keys of which it is not known whether the shop took them as bad: they may count or not."""
    loose: tuple[RefundFact, ...] = ()
    """The refunds after which the owner ordered to let the rest go, whatever came of it."""
    paid_before: dict[str, int] = field(default_factory=dict)
    """What it paid for before its channel changed its lines; a message that was begun before the
    shop knew of that may bring it."""
    told_changed: int = 0
    """Sequence of the commit after which the shop knew of that change; 0: it does not."""
    rest_of: tuple[RefundFact, ...] = ()
    """The refunds after which the owner let the rest of the order go."""

    @property
    def name(self) -> Name:
        """The order's identity."""
        return (self.channel, self.fact.number)

    @property
    def is_paid(self) -> bool:
        """Tell whether the buyer paid and the channel did not close it."""
        return self.fact.status in {OrderStatus.PAID, OrderStatus.SHIPPED, OrderStatus.DONE}

    @property
    def is_due(self) -> bool:
        """Tell whether the buyer must hold all keys in the end."""
        rest = self.fact.refund is RefundState.PARTIAL and self.rest_of == self.fact.refunds
        unrefunded = self.fact.refund is RefundState.NONE or rest
        return self.is_paid and unrefunded and not self.ended

    def learned(self, fact: OrderFact, sequence: int) -> None:
        """The shop knows this revision with commit `sequence`."""
        self.told_ms = fact.revision_ms
        if self.paid_before and fact.lines == self.fact.lines:
            self.told_changed = self.told_changed or sequence
        stops = fact.refund is not RefundState.NONE or fact.status is OrderStatus.CLOSED
        stops = stops and not (self.loose and fact.refunds == self.loose)
        if not stops:
            self.told_ended = 0
        elif not self.told_ended and fact.revision_ms > self.decided_ms:
            self.told_ended = sequence

    def wanted(self) -> dict[str, int]:
        """Return SKU → keys that the order pays for, with what the owner changed."""
        found: dict[str, int] = dict(self.extra)
        for line, ware in zip(self.fact.lines, self.wares, strict=True):
            pieces = self.quantity.get(line.line_no, line.quantity)
            for sku, n in ware.wanted(pieces).items():
                found[sku] = found.get(sku, 0) + n
        return found

    def got(self) -> list[str]:
        """Return the different keys that the buyer holds, in the order they came."""
        return list(dict.fromkeys(key for letter in self.letters for key in letter.keys))


def keys_in(text: str) -> tuple[str, ...]:
    """Return the keys in a message."""
    return tuple(KEY.findall(text))


def sku_of(key: str) -> str:
    """Return the SKU that a key's text names."""
    return key.split("-")[1]


class World:
    """All that lies beyond the border of one simulated shop."""

    def __init__(self, sites: Sequence[Site], now: Callable[[], int], tick: Callable[[], int]):
        self.sites = {site.name: site for site in sites}
        self.now = now
        """True time in ms: the shop's own clock may jump, this one does not."""
        self.tick = tick
        """The next sequence number."""
        self.orders: dict[Name, Placed] = {}
        self.by_channel: dict[str, list[Placed]] = {site.name: [] for site in sites}
        self.uses: dict[str, int] = {}
        """How many buyers a key may have, where that is not 1."""
        self.holders: dict[str, list[Name]] = {}
        """key → who may hold it: a try counts from its first byte."""
        self.proved: set[tuple[str, Name]] = set()
        """(key, order): a person proved that this buyer never saw it."""
        self.counter: list[Letter] = []
        self.listed_stock: dict[tuple[str, str], int] = {}
        self.hidden: set[tuple[str, str]] = set()
        self.made: dict[str, int] = {}
        self.placed = 0
        self.bought: dict[str, list[Bought]] = {}
        """supplier → what it was made to buy."""
        self.spend_minor = 0
        self.slow_ms = 0
        """What may be spent a day at a supplier."""
        self.owner = Owner()
        self.spells: dict[str, tuple[int, str]] = {}
        """site → (until when, what becomes of almost every write there)"""
        self._late: list[tuple[int, int, Callable[[], None]]] = []

    # ------------------------------------------------------------------ what happens

    def place(
        self,
        channel: str,
        wanted: Sequence[tuple[Ware, int]],
        buyer: Buyer,
        *,
        paid: bool = True,
        price: Callable[[Ware, int], int] | None = None,
    ) -> Placed:
        """A buyer orders (ware, pieces); the price is the ware's unless told otherwise."""
        self.placed += 1
        now = self.now()
        lines = tuple(
            LineFact(
                str(n),
                ware.item_id,
                "",
                f"item {ware.item_id}",
                pieces,
                price(ware, pieces) if price else ware.price_minor * pieces,
            )
            for n, (ware, pieces) in enumerate(wanted, 1)
        )
        fact = OrderFact(
            number=f"{channel[0].upper()}{self.placed:05d}",
            revision_ms=now,
            status=OrderStatus.PAID if paid else OrderStatus.UNPAID,
            refund=RefundState.NONE,
            currency=CURRENCY,
            total_minor=sum(line.amount_minor for line in lines),
            lines=lines,
            created_ms=now,
            paid_ms=now if paid else None,
            buyer=buyer,
        )
        placed = Placed(channel, fact, tuple(ware for ware, _ in wanted), visible_ms=now)
        self.orders[placed.name] = placed
        self.by_channel[channel].append(placed)
        return placed

    def change(self, placed: Placed, *, late_ms: int = 0, **changes: object) -> None:
        """A new revision of an order; it shows in lists `late_ms` later."""
        now = self.now()
        placed.old.append(placed.fact)
        placed.fact = replace(
            placed.fact,
            revision_ms=max(now, placed.fact.revision_ms + 1),
            **changes,  # type: ignore[arg-type]
        )
        placed.visible_ms = now + late_ms

    def pay(self, placed: Placed) -> None:
        """The buyer pays an order that was placed before."""
        self.change(placed, status=OrderStatus.PAID, paid_ms=self.now())

    def ask_back(self, placed: Placed, amount_minor: int, state: str, *, late_ms: int = 0) -> None:
        """A refund of an amount: `open` (asked for) or `done` (the money went back)."""
        number = f"R{len(placed.fact.refunds) + 1}"
        one = RefundFact(number, amount_minor, state, self.now())
        self.set_refunds(placed, (*placed.fact.refunds, one), late_ms=late_ms)

    def answer_refund(self, placed: Placed, number: str, *, agree: bool) -> None:
        """The shop answers a refund that was asked for; agreeing sends the money back."""
        state = "done" if agree else "ended"
        self.set_refunds(
            placed,
            tuple(
                replace(one, state=state) if one.number == number and one.state == "open" else one
                for one in placed.fact.refunds
            ),
        )

    def set_refunds(
        self, placed: Placed, refunds: tuple[RefundFact, ...], *, late_ms: int = 0
    ) -> None:
        """Let the channel say what came of an order's refunds."""
        back = sum(one.amount_minor for one in refunds if one.state == "done")
        state = RefundState.NONE
        if any(one.state == "open" for one in refunds):
            state = RefundState.OPEN
        elif back:
            full = back >= placed.fact.total_minor
            state = RefundState.FULL if full else RefundState.PARTIAL
        self.change(placed, late_ms=late_ms, refunds=refunds, refund=state)

    def later(self, at_ms: int, deed: Callable[[], None]) -> None:
        """Let something happen outside when time has come to `at_ms`."""
        heapq.heappush(self._late, (at_ms, self.tick(), deed))

    def catch_up(self) -> None:
        """Let happen what was to happen until now."""
        while self._late and self._late[0][0] <= self.now():
            heapq.heappop(self._late)[2]()

    # ------------------------------------------------------------------ keys

    def make_keys(self, sku: str, n: int, form: str = "K") -> list[str]:
        """Return n keys that nobody has yet, as a supplier would write them."""
        first = self.made.get(sku, 0)
        self.made[sku] = first + n
        return [f"{form}-{sku}-{i:06d}" for i in range(first + 1, first + n + 1)]

    def expose(self, key: str, name: Name) -> bool:
        """A key may reach a buyer from now on; False when it has too many holders then."""
        found = self.holders.setdefault(key, [])
        if name not in found:
            found.append(name)
        living = [one for one in found if (key, one) not in self.proved]
        return key.startswith("T-") or len(living) <= self.uses.get(key, 1)

    # ------------------------------------------------------------------ what is asked

    def visible(self, placed: Placed) -> OrderFact:
        """Return the revision that the channel's lists show now."""
        if placed.visible_ms > self.now() and placed.old:
            return placed.old[-1]
        return placed.fact
