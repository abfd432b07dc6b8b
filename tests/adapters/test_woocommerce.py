"""The WooCommerce channel against a server on loopback: the shared rules, and its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.channels import woocommerce
from adapters.couriers import channel_note
from kmtool.clock import ManualClock
from kmtool.domain.money import format_plain
from kmtool.domain.secret import Secret
from kmtool.domain.states import OrderStatus, RefundState
from kmtool.errors import (
    ConfigError,
    MissingCredential,
    NeedsOperator,
    Rejected,
    Retriable,
    Unknown,
)
from kmtool.ports import AdapterSettings, Channel, OrderRef, StockPush, Verdict, Window
from tests.adapters.channel_world import Fault, note, pull
from tests.adapters.conformance_channel import *  # noqa: F403
from tests.adapters.woo_server import WooServer, error


class Woo:
    """The world of the shared rules: the server, with its owner's hands."""

    page_size = 100
    missing = "999999"
    resolution_ms = 1000
    faults = frozenset(Fault)

    def __init__(self, server: WooServer, folder: Path) -> None:
        self.server, self.clock, self.folder = server, server.clock, folder
        self.channel = self.build()

    def build(self, secret: str = "", **options: Any) -> Channel:
        return woocommerce.build(settings(self.server, self.folder, secret, **options))

    def add_order(self, *, quantity: int = 1, amount_minor: int = 1000, paid: bool = True) -> str:
        more: dict[str, Any] = {} if paid else {"status": "pending", "date_paid_gmt": None}
        return self.server.add_order(format_plain(amount_minor), quantity, **more)

    def touch(self, number: str) -> None:
        self.server.change(number)

    def cancel(self, number: str) -> None:
        self.server.change(number, status="cancelled")

    def refund(self, number: str, amount_minor: int | None = None) -> None:
        total = self.server.orders[int(number)]["total"]
        amount = total if amount_minor is None else format_plain(amount_minor)
        self.server.refund(number, amount, full=amount_minor is None)

    def shipped(self, number: str) -> bool:
        return bool(self.server.orders[int(number)]["status"] == "completed")

    def received(self, number: str) -> list[str]:
        return self.server.received(number)

    def stock(self, item_id: str, variant_id: str) -> int:
        product = self.server.products[int(item_id)]
        raw = product["variations"][int(variant_id)] if variant_id else product
        return int(raw["stock_quantity"])

    def fail(self, call: str, fault: Fault) -> None:
        self.server.fail(call, fault)

    def before_call(self, hook: Callable[[str], None] | None) -> None:
        self.server.before = hook

    def offline(self) -> AbstractContextManager[None]:
        return self.server.offline()

    def stranger(self) -> Channel:
        return self.build("cs_wrong")


def settings(server: WooServer, folder: Path, secret: str = "", **options: Any) -> AdapterSettings:
    return AdapterSettings(
        name="woo",
        options={"url": server.url + "/", "read_seconds": 1.5} | options,
        credentials={"key": Secret(server.key), "secret": Secret(secret or server.secret)},
        clock=server.clock,
        zone="Asia/Shanghai",
        currency="CNY",
        inbox=folder,
        exports=folder,
    )


@pytest.fixture
def server(clock: ManualClock) -> Iterator[WooServer]:
    with WooServer(clock) as shop:
        shop.add_product()
        variations = {900: {"id": 900, "name": "30 天", "status": "publish", "stock_quantity": 2}}
        shop.add_product(type="variable", variations=variations)
        yield shop
    assert shop.troubles == []


@pytest.fixture
def world(server: WooServer, tmp_path: Path) -> Woo:
    return Woo(server, tmp_path)


