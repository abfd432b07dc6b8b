"""A simulated channel: lists the orders of the world, takes marks, figures and answers to refunds.

Its lists are sorted by revision, come in small pages, show a change a while after it was made, and
sometimes an old state (`stale`). Built by name through the registry, as every adapter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kmtool.domain.states import OrderStatus
from kmtool.errors import Rejected
from kmtool.ports import (
    AdapterSettings,
    AuthReport,
    Features,
    Item,
    Message,
    OrderFact,
    OrderRef,
    Page,
    Receipt,
    StockPush,
    Verdict,
    Window,
)
from kmtool.sim import border
from kmtool.sim.machine import Process
from kmtool.sim.stage import Stage, current
from kmtool.sim.verdict import SHIPPED_WHOLE, lacks
from kmtool.sim.world import Placed

FEATURES = Features(title="simulated", kind="test", pull=True)
PAGE = 3


class Channel:
    """The channel port over one site of the world."""

    def __init__(self, stage: Stage, process: Process, name: str) -> None:
        self.stage = stage
        self.process = process
        self.name = name
        self.site = stage.world.sites[name]

    @property
    def features(self) -> Features:
        """Return what this channel can do."""
        return self.site.channel

    def auth_check(self) -> AuthReport:
        """Let everybody in."""
        return AuthReport(ok=True, detail="simulated", skew_ms=0)

    def list_changed(self, window: Window) -> Iterator[Page]:
        """Yield the orders changed in the window, oldest change first.

        The window is told by the shop's clock; as every adapter it reckons with the difference.
        """
        world, clock = self.stage.world, self.stage.clock
        skew_ms = clock.true_ms() - clock.now_ms()
        start, end = window.from_ms + min(skew_ms, 0), window.to_ms + skew_ms
        found = []
        for placed in world.by_channel[self.name]:
            if placed.fact.revision_ms < start - 1:
                continue
            fact = world.visible(placed)
            if start <= fact.revision_ms < end:
                found.append((fact.revision_ms, fact.number, placed, fact))
        found.sort(key=lambda one: one[:2])
        for start in range(0, max(1, len(found)), PAGE):
            part = found[start : start + PAGE]
            last = start + PAGE >= len(found)
            yield self._page(part, last=last)

    def _page(self, part: list[tuple[int, str, Placed, OrderFact]], *, last: bool) -> Page:
        late: list[OrderFact] = []

        def ask(stale: bool) -> list[OrderFact]:
            facts = [fact for _, _, _, fact in part]
            if stale:  # out of order, and what was told before is told once more afterwards
                facts.reverse()
                late.extend(
                    one.old[-1]
                    for _, _, one, fact in part
                    if one.old and one.old[-1].revision_ms < fact.revision_ms
                )
            return facts

        facts = border.read(self.stage, self.process, f"{self.name} list {len(part)}", ask)
        for (_, _, placed, _), fact in zip(
            sorted(part, key=lambda one: one[1]), sorted(facts, key=lambda f: f.number), strict=True
        ):
            self.stage.told(self.process, placed, fact)
        return Page((*facts, *late), last=last)

    def acknowledge(self, page: Page) -> None:
        """Nothing to move away."""

    def get_order(self, number: str) -> OrderFact | None:
        """Read one order again."""
        placed = self.stage.world.orders.get((self.name, number))
        if placed is None:
            return None

        def ask(_stale: bool) -> OrderFact:
            return placed.fact

        fact = border.read(self.stage, self.process, f"{self.name} order {number}", ask)
        self.stage.told(self.process, placed, fact)
        return fact

    def mark_shipped(self, order: OrderRef) -> Receipt:
        """Set the order to shipped; its letters must be there."""
        placed = self._placed(order)

        def deed() -> Receipt:
            left = lacks(placed)
            if left and placed.is_due and not placed.doubtful:
                self.stage.fail(SHIPPED_WHOLE, f"{placed.name} lacks {left}")
            placed.shipped += 1
            if placed.fact.status is OrderStatus.PAID:
                self.stage.world.change(placed, status=OrderStatus.SHIPPED)
            return Receipt("shipped")

        return border.write(self.stage, self.process, f"{self.name} ship {order.number}", deed)

    def query_shipped(self, order: OrderRef) -> Verdict:
        """Tell whether the order is shipped."""
        placed = self._placed(order)
        return border.read(
            self.stage,
            self.process,
            f"{self.name} shipped? {order.number}",
            lambda _stale: Verdict.DONE if placed.shipped else Verdict.NOT_DONE,
        )

    def reply_refund(
        self, order: OrderRef, refund_number: str, *, agree: bool, text: str
    ) -> Receipt:
        """Agree to an open refund, or refuse it."""
        placed = self._placed(order)

        def deed() -> Receipt:
            self.stage.world.answer_refund(placed, refund_number, agree=agree)
            return Receipt("refund")

        label = f"{self.name} refund {order.number} {'agree' if agree else 'refuse'}"
        return border.write(self.stage, self.process, label, deed)

    def post_note(self, message: Message) -> Receipt:
        """Notes go by the couriers of the simulated shop."""
        raise NotImplementedError

    def find_note(self, message: Message) -> Verdict:
        """Notes go by the couriers of the simulated shop."""
        raise NotImplementedError

    def ship_file(self, numbers: Sequence[str]) -> Path:
        """Nobody uploads files here."""
        raise NotImplementedError

    def list_items(self) -> Iterable[Item]:
        """Yield what is listed."""
        hidden = self.stage.world.hidden
        return border.read(
            self.stage,
            self.process,
            f"{self.name} items",
            lambda _stale: [
                Item(
                    ware.item_id,
                    "",
                    ware.item_id,
                    ware.sku,
                    ware.price_minor,
                    on_shelf=(self.name, ware.item_id) not in hidden,
                )
                for ware in self.site.wares
            ],
        )

    def push_stock(self, items: Sequence[StockPush]) -> None:
        """Take absolute figures."""

        def deed() -> None:
            for item in items:
                self.stage.world.listed_stock[self.name, item.item_id] = item.quantity

        border.write(self.stage, self.process, f"{self.name} stock {len(items)}", deed)

    def set_shelf(self, item_id: str, variant_id: str, *, on: bool) -> None:
        """Put a listing on or off the shelf."""
        hidden, place = self.stage.world.hidden, (self.name, item_id)

        def deed() -> None:
            (hidden.discard if on else hidden.add)(place)

        label = f"{self.name} shelf {item_id} {'on' if on else 'off'}"
        border.write(self.stage, self.process, label, deed)

    def _placed(self, order: OrderRef) -> Placed:
        placed = self.stage.world.orders.get((self.name, order.number))
        if placed is None:
            raise Rejected(who=self.name, detail="no such order")
        return placed


def build(settings: AdapterSettings) -> Channel:
    """Build the channel for the process that runs now."""
    stage = current[-1]
    return Channel(stage, stage.process, settings.name)
