"""What every channel must keep, as tests that a channel's own test file joins in a few lines.

    from tests.adapters.conformance_channel import *  # noqa: F403

    @pytest.fixture
    def world(clock, tmp_path): yield MyWorld(...)

`World`, in `channel_world`, is the platform behind the channel, under the test's control. What a
channel cannot do by its `Features`, and faults that its world cannot make, are skipped.
"""

from __future__ import annotations

import logging

import pytest

from kmtool.domain.states import OrderStatus, RefundState
from kmtool.errors import NeedsOperator, OutsideError, Rejected, Retriable
from kmtool.ports import OrderRef, Repeat, StockPush, Verdict, Window
from tests.adapters.channel_world import KEY, Fault, World, arm, needs, note, pull, quiet, wait_for

# ------------------------------------------------------------------------------- reading


def test_a_paid_order_arrives_whole(world: World) -> None:
    number = world.add_order(quantity=3, amount_minor=4567)
    (order,) = pull(world)
    assert order.number == number
    assert isinstance(order.number, str)
    assert (order.status, order.refund) == (OrderStatus.PAID, RefundState.NONE)
    assert (order.total_minor, order.currency) == (4567, "CNY")
    assert [(line.quantity, line.amount_minor) for line in order.lines] == [(3, 4567)]
    assert all(isinstance(line.item_id, str) and line.item_id for line in order.lines)
    assert order.paid_ms is not None
    assert abs(order.paid_ms - world.clock.now_ms()) <= world.resolution_ms


def test_an_order_read_by_itself_says_the_same_as_the_list(world: World) -> None:
    needs(world, "reread")
    number = world.add_order(quantity=2)
    assert pull(world) == [world.channel.get_order(number)]


def test_an_order_that_does_not_exist_is_none(world: World) -> None:
    needs(world, "reread")
    assert world.channel.get_order(world.missing) is None


def test_an_unpaid_order_is_not_paid(world: World) -> None:
    world.add_order(paid=False)
    assert {order.status for order in pull(world)} <= {OrderStatus.UNPAID}


def test_a_cancelled_order_is_closed(world: World) -> None:
    number = world.add_order()
    world.cancel(number)
    (order,) = pull(world)
    assert order.status is OrderStatus.CLOSED


def test_a_refund_of_a_part_is_seen(world: World) -> None:
    number = world.add_order(amount_minor=1000)
    world.refund(number, 300)
    (order,) = pull(world)
    assert order.refund is RefundState.PARTIAL
    assert [(refund.amount_minor, refund.state) for refund in order.refunds] == [(300, "done")]
    assert order.total_minor == 1000
    if world.channel.features.reread:
        again = world.channel.get_order(number)
        assert again is not None
        assert (again.refund, again.refunds[0].amount_minor) == (RefundState.PARTIAL, 300)


def test_a_refund_of_the_whole_is_seen(world: World) -> None:
    number = world.add_order(amount_minor=1000)
    world.refund(number)
    (order,) = pull(world)
    assert order.refund is RefundState.FULL
    assert order.status is not OrderStatus.UNPAID


def test_many_pages_lose_nothing(world: World) -> None:
    numbers = {world.add_order() for _ in range(world.page_size * 2 + 3)}
    assert {order.number for order in pull(world)} == numbers


def test_windows_side_by_side_lose_nothing(world: World) -> None:
    start_ms = world.clock.now_ms()
    numbers = set()
    for step_ms in (0, 1, 499, 500, 999, 1000, 1001, 2500):
        world.clock.set(start_ms + step_ms)
        numbers.add(world.add_order())
    world.clock.set(start_ms + 10_000)
    for width_ms in (250, 700, 1000, 1500):
        found: set[str] = set()
        for from_ms in range(start_ms, start_ms + 5_000, width_ms):
            found |= {o.number for o in pull(world, Window(from_ms, from_ms + width_ms))}
        assert found == numbers, width_ms


def test_orders_that_change_during_the_pull_hide_no_other(world: World) -> None:
    numbers = []
    for _ in range(world.page_size * 3 + 1):
        numbers.append(world.add_order())
        world.clock.advance(world.resolution_ms)
    window = Window(world.clock.now_ms() - 86_400_000, world.clock.now_ms())
    changed: list[str] = []

    def move(call: str) -> None:
        if call == "orders":
            world.clock.advance(world.resolution_ms * 2)
            changed.append(numbers[-1 - 2 * len(changed)])
            world.touch(changed[-1])

    world.before_call(move)
    seen = {order.number for order in pull(world, window)}
    world.before_call(None)
    assert changed
    assert set(numbers) - set(changed) <= seen
    later = pull(world, Window(window.to_ms, world.clock.now_ms() + world.resolution_ms))
    assert set(changed) <= {order.number for order in later}


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.DENIED])
def test_a_read_survives_a_fault(world: World, fault: Fault) -> None:
    number = world.add_order()
    arm(world, "orders", fault)
    assert [order.number for order in pull(world)] == [number]


def test_reads_in_trouble_give_up_and_say_so(world: World) -> None:
    world.add_order()
    for _ in range(20):
        arm(world, "orders", Fault.DROPPED)
    with pytest.raises(Retriable):
        pull(world)


def test_credentials_that_do_not_work_need_the_operator(world: World) -> None:
    assert world.channel.auth_check().ok
    stranger = world.stranger()
    with pytest.raises(NeedsOperator):
        stranger.auth_check()
    with pytest.raises(NeedsOperator):
        list(stranger.list_changed(Window(0, world.clock.now_ms())))


# ------------------------------------------------------------------------------- shipping


