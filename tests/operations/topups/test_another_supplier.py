"""A top-up whose product gets another supplier while its purchase waits, or since a backup."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from adapters.demo_shop import DemoShop, Good
from adapters.suppliers import demo
from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.domain.states import RefundState
from kmtool.errors import NotFound, Refused
from kmtool.operations import products, purchase_records, restore
from kmtool.operations.deliver import deliver
from kmtool.operations.order_changes import redeliver
from kmtool.operations.products import Fields, Mapping
from kmtool.operations.reserve import reserve_due
from kmtool.operations.status import status
from kmtool.shop import Shop
from tests.operations.delivery_kit import broken, effects, line, pull, tick
from tests.operations.import_kit import balances
from tests.operations.test_restore import back, saved
from tests.operations.test_restore import dump_tools as dump_tools
from tests.operations.topups.kit import PHONE, TOML, bought, refunded, settled, wish
from tests.operations.topups.test_lost_journal import lost
from tests.operations.topups.test_set_back import SORTS, Opener
from tests.operations.topups.test_set_back import opener as opener

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


@pytest.fixture(autouse=True)
def cannot_be_asked(request: Any, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both suppliers as one of the sorts, where a test names one."""
    if "sort" in request.fixturenames:
        rule, query_by = SORTS[request.getfixturevalue("sort")]
        features = replace(demo.FEATURES, query_by=query_by, idempotency=rule)
        monkeypatch.setattr(type(shop.adapters.supplier("toplab")), "features", features)


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


def test_after_a_restore_the_supplier_is_asked_that_was_asked_before(
    shop: Shop, lab: DemoShop, second: DemoShop, opener: Opener
) -> None:
    """The backup knew another supplier: that one was asked, knew nothing, and was charged too."""
    file = saved(shop)
    products.change(shop, "TEL", Fields(supplier="second"))
    pull(shop, wish())
    settled(shop, 2)
    assert line(shop)["state"] == "delivered" and second.supply.charged(PHONE) == 1
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, wish())
        settled(again, 14)
        assert (lab.supply.charged(PHONE), second.supply.charged(PHONE)) == (0, 1)
        assert line(again)["state"] == "delivered" and broken(again) == []
        assert balances(again)["asset:supplier:second"] == -980
        assert [row["route"] for row in effects(again, "purchase")] == ["supplier:second"]


@pytest.mark.parametrize("far", ["planned", "refused"])
def test_what_the_backup_had_planned_elsewhere_is_asked_about_where_it_was_tried(
    shop: Shop, lab: DemoShop, second: DemoShop, opener: Opener, far: str
) -> None:
    """Only the journal knows that the number, or the next one, was tried at the other supplier."""
    pull(shop, wish())
    if far == "planned":
        reserve_due(shop)
    else:
        lab.supply.goods["TEL-10"].left = 0
        deliver(shop)
        lab.supply.goods["TEL-10"].left = 5
    file = saved(shop)
    products.change(shop, "TEL", Fields(supplier="second"))
    if far == "refused":
        redeliver(shop, "A1")
    settled(shop, 2)
    assert second.supply.charged(PHONE) == 1
    back(shop, file, opener)
    with opener(shop.config) as again:
        settled(again, 14)
        assert (lab.supply.charged(PHONE), second.supply.charged(PHONE)) == (0, 1)
        assert line(again)["state"] == "delivered" and broken(again) == []


def test_what_was_not_there_is_bought_at_the_supplier_of_today(
    shop: Shop, lab: DemoShop, second: DemoShop, opener: Opener
) -> None:
    """The supplier of before is asked until it is certain, then no more is asked of it."""
    file = saved(shop)
    products.change(shop, "TEL", Fields(supplier="second"))
    second.fail("place", "closed_before")
    pull(shop, wish())
    deliver(shop)
    assert second.supply.orders == {}
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, wish())
        settled(again, 14)
        assert (lab.supply.charged(PHONE), second.supply.charged(PHONE)) == (1, 0)
        assert [(row["supplier"], row["state"]) for row in bought(again)] == [
            ("second", "cancelled"),
            ("toplab", "done"),
        ]


@pytest.mark.parametrize("sort", ["replays", "neither", "refuses"])
def test_an_item_that_nobody_knows_is_never_ordered(
    shop: Shop, lab: DemoShop, second: DemoShop, opener: Opener, sort: str
) -> None:
    """Placed again under its number, the other supplier's number of the good buys another good."""
    second.supply.add_good(Good("100", "话费 10 元", 980, takes=r"1[0-9]{10}"))
    file = saved(shop)
    products.change(shop, "TEL", Fields(supplier="second", supplier_item="100"))
    second.fail("place", "closed_before")
    pull(shop, wish())
    deliver(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, wish())
        settled(again, 4)
        assert line(again)["state"] == "human" and "may have been charged" in line(again)["reason"]
        for name in ("", "1"):
            with pytest.raises(Refused, match="what was ordered is not known") as refused:
                redeliver(again, "A1", name)
            assert "order charged A1 --amount AMOUNT" in refused.value.next_step()
        assert second.supply.orders == {} and lab.supply.orders == {}
        purchase_records.settle_charged(again, "A1", "looked: nothing there", 0)
        redeliver(again, "A1")
        settled(again, 4)
        assert (lab.supply.charged(PHONE), second.supply.charged(PHONE)) == (1, 0)
        assert line(again)["state"] == "delivered" and broken(again) == []


