"""The WooCommerce channel against a real shop, when one is named.

KMTOOL_LIVE_WOO_URL, KMTOOL_LIVE_WOO_CK and KMTOOL_LIVE_WOO_CS name a shop made for tests: orders
and notes are written there. Without them these tests are skipped.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from adapters import signing
from adapters.channels import woocommerce
from adapters.http import Client, Site, get, write_json
from kmtool.clock import SystemClock
from kmtool.domain.secret import Secret
from kmtool.domain.states import OrderStatus, RefundState
from kmtool.errors import NeedsOperator, Rejected
from kmtool.ports import AdapterSettings, Channel, Item, OrderRef, StockPush, Verdict, Window
from tests.adapters.channel_world import note
from tests.adapters.conformance_channel import TEXTS

NAMES = ("KMTOOL_LIVE_WOO_URL", "KMTOOL_LIVE_WOO_CK", "KMTOOL_LIVE_WOO_CS")
pytestmark = pytest.mark.skipif(
    not all(os.environ.get(name) for name in NAMES), reason=f"needs {', '.join(NAMES)}"
)
CLOCK = SystemClock()


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Channel]:
    def make(secret: str = "") -> Channel:
        url, key, given = (os.environ[name] for name in NAMES)
        return woocommerce.build(
            AdapterSettings(
                name="live",
                options={"url": url},
                credentials={"key": Secret(key), "secret": Secret(secret or given)},
                clock=CLOCK,
                zone="Asia/Shanghai",
                currency="CNY",
                inbox=tmp_path,
                exports=tmp_path,
            )
        )

    return make


@pytest.fixture
def channel(build: Callable[..., Channel]) -> Channel:
    return build()


@pytest.fixture
def owner() -> Iterator[Client]:
    """The shop owner's own hands: writes what a buyer or an administrator would."""
    url, key, secret = (os.environ[name] for name in NAMES)
    sign = signing.oauth1(Secret(key), Secret(secret), CLOCK)
    made = Client(Site(who="owner", base=f"{url}/wp-json/wc/v3", clock=CLOCK, sign=sign))
    yield made
    made.close()


@pytest.fixture
def item(channel: Channel) -> Item:
    return next(item for item in channel.list_items() if item.price_minor)


def add_order(owner: Client, item: Item, quantity: int = 2, **more: Any) -> str:
    line = {"product_id": int(item.item_id), "quantity": quantity}
    data = {
        "set_paid": True, "currency": "CNY", "payment_method": "alipay", "line_items": [line],
        "billing": {"first_name": "测试", "email": f"b-{uuid.uuid4().hex[:8]}@example.com"},
    }  # fmt: skip
    made = owner.send(write_json("POST", "/orders", data | more)).data
    return str(made["id"])


def window() -> Window:
    return Window(CLOCK.now_ms() - 3_600_000, CLOCK.now_ms() + 2_000)


def test_the_keys_work_and_wrong_ones_do_not(build: Callable[..., Channel]) -> None:
    report = build().auth_check()
    assert report.ok
    assert report.skew_ms is not None
    assert abs(report.skew_ms) < 60_000
    with pytest.raises(NeedsOperator):
        build("cs_wrong").auth_check()


def test_a_paid_order_is_pulled_and_read_alike(channel: Channel, owner: Client, item: Item) -> None:
    number = add_order(owner, item)
    pages = list(channel.list_changed(window()))
    assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]
    pulled = {order.number: order for page in pages for order in page.orders}[number]
    assert pulled == channel.get_order(number)
    assert (pulled.status, pulled.refund) == (OrderStatus.PAID, RefundState.NONE)
    assert item.price_minor is not None
    assert pulled.lines[0].amount_minor == pulled.total_minor == item.price_minor * 2
    assert channel.get_order("999999999") is None


