"""Pulling: frozen, lagged, overlapping windows; the cursor; facts in order; hostile texts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kmtool.clock import ManualClock
from kmtool.domain.states import RefundState
from kmtool.errors import NotFound, Retriable
from kmtool.operations import routes
from kmtool.operations.ingest import ingest
from kmtool.operations.sync import sync, sync_channel
from kmtool.ports import Buyer, LineFact, RefundFact
from kmtool.shop import Shop
from kmtool.store import orders
from tests.fakes import FEATURES, Outside, order, world
from tests.operations.delivery_kit import START, line, pull

AT = START + 1000


@pytest.fixture
def outside(shop: Shop, clock: ManualClock) -> Outside:
    clock.advance(10_000)
    return world("shop1")


def fact_of(shop: Shop, number: str = "A1") -> dict[str, object]:
    row = orders.find(shop.db, "shop1", number)
    assert row is not None
    return row


def test_the_first_window_reaches_back_and_lags_behind(
    shop: Shop, outside: Outside, clock: ManualClock
) -> None:
    sync(shop)
    first, last = outside.windows[0], outside.windows[-1]
    assert last.to_ms == clock.now_ms() - FEATURES.lag_ms
    assert first.from_ms == last.to_ms - shop.config.sync.first_ms
    assert all(w.to_ms - w.from_ms <= FEATURES.window_max_ms for w in outside.windows)
    joined = zip(outside.windows, outside.windows[1:], strict=False)
    assert all(a.to_ms == b.from_ms for a, b in joined)


def test_windows_overlap_and_the_cursor_never_goes_back(
    shop: Shop, outside: Outside, clock: ManualClock
) -> None:
    cursor = sync(shop).channels[0].cursor_ms
    assert cursor == clock.now_ms() - FEATURES.lag_ms
    outside.windows.clear()
    clock.advance(10_000)
    sync(shop)
    assert [w.from_ms for w in outside.windows] == [cursor - FEATURES.overlap_ms]
    after = orders.cursor(shop.db, "shop1")
    sync(shop, since_ms=START - 86_400_000)
    assert orders.cursor(shop.db, "shop1") == after


def test_a_page_that_fails_leaves_the_cursor_and_keeps_what_came(
    shop: Shop, outside: Outside, clock: ManualClock
) -> None:
    sync(shop)
    before = orders.cursor(shop.db, "shop1")
    for n in range(4):
        outside.orders[f"A{n}"] = order(f"A{n}", at_ms=clock.now_ms())
    clock.advance(10_000)
    outside.pages_fail = 2
    result = sync(shop).channels[0]
    assert (result.orders_new, result.error_code) == (2, "KM-E701")
    assert orders.cursor(shop.db, "shop1") == before
    result = sync(shop).channels[0]
    assert (result.orders_new, result.error) == (2, "")
    assert orders.cursor(shop.db, "shop1") == clock.now_ms() - FEATURES.lag_ms


def test_a_pull_of_nothing_new_changes_nothing(shop: Shop, outside: Outside) -> None:
    pull(shop, order("A1", at_ms=AT))
    result = sync(shop).channels[0]
    assert (result.orders_new, result.orders_changed, result.refunds) == (0, 0, 0)
    assert shop.db.value("SELECT count(*) FROM facts") == 1


def test_newer_facts_are_applied_and_older_ones_kept_aside(shop: Shop, outside: Outside) -> None:
    fact = order("A1", at_ms=AT)
    pull(shop, replace(fact, note="second", revision_ms=AT + 2000))
    with shop.db.tx():
        assert not ingest(shop, "shop1", replace(fact, note="first")).changed
    assert fact_of(shop)["note"] == "second"
    rows = shop.db.all("SELECT applied FROM facts ORDER BY id")
    assert [row["applied"] for row in rows] == [1, 0]


def test_an_equal_revision_with_other_content_is_applied(shop: Shop, outside: Outside) -> None:
    fact = order("A1", at_ms=AT)
    pull(shop, fact)
    with shop.db.tx():
        assert ingest(shop, "shop1", replace(fact, refund=RefundState.OPEN)).changed
    assert fact_of(shop)["refund"] == "open"


def test_of_two_answers_of_one_revision_the_later_question_counts(
    shop: Shop, outside: Outside, clock: ManualClock
) -> None:
    """A page asked for before the refund arrives after the refund was read."""
    fact = order("A1", at_ms=AT)
    pull(shop, fact)
    asked = clock.now_ms() + 1_000
    clock.advance(5_000)
    with shop.db.tx():
        ingest(shop, "shop1", replace(fact, refund=RefundState.OPEN), read_ms=clock.now_ms())
        stale = replace(fact, note="as it was")
        assert not ingest(shop, "shop1", stale, read_ms=asked).changed
    assert fact_of(shop)["refund"] == "open"


def test_an_old_answer_does_not_make_facts_look_fresh(
    shop: Shop, outside: Outside, clock: ManualClock
) -> None:
    pull(shop, replace(order("A1", at_ms=AT), revision_ms=AT + 2000))
    read = fact_of(shop)["facts_ms"]
    clock.advance(60_000)
    with shop.db.tx():
        ingest(shop, "shop1", order("A1", at_ms=AT))
    assert fact_of(shop)["facts_ms"] == read


def test_refunds_are_counted_once_and_updated(shop: Shop, outside: Outside) -> None:
    fact = order("A1", at_ms=AT)
    one = RefundFact("R1", 400, "open", AT)
    opened = replace(fact, refund=RefundState.OPEN, refunds=(one,), revision_ms=AT + 1)
    outside.orders["A1"] = opened
    assert sync(shop).channels[0].refunds == 1
    done = replace(one, state="done")
    outside.orders["A1"] = replace(
        opened, refund=RefundState.PARTIAL, refunds=(done,), revision_ms=AT + 2
    )
    assert sync(shop).channels[0].refunds == 1
    assert sync(shop).channels[0].refunds == 0
    assert fact_of(shop)["refunded_minor"] == 400


def test_what_cannot_be_read_is_told_and_kept_in_the_audit(shop: Shop, outside: Outside) -> None:
    outside.rejects = ("order 17: cannot be read",)
    result = sync_channel(shop, "shop1")
    assert set(result.rejects) == {"order 17: cannot be read"}
    told = shop.db.value("SELECT detail FROM audit WHERE action = 'order_not_read' LIMIT 1")
    assert told == "order 17: cannot be read"


def test_hostile_texts_do_not_stop_a_pull(shop: Shop, outside: Outside) -> None:
    bad = "x\x00y\x1b[2J\x9b1m\ud800z"
    hostile = order(
        "A1",
        at_ms=AT,
        lines=(LineFact("1", "i1", "", bad, 1, 1000, account=bad),),
        note=bad,
    )
    hostile = replace(hostile, buyer=Buyer(bad, bad, bad, bad), risk=bad, ext_txn_id=bad)
    pull(shop, hostile, order("A2", at_ms=AT))
    row = fact_of(shop)
    assert row["buyer_name"] == row["buyer_email"] == row["note"] == "xy[2J1mz"
    assert line(shop)["title"] == "xy[2J1mz"
    assert fact_of(shop, "A2")["number"] == "A2"


def test_an_unknown_channel_is_named(shop: Shop) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        sync(shop, ["nowhere"])


def test_a_rehearsal_keeps_nothing(shop: Shop, outside: Outside) -> None:
    outside.orders["A1"] = order("A1", at_ms=AT)
    with shop.db.rehearsal():
        assert sync(shop).channels[0].orders_new == 1
    assert orders.find(shop.db, "shop1", "A1") is None
    assert orders.cursor(shop.db, "shop1") is None


def test_since_a_later_day_does_not_skip_the_days_before(
    shop: Shop, outside: Outside, clock: ManualClock
) -> None:
    day = 86_400_000
    sync(shop)
    clock.advance(5 * day)
    outside.orders["A1"] = order("A1", at_ms=clock.now_ms() - 3 * day)
    sync(shop, since_ms=clock.now_ms() - day)
    assert orders.find(shop.db, "shop1", "A1") is None
    sync(shop)
    assert orders.find(shop.db, "shop1", "A1") is not None


def test_a_channel_that_is_reached_late_is_read_from_when_it_was_first_tried(
    shop: Shop, outside: Outside, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer away than the first look back: what was paid meanwhile is not skipped."""
    outside.orders["A1"] = order("A1", at_ms=clock.now_ms())

    def away(*_more: object) -> None:
        raise Retriable(detail="connection refused")

    with monkeypatch.context() as down:
        down.setattr(routes, "pages", away)
        assert sync_channel(shop, "shop1").error
    clock.advance(2 * shop.config.sync.first_ms)
    sync(shop)
    assert fact_of(shop)["number"] == "A1"
