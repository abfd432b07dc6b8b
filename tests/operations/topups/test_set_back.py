"""Top-ups in a shop that was set back: what was charged since the backup is not charged again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.demo_shop import DemoShop
from adapters.suppliers import demo
from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.config import Config
from kmtool.domain.states import OrderStatus
from kmtool.errors import OlderThanJournal, Refused
from kmtool.operations import products, purchase_records, restore
from kmtool.operations.deliver import deliver
from kmtool.operations.order_changes import redeliver
from kmtool.operations.products import Mapping
from kmtool.operations.reserve import reserve_due
from kmtool.operations.status import status
from kmtool.ports import Idempotency
from kmtool.shop import Shop
from kmtool.store import copying, purchases
from tests.operations.delivery_kit import broken, effects, line, outside, pull, tick
from tests.operations.import_kit import balances
from tests.operations.test_restore import back, saved
from tests.operations.test_restore import dump_tools as dump_tools
from tests.operations.topups.kit import PHONE, bought, refunded, settled, told, wish

Opener = Callable[[Config], AbstractContextManager[Shop]]
SORTS = {
    "asked": (Idempotency.NONE, "ours"),
    "replays": (Idempotency.REPLAY, ""),
    "neither": (Idempotency.NONE, ""),
    "refuses": (Idempotency.REFUSE, ""),
}
FINDS_OUT = ("asked", "replays")
"""Sorts of suppliers at which it can be found out without a person."""


@pytest.fixture
def opener(clock: ManualClock) -> Opener:
    return lambda config: open_shop(config, clock=clock)


@pytest.fixture
def sort(request: Any) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def supplier(request: Any, shop: Shop, lab: DemoShop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supplier of the lab as one of the sorts (by its number it would know us in any case)."""
    if "sort" not in request.fixturenames:
        return
    rule, query_by = SORTS[request.getfixturevalue("sort")]
    kind = type(shop.adapters.supplier("toplab"))
    features = replace(demo.FEATURES, query_by=query_by, idempotency=rule)
    monkeypatch.setattr(kind, "features", features)
    if rule is Idempotency.NONE:  # it buys again whenever it is asked to
        place = lab.supply.place

        def buys_again(given: dict[str, Any]) -> dict[str, Any]:
            known = lab.supply.orders.pop(given["our_no"], None)
            if known is not None:
                lab.supply.orders[f"{known.our_no} (first)"] = known
            return place(given)

        monkeypatch.setattr(lab.supply, "place", buys_again)


def must_be_charged_once(shop: Shop, lab: DemoShop, sort: str, number: str) -> None:
    """After some rounds: known as charged, or a person is asked."""
    settled(shop, 14)
    assert [one.our_no for one in lab.supply.orders.values()] == [number]
    assert lab.supply.charged(PHONE) == 1 and broken(shop) == []
    if sort in FINDS_OUT:
        assert line(shop)["state"] == "delivered" and balances(shop)["cost:topup"] == 980
        assert [row["our_no"] for row in bought(shop) if row["state"] == "done"] == [number]
        return
    assert line(shop)["state"] == "human" and "may have been charged" in line(shop)["reason"]
    assert any("kmtool order charged A1 --amount" in one.command for one in status(shop).needs_you)
    assert purchase_records.settle_charged(shop, "A1", "seen there", 980).purchases == 1
    settled(shop, 2)
    assert line(shop)["state"] == "delivered" and balances(shop)["cost:topup"] == 980
    assert "A1" in outside().shipped and broken(shop) == []


def refused_once(shop: Shop, lab: DemoShop) -> None:
    """The first number is refused, a person lets it be bought: under another one."""
    lab.supply.goods["TEL-10"].left = 0
    deliver(shop)
    lab.supply.goods["TEL-10"].left = 5
    redeliver(shop, "A1")


