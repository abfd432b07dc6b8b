"""The demo supplier keeps what every supplier must keep, and its own rules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from adapters.demo_shop import DemoShop, Good
from adapters.suppliers import demo
from kmtool.clock import ManualClock
from kmtool.domain.secret import Secret
from kmtool.errors import ConfigError, Unknown
from kmtool.ports import AdapterSettings, Supplier
from tests.adapters.channel_world import Fault
from tests.adapters.conformance_supplier import *  # noqa: F403
from tests.adapters.supplier_world import wish
from tests.adapters.test_demo_conformance import KINDS

CALLS = {"place": "place", "query": "purchase"}


class DemoSupplierWorld:
    """The simulated supplier as the conformance suite wants to handle it."""

    product = "QB-10"
    price_minor = 980
    account = "10010012"
    bad_account = "no account!"
    sold_out = "GONE"
    faults = frozenset(Fault)

    def __init__(self, shop: DemoShop, clock: ManualClock, folder: Path) -> None:
        self.shop, self.clock, self.folder = shop, clock, folder
        self.supplier = self.build(shop.secret)

    def build(self, secret: str, **options: object) -> Supplier:
        return demo.build(
            AdapterSettings(
                name="toplab",
                options={"url": self.shop.url, "read_seconds": 0.3, **options},
                credentials={"token": Secret(self.shop.token), "secret": Secret(secret)},
                clock=self.clock,
                zone="Asia/Shanghai",
                currency="CNY",
                inbox=self.folder,
                exports=self.folder,
            )
        )

    def bought(self, our_no: str) -> int:
        return int(our_no in self.shop.supply.orders)

    def set_delay(self, ms: int) -> None:
        self.shop.supply.delay_ms = ms

    def set_surcharge(self, minor: int) -> None:
        self.shop.supply.surcharge_minor = minor

    def fail_next(self) -> None:
        self.shop.supply.fail_next = 1

    def set_balance(self, minor: int) -> None:
        self.shop.supply.balance_minor = minor

    def fail(self, call: str, fault: Fault) -> None:
        self.shop.fail(CALLS[call], KINDS[fault], seconds=0.5 if fault is Fault.SLOW else 1)

    def offline(self) -> AbstractContextManager[None]:
        return self.shop.offline()

    def stranger(self) -> Supplier:
        return self.build("not the secret")


@pytest.fixture
def world(clock: ManualClock, tmp_path: Path) -> Iterator[DemoSupplierWorld]:
    shop = DemoShop(clock)
    shop.supply.add_good(Good("QB-10", "10 Q 币", 980, takes=r"[0-9]{5,12}"))
    shop.supply.add_good(Good("GONE", "sold out", 980, left=0, takes=r"[0-9]{5,12}"))
    with shop:
        yield DemoSupplierWorld(shop, clock, tmp_path)
    assert shop.troubles == []


def test_a_code_its_documents_do_not_name_is_unclear(world: DemoSupplierWorld) -> None:
    world.shop.fail("place", "undocumented")
    with pytest.raises(Unknown):
        world.supplier.place(wish(world))


def test_a_failed_order_is_paid_back(world: DemoSupplierWorld) -> None:
    before = world.supplier.balance()
    world.fail_next()
    world.supplier.place(wish(world))
    assert world.supplier.balance() == before
    assert world.shop.supply.charged(world.account) == 0


@pytest.mark.parametrize(
    "options", [{"url": "https://supplier.example"}, {"read_seconds": "soon"}, {"url": ""}]
)
def test_a_wrong_setting_is_named(world: DemoSupplierWorld, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"suppliers\.toplab"):
        world.build("x", **options)
