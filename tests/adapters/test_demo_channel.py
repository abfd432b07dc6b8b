"""The demo channel against the simulated shop: mapping, paging, signing, and every fault."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.channels import demo
from adapters.couriers import demo as demo_courier
from adapters.demo_shop import DemoShop, FaultKind, Offer, Sold, catalogue
from kmtool import resources
from kmtool.clock import ManualClock
from kmtool.domain.secret import Secret
from kmtool.domain.states import OrderStatus, RefundState
from kmtool.errors import ConfigError, NeedsOperator, Rejected, Retriable, Unknown
from kmtool.ports import (
    AdapterSettings,
    Buyer,
    Channel,
    Message,
    OrderFact,
    OrderRef,
    StockPush,
    Verdict,
    Window,
)


@pytest.fixture
def shop(clock: ManualClock) -> Iterator[DemoShop]:
    demo_shop = DemoShop(clock)
    demo_shop.add_item(Offer("8801", "", "星海通行证", 2800, 9, "STAR-30"))
    demo_shop.add_item(Offer("88/02 年", "90", "枫叶 云盘", 1250, 5))
    with demo_shop:
        yield demo_shop
    assert demo_shop.troubles == []


@pytest.fixture
def channel(shop: DemoShop, clock: ManualClock, tmp_path: Path) -> Channel:
    return demo.build(settings(shop, clock, tmp_path))


def settings(shop: DemoShop, clock: ManualClock, folder: Path, **more: Any) -> AdapterSettings:
    given: dict[str, Any] = {
        "name": "maple",
        "options": {"url": shop.url, "read_seconds": 0.5},
        "credentials": {"token": Secret(shop.token), "secret": Secret(shop.secret)},
        "clock": clock,
        "zone": "Asia/Shanghai",
        "currency": "CNY",
        "inbox": folder / "inbox",
        "exports": folder / "exports",
    }
    return AdapterSettings(**(given | more))


def message(number: str, effect_id: str = "e-1", text: str = "卡密 AAAA-1111") -> Message:
    return Message(effect_id, "maple", number, "", Secret(text), effect_id, Buyer())


def pull(channel: Channel, clock: ManualClock) -> list[OrderFact]:
    window = Window(clock.now_ms() - 3_600_000, clock.now_ms() + 1)
    pages = list(channel.list_changed(window))
    assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]
    assert all(page.rejects == () for page in pages)
    return [order for page in pages for order in page.orders]


def test_an_order_arrives_whole(shop: DemoShop, channel: Channel, clock: ManualClock) -> None:
    number = shop.add_order(
        [Sold("8801", 2), Sold("88/02 年", 1, "90", amount_minor=1111, account="uid-7")],
        buyer="demo_ada",
        email="ada@example.test",
        pay_no="2026112222001",
        note="尽快",
    )
    (order,) = pull(channel, clock)
    assert order == channel.get_order(number)
    assert (order.number, order.status, order.refund) == (
        number,
        OrderStatus.PAID,
        RefundState.NONE,
    )
    assert (order.total_minor, order.expected_gross_minor) == (6711, 6711)
    assert (order.ext_txn_id, order.currency, order.note) == ("2026112222001", "CNY", "尽快")
    assert order.buyer == Buyer("u-demo_ada", "demo_ada", "ada@example.test", "")
    assert [(x.line_no, x.item_id, x.variant_id, x.quantity, x.amount_minor, x.account)
            for x in order.lines] == [
        ("1", "8801", "", 2, 5600, ""),
        ("2", "88/02 年", "90", 1, 1111, "uid-7"),
    ]  # fmt: skip
    assert (order.revision_ms, order.paid_ms) == (clock.now_ms(), clock.now_ms())


def test_an_unknown_order_is_none(channel: Channel) -> None:
    assert channel.get_order("no such/order?x=1") is None


@pytest.mark.parametrize(("word", "status"), demo.STATUSES.items())
def test_every_status_has_its_meaning(
    word: str, status: OrderStatus, shop: DemoShop, channel: Channel
) -> None:
    number = shop.add_order([Sold("8801")])
    shop.change(number, status=word)
    order = channel.get_order(number)
    assert order is not None
    assert (order.status, order.risk) == (status, "")


def test_a_status_that_is_not_documented_waits_for_a_person(
    shop: DemoShop, channel: Channel
) -> None:
    number = shop.add_order([Sold("8801")])
    shop.change(number, status="FROZEN")
    order = channel.get_order(number)
    assert order is not None
    assert (order.status, order.risk) == (OrderStatus.REVIEW, "unknown status “FROZEN”")


def test_refunds_are_summed_up(shop: DemoShop, channel: Channel) -> None:
    number = shop.add_order([Sold("8801")])

    def seen() -> RefundState:
        order = channel.get_order(number)
        assert order is not None
        return order.refund

    first = shop.refund(number, 1000)
    assert seen() is RefundState.OPEN
    shop.refund(number, state="REFUSED", refund_no=first)
    assert seen() is RefundState.NONE
    second = shop.refund(number, 1000, state="REFUNDED")
    assert seen() is RefundState.PARTIAL
    shop.refund(number, 1800)
    assert seen() is RefundState.OPEN
    shop.refund(number, 2800, state="REFUNDED", refund_no=second)
    shop.refund(number, state="WITHDRAWN", refund_no=f"R{number}-3")
    assert seen() is RefundState.FULL


def test_an_order_that_cannot_be_read_does_not_stop_the_others(
    shop: DemoShop, channel: Channel, clock: ManualClock
) -> None:
    good, bad = shop.add_order([Sold("8801")]), shop.add_order([Sold("8801")])
    shop.change(bad, buyer={})
    (page,) = channel.list_changed(Window(0, clock.now_ms() + 1))
    assert [order.number for order in page.orders] == [good]
    assert len(page.rejects) == 1
    assert bad in page.rejects[0]


def test_orders_that_change_while_pages_are_pulled_hide_no_other(
    shop: DemoShop, channel: Channel, clock: ManualClock
) -> None:
    numbers = []
    for _ in range(170):
        numbers.append(shop.add_order([Sold("8801")]))
        clock.advance(1000)
    window = Window(0, clock.now_ms())
    changed: list[str] = []

    def move(call: str) -> None:
        if call == "orders" and len(changed) < 6:
            clock.advance(1000)
            changed.append(numbers[len(changed) * 3])
            shop.change(changed[-1])

    shop.before = move
    seen = {order.number for page in channel.list_changed(window) for order in page.orders}
    assert len(changed) >= 4
    assert set(numbers) - set(changed) <= seen
    shop.before = None
    later = channel.list_changed(Window(window.to_ms, clock.now_ms() + 1))
    assert {order.number for page in later for order in page.orders} == set(changed)


def test_the_clock_and_the_credentials_are_checked(
    shop: DemoShop, channel: Channel, clock: ManualClock, tmp_path: Path
) -> None:
    report = channel.auth_check()
    assert (report.ok, report.skew_ms) == (True, 0)
    for wrong in ("token", "secret"):
        credentials = {"token": Secret(shop.token), "secret": Secret(shop.secret)}
        credentials[wrong] = Secret("wrong")
        other = demo.build(settings(shop, clock, tmp_path, credentials=credentials))
        with pytest.raises(NeedsOperator):
            other.auth_check()
    late = demo.build(settings(shop, ManualClock(clock.now_ms() - 400_000), tmp_path))
    with pytest.raises(NeedsOperator, match="1003"):
        late.auth_check()


def test_only_loopback_is_spoken_to(shop: DemoShop, clock: ManualClock, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        demo.build(settings(shop, clock, tmp_path, options={"url": "http://shop.example"}))
    with pytest.raises(ConfigError):
        demo.build(settings(shop, clock, tmp_path, credentials={}))


def test_a_message_reaches_the_buyer_and_is_found_again(shop: DemoShop, channel: Channel) -> None:
    number = shop.add_order([Sold("8801")])
    assert channel.find_note(message(number)) is Verdict.NOT_DONE
    channel.post_note(message(number))
    assert channel.find_note(message(number)) is Verdict.DONE
    assert channel.find_note(message(number, "e-2")) is Verdict.NOT_DONE
    assert shop.received(number) == ["卡密 AAAA-1111"]


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (FaultKind.CLOSED_BEFORE, Unknown),
        (FaultKind.LOST_REPLY, Unknown),
        (FaultKind.HALF_REPLY, Unknown),
        (FaultKind.ERROR_BEFORE, Unknown),
        (FaultKind.ERROR_AFTER, Unknown),
        (FaultKind.NONSENSE_BEFORE, Unknown),
        (FaultKind.NONSENSE, Unknown),
        (FaultKind.UNDOCUMENTED, Unknown),
        (FaultKind.BUSY, Retriable),
    ],
)
def test_a_message_that_meets_a_fault_is_never_called_refused(
    kind: FaultKind, error: type[Exception], shop: DemoShop, channel: Channel
) -> None:
    number = shop.add_order([Sold("8801")])
    shop.fail("message", kind, seconds=7)
    with pytest.raises(error) as raised:
        channel.post_note(message(number))
    assert "AAAA" not in str(raised.value)
    assert len(shop.received(number)) == int(kind.acts)
    assert (channel.find_note(message(number)) is Verdict.DONE) == kind.acts
    if isinstance(raised.value, Retriable):
        assert raised.value.after_s == 7


def test_a_slow_answer_is_unclear_and_found_later(shop: DemoShop, channel: Channel) -> None:
    number = shop.add_order([Sold("8801")])
    shop.fail("message", FaultKind.SLOW, seconds=0.8)
    with pytest.raises(Unknown):
        channel.post_note(message(number))
    shop.stop()  # waits for what is under way
    assert len(shop.received(number)) <= 1
    shop.start()


def test_a_shop_that_is_offline_has_surely_done_nothing(shop: DemoShop, channel: Channel) -> None:
    number = shop.add_order([Sold("8801")])
    with shop.offline(), pytest.raises(Retriable):
        channel.post_note(message(number))
    channel.post_note(message(number))
    assert len(shop.received(number)) == 1


def test_reads_survive_a_fault(shop: DemoShop, channel: Channel, clock: ManualClock) -> None:
    shop.add_order([Sold("8801")])
    for kind in FaultKind:
        shop.fail("orders", kind, seconds=1)
        if kind in (FaultKind.UNDOCUMENTED, FaultKind.DENIED):
            with pytest.raises(Retriable if kind is FaultKind.UNDOCUMENTED else NeedsOperator):
                pull(channel, clock)
        else:
            assert len(pull(channel, clock)) == 1, kind


def test_shipping_once_is_shipping(shop: DemoShop, channel: Channel) -> None:
    ref = OrderRef(shop.add_order([Sold("8801")]), "e-1")
    assert channel.query_shipped(ref) is Verdict.NOT_DONE
    shop.fail("ship", FaultKind.LOST_REPLY)
    with pytest.raises(Unknown):
        channel.mark_shipped(ref)
    assert channel.query_shipped(ref) is Verdict.DONE
    assert channel.mark_shipped(ref).detail == "was shipped already"


def test_an_order_under_refund_is_not_shipped(shop: DemoShop, channel: Channel) -> None:
    ref = OrderRef(shop.add_order([Sold("8801")]), "e-1")
    shop.refund(ref.number)
    with pytest.raises(Rejected, match="2003"):
        channel.mark_shipped(ref)
    assert not shop.shipped(ref.number)


def test_stock_and_shelf_are_set(shop: DemoShop, channel: Channel) -> None:
    shop.add_order([Sold("8801", 2)])
    items = {(item.item_id, item.variant_id): item for item in channel.list_items()}
    assert items["8801", ""].quantity == 7
    assert (items["8801", ""].sku_hint, items["8801", ""].price_minor) == ("STAR-30", 2800)
    channel.push_stock([StockPush("8801", "", 3), StockPush("88/02 年", "90", 0)])
    assert (shop.stock("8801"), shop.stock("88/02 年", "90")) == (3, 0)
    channel.set_shelf("8801", "", on=False)
    assert not shop.items["8801", ""].on
    with pytest.raises(Rejected):
        channel.push_stock([StockPush("none", "", 1)])


def test_the_courier_speaks_through_the_channel(
    shop: DemoShop, channel: Channel, clock: ManualClock, tmp_path: Path
) -> None:
    courier = demo_courier.build(settings(shop, clock, tmp_path, channel=channel))
    number = shop.add_order([Sold("8801")])
    assert courier.refusal(message(number)) == ""
    assert "2001" in courier.refusal(message(number, text="x" * 2001))
    courier.send(message(number))
    assert courier.query(message(number)) is Verdict.DONE
    with pytest.raises(ConfigError):
        demo_courier.build(settings(shop, clock, tmp_path))


def test_what_the_demo_sells_can_be_read() -> None:
    items = catalogue(resources.data_path("demo", "maple.toml"))
    assert len({(item.item, item.variant) for item in items}) == len(items)
    assert all(item.price_minor > 0 and item.code for item in items)