def test_the_facts_of_an_order(world: Woo) -> None:
    number = world.server.add_order(
        "30.00",
        2,
        customer_note="快 &amp; 好",
        customer_id=7,
        meta_data=[{"key": "uid", "value": "user-9"}],
    )
    world.server.orders[int(number)]["line_items"][0] |= {
        "total": "26.548673", "total_tax": "3.451327", "variation_id": 900,
    }  # fmt: skip
    world.channel = world.build(account_field="uid")
    (order,) = pull(world)
    (line,) = order.lines
    assert (line.quantity, line.amount_minor, line.variant_id) == (2, 3000, "900")
    assert (line.title, line.account) == ("Key & card", "user-9")
    assert (order.buyer.ref, order.buyer.name, order.buyer.email) == (
        "7",
        "三 张",
        "b@example.test",
    )
    assert (order.note, order.ext_txn_id) == ("快 & 好", f"t-{number}")
    assert order.expected_gross_minor == 3000


@pytest.mark.parametrize(
    ("word", "status", "refund"),
    [
        ("pending", OrderStatus.UNPAID, RefundState.NONE),
        ("on-hold", OrderStatus.UNPAID, RefundState.NONE),
        ("failed", OrderStatus.UNPAID, RefundState.NONE),
        ("checkout-draft", OrderStatus.UNPAID, RefundState.NONE),
        ("processing", OrderStatus.PAID, RefundState.NONE),
        ("completed", OrderStatus.SHIPPED, RefundState.NONE),
        ("cancelled", OrderStatus.CLOSED, RefundState.NONE),
        ("trash", OrderStatus.CLOSED, RefundState.NONE),
        ("refunded", OrderStatus.CLOSED, RefundState.FULL),
        ("wc-from-a-plugin", OrderStatus.REVIEW, RefundState.NONE),
    ],
)
def test_every_status_has_its_meaning(
    word: str, status: OrderStatus, refund: RefundState, world: Woo
) -> None:
    world.server.add_order(status=word)
    (order,) = pull(world)
    assert (order.status, order.refund) == (status, refund)
    assert bool(order.risk) == (status is OrderStatus.REVIEW)


def test_processing_without_a_date_of_payment_is_paid_unless_by_cash(world: Woo) -> None:
    paid = world.server.add_order(date_paid_gmt=None)
    cash = world.server.add_order(date_paid_gmt=None, payment_method="cod")
    orders = {order.number: order for order in pull(world)}
    assert (orders[paid].status, orders[paid].paid_ms) == (OrderStatus.PAID, world.clock.now_ms())
    assert (orders[cash].status, orders[cash].paid_ms) == (OrderStatus.REVIEW, None)


def test_an_order_completed_at_payment_can_count_as_paid(world: Woo) -> None:
    number = world.server.add_order(status="completed")
    world.channel = world.build(completed="paid")
    assert pull(world)[0].status is OrderStatus.PAID
    world.channel.mark_shipped(OrderRef(number, "e-1"))
    assert pull(world)[0].status is OrderStatus.SHIPPED
    with pytest.raises(ConfigError):
        world.build(completed="perhaps")


def test_an_order_read_again_says_the_same_as_the_list(world: Woo) -> None:
    number = world.server.add_order("30.00", 3)
    world.server.refund(number, "10.00", 1)
    order = world.channel.get_order(number)
    assert order is not None
    assert (order.total_minor, order.refund) == (3000, RefundState.PARTIAL)
    assert (order.lines[0].quantity, order.lines[0].amount_minor) == (3, 3000)
    assert order.refunds[0].at_ms == world.clock.now_ms()


def test_refunds_of_all_the_parts_are_a_full_refund(world: Woo) -> None:
    number = world.server.add_order("30.00", 3)
    for amount in ("10.00", "20.00"):
        world.server.refund(number, amount)
    order = world.channel.get_order(number)
    assert order is not None
    assert (order.status, order.refund) == (OrderStatus.PAID, RefundState.FULL)
    assert order.lines[0].quantity == 3


def test_a_private_note_is_none_the_buyer_got(world: Woo) -> None:
    message = note(world.add_order())
    private = {"id": 1, "note": message.text.text(), "customer_note": False}
    world.server.notes[int(message.order_number)].append(private)
    assert world.channel.find_note(message) is Verdict.NOT_DONE


