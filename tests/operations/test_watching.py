"""Watch mode: nothing leaves, and what would have is compared with what really happened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.config import load
from kmtool.domain.states import OrderStatus, RefundState
from kmtool.errors import NotFound
from kmtool.operations import watching
from kmtool.operations.deliver import deliver
from kmtool.operations.watching import DAY_MS, Report, report
from kmtool.shop import Shop
from tests.fakes import order
from tests.operations.delivery_kit import broken, keys_at, line, lines, pull, states, tick
from tests.operations.stock import shelf

SHIPPED = OrderStatus.SHIPPED


@pytest.fixture
def shop(make_config: Any, clock: ManualClock) -> Iterator[Shop]:
    """A shop whose only channel is on watch, with five keys."""
    config = make_config()
    text = config.path.read_text(encoding="utf-8").replace('mode = "auto"', 'mode = "watch"')
    config.path.write_text(text, encoding="utf-8")
    config = load(config.path)
    create_shop(config, clock)
    with open_shop(config, clock=clock) as opened:
        shelf(opened)
        clock.advance(10_000)
        yield opened


def at(shop: Shop, number: str, status: OrderStatus = OrderStatus.PAID, **more: Any) -> None:
    """Let the channel say something of an order now."""
    pull(shop, order(number, status=status, revision_ms=shop.now_ms(), **more))


def watched(shop: Shop) -> list[tuple[str, str, str]]:
    rows = shop.db.all(
        "SELECT o.number, w.verdict, w.gate FROM watched w JOIN orders o ON o.id = w.order_id"
        " ORDER BY o.number"
    )
    return [(row["number"], row["verdict"], row["gate"]) for row in rows]


def kinds(told: Report) -> dict[str, int]:
    return {one.kind: one.lines for one in told.figures}


def test_a_watched_line_gets_its_verdict_once_and_nothing_leaves(shop: Shop) -> None:
    at(shop, "A1")
    at(shop, "A2", item="nowhere")
    assert watched(shop) == [("A1", "send", ""), ("A2", "hold", "mapped")]
    for _ in range(2):
        assert deliver(shop).delivered == 0
    assert (states(shop), keys_at("A1")) == ({"free": 5}, set())
    assert watched(shop) == [("A1", "send", ""), ("A2", "hold", "mapped")]
    assert broken(shop) == []


def test_what_would_have_left_counts_against_stock_and_brakes(shop: Shop) -> None:
    for n in range(7):
        at(shop, f"A{n}", lines=lines(("i1", 1)))
    sent = [row for row in watched(shop) if row[1] == "send"]
    assert len(sent) == 5, "five keys lie there, however often nothing was taken"
    assert [row[2] for row in watched(shop)][5:] == ["stock", "stock"]
    shelf_more = shelf(shop, "S2", 40, item="i2")
    assert len(shelf_more) == 40
    at(shop, "B1", lines=lines(("i2", 6)))
    assert watched(shop)[-1] == ("B1", "hold", "burst"), "this buyer has ten in the hour"


def test_a_held_line_is_judged_again_until_it_would_go(shop: Shop) -> None:
    at(shop, "A1", lines=lines(("i1", 6)))
    assert watched(shop) == [("A1", "hold", "stock")]
    shelf(shop, "S9", 1, item=None)
    shop.db.run("UPDATE keys SET sku = 'S1' WHERE sku = 'S9'")
    shop.db.run("UPDATE stock SET free = CASE sku WHEN 'S1' THEN 6 ELSE 0 END")
    tick(shop, 60_000)
    deliver(shop)
    assert watched(shop) == [("A1", "send", "")]


def test_a_line_that_others_shipped_is_over_whatever_the_mode_becomes(shop: Shop) -> None:
    at(shop, "A1", SHIPPED)
    assert watched(shop) == [("A1", "send", "")], "judged as it was before it was shipped"
    found = line(shop, "A1")
    assert (found["state"], found["reason"]) == ("closed", watching.ELSEWHERE)
    at(shop, "A2")
    at(shop, "A2", SHIPPED)
    assert line(shop, "A2")["state"] == "closed"
    text = shop.config.path.read_text(encoding="utf-8").replace('"watch"', '"auto"')
    shop.config.path.write_text(text, encoding="utf-8")
    with open_shop(load(shop.config.path), clock=shop.clock) as trusted:
        assert deliver(trusted).delivered == 0
    assert (keys_at("A1") | keys_at("A2"), states(shop)) == (set(), {"free": 5})
    assert broken(shop) == []


def test_the_report_tells_every_kind_apart(shop: Shop) -> None:
    at(shop, "same", SHIPPED)
    at(shop, "held", SHIPPED, amount=1)
    at(shop, "none", item="nowhere")
    at(shop, "back")
    at(shop, "back", refund=RefundState.FULL)
    at(shop, "left")
    tick(shop, DAY_MS + 60_000)
    at(shop, "soon")
    told = report(shop, "shop1", 14)
    assert kinds(told) == {
        "same": 1, "held": 1, "unmapped": 1, "refunded": 1, "unshipped": 1, "waiting": 1,
    }  # fmt: skip
    assert [(one.kind, one.order) for one in told.differences] == [
        ("unmapped", "none"), ("held", "held"), ("unshipped", "left"), ("refunded", "back"),
    ]  # fmt: skip
    assert told.differences[1].gate == "price"
    assert (told.lines, told.orders) == (6, 6)
    assert (told.justified, told.command) == ("watch", "kmtool product unmapped")
    assert str(told.sentence).startswith("Keep watching: 5 of 10")
    assert report(shop, "shop1", 1).lines == 1, "older ones are out of sight"


def test_no_differences_justify_ask_and_days_of_them_auto(shop: Shop) -> None:
    shop.db.run("UPDATE stock SET free = 0")
    shop.db.run("DELETE FROM keys")
    shelf(shop, "S2", 120, item="i2")
    for n in range(12):
        at(shop, f"A{n}", SHIPPED, item="i2")
        tick(shop, 3_600_000)
    told = report(shop, "shop1", 14)
    assert (told.justified, told.command) == ("ask", "kmtool channel set shop1 --mode ask")
    for n in range(45):
        at(shop, f"B{n}", SHIPPED, item="i2")
        tick(shop, 3_600_000 * 2)
    told = report(shop, "shop1", 14)
    assert (told.justified, told.command) == ("auto", "kmtool channel set shop1 --mode auto")
    assert "none differs" in told.sentence
    for n in range(6):
        at(shop, f"C{n}", SHIPPED, item="nowhere")
    assert report(shop, "shop1", 14).justified == "watch"


def test_a_channel_without_watching_says_so(shop: Shop) -> None:
    told = report(shop, "shop1", 14)
    assert (told.lines, told.figures, told.justified) == (0, (), "watch")
    with pytest.raises(NotFound):
        report(shop, "none", 14)