def test_the_window_has_no_holes_and_no_zone(channel: Channel, owner: Client, item: Item) -> None:
    number = add_order(owner, item)
    order = channel.get_order(number)
    assert order is not None
    at_ms = order.revision_ms
    for start_ms, end_ms, inside in (
        (at_ms, at_ms + 1000, True),
        (at_ms + 999, at_ms + 1500, True),
        (at_ms - 1000, at_ms + 1, True),
        (at_ms - 2000, at_ms, False),
        (at_ms + 1000, at_ms + 3000, False),
    ):
        pages = channel.list_changed(Window(start_ms, end_ms))
        found = number in {order.number for page in pages for order in page.orders}
        assert found is inside, (start_ms - at_ms, end_ms - at_ms)


def test_shipping(channel: Channel, owner: Client, item: Item) -> None:
    ref = OrderRef(add_order(owner, item), "e-live")
    assert channel.query_shipped(ref) is Verdict.NOT_DONE
    channel.mark_shipped(ref)
    channel.mark_shipped(ref)
    assert channel.query_shipped(ref) is Verdict.DONE
    order = channel.get_order(ref.number)
    assert order is not None
    assert order.status is OrderStatus.SHIPPED


@pytest.mark.parametrize("status", ["cancelled", "refunded", "trash"])
def test_called_off_orders_are_not_shipped(
    status: str, channel: Channel, owner: Client, item: Item
) -> None:
    number = add_order(owner, item)
    if status == "trash":
        owner.send(write_json("DELETE", f"/orders/{number}", {}))
    else:
        owner.send(write_json("PUT", f"/orders/{number}", {"status": status}))
    with pytest.raises(Rejected):
        channel.mark_shipped(OrderRef(number, "e-live"))
    pages = channel.list_changed(window())
    pulled = {order.number: order for page in pages for order in page.orders}[number]
    assert pulled.status is OrderStatus.CLOSED


def test_a_refund_of_a_part_is_seen_and_the_line_stays_as_it_was_sold(
    channel: Channel, owner: Client, item: Item
) -> None:
    number = add_order(owner, item)
    line = owner.send(get(f"/orders/{number}")).data["line_items"][0]
    assert item.price_minor is not None
    price = f"{item.price_minor // 100}.{item.price_minor % 100:02}"
    part = {"id": line["id"], "quantity": 1, "refund_total": price}
    data = {"amount": price, "api_refund": False, "line_items": [part]}
    owner.send(write_json("POST", f"/orders/{number}/refunds", data))
    order = channel.get_order(number)
    assert order is not None
    assert (order.status, order.refund) == (OrderStatus.PAID, RefundState.PARTIAL)
    assert item.price_minor is not None
    assert (order.lines[0].quantity, order.lines[0].amount_minor) == (2, 2 * item.price_minor)
    assert [refund.amount_minor for refund in order.refunds] == [item.price_minor]


def test_notes_are_written_found_and_kept(channel: Channel, owner: Client, item: Item) -> None:
    number = add_order(owner, item)
    for n, text in enumerate(TEXTS):
        message = note(number, f"e-{n}", text)
        assert channel.find_note(message) is Verdict.NOT_DONE
        channel.post_note(message)
        assert channel.find_note(message) is Verdict.DONE
    with pytest.raises(Rejected):
        channel.post_note(note("999999999"))


def test_stock_and_shelf(channel: Channel, item: Item) -> None:
    def seen() -> Item:
        return next(i for i in channel.list_items() if i.item_id == item.item_id)

    before = item.quantity if item.quantity is not None else 100
    channel.push_stock([StockPush(item.item_id, item.variant_id, before + 1)])
    assert seen().quantity == before + 1
    with pytest.raises(Rejected, match="999999999"):
        channel.push_stock(
            [StockPush(item.item_id, item.variant_id, before), StockPush("999999999", "", 1)]
        )
    assert seen().quantity == before
    channel.set_shelf(item.item_id, item.variant_id, on=False)
    assert not seen().on_shelf
    channel.set_shelf(item.item_id, item.variant_id, on=True)
    assert seen().on_shelf


def test_several_threads_share_a_channel(channel: Channel, owner: Client, item: Item) -> None:
    numbers = [add_order(owner, item) for _ in range(4)]

    def hand_over(number: str) -> bool:
        message = note(number, f"e-{number}")
        channel.post_note(message)
        channel.mark_shipped(OrderRef(number, f"e-{number}"))
        return channel.find_note(message) is Verdict.DONE

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(hand_over, numbers))