def test_an_order_that_cannot_be_read_does_not_stop_the_others(world: Woo) -> None:
    good, bad = world.server.add_order(), world.server.add_order(total="10.005")
    half = world.server.add_order(quantity=0.5)
    pages = list(world.channel.list_changed(Window(0, world.clock.now_ms() + 1000)))
    assert [order.number for page in pages for order in page.orders] == [good]
    rejects = [text for page in pages for text in page.rejects]
    assert sorted(text.split(":")[0] for text in rejects) == [f"order {bad}", f"order {half}"]
    with pytest.raises(Rejected):
        world.channel.get_order(bad)


def test_the_filters_carry_no_zone_and_whole_seconds(world: Woo) -> None:
    list(world.channel.list_changed(Window(1_795_305_600_500, 1_795_305_660_001)))
    query = next(query for query in world.server.queries if query["status"] == "any")
    assert query["modified_after"] == "2026-11-21T23:59:59"
    assert query["modified_before"] == "2026-11-22T00:01:01"
    assert (query["dates_are_gmt"], query["orderby"]) == ("true", "id")


def test_an_order_that_comes_in_during_the_pull_starts_it_again(world: Woo) -> None:
    numbers = {world.add_order() for _ in range(250)}
    late: list[str] = []

    def come(call: str) -> None:
        if call == "orders" and len(world.server.calls) == 3 and not late:
            late.append(world.add_order())

    world.before_call(come)
    assert {order.number for order in pull(world)} == numbers | set(late)
    assert late


def test_a_page_that_is_gone_by_now_is_no_reason_to_start_again(world: Woo) -> None:
    numbers = [world.add_order() for _ in range(201)]
    window = Window(world.clock.now_ms() - 1000, world.clock.now_ms() + 1000)

    def leave(call: str) -> None:
        if len(world.server.calls) == 2:  # the trash and the newest page were read
            world.clock.advance(10_000)
            world.touch(numbers[150])

    world.before_call(leave)
    found = {order.number for order in pull(world, window)}
    assert found == set(numbers) - {numbers[150]}
    assert world.server.calls == ["orders"] * 5


def test_orders_that_keep_coming_end_the_pull(world: Woo) -> None:
    for _ in range(150):
        world.add_order()
    world.before_call(lambda call: world.add_order() and None)
    with pytest.raises(Retriable):
        pull(world)


def test_a_list_without_totals_needs_the_operator(world: Woo) -> None:
    world.server.hidden_totals = True
    with pytest.raises(NeedsOperator, match="X-WP-Total"):
        pull(world)


def test_the_clock_of_the_shop_is_measured_and_used(world: Woo) -> None:
    world.server.skew_ms = -200_000
    assert world.channel.auth_check().skew_ms == -199_001
    number = world.add_order()
    now_ms = world.clock.now_ms()
    found = pull(world, Window(now_ms - 60_000, now_ms + 1000))
    assert [order.number for order in found] == [number]
    world.server.skew_ms = 2_000_000
    with pytest.raises(NeedsOperator, match="differ by 2000 s"):
        world.channel.auth_check()


def test_the_other_currency_is_shown(world: Woo) -> None:
    world.server.add_order(currency="USD")
    assert "USD" in world.channel.auth_check().detail


def test_trash_is_never_shipped_although_the_server_would(world: Woo) -> None:
    number = world.server.add_order(status="trash")
    with pytest.raises(Rejected, match="trash"):
        world.channel.mark_shipped(OrderRef(number, "e-1"))
    assert world.channel.query_shipped(OrderRef(world.missing, "e-1")) is Verdict.UNCLEAR


def test_notes_without_a_text_answer_nothing(world: Woo) -> None:
    message = note(world.add_order())
    world.channel.post_note(message)
    for rows in ([{"id": 5}], [{"id": 5, "note": None}]):
        world.server.fail("notes", (200, rows, {}))
        assert world.channel.find_note(message) is Verdict.UNCLEAR


