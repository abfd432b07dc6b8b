"""Top-ups beside refunds, holds, keys, other workers and people who paste."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adapters.demo_shop import DemoShop
from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.domain.states import Mode, OrderStatus, RefundState
from kmtool.operations import products
from kmtool.operations.by_hand import Answer as Said
from kmtool.operations.by_hand import Task, by_hand
from kmtool.operations.deliver import deliver
from kmtool.operations.house import pause, resume
from kmtool.operations.order_changes import hold, redeliver, release
from kmtool.operations.order_refund import decide
from kmtool.operations.products import Fields, Mapping
from kmtool.operations.refund_records import Answer, Decision
from kmtool.ports import Buyer, LineFact
from kmtool.shop import Shop
from tests.fakes import order
from tests.operations.delivery_kit import broken, effects, line, outside, pull, tick
from tests.operations.import_kit import balances
from tests.operations.stock import shelf
from tests.operations.topups.kit import PHONE, TOML, bought, refunded, settled, told, wish


def test_a_refund_before_the_intent_buys_nothing(shop: Shop, lab: DemoShop) -> None:
    pause(shop, "shop1", "wait")
    pull(shop, wish())
    deliver(shop)
    pull(shop, replace(wish(revision_ms=shop.now_ms()), refund=RefundState.FULL,
                       status=OrderStatus.CLOSED))  # fmt: skip
    resume(shop, "shop1")
    settled(shop, 2)
    assert line(shop)["state"] == "cancelled" and lab.supply.orders == {}
    assert broken(shop) == []


def test_a_refund_while_it_is_unclear_is_a_case_and_still_asked_about(
    shop: Shop, lab: DemoShop
) -> None:
    lab.fail("place", "lost_reply")
    pull(shop, wish())
    deliver(shop)
    assert line(shop)["state"] == "unknown"
    pull(shop, refunded(shop))
    assert line(shop)["state"] == "refund_case"
    settled(shop, 4)
    assert line(shop)["state"] == "refund_case" and bought(shop)[0]["state"] == "done"
    assert balances(shop)["cost:topup"] == 980 and told() == ""
    assert broken(shop) == []


def test_a_refund_while_it_is_worked_on_is_a_case_and_followed(shop: Shop, lab: DemoShop) -> None:
    lab.supply.delay_ms = 60_000
    pull(shop, wish())
    deliver(shop)
    pull(shop, refunded(shop))
    settled(shop, 8)
    assert line(shop)["state"] == "refund_case" and bought(shop)[0]["state"] == "done"
    assert len(lab.supply.orders) == 1 and broken(shop) == []


def test_a_refund_that_is_withdrawn_leaves_what_was_charged_delivered(
    shop: Shop, lab: DemoShop
) -> None:
    pull(shop, wish())
    settled(shop, 2)
    pull(shop, refunded(shop))
    assert line(shop)["state"] == "refund_case"
    tick(shop, 1_000)
    pull(shop, wish(revision_ms=shop.now_ms()))
    assert line(shop)["state"] == "delivered"
    settled(shop, 3)
    assert lab.supply.charged(PHONE) == 1 and len(lab.supply.orders) == 1 and broken(shop) == []


def test_hold_calls_a_planned_purchase_off_and_its_number_stays(shop: Shop, lab: DemoShop) -> None:
    from kmtool.operations.reserve import reserve_due

    pull(shop, wish())
    reserve_due(shop)
    first = bought(shop)[0]
    hold(shop, "A1", "look")
    assert bought(shop)[0]["state"] == "cancelled" and line(shop)["state"] == "ready"
    release(shop, "A1")
    settled(shop, 2)
    assert [row["our_no"] for row in bought(shop)] == [first["our_no"]]
    assert lab.supply.charged(PHONE) == 1 and broken(shop) == []


def test_a_line_of_keys_beside_a_top_up_goes_its_own_way(shop: Shop, lab: DemoShop) -> None:
    shelf(shop, "S1", 1)
    lab.supply.delay_ms = 60_000
    both = (
        LineFact("1", "i1", "", "item", 1, 1000),
        LineFact("2", "t1", "", "话费", 1, 1000, PHONE),
    )
    pull(shop, order("A1", lines=both))
    assert deliver(shop).delivered == 1
    assert "KEY-S1-00000" in told() and "A1" not in outside().shipped
    settled(shop, 8)
    assert "A1" in outside().shipped and PHONE in told()
    assert [e["state"] for e in effects(shop, "notify")] == ["done"]
    assert broken(shop) == []


def test_a_channel_on_ask_asks(shop: Shop, lab: DemoShop) -> None:
    channels = dict(shop.config.channels)
    channels["shop1"] = replace(channels["shop1"], mode=Mode.ASK)
    asking = replace(shop, config=replace(shop.config, channels=channels))
    pull(asking, wish())
    assert deliver(asking).held == {"mode": 1} and lab.supply.orders == {}
    release(asking, "A1")
    settled(asking, 2)
    assert lab.supply.charged(PHONE) == 1


def test_a_message_that_cannot_be_sent_changes_nothing_about_the_money(
    shop: Shop, lab: DemoShop
) -> None:
    outside().faults += ["lost"]
    pull(shop, wish())
    settled(shop, 12)
    assert line(shop)["state"] == "delivered" and lab.supply.charged(PHONE) == 1
    assert len(outside().received["A1"]) == 1 and broken(shop) == []


def test_what_was_charged_is_never_charged_again(shop: Shop, lab: DemoShop) -> None:
    pull(shop, wish())
    settled(shop, 2)
    redeliver(shop, "A1")
    settled(shop, 3)
    assert len(lab.supply.orders) == 1 and len(outside().received["A1"]) == 2
    shop.db.run("UPDATE lines SET state = 'ready'")
    settled(shop, 2)
    assert len(lab.supply.orders) == 1
    assert "charged already" in line(shop)["reason"]


@pytest.mark.parametrize("answer", ["agree", "refuse"])
def test_a_refund_case_of_a_top_up_is_decided(shop: Shop, lab: DemoShop, answer: str) -> None:
    pull(shop, wish())
    settled(shop, 2)
    pull(shop, refunded(shop))
    assert line(shop)["state"] == "refund_case"
    decide(shop, "A1", Decision(Answer(answer), reason="decided"))
    settled(shop, 2)
    assert line(shop)["state"] in {"closed", "delivered", "refund_case"}
    assert len(lab.supply.orders) == 1 and broken(shop) == []


def test_two_workers_buy_once(shop: Shop, lab: DemoShop) -> None:
    if shop.db.dialect != "postgresql":
        pytest.skip("on SQLite one process sends")
    from concurrent.futures import ThreadPoolExecutor

    lab.supply.delay_ms = 20_000
    pull(shop, *(wish(f"A{n}", f"1380013800{n}") for n in range(6)))

    def work(_n: int) -> None:
        with open_shop(shop.config, clock=shop.clock) as mine:
            deliver(mine)

    for _ in range(3):
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(work, range(3)))
        tick(shop, 15_000)
    assert len(lab.supply.orders) == 6
    assert {row["state"] for row in bought(shop)} == {"done"} and broken(shop) == []


def test_by_hand_the_buyer_is_told_by_a_person(
    make_config: Any, clock: ManualClock, lab: DemoShop, limits: tuple[str, str]
) -> None:
    extra = TOML.format(url=lab.url, day=limits[0], one=limits[1])
    config = make_config(extra, courier="by_hand")
    create_shop(config, clock)
    with open_shop(config, clock=clock) as mine:
        terms = Fields(
            kind="topup",
            account_rule="qq",
            supplier="toplab",
            supplier_item="TEL-10",
            cap_minor=980,
        )
        lab.supply.goods["TEL-10"].takes = "[0-9]+"
        products.add(mine, "TEL", terms)
        products.map_listing(mine, Mapping("shop1", "t1", "", "TEL"))
        pull(mine, wish(account="10001"))
        assert deliver(mine).delivered == 1 and told() == ""
        seen: list[str] = []

        def ask(task: Task) -> Said:
            seen.append(task.message.text.text())
            return Said.SENT

        assert by_hand(mine, [], ask).sent == 1
        assert "10001" in seen[0] and by_hand(mine, [], ask).sent == 0
        assert broken(mine) == []


def test_what_tells_a_buyer_goes_nowhere_else_by_itself(shop: Shop, lab: DemoShop) -> None:
    """Seed 5001483: its first try was unclear, the buyer's address changed, it went there too."""
    outside().faults += ["unknown"]
    pull(shop, wish())
    deliver(shop)
    assert outside().faults == []
    moved = replace(wish(revision_ms=shop.now_ms() + 1), buyer=Buyer("b1", "b", "new@example.test"))
    tick(shop, 1_000)
    pull(shop, moved)
    settled(shop, 14)
    (told_him,) = effects(shop, "notify")
    assert told_him["state"] == "human" and "contact changed" in told_him["reason"]
    assert told() == ""
    redeliver(shop, "A1")
    settled(shop, 2)
    assert len(outside().received["A1"]) == 1 and lab.supply.charged(PHONE) == 1
    assert broken(shop) == []
