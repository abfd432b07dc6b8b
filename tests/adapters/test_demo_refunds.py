"""Answers to refunds at the simulated shop: agreed, refused, repeated, lost on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.channels import demo
from adapters.demo_shop import DemoShop, FaultKind, Offer, Sold
from kmtool.clock import ManualClock
from kmtool.domain.states import RefundState
from kmtool.errors import Rejected, Unknown
from kmtool.ports import OrderRef
from tests.adapters.test_demo_channel import settings


@pytest.fixture
def shop(clock: ManualClock) -> Iterator[DemoShop]:
    made = DemoShop(clock)
    made.add_item(Offer("8801", "", "月卡", 2800, 9))
    with made:
        yield made
    assert made.troubles == []


@pytest.fixture
def channel(shop: DemoShop, clock: ManualClock, tmp_path: Path) -> demo.DemoChannel:
    return demo.build(settings(shop, clock, tmp_path))


@pytest.mark.parametrize(("agree", "state"), [(True, RefundState.FULL), (False, RefundState.NONE)])
def test_an_open_refund_is_answered(
    shop: DemoShop, channel: demo.DemoChannel, agree: bool, state: RefundState
) -> None:
    number = shop.add_order([Sold("8801")])
    refund = shop.refund(number)
    ref = OrderRef(number, "E1")
    channel.reply_refund(ref, refund, agree=agree, text="已核实")
    found = channel.get_order(number)
    assert found is not None and found.refund is state
    assert shop.orders[number].refunds[refund]["answer"] == "已核实"
    again = channel.reply_refund(ref, refund, agree=agree, text="")
    assert again.detail == "was answered so already"
    with pytest.raises(Rejected):
        channel.reply_refund(ref, refund, agree=not agree, text="")


def test_what_is_not_there_is_refused(shop: DemoShop, channel: demo.DemoChannel) -> None:
    number = shop.add_order([Sold("8801")])
    with pytest.raises(Rejected):
        channel.reply_refund(OrderRef(number, "E1"), "R/1 ?", agree=True, text="")
    with pytest.raises(Rejected):
        channel.reply_refund(OrderRef("none", "E1"), "R1", agree=True, text="")


def test_a_lost_answer_is_unknown_and_found_by_reading(
    shop: DemoShop, channel: demo.DemoChannel
) -> None:
    number = shop.add_order([Sold("8801")])
    refund = shop.refund(number, refund_no="R/1 退")
    shop.fail("refund", FaultKind.LOST_REPLY)
    with pytest.raises(Unknown):
        channel.reply_refund(OrderRef(number, "E1"), refund, agree=True, text="")
    found = channel.get_order(number)
    assert found is not None and found.refunds[0].state == "done"
