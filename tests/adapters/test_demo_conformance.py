"""The demo channel keeps what every channel must keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from adapters.channels import demo
from adapters.demo_shop import DemoShop, FaultKind, Offer, Sold
from kmtool.clock import ManualClock
from kmtool.domain.secret import Secret
from kmtool.ports import AdapterSettings, Channel
from tests.adapters.channel_world import Fault
from tests.adapters.conformance_channel import *  # noqa: F403

KINDS = {
    Fault.DROPPED: FaultKind.CLOSED_BEFORE,
    Fault.LOST: FaultKind.LOST_REPLY,
    Fault.HALF: FaultKind.HALF_REPLY,
    Fault.ERROR: FaultKind.ERROR_BEFORE,
    Fault.ERROR_AFTER: FaultKind.ERROR_AFTER,
    Fault.NONSENSE: FaultKind.NONSENSE,
    Fault.SLOW: FaultKind.SLOW,
    Fault.BUSY: FaultKind.BUSY,
    Fault.DENIED: FaultKind.DENIED,
}
CALLS = {"ship": "ship", "note": "message", "orders": "orders"}


class DemoWorld:
    """The simulated shop as the conformance suite wants to handle it."""

    page_size = demo.PAGE_SIZE
    missing = "404404"
    resolution_ms = 1
    faults = frozenset(Fault)

    def __init__(self, shop: DemoShop, clock: ManualClock, folder: Path) -> None:
        self.shop, self.clock, self.folder = shop, clock, folder
        self.channel = self._build(shop.secret)

    def _build(self, secret: str) -> Channel:
        return demo.build(
            AdapterSettings(
                name="it",
                options={"url": self.shop.url, "read_seconds": 0.3},
                credentials={"token": Secret(self.shop.token), "secret": Secret(secret)},
                clock=self.clock,
                zone="Asia/Shanghai",
                currency="CNY",
                inbox=self.folder,
                exports=self.folder,
            )
        )

    def add_order(self, *, quantity: int = 1, amount_minor: int = 1000, paid: bool = True) -> str:
        return self.shop.add_order([Sold("8801", quantity, "", amount_minor)], paid=paid)

    def touch(self, number: str) -> None:
        self.shop.change(number, note="changed")

    def cancel(self, number: str) -> None:
        self.shop.change(number, status="CLOSED")

    def refund(self, number: str, amount_minor: int | None = None) -> None:
        self.shop.refund(number, amount_minor, state="REFUNDED")

    def shipped(self, number: str) -> bool:
        return self.shop.shipped(number)

    def received(self, number: str) -> list[str]:
        return self.shop.received(number)

    def stock(self, item_id: str, variant_id: str) -> int:
        return self.shop.stock(item_id, variant_id)

    def fail(self, call: str, fault: Fault) -> None:
        self.shop.fail(CALLS[call], KINDS[fault], seconds=0.5 if fault is Fault.SLOW else 1)

    def before_call(self, hook: Callable[[str], None] | None) -> None:
        self.shop.before = hook

    def offline(self) -> AbstractContextManager[None]:
        return self.shop.offline()

    def stranger(self) -> Channel:
        return self._build("not the secret")


@pytest.fixture
def world(clock: ManualClock, tmp_path: Path) -> Iterator[DemoWorld]:
    shop = DemoShop(clock)
    shop.add_item(Offer("8801", "", "星海通行证", 2800, 9, "STAR-30"))
    shop.add_item(Offer("8802", "90", "枫叶云盘", 1250, 5))
    with shop:
        yield DemoWorld(shop, clock, tmp_path)
    assert shop.troubles == []
