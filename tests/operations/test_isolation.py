"""One channel's, one template's or one order's trouble stays its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.domain.secret import Secret
from kmtool.errors import Broken
from kmtool.operations.deliver import deliver
from kmtool.operations.order_why import why
from kmtool.operations.pack import parcel_label
from kmtool.operations.reserve import reserve_due
from kmtool.operations.sync import sync
from kmtool.shop import Shop
from kmtool.store import templates
from tests.fakes import order, world
from tests.operations.delivery_kit import START, broken, effects, line, pull, states, tick
from tests.operations.stock import shelf

AT = START + 1000
SECOND = """
[channels.shop2]
adapter = "tests.fakes"
mode = "auto"
couriers = ["tests.fakes"]
"""


@pytest.fixture
def two(make_config: Any, clock: ManualClock) -> Iterator[Shop]:
    """A shop with two channels that sell the same product."""
    config = make_config(SECOND)
    create_shop(config, clock)
    with open_shop(config, clock=clock) as opened:
        shelf(opened, n=10)
        shelf(opened, n=1, channel="shop2", prefix="KEY-more")
        clock.advance(10_000)
        yield opened


def reopened(shop: Shop, clock: ManualClock, **channels: str) -> Any:
    """Open the same shop anew, so that adapters are built anew."""
    for name, trouble in channels.items():
        world(name).broken = trouble
    return open_shop(shop.config, clock=clock)


def test_a_channel_whose_adapter_cannot_be_built_does_not_stop_the_others(
    two: Shop, clock: ManualClock
) -> None:
    pull(two, order("A1", at_ms=AT))
    pull(two, order("B1", at_ms=AT), channel="shop2")
    with reopened(two, clock, shop2="token is no token") as shop:
        result = sync(shop)
        assert [bool(c.error) for c in result.channels] == [False, True]
        assert "token is no token" in result.channels[1].error
        told = deliver(shop)
        assert (told.delivered, told.held) == (1, {"route": 1})
        gate = why(shop, "B1").lines[0]
        assert "token is no token" in gate.answer
        assert gate.command == "kmtool channel test shop2"
    with reopened(two, clock, shop2="") as shop:
        assert deliver(shop).delivered == 1


def test_what_is_due_on_a_broken_route_waits_and_goes_later(two: Shop, clock: ManualClock) -> None:
    pull(two, order("A1", at_ms=AT))
    pull(two, order("B1", at_ms=AT), channel="shop2")
    reserve_due(two)
    with reopened(two, clock, shop2="no credentials") as shop:
        told = deliver(shop)
        assert (told.delivered, told.failed) == (1, 1)
        assert "no credentials" in told.notes[0]
    clock.advance(300_000)
    with reopened(two, clock, shop2="") as shop:
        assert deliver(shop).delivered == 1
        assert broken(shop) == []


def test_an_unclear_try_on_a_broken_route_is_asked_about_later(
    two: Shop, clock: ManualClock
) -> None:
    pull(two, order("B1", at_ms=AT), channel="shop2")
    world("shop2").faults = ["lost"]
    deliver(two)
    clock.advance(3_000)
    with reopened(two, clock, shop2="no credentials") as shop:
        assert deliver(shop).failed == 1
    clock.advance(300_000)
    with reopened(two, clock, shop2="") as shop:
        assert deliver(shop).delivered == 1
    assert len(world("shop2").received["B1"]) == 1


def test_a_channel_that_left_the_configuration_asks_a_person(
    two: Shop, clock: ManualClock, make_config: Any
) -> None:
    pull(two, order("B1", at_ms=AT), order("B2", at_ms=AT), channel="shop2")
    reserve_due(two, [dict(two.db.one("SELECT * FROM orders WHERE number = 'B1'") or {})])
    with open_shop(make_config(), clock=clock) as shop:
        told = deliver(shop)
        assert (told.needs_you, told.held) == (1, {"route": 1})
        assert line(shop, "B1")["state"] == "human"
        assert "[channels.shop2]" in line(shop, "B1")["reason"]
        assert line(shop, "B2")["state"] == "held"


def test_a_template_that_does_not_render_holds_only_its_orders(shop: Shop) -> None:
    shelf(shop, n=10)
    shelf(shop, "S2", item="i2")
    with shop.db.tx():
        templates.put(shop.db, "message", "", "S2", "zh_CN", "{{ no_such }}", shop.now_ms())
    pull(shop, order("A1", at_ms=AT), order("A2", item="i2", at_ms=AT), order("A3", at_ms=AT))
    told = deliver(shop)
    assert (told.delivered, told.held) == (2, {"route": 1})
    assert states(shop) == {"delivered": 2, "free": 13}
    found = why(shop, "A2").lines[0]
    assert "does not render" in found.answer
    assert found.command == "kmtool deliver A2"
    with shop.db.tx():
        text = (
            "{% for line in lines %}{% for key in line['keys'] %}{{ key }}{% endfor %}{% endfor %}"
        )
        templates.put(shop.db, "message", "", "S2", "zh_CN", text, shop.now_ms())
    assert deliver(shop).delivered == 1
    assert broken(shop) == []


def test_a_key_that_does_not_open_holds_only_its_order(shop: Shop) -> None:
    shelf(shop, n=1)
    shelf(shop, "S2", item="i2")
    with shop.db.tx():
        sealed, _ = shop.vault.seal(Secret("other"), b"other")
        shop.db.run("UPDATE keys SET sealed = :s WHERE sku = 'S1'", s=sealed)
    pull(shop, order("A1", at_ms=AT), order("A2", item="i2", at_ms=AT))
    told = deliver(shop)
    assert (told.delivered, told.held) == (1, {"route": 1})
    assert "does not open" in line(shop)["reason"]


def test_a_sealed_text_that_was_changed_goes_to_a_person(shop: Shop) -> None:
    shelf(shop)
    pull(shop, order("A1", at_ms=AT), order("A2", at_ms=AT))
    reserve_due(shop)
    with shop.db.tx():
        sealed, _ = shop.vault.seal(Secret("other"), b"other")
        first = "SELECT id FROM orders WHERE number = 'A1'"
        shop.db.run(f"UPDATE parcels SET sealed = :s WHERE order_id = ({first})", s=sealed)
    told = deliver(shop)
    assert told.delivered == 1
    assert line(shop)["state"] == "human"


def test_a_text_without_the_keys_that_are_bound_is_never_sent(shop: Shop) -> None:
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    reserve_due(shop)
    row = shop.db.one("SELECT * FROM orders")
    assert row is not None
    body = Secret('{"subject": "", "text": "KEY-S1-99999"}')
    with shop.db.tx():
        sealed, _ = shop.vault.seal(body, parcel_label(row, 1))
        shop.db.run("UPDATE parcels SET sealed = :s", s=sealed)
    assert deliver(shop).delivered == 0
    assert (line(shop)["state"], world().received) == ("human", {})


def test_a_courier_that_refuses_the_address_holds_the_order(shop: Shop) -> None:
    shelf(shop)
    world().refuse_address = "the order has no e-mail address"
    pull(shop, order("A1", at_ms=AT))
    assert deliver(shop).held == {"route": 1}
    assert states(shop) == {"free": 5}
    assert why(shop, "A1").lines[0].command == "kmtool order show A1"
    world().refuse_address = ""
    assert deliver(shop).delivered == 1


def test_a_bug_in_an_adapter_is_an_unclear_try_not_a_crash(shop: Shop, clock: ManualClock) -> None:
    shelf(shop)
    world().faults = ["bug"]
    pull(shop, order("A1", at_ms=AT))
    assert deliver(shop).unknown == 1
    clock.advance(130_000)
    assert deliver(shop).delivered == 1
    assert len(world().received["A1"]) == 1


def test_an_expired_login_is_tried_again(shop: Shop, clock: ManualClock) -> None:
    shelf(shop)
    world().faults = ["login"]
    pull(shop, order("A1", at_ms=AT))
    assert deliver(shop).failed == 1
    clock.advance(60_000)
    assert deliver(shop).delivered == 1


def test_an_order_the_channel_forgot_waits_then_asks_a_person(
    shop: Shop, clock: ManualClock
) -> None:
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    world().orders.clear()
    clock.advance(60_000)
    assert (deliver(shop).failed, line(shop)["state"]) == (1, "reserved")
    clock.advance(4_000_000)
    assert deliver(shop).needs_you == 1
    assert "does not know this order" in line(shop)["reason"]


def test_a_journal_that_cannot_be_written_sends_nothing(
    shop: Shop, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> bool:
        raise OSError(28, "No space left on device")

    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    with monkeypatch.context() as patch:
        patch.setattr(type(shop.journal), "_torn", full)
        with pytest.raises(Broken, match="nothing was sent"):
            deliver(shop)
    assert world().received == {}
    assert line(shop)["state"] == "unknown"
    clock.advance(130_000)
    assert deliver(shop).delivered == 1
    # The next start makes the journal whole: the first try may have been seen, for all it knows.
    entries = list(shop.journal.read())
    assert [entry.kind for entry in entries] == ["SEND", "SEND"]
    assert len({entry.fingerprint for entry in entries}) == 1


def test_a_journal_that_cannot_be_read_sends_nothing(shop: Shop) -> None:
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    shop.journal.path.unlink(missing_ok=True)
    shop.journal.path.mkdir(parents=True)
    with pytest.raises(Broken, match="nothing is sent"):
        deliver(shop)
    assert world().received == {}
    shop.journal.path.rmdir()
    assert deliver(shop).delivered == 1


def test_a_full_disk_sends_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil
    from types import SimpleNamespace

    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=199_000_000))
    with pytest.raises(Broken, match="199 MB are free"):
        deliver(shop)
    assert (world().received, states(shop)["free"]) == ({}, 4)


def test_many_that_may_not_leave_do_not_hide_one_that_may(shop: Shop) -> None:
    shelf(shop, n=300)
    for n in range(6):
        rows = [order(f"A{n}-{i}", at_ms=AT + n) for i in range(20)]
        pull(shop, *rows)
    with shop.db.tx():
        shop.db.run("UPDATE orders SET buyer_ref = number")
    reserve_due(shop)
    with shop.db.tx():
        shop.db.run("UPDATE orders SET hold_reason = 'x' WHERE number <> 'A5-19'")
    assert deliver(shop).delivered == 1
    assert effects(shop)[0]["state"] == "retry_at"
    tick(shop, 1)
