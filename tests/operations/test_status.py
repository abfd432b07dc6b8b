"""The morning screen: the figures of the day, one command per item, within 80 × 24."""

from __future__ import annotations

import pytest

from kmtool.cli.blocks import Heading, Line, Table, width
from kmtool.cli.status import COLUMNS, screen
from kmtool.clock import ManualClock
from kmtool.domain.states import OrderStatus, RefundState
from kmtool.operations import house
from kmtool.operations.deliver import deliver
from kmtool.operations.status import Money, NeedsYou, quoted, status
from kmtool.operations.sync import sync
from kmtool.operations.waiting_elsewhere import EACH_MAX
from kmtool.ports import RefundFact
from kmtool.shop import Shop
from kmtool.store import ledger
from tests.fakes import order, world
from tests.operations.stock import shelf

START = 1_795_305_600_000
DAY_MS = 86_400_000


def pull(shop: Shop, clock: ManualClock, *facts: object) -> None:
    for fact in facts:
        world().orders[fact.number] = fact  # type: ignore[attr-defined]
    clock.advance(15_000)
    sync(shop)


def commands(shop: Shop) -> dict[str, NeedsYou]:
    return {item.command: item for item in status(shop).needs_you}


def text_of(shop: Shop) -> list[str]:
    found = []
    for block in screen(status(shop)):
        assert not isinstance(block, Table)
        assert isinstance(block, Heading | Line)
        found.append(block.text)
    return found


def test_the_day_counts_what_was_paid_delivered_and_waits(shop: Shop, clock: ManualClock) -> None:
    shelf(shop, n=20)
    pull(
        shop, clock, order("A1", at_ms=START + 1), order("A2", amount=2500, at_ms=START + 2),
        order("A3", item="nobody-knows", at_ms=START + 3),
    )  # fmt: skip
    deliver(shop)
    day = status(shop).day
    assert (day.orders, day.delivered, day.waiting) == (3, 2, 1)
    assert day.net == (Money(4500, "CNY"),)
    clock.advance(DAY_MS)
    day = status(shop).day
    assert (day.orders, day.delivered, day.waiting, day.net) == (0, 0, 1, ())


def test_a_refund_lowers_the_net(shop: Shop, clock: ManualClock) -> None:
    shelf(shop, n=20)
    pull(shop, clock, order("A1", at_ms=START + 1))
    deliver(shop)
    back = RefundFact("R1", 1000, "done", START + 20_000)
    fact = order("A1", at_ms=START + 1, revision_ms=START + 20_000, refund=RefundState.FULL,
                 refunds=(back,))  # fmt: skip
    pull(shop, clock, fact)
    found = status(shop)
    assert found.day.net == (Money(0, "CNY"),)
    assert commands(shop)["kmtool order refund A1"].what == "refund after delivery 退款"


def test_orders_short_of_one_product_are_one_item(shop: Shop, clock: ManualClock) -> None:
    shelf(shop, n=0)
    pull(shop, clock, *(order(f"A{n}", quantity=2, at_ms=START + n) for n in range(3)))
    deliver(shop)
    item = commands(shop)["kmtool import FILE --sku S1"]
    assert item.what == "S1 is short: 6 keys for 3 orders"
    assert (item.amount_minor, item.currency, item.orders) == (3000, "CNY", 3)
    assert item.since_ms is not None
    assert status(shop).day.waiting == 3
    assert len([c for c in commands(shop) if "S1" in c]) == 1


@pytest.mark.parametrize(
    ("fact", "command"),
    [
        (order("A1", amount=1, at_ms=START + 1), "kmtool order release A1"),
        (order("A1", item="i9", at_ms=START + 1), "kmtool product map shop1 i9 SKU"),
        (order("A1", risk="fraud", at_ms=START + 1), "kmtool order release A1"),
        (order("A1", status=OrderStatus.SHIPPED, at_ms=START + 1), "kmtool order close A1"),
        (order("A1", refund=RefundState.OPEN, at_ms=START + 1), "kmtool order refund A1"),
        (order("-x y", risk="fraud", at_ms=START + 1), 'kmtool order release "-x y"'),
    ],
)
def test_what_is_held_names_the_command_that_settles_it(
    shop: Shop, clock: ManualClock, fact: object, command: str
) -> None:
    shelf(shop, n=20)
    pull(shop, clock, fact)
    deliver(shop)
    assert list(commands(shop)) == [command]


def test_a_refused_hand_over_needs_you_first(shop: Shop, clock: ManualClock) -> None:
    shelf(shop, n=20)
    pull(shop, clock, order("A0", item="i9", at_ms=START + 1))
    deliver(shop)
    world().faults = ["rejected"]
    pull(shop, clock, order("A1", at_ms=START + 20_000))
    deliver(shop)
    first = status(shop).needs_you[0]
    assert first.command == "kmtool order redeliver A1"
    assert first.what.startswith("needs you 要你处理: ")


def test_an_unclear_outcome_is_told_but_asks_nobody(shop: Shop, clock: ManualClock) -> None:
    shelf(shop, n=20)
    world().faults = ["lost"]
    pull(shop, clock, order("A1", at_ms=START + 1))
    deliver(shop)
    assert list(commands(shop)) == ["kmtool deliver"]
    assert status(shop).day.waiting == 0


