"""A channel and a courier under the test's control, built through the registry by dotted name.

`Outside` is the world beyond the border: what buyers hold is recorded there, not in our database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kmtool.clock import Clock
from kmtool.domain.states import OrderStatus, RefundState
from kmtool.errors import NeedsOperator, Rejected, Retriable, Unknown
from kmtool.ports import (
    AdapterSettings,
    AuthReport,
    Buyer,
    Features,
    Item,
    LineFact,
    Message,
    OrderFact,
    OrderRef,
    Page,
    Receipt,
    Repeat,
    StockPush,
    Verdict,
    Window,
)

FEATURES = Features(
    title="fake",
    kind="test",
    pull=True,
    mark_shipped=True,
    shipped_repeat=Repeat.QUERYABLE,
    notes=True,
    push_stock=True,
    shelf=True,
    refund_reply=True,
    reread=True,
    repeat=Repeat.QUERYABLE,
    repeat_max=3,
)


@dataclass
class Outside:
    """The truth at the channel and the buyers. `faults` are used up one per send."""

    orders: dict[str, OrderFact] = field(default_factory=dict)
    received: dict[str, list[str]] = field(default_factory=dict)
    shipped: set[str] = field(default_factory=set)
    stock: dict[tuple[str, str], int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    probe: Verdict | None = None
    away: bool = False
    refuse_address: str = ""
    reads: int = 0
    broken: str = ""
    """What building its adapter trips over."""
    pages_fail: int = 0
    """How many pages from now on the pull breaks (0: never)."""
    windows: list[Window] = field(default_factory=list)
    hidden: set[tuple[str, str]] = field(default_factory=set)
    """What is off the shelf."""
    shelf_faults: list[str] = field(default_factory=list)
    items: list[Item] | None = None
    """What is listed, when it is not one item i1."""
    replies: list[tuple[str, str, bool, str]] = field(default_factory=list)
    """Answers to refunds that arrived: order, refund, agreed, text."""
    reply_faults: list[str] = field(default_factory=list)
    rejects: tuple[str, ...] = ()
    during_send: Callable[[Message], None] | None = None

    def fault(self) -> str:
        return self.faults.pop(0) if self.faults else ""


WORLDS: dict[str, Outside] = {}


def world(name: str = "shop1") -> Outside:
    """Return (and make) the world behind a channel name."""
    return WORLDS.setdefault(name, Outside())


def order(
    number: str = "A1",
    *,
    item: str = "i1",
    quantity: int = 1,
    amount: int = 1000,
    status: OrderStatus = OrderStatus.PAID,
    refund: RefundState = RefundState.NONE,
    at_ms: int = 1_795_305_600_000,
    revision_ms: int | None = None,
    lines: tuple[LineFact, ...] | None = None,
    **more: object,
) -> OrderFact:
    """Return an order fact with sensible defaults."""
    if lines is None:
        lines = (LineFact("1", item, "", f"item {item}", quantity, amount),)
    return OrderFact(
        number=number,
        revision_ms=at_ms if revision_ms is None else revision_ms,
        status=status,
        refund=refund,
        currency="CNY",
        total_minor=sum(line.amount_minor for line in lines),
        lines=lines,
        created_ms=at_ms,
        paid_ms=at_ms if status is not OrderStatus.UNPAID else None,
        buyer=Buyer(ref="b-1", name="demo_buyer", email="buyer@example.test"),
        **more,  # type: ignore[arg-type]
    )


class Fake:
    """Both ports in one: a channel, and a courier that hands to the same world."""

    features = FEATURES

    def __init__(self, name: str, clock: Clock | None = None) -> None:
        self.name = name
        self.clock = clock
        self.world = world(name)
        if self.world.broken:
            raise RuntimeError(self.world.broken)

    def auth_check(self) -> AuthReport:
        return AuthReport(ok=True, detail="fake", skew_ms=0)

    def list_changed(self, window: Window) -> Iterator[Page]:
        found = tuple(
            o for o in self.world.orders.values() if window.from_ms <= o.revision_ms < window.to_ms
        )
        self.world.windows.append(window)
        half = len(found) // 2
        pages = [found[half:], found[:half]] if half else [found]
        for n, page in enumerate(pages, 1):
            if self.world.pages_fail:
                self.world.pages_fail -= 1
                if not self.world.pages_fail:
                    raise Retriable(who="fake", detail="page lost")
            yield Page(page, last=n == len(pages), rejects=self.world.rejects)

    def acknowledge(self, page: Page) -> None:
        return None

    def get_order(self, number: str) -> OrderFact | None:
        self.world.reads += 1
        return self.world.orders.get(number)

    def mark_shipped(self, order: OrderRef) -> Receipt:
        match self.world.fault():
            case "ship_rejected":
                raise Rejected(who="fake", detail="no")
            case "ship_lost":
                self.world.shipped.add(order.number)
                raise Unknown(who="fake", detail="lost reply")
        self.world.shipped.add(order.number)
        return Receipt("shipped")

    def query_shipped(self, order: OrderRef) -> Verdict:
        return Verdict.DONE if order.number in self.world.shipped else Verdict.NOT_DONE

    def reply_refund(
        self, order: OrderRef, refund_number: str, *, agree: bool, text: str
    ) -> Receipt:
        fault = self.world.reply_faults.pop(0) if self.world.reply_faults else ""
        match fault:
            case "rejected":
                raise Rejected(who="fake", detail="the refund is not open")
            case "down":
                raise Retriable(who="fake", detail="connection refused", after_s=5)
            case "unknown":
                raise Unknown(who="fake", detail="time-out, nothing arrived")
        self.world.replies.append((order.number, refund_number, agree, text))
        self._answer(order.number, refund_number, agree)
        if fault == "lost":
            raise Unknown(who="fake", detail="reply lost")
        return Receipt("refund", "agreed" if agree else "refused")

    def _answer(self, number: str, refund_number: str, agree: bool) -> None:
        """The money goes back at once, or the request is over."""
        fact = self.world.orders[number]
        state = "done" if agree else "ended"
        refunds = tuple(
            replace(r, state=state) if r.number == refund_number else r for r in fact.refunds
        )
        back = sum(r.amount_minor for r in refunds if r.state == "done")
        refund = RefundState.NONE
        if any(r.state == "open" for r in refunds):
            refund = RefundState.OPEN
        elif back:
            refund = RefundState.FULL if back >= fact.total_minor else RefundState.PARTIAL
        self.world.orders[number] = replace(
            fact, refunds=refunds, refund=refund, revision_ms=self._now_after(fact.revision_ms)
        )

    def _now_after(self, revision_ms: int) -> int:
        return max(revision_ms + 1, self.clock.now_ms() if self.clock else 0)

    def post_note(self, message: Message) -> Receipt:
        return self.send(message)

    def find_note(self, message: Message) -> Verdict:
        return self.query(message)

    def ship_file(self, numbers: Sequence[str]) -> Path:
        raise NotImplementedError

    def list_items(self) -> Iterable[Item]:
        one = Item("i1", "", "item i1", sku_hint="S1", price_minor=1000, quantity=0)
        listed = [one] if self.world.items is None else self.world.items
        hidden = self.world.hidden
        return [replace(i, on_shelf=(i.item_id, i.variant_id) not in hidden) for i in listed]

    def push_stock(self, items: Sequence[StockPush]) -> None:
        for item in items:
            self.world.stock[item.item_id, item.variant_id] = item.quantity

    def set_shelf(self, item_id: str, variant_id: str, *, on: bool) -> None:
        fault = self.world.shelf_faults.pop(0) if self.world.shelf_faults else ""
        if fault == "rejected":
            raise Rejected(who="fake", detail="not allowed")
        if fault == "bug":
            raise KeyError("a bug in the adapter")
        if fault != "unknown":
            change = self.world.hidden.discard if on else self.world.hidden.add
            change((item_id, variant_id))
        if fault:
            raise Unknown(who="fake", detail="lost reply")

    def refusal(self, message: Message) -> str:
        return self.world.refuse_address

    def send(self, message: Message) -> Receipt:
        if self.world.during_send is not None:
            self.world.during_send(message)
        match self.world.fault():
            case "down":
                raise Retriable(who="fake", detail="connection refused", after_s=5)
            case "rejected":
                raise Rejected(who="fake", detail="business refusal")
            case "bug":
                raise KeyError("a bug in the adapter")
            case "login":
                raise NeedsOperator(who="fake", detail="token expired")
            case "lost":
                self._hand(message)
                raise Unknown(who="fake", detail="reply lost")
            case "unknown":
                raise Unknown(who="fake", detail="time-out, nothing arrived")
            case "crash":
                self._hand(message)
                raise KeyboardInterrupt
            case "crash_before":
                raise KeyboardInterrupt
        self._hand(message)
        return Receipt("note-1", "ok")

    def query(self, message: Message) -> Verdict:
        if self.world.away:
            raise Retriable(who="fake", detail="connection refused", after_s=5)
        if self.world.probe is not None:
            return self.world.probe
        received = self.world.received.get(message.order_number, [])
        sent = any(message.marker in text for text in received)
        return Verdict.DONE if sent else Verdict.NOT_DONE

    def _hand(self, message: Message) -> None:
        self.world.received.setdefault(message.order_number, []).append(message.text.text())


def build(settings: AdapterSettings) -> Fake:
    """Build the fake; a courier speaks into the world of its channel."""
    of = settings.channel
    return Fake(of.name if isinstance(of, Fake) else settings.name, settings.clock)