@pytest.mark.parametrize("sort", ["neither", "replays"])
def test_where_the_journal_was_lost_a_person_looks_once_at_all_suppliers(
    shop: Shop, lab: DemoShop, second: DemoShop, opener: Opener, sort: str
) -> None:
    """Seed 600765: who had looked at all of them was asked once more when the supplier changed."""
    file = saved(shop)
    pull(shop, wish())
    lost(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, wish())
        settled(again, 14)
        assert line(again)["state"] == "human" and "look at all of them" in line(again)["reason"]
        products.change(again, "TEL", Fields(supplier="second"))
        assert lab.supply.orders == {} and second.supply.orders == {}
        purchase_records.settle_charged(again, "A1", "looked at both", 0)
        redeliver(again, "A1")
        settled(again, 4)
        assert (lab.supply.charged(PHONE), second.supply.charged(PHONE)) == (0, 1)
        assert line(again)["state"] == "delivered" and broken(again) == []


@pytest.mark.parametrize("was", ["charged", "not"])
def test_where_the_journal_was_lost_what_one_does_not_know_may_be_the_others(
    shop: Shop, lab: DemoShop, second: DemoShop, opener: Opener, was: str
) -> None:
    """Seed 5677: the supplier of the backup knew nothing of it, and was charged too."""
    file = saved(shop)
    if was == "charged":
        products.change(shop, "TEL", Fields(supplier="second"))
        pull(shop, wish())
        settled(shop, 2)
        assert second.supply.charged(PHONE) == 1
    else:
        pull(shop, wish())
    lost(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, wish())
        settled(again, 14)
        assert line(again)["state"] == "human" and "another supplier" in line(again)["reason"]
        with pytest.raises(Refused, match="look there first"):
            redeliver(again, "A1")
        amount = 980 if was == "charged" else 0
        purchase_records.settle_charged(again, "A1", "looked at both", amount)
        if was == "not":
            redeliver(again, "A1")
        settled(again, 4)
        assert lab.supply.charged(PHONE) + second.supply.charged(PHONE) == 1
        assert line(again)["state"] == "delivered" and broken(again) == []


def bought_elsewhere(shop: Shop, second: DemoShop) -> None:
    """Charged by the second supplier, of which the backup knows nothing."""
    products.change(shop, "TEL", Fields(supplier="second"))
    pull(shop, wish())
    settled(shop, 2)
    assert second.supply.charged(PHONE) == 1


def test_what_a_person_saw_elsewhere_is_booked_at_who_charged_it(
    shop: Shop, lab: DemoShop, second: DemoShop, opener: Opener
) -> None:
    """The cost was booked at the supplier that was asked, which had charged nothing."""
    file = saved(shop)
    bought_elsewhere(shop, second)
    lost(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, wish())
        settled(again, 14)
        with pytest.raises(NotFound, match="no supplier nobody"):
            purchase_records.settle_charged(again, "A1", "seen there", 980, supplier="nobody")
        assert line(again)["state"] == "human" and "cost:topup" not in balances(again)
        purchase_records.settle_charged(again, "A1", "seen there", 980, supplier="second")
        settled(again, 2)
        assert line(again)["state"] == "delivered" and balances(again)["cost:topup"] == 980
        assert balances(again)["asset:supplier:second"] == -980
        assert "asset:supplier:toplab" not in balances(again) and broken(again) == []


def test_a_change_of_the_supplier_does_not_answer_who_charged_it(
    shop: Shop, lab: DemoShop, second: DemoShop, opener: Opener
) -> None:
    """What one supplier does not know must not be bought again at the one that had charged it."""
    file = saved(shop)
    bought_elsewhere(shop, second)
    lost(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, wish())
        deliver(again)
        assert line(again)["state"] == "unknown"
        products.change(again, "TEL", Fields(supplier="second"))
        settled(again, 14)
        assert (lab.supply.charged(PHONE), second.supply.charged(PHONE)) == (0, 1)
        assert line(again)["state"] == "human" and broken(again) == []


def test_a_refund_after_a_refusal_has_a_person_look_at_the_other_supplier(
    shop: Shop, lab: DemoShop, second: DemoShop, opener: Opener
) -> None:
    """The backup knew of the refusal only: nobody was told of what another one had charged."""
    pull(shop, wish())
    lab.supply.goods["TEL-10"].left = 0
    deliver(shop)
    file = saved(shop)
    products.change(shop, "TEL", Fields(supplier="second"))
    redeliver(shop, "A1")
    settled(shop, 2)
    assert second.supply.charged(PHONE) == 1
    lost(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, refunded(again, RefundState.FULL))
        settled(again, 14)
        assert line(again)["state"] == "refund_case" and broken(again) == []
        command = "kmtool order charged A1 --amount AMOUNT"
        assert any(command in one.command for one in status(again).needs_you)


def test_what_was_charged_by_a_supplier_that_is_gone_comes_to_a_person(
    shop: Shop, lab: DemoShop, second: DemoShop, opener: Opener
) -> None:
    """It was put off without end, as a supplier that is away for a moment."""
    file = saved(shop)
    bought_elsewhere(shop, second)
    left = {name: one for name, one in shop.config.suppliers.items() if name != "second"}
    config = replace(shop.config, suppliers=left)
    restore.restore(config, shop.clock, file, opener)
    with opener(config) as again:
        pull(again, wish())
        settled(again, 14)
        tick(again, 3 * 86_400_000)
        settled(again, 4)
        assert line(again)["state"] == "human" and "suppliers.second" in line(again)["reason"]
        assert (lab.supply.charged(PHONE), second.supply.charged(PHONE)) == (0, 1)
        assert broken(again) == []