def test_a_pause_is_one_item_and_stands_on_the_screen(shop: Shop, clock: ManualClock) -> None:
    shelf(shop, n=20)
    house.pause(shop, "all", "lunch")
    pull(shop, clock, order("A1", at_ms=START + 1), order("A2", at_ms=START + 2))
    deliver(shop)
    assert commands(shop)["kmtool resume all"].what == "all is paused: 2 orders"
    assert "Paused: all (lunch)" in text_of(shop)


def test_low_stock_runs_out_but_waits_for_nobody(shop: Shop) -> None:
    shelf(shop, n=3)
    shelf(shop, "S2", n=30, item=None)
    assert [(one.sku, one.free, one.days) for one in status(shop).runs_out] == [("S1", 3, None)]
    assert "  low: kmtool import FILE --sku S1 (3 left)" in text_of(shop)
    assert commands(shop) == {}


def test_cover_is_counted_from_the_last_fourteen_days(shop: Shop, clock: ManualClock) -> None:
    shelf(shop, n=8)
    pull(shop, clock, *(order(f"A{n}", quantity=2, at_ms=START + n) for n in range(3)))
    deliver(shop)
    (one,) = status(shop).runs_out
    assert (one.sku, one.free, one.sold, one.days) == ("S1", 2, 6, 4.7)
    assert "  4.7 days  S1: 2 left, 6 sold in 14 days" in text_of(shop)
    clock.advance(15 * DAY_MS)
    assert [one.days for one in status(shop).runs_out] == [None], "nothing sold: it is only low"


def test_clearing_balances_are_money_owed(shop: Shop) -> None:
    with shop.db.tx():
        ledger.post(
            shop.db, START, "sale", "1", "",
            [("clearing:alipay", "CNY", 1234), ("income:sales", "CNY", -1234)],
        )  # fmt: skip
    (owed,) = status(shop).owed
    assert (owed.account, owed.amount_minor, owed.currency) == ("alipay", 1234, "CNY")
    assert "Owed by channels: alipay ￥12.34" in text_of(shop)


def test_open_differences_are_told_each_then_by_code(shop: Shop) -> None:
    with shop.db.tx():
        for n in range(EACH_MAX + 3):
            shop.db.run(
                "INSERT INTO exceptions (code, subject, account, state, resolution, amount_minor,"
                " currency, evidence, actor, reason, opened_ms, moved_ms, moves)"
                " VALUES ('MISSING_PAYOUT', :s, 'alipay', 'open', '', 500, 'CNY', '', '', '',"
                " :now, :now, 0)",
                s=f"order:shop1:{n}",
                now=START,
            )
    first = commands(shop)["kmtool recon resolve 1 --reason TEXT"]
    assert (first.what, first.amount_minor) == ("money missing 对账: MISSING_PAYOUT", 500)
    rest = commands(shop)["kmtool recon list --code MISSING_PAYOUT"]
    assert rest.what == "money missing 对账: 3 × MISSING_PAYOUT"
    assert rest.amount_minor == 1500


def test_the_worst_morning_fits_the_screen(shop: Shop, clock: ManualClock) -> None:
    shelf(shop, n=12)
    long_title = "星海通行证三十天国际版自动发货" * 4
    facts = [order(f"2026112200000000{n:03d}", amount=1, at_ms=START + n) for n in range(12)]
    facts += [order(f"B{n}", item=f"x{n}", at_ms=START + n) for n in range(3)]
    facts.append(order("C1", quantity=10, amount=90_000, at_ms=START + 99))
    pull(shop, clock, *facts)
    with shop.db.tx():
        shop.db.run("UPDATE lines SET title = :t, reason = :t", t=long_title)
        for n in range(9):
            ledger.post(
                shop.db, START, "sale", str(n), "",
                [(f"clearing:wallet-{n}", "CNY", 99_999_999), ("income:sales", "CNY", -99_999_999)],
            )  # fmt: skip
    house.pause(shop, "shop1", "x")
    deliver(shop)
    clock.advance(30 * 3_600_000)
    told = text_of(shop)
    assert len(told) <= 23
    assert [line for line in told if width(line) > COLUMNS] == []
    assert len([line for line in told if "kmtool order" in line or "kmtool resume" in line]) <= 7
    assert sum("more: kmtool status --json" in line for line in told) <= 1


def test_a_command_is_never_cut(shop: Shop, clock: ManualClock) -> None:
    shelf(shop, n=20)
    pull(shop, clock, order("1234567890123456789", amount=1, at_ms=START + 1))
    deliver(shop)
    assert any(line.endswith("kmtool order release 1234567890123456789") for line in text_of(shop))


@pytest.mark.parametrize(
    ("name", "typed"),
    [("A-1:2.x", "A-1:2.x"), ("-rf", '"-rf"'), ("a b", '"a b"'), ('a"; rm', '"a; rm"')],
)
def test_a_name_is_told_as_it_has_to_be_typed(name: str, typed: str) -> None:
    assert quoted(name) == typed
