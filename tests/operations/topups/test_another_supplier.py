"""A top-up whose product gets another supplier while its purchase waits, or since a backup."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from adapters.demo_shop import DemoShop, Good
from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.operations import products
from kmtool.operations.deliver import deliver
from kmtool.operations.order_changes import redeliver
from kmtool.operations.products import Fields, Mapping
from kmtool.shop import Shop
from tests.operations.delivery_kit import broken, effects, line, pull
from tests.operations.import_kit import balances
from tests.operations.topups.kit import PHONE, TOML, bought, settled, wish

TWO = """
[suppliers.second]
adapter = "demo"
spend_per_day = "500.00"
spend_per_order = "100.00"
credentials = {{ token = "demo-token", secret = "demo-secret" }}
options = {{ url = "{url}", read_seconds = 0.3 }}
"""


@pytest.fixture
def second(clock: ManualClock) -> Iterator[DemoShop]:
    """Another supplier of the same credit."""
    with DemoShop(clock) as found:
        found.supply.add_good(Good("TEL-10", "话费 10 元", 980, takes=r"1[0-9]{10}"))
        yield found
    assert found.troubles == []


@pytest.fixture
def shop(make_config: Any, clock: ManualClock, lab: DemoShop, second: DemoShop) -> Iterator[Shop]:
    text = TOML.format(url=lab.url, day="500.00", one="100.00") + TWO.format(url=second.url)
    config = make_config(text)
    create_shop(config, clock)
    with open_shop(config, clock=clock) as opened:
        fields = Fields(
            title="话费 10 元", kind="topup", account_rule="phone-cn", supplier="toplab",
            supplier_item="TEL-10", cap_minor=980,
        )  # fmt: skip
        products.add(opened, "TEL", fields)
        products.map_listing(opened, Mapping("shop1", "t1", "", "TEL"))
        yield opened


@pytest.mark.parametrize("then", ["sold out", "restocked", "reply lost", "slow"])
@pytest.mark.parametrize("before", ["refused", "away"])
def test_a_purchase_that_waited_goes_to_the_supplier_it_is_recorded_at(
    shop: Shop, lab: DemoShop, second: DemoShop, before: str, then: str
) -> None:
    """The old supplier was asked, and charged, for what was recorded at the new one."""
    pull(shop, wish())
    if before == "refused":
        lab.supply.goods["TEL-10"].left = 0
        deliver(shop)
        assert line(shop)["state"] == "human"
    else:
        with lab.offline():
            deliver(shop)
        assert line(shop)["state"] == "reserved"
    products.change(shop, "TEL", Fields(supplier="second"))
    lab.supply.goods["TEL-10"].left = 0 if then == "sold out" else 5
    if then == "reply lost":
        second.fail("place", "lost_reply")
    if then == "slow":
        lab.supply.delay_ms = second.supply.delay_ms = 20_000
    if before == "refused":
        redeliver(shop, "A1")
    settled(shop, 30)
    assert (lab.supply.charged(PHONE), second.supply.charged(PHONE)) == (0, 1)
    assert line(shop)["state"] == "delivered" and broken(shop) == []
    ended = "rejected" if before == "refused" else "cancelled"
    assert [(row["supplier"], row["state"]) for row in bought(shop)] == [
        ("toplab", ended),
        ("second", "done"),
    ]
    assert balances(shop)["asset:supplier:second"] == -980
    assert "asset:supplier:toplab" not in balances(shop)


def test_the_new_supplier_is_asked_in_the_same_run(
    shop: Shop, lab: DemoShop, second: DemoShop
) -> None:
    """No buyer waits for the next run because a purchase changed its supplier."""
    pull(shop, wish())
    lab.supply.goods["TEL-10"].left = 0
    deliver(shop)
    products.change(shop, "TEL", Fields(supplier="second"))
    redeliver(shop, "A1")
    assert deliver(shop).delivered == 1 and second.supply.charged(PHONE) == 1
    assert [row["route"] for row in effects(shop, "purchase")] == ["supplier:second"]
    tries = shop.db.all("SELECT a.route FROM attempts a JOIN effects e ON e.id = a.effect_id"
                        " WHERE e.kind = 'purchase' ORDER BY a.n")  # fmt: skip
    assert [row["route"] for row in tries] == ["supplier:toplab", "supplier:second"]


def test_the_number_of_a_good_at_one_supplier_is_another_good_at_the_other(
    shop: Shop, lab: DemoShop, second: DemoShop
) -> None:
    """The new supplier's number of the credit was ordered from the old one: it sold a game."""
    second.supply.add_good(Good("100", "话费 10 元", 980, takes=r"1[0-9]{10}"))
    lab.supply.add_good(Good("100", "a game", 500, takes=r"1[0-9]{10}"))
    pull(shop, wish())
    with lab.offline():
        deliver(shop)
    products.change(shop, "TEL", Fields(supplier="second", supplier_item="100"))
    settled(shop, 20)
    assert lab.supply.orders == {} and len(second.supply.orders) == 1


def test_what_may_have_been_made_is_asked_about_where_it_was_tried(
    shop: Shop, lab: DemoShop, second: DemoShop
) -> None:
    """A change of the supplier must not let an unclear purchase be made at the new one."""
    lab.fail("place", "lost_reply")
    pull(shop, wish())
    deliver(shop)
    assert line(shop)["state"] == "unknown"
    products.change(shop, "TEL", Fields(supplier="second"))
    settled(shop, 30)
    assert (lab.supply.charged(PHONE), second.supply.orders) == (1, {})
    assert line(shop)["state"] == "delivered" and balances(shop)["asset:supplier:toplab"] == -980