@pytest.mark.parametrize("sort", SORTS, indirect=True)
def test_an_order_that_came_after_the_backup(
    shop: Shop, lab: DemoShop, opener: Opener, sort: str
) -> None:
    file = saved(shop)
    pull(shop, wish())
    settled(shop, 2)
    (before,) = bought(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        assert bought(again) == []
        pull(again, wish())
        must_be_charged_once(again, lab, sort, before["our_no"])


@pytest.mark.parametrize("sort", SORTS, indirect=True)
@pytest.mark.parametrize("far", ["seen", "planned"])
def test_an_order_that_waited_in_the_backup(
    shop: Shop, lab: DemoShop, opener: Opener, sort: str, far: str
) -> None:
    pull(shop, wish())
    if far == "planned":
        reserve_due(shop)
    file = saved(shop)
    settled(shop, 2)
    (before,) = bought(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        must_be_charged_once(again, lab, sort, before["our_no"])


@pytest.mark.parametrize("sort", SORTS, indirect=True)
@pytest.mark.parametrize("far", ["unknown", "refused"])
def test_a_number_that_came_after_a_refusal(
    shop: Shop, lab: DemoShop, opener: Opener, sort: str, far: str
) -> None:
    file = saved(shop)
    pull(shop, wish())
    if far == "refused":
        lab.supply.goods["TEL-10"].left = 0
        deliver(shop)
        file = saved(shop)
    refused_once(shop, lab)
    settled(shop, 2)
    assert [row["generation"] for row in bought(shop)] == [1, 2]
    before = bought(shop)[1]
    back(shop, file, opener)
    with opener(shop.config) as again:
        if far == "unknown":
            pull(again, wish())
        must_be_charged_once(again, lab, sort, before["our_no"])


@pytest.mark.parametrize("sort", FINDS_OUT, indirect=True)
def test_a_try_since_the_backup_is_asked_about_from_then_on(
    shop: Shop, lab: DemoShop, opener: Opener, sort: str
) -> None:
    """Its first try had certainly failed when the backup was made."""
    with lab.offline():
        pull(shop, wish())
        deliver(shop)
    file = saved(shop)
    settled(shop, 25)
    (before,) = bought(shop)
    assert len(lab.supply.orders) == 1
    back(shop, file, opener)
    with opener(shop.config) as again:
        must_be_charged_once(again, lab, sort, before["our_no"])


@pytest.mark.parametrize("sort", ["asked"], indirect=True)
def test_what_was_not_there_is_bought_after_the_grace_period(
    shop: Shop, lab: DemoShop, opener: Opener, sort: str
) -> None:
    file = saved(shop)
    lab.fail("place", "closed_before")
    pull(shop, wish())
    deliver(shop)
    assert lab.supply.orders == {}
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, wish())
        assert line(again)["state"] == "unknown"
        deliver(again)
        assert lab.supply.orders == {}
        settled(again)
        assert lab.supply.charged(PHONE) == 1 and line(again)["state"] == "delivered"


@pytest.mark.parametrize("sort", SORTS, indirect=True)
def test_an_old_database_file_is_noticed_though_no_key_was_sent(
    shop: Shop, lab: DemoShop, opener: Opener, sort: str, tmp_path: Path
) -> None:
    if shop.db.dialect != "sqlite":
        pytest.skip("there is no file to put back")
    pull(shop, wish())
    copying.copy_sqlite(shop.db, tmp_path / "old.db")
    settled(shop, 2)
    (before,) = bought(shop)
    live = shop.config.database
    assert isinstance(live, Path)
    shop.db.close()
    for end in ("-wal", "-shm"):
        live.with_name(live.name + end).unlink(missing_ok=True)
    shutil.copyfile(tmp_path / "old.db", live)
    with opener(shop.config) as again:
        with pytest.raises(OlderThanJournal):
            deliver(again)
        restore.replay_here(again)
        must_be_charged_once(again, lab, sort, before["our_no"])


@pytest.mark.parametrize("sort", ["asked", "replays"], indirect=True)
def test_what_was_refunded_since_is_a_case_and_its_cost_is_known(
    shop: Shop, lab: DemoShop, opener: Opener, sort: str
) -> None:
    file = saved(shop)
    pull(shop, wish())
    settled(shop, 2)
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, refunded(again))
        settled(again, 4)
        assert line(again)["state"] == "refund_case" and len(lab.supply.orders) == 1
        if sort == "replays":
            command = "kmtool order charged A1 --amount AMOUNT"
            assert any(command in one.command for one in status(again).needs_you)
            purchase_records.settle_charged(again, "A1", "seen there", 980)
        assert balances(again)["cost:topup"] == 980 and told() != ""
        assert line(again)["state"] == "refund_case" and broken(again) == []


@pytest.mark.parametrize("sort", ["neither"], indirect=True)
def test_a_person_says_that_it_was_not_charged(
    shop: Shop, lab: DemoShop, opener: Opener, sort: str
) -> None:
    file = saved(shop)
    lab.fail("place", "closed_before")
    pull(shop, wish())
    deliver(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, wish())
        settled(again, 2)
        assert line(again)["state"] == "human" and lab.supply.orders == {}
        with pytest.raises(Refused, match="say which was made"):
            purchase_records.settle_charged(again, "A1", "looked")
        purchase_records.settle_charged(again, "A1", "not there", 0)
        assert purchases.spent(again.db, "toplab", 0) == 0
        redeliver(again, "A1")
        settled(again, 2)
        assert lab.supply.charged(PHONE) == 1 and line(again)["state"] == "delivered"
        assert broken(again) == []