def test_shipping_leaves_our_mark_and_is_written_once(world: Woo) -> None:
    number = world.add_order()
    for _ in range(3):
        world.channel.mark_shipped(OrderRef(number, "e-1"))
    meta = world.server.orders[int(number)]["meta_data"]
    assert [(m["key"], m["value"]) for m in meta] == [("_km_delivery_id", "e-1")]
    assert world.server.calls.count("ship") == 1


def test_an_answer_that_does_not_say_completed_is_unclear(world: Woo) -> None:
    number = world.add_order()
    for answer in ({"id": int(number), "status": "processing"}, [], {}):
        world.server.fail("ship", (200, answer, {}))
        with pytest.raises(Unknown):
            world.channel.mark_shipped(OrderRef(number, "e-1"))
    world.server.fail("note", (201, {}, {}))
    with pytest.raises(Unknown):
        world.channel.post_note(note(number))


@pytest.mark.parametrize(
    ("status", "kind"),
    [(301, Unknown), (400, Rejected), (403, NeedsOperator), (404, Rejected), (500, Unknown),
     (503, Unknown)],
)  # fmt: skip
def test_what_an_http_status_means_for_a_write(status: int, kind: type, world: Woo) -> None:
    number = world.add_order()
    world.server.fail("note", error(status, "rest_some_code"))
    with pytest.raises(kind, match=f"HTTP {status} rest_some_code") as raised:
        world.channel.post_note(note(number))
    assert type(raised.value) is kind


def test_a_signature_called_used_is_unclear_when_others_pass(world: Woo) -> None:
    number = world.add_order()
    used = error(401, "woocommerce_rest_authentication_error")
    world.server.fail("note", used)
    with pytest.raises(Unknown):
        world.channel.post_note(note(number))
    world.server.fail("note", used)
    world.server.fail("orders", used)
    with pytest.raises(NeedsOperator):
        world.channel.post_note(note(number))


def test_what_a_note_cannot_carry_is_not_sent(world: Woo) -> None:
    number = world.add_order()
    for text in ("k" * 60_001, "a\x07b", "a\rb"):
        with pytest.raises(Rejected):
            world.channel.post_note(note(number, text=text))
    for raw in (b"no mark", b"\xff\xfe km:e-1"):
        with pytest.raises(Rejected):
            world.channel.post_note(replace(note(number), text=Secret(raw)))
    assert "note" not in world.server.calls
    assert world.channel.find_note(note(world.missing)) is Verdict.UNCLEAR


def test_ids_that_are_none_never_reach_a_path(world: Woo) -> None:
    for number in ("1/../2", "", "٣", "1?x=1"):
        with pytest.raises(Rejected):
            world.channel.get_order(number)
        with pytest.raises(Rejected):
            world.channel.push_stock([StockPush(number, "", 1)])
    assert world.server.calls == []


def test_more_than_one_hundred_figures_go_in_parts(world: Woo) -> None:
    numbers = [str(world.server.add_product()) for _ in range(150)]
    world.channel.push_stock([StockPush(number, "", 3) for number in numbers])
    assert world.server.calls == ["stock", "stock"]
    assert {world.stock(number, "") for number in numbers} == {3}


def test_the_courier_writes_notes_and_reads_them_back(world: Woo, tmp_path: Path) -> None:
    plain = settings(world.server, tmp_path)
    courier = channel_note.build(replace(plain, channel=world.channel))
    message = note(world.add_order())
    assert courier.refusal(message) == ""
    assert courier.refusal(note("1", text="x" * 20_000))
    world.fail("note", Fault.LOST)
    with pytest.raises(Unknown):
        courier.send(message)
    assert courier.query(message) is Verdict.DONE
    with pytest.raises(ConfigError):
        channel_note.build(plain)


@pytest.mark.parametrize("url", ["", "shop.example", "ftp://a.example", "https://u:p@a.example"])
def test_an_address_that_cannot_work_is_named(url: str, world: Woo) -> None:
    with pytest.raises(ConfigError):
        world.build(url=url)


def test_missing_keys_are_named(world: Woo, tmp_path: Path) -> None:
    with pytest.raises(MissingCredential):
        woocommerce.build(replace(settings(world.server, tmp_path), credentials={}))