def test_shipped_once_is_shipped(world: World) -> None:
    needs(world, "mark_shipped")
    ref = OrderRef(world.add_order(), "e-1")
    assert world.channel.query_shipped(ref) is Verdict.NOT_DONE
    world.channel.mark_shipped(ref)
    assert world.shipped(ref.number)
    assert world.channel.query_shipped(ref) is Verdict.DONE
    if world.channel.features.shipped_repeat is Repeat.IDEMPOTENT:
        world.channel.mark_shipped(ref)
    order = world.channel.get_order(ref.number)
    assert order is not None
    assert order.status in (OrderStatus.SHIPPED, OrderStatus.DONE)


def test_an_order_that_was_called_off_is_not_shipped(world: World) -> None:
    needs(world, "mark_shipped")
    for call_off in (world.cancel, world.refund):
        ref = OrderRef(world.add_order(), "e-1")
        call_off(ref.number)
        with pytest.raises(Rejected):
            world.channel.mark_shipped(ref)
        assert not world.shipped(ref.number)


def test_an_order_that_does_not_exist_is_not_shipped(world: World) -> None:
    needs(world, "mark_shipped")
    with pytest.raises(Rejected):
        world.channel.mark_shipped(OrderRef(world.missing, "e-1"))


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_while_shipping_says_no_more_than_is_known(world: World, fault: Fault) -> None:
    needs(world, "mark_shipped")
    ref = OrderRef(world.add_order(), "e-1")
    arm(world, "ship", fault)
    with pytest.raises(OutsideError) as raised:
        world.channel.mark_shipped(ref)
    assert type(raised.value) is fault.error
    wait_for(lambda: world.shipped(ref.number) == fault.acts)
    expected = Verdict.DONE if fault.acts else Verdict.NOT_DONE
    assert world.channel.query_shipped(ref) is expected


# ------------------------------------------------------------------------------- notes


TEXTS = [
    "ABCD-EFGH-1234",
    "AB<CD>EF <b>x</b> <!-- y --> a<b",
    "A&B &amp; &#45; &lt;",
    "A\\B \\\\C \\n",
    "x--y --- 12x34 9X9 'q' \"z\" a...b `t` (tm) a - b",
    "user: 张三\npass: p@ss  word\n\nhttps://key.example.test/c?a=1&b=2",
    "😀 ￥ 【卡密】 [gallery] {order} %s",
]


@pytest.mark.parametrize("text", TEXTS)
def test_the_buyer_reads_the_text_as_it_was_written(world: World, text: str) -> None:
    needs(world, "notes")
    message = note(world.add_order(), text=text)
    world.channel.post_note(message)
    assert world.received(message.order_number) == [message.text.text()]
    assert world.channel.find_note(message) is Verdict.DONE


def test_a_note_is_found_by_its_own_mark_only(world: World) -> None:
    needs(world, "notes")
    number = world.add_order()
    assert world.channel.find_note(note(number)) is Verdict.NOT_DONE
    world.channel.post_note(note(number, "e-12"))
    assert world.channel.find_note(note(number, "e-12")) is Verdict.DONE
    for other in ("e-1", "e-123", "e-2"):
        assert world.channel.find_note(note(number, other)) is Verdict.NOT_DONE


def test_a_note_on_no_order_is_refused(world: World) -> None:
    needs(world, "notes")
    with pytest.raises(Rejected):
        world.channel.post_note(note(world.missing))


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_while_writing_a_note_says_no_more_than_is_known(
    world: World, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    needs(world, "notes")
    caplog.set_level(logging.DEBUG)
    message = note(world.add_order())
    arm(world, "note", fault)
    with pytest.raises(OutsideError) as raised:
        world.channel.post_note(message)
    assert type(raised.value) is fault.error
    quiet(raised.value, KEY, "oauth_", "Basic ")
    assert KEY not in caplog.text
    wait_for(lambda: len(world.received(message.order_number)) == int(fault.acts))
    expected = Verdict.DONE if fault.acts else Verdict.NOT_DONE
    assert world.channel.find_note(message) is expected


def test_while_the_platform_is_away_surely_nothing_happens(world: World) -> None:
    if not (world.channel.features.notes or world.channel.features.mark_shipped):
        pytest.skip("this channel writes nothing")
    number = world.add_order()
    with world.offline():
        if world.channel.features.notes:
            with pytest.raises(Retriable):
                world.channel.post_note(note(number))
        if world.channel.features.mark_shipped:
            with pytest.raises(Retriable):
                world.channel.mark_shipped(OrderRef(number, "e-1"))
    assert world.received(number) == []
    assert not world.shipped(number)


# ------------------------------------------------------------------------------- listings


def test_stock_is_set_and_read_back(world: World) -> None:
    needs(world, "push_stock")
    items = list(world.channel.list_items())
    assert items
    world.channel.push_stock([StockPush(i.item_id, i.variant_id, 41) for i in items])
    assert {world.stock(i.item_id, i.variant_id) for i in items} == {41}
    assert {i.quantity for i in world.channel.list_items()} == {41}


def test_a_listing_that_does_not_exist_is_named(world: World) -> None:
    needs(world, "push_stock")
    good = next(iter(world.channel.list_items()))
    with pytest.raises(Rejected, match=world.missing):
        world.channel.push_stock(
            [StockPush(good.item_id, good.variant_id, 7), StockPush(world.missing, "", 7)]
        )


def test_a_listing_goes_off_the_shelf_and_back(world: World) -> None:
    needs(world, "shelf")
    for item in list(world.channel.list_items()):
        for on in (False, True):
            world.channel.set_shelf(item.item_id, item.variant_id, on=on)
            seen = {(i.item_id, i.variant_id): i.on_shelf for i in world.channel.list_items()}
            assert seen[item.item_id, item.variant_id] is on