def test_what_is_known_as_charged_is_replayed_without_a_word(
    shop: Shop, lab: DemoShop, opener: Opener
) -> None:
    pull(shop, wish())
    settled(shop, 2)
    file = saved(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        settled(again, 2)
        assert line(again)["state"] == "delivered" and len(bought(again)) == 1
        assert lab.calls.count("place") == 1 and not purchases.any_bought(again.db)


@pytest.mark.parametrize("far", ["unknown", "unclear", "accepted", "untold"])
def test_a_buyer_who_was_told_is_not_told_again(
    shop: Shop, lab: DemoShop, opener: Opener, far: str
) -> None:
    """Seeds 5000011, 5000139, 5001211: the message went out again, where its route can be asked."""
    file = saved(shop)
    lab.supply.delay_ms = 20_000 if far == "accepted" else 0
    if far == "unclear":
        lab.fail("place", "lost_reply")
    if far == "untold":
        outside().faults += ["down"]
    pull(shop, wish())
    deliver(shop)
    if far != "unknown":
        file = saved(shop)
    settled(shop, 12)
    assert len(outside().received["A1"]) == 1
    back(shop, file, opener)
    with opener(shop.config) as again:
        if far == "unknown":
            pull(again, wish())
        settled(again, 20)
        assert len(outside().received["A1"]) == 1
        assert [one["state"] for one in effects(again, "notify")] == ["done"]
        assert line(again)["state"] == "delivered" and broken(again) == []


def test_a_product_that_is_mapped_late_is_asked_about_too(
    shop: Shop, lab: DemoShop, opener: Opener
) -> None:
    """Seed 5000171: the backup knew no product; the line was closed, its cost never booked."""
    file = saved(shop)
    pull(shop, wish(item="t2"))
    products.map_listing(shop, Mapping("shop1", "t2", "", "TEL"))
    settled(shop, 2)
    (before,) = bought(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, replace(wish(item="t2"), status=OrderStatus.SHIPPED))
        deliver(again)
        assert bought(again) == [] and line(again)["sku"] is None
        products.map_listing(again, Mapping("shop1", "t2", "", "TEL"))
        must_be_charged_once(again, lab, "asked", before["our_no"])


@pytest.mark.parametrize("over", ["refunded", "closed"])
def test_one_that_was_over_before_its_product_was_mapped_is_asked_about_too(
    shop: Shop, lab: DemoShop, opener: Opener, over: str
) -> None:
    """Seed 5000171: the line was cancelled before it had a product; its cost was never booked."""
    file = saved(shop)
    pull(shop, wish(item="t2"))
    products.map_listing(shop, Mapping("shop1", "t2", "", "TEL"))
    settled(shop, 2)
    back(shop, file, opener)
    with opener(shop.config) as again:
        if over == "refunded":
            pull(again, replace(refunded(again), lines=wish(item="t2").lines))
        else:
            pull(again, replace(wish(item="t2"), status=OrderStatus.CLOSED))
        deliver(again)
        assert bought(again) == []
        products.map_listing(again, Mapping("shop1", "t2", "", "TEL"))
        settled(again, 12)
        assert [row["state"] for row in bought(again)] == ["done"]
        assert lab.supply.charged(PHONE) == 1 and broken(again) == []


@pytest.mark.parametrize("sort", ["replays"], indirect=True)
@pytest.mark.parametrize("limits", [("19.60", "100.00")])
def test_the_limit_of_a_day_holds_for_what_is_placed_again(
    shop: Shop, lab: DemoShop, opener: Opener, sort: str
) -> None:
    """Seed 2205: what was certainly not made is unclear after a restore, and was made then."""
    file = saved(shop)
    pull(shop, wish("A1"))
    with lab.offline():
        deliver(shop)
    others = (wish("A2", "13800138002"), wish("A3", "13800138003"))
    pull(shop, *others)
    deliver(shop)
    assert len(lab.supply.orders) == 2
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, wish("A1"), *others)
        settled(again, 14)
        assert len(lab.supply.orders) == 2 and broken(again) == []
        tick(again, 86_400_000)
        settled(again, 4)
        assert len(lab.supply.orders) == 3
        assert {line(again, name)["state"] for name in ("A1", "A2", "A3")} == {"delivered"}


@pytest.mark.parametrize("limits", [("19.60", "100.00")])
def test_the_limit_of_a_day_counts_what_is_not_here_yet(
    shop: Shop, lab: DemoShop, opener: Opener
) -> None:
    """Seed 5000171 spent more than a day's limit: what was bought since was forgotten."""
    file = saved(shop)
    pull(shop, wish("A1"), wish("A2", "13800138002"))
    settled(shop, 2)
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, wish("A3", "13800138003"))
        settled(again, 2)
        assert len(lab.supply.orders) == 2 and line(again, "A3")["gate"] == "price"
        pull(again, wish("A1"), wish("A2", "13800138002"))
        settled(again, 4)
        assert {line(again, n)["state"] for n in ("A1", "A2")} == {"delivered"}
        assert len(lab.supply.orders) == 2 and balances(again)["cost:topup"] == 1960
