"""Stock kept back for orders that are not paid yet: placed, followed, ended, never beyond stock."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.config import load
from kmtool.domain.ids import OrderId
from kmtool.domain.states import OrderStatus, RefundState
from kmtool.operations import holds
from kmtool.operations.doctor import doctor
from kmtool.operations.facts import gather
from kmtool.operations.order_refund import decide
from kmtool.operations.refund_records import Answer, Decision
from kmtool.operations.sync import sync_channel
from kmtool.shop import Shop
from kmtool.store import holds as store
from tests.fakes import order
from tests.operations.delivery_kit import line, lines, pull, tick
from tests.operations.stock import shelf

AT = 1_795_305_600_000
UNPAID = OrderStatus.UNPAID
MINUTES_15 = 900_000


def unpaid(number: str = "A1", **more: Any) -> Any:
    return order(number, status=UNPAID, **more)


def paid(number: str = "A1", at_ms: int = AT + 1_000, **more: Any) -> Any:
    return order(number, **{"revision_ms": at_ms, **more})


def held(shop: Shop, sku: str = "S1") -> int:
    """Return the counter; it must be the sum of the live holds and no more than is free."""
    row = shop.db.one("SELECT free, held FROM stock WHERE sku = :s", s=sku)
    assert row is not None
    live = sum(
        h["n"] for h in all_holds(shop) if h["sku"] == sku and h["state"] in {"held", "paid"}
    )
    assert row["held"] == live
    return int(row["held"])


def all_holds(shop: Shop) -> list[dict[str, Any]]:
    return shop.db.all("SELECT * FROM stock_holds ORDER BY id")


def states(shop: Shop) -> list[str]:
    return [hold["state"] for hold in all_holds(shop)]


def left(shop: Shop, number: str) -> int:
    """Return how many free keys the line of an order may take."""
    row = line(shop, number)
    facts = gather(shop, [row["order_id"]])
    return facts.pieces_possible({**row, "needed": 1})


def test_an_unpaid_order_keeps_its_pieces_from_others(shop: Shop) -> None:
    shelf(shop, n=5)
    pull(shop, unpaid("A1", quantity=3), paid("B1", AT))
    assert held(shop) == 3
    assert left(shop, "A1") == 4 + 1  # all that is free and not held by others
    assert left(shop, "B1") == 2


def test_payment_keeps_the_hold_until_the_keys_are_taken(shop: Shop) -> None:
    shelf(shop, n=5)
    pull(shop, unpaid(quantity=2))
    pull(shop, paid(quantity=2))
    assert states(shop) == ["paid"]
    tick(shop, 10 * MINUTES_15)
    assert holds.sweep(shop) == 0, "time never ends the hold of a paid line"
    assert held(shop) == 2
    with shop.db.tx():
        store.claim(shop.db, [line(shop)["id"]], shop.now_ms())
    assert (states(shop), held(shop)) == (["claimed"], 0)


def test_an_order_that_is_not_paid_in_time_gives_its_pieces_back(shop: Shop) -> None:
    shelf(shop, n=5)
    pull(shop, unpaid(quantity=2), paid("B1", AT))
    tick(shop, MINUTES_15)
    assert left(shop, "B1") == 5, "at look time already"
    assert holds.sweep(shop) == 1
    assert (states(shop), held(shop)) == (["expired"], 0)
    pull(shop, unpaid(quantity=2, revision_ms=AT + 2_000_000))
    assert states(shop) == ["expired"], "one hold in a line's life"


def test_time_counts_from_the_creation_of_the_order(shop: Shop) -> None:
    shelf(shop, n=5)
    tick(shop, 600_000)
    pull(shop, unpaid("A1", revision_ms=AT + 590_000))
    assert all_holds(shop)[0]["expires_ms"] == AT + MINUTES_15
    tick(shop, 600_000)
    pull(shop, unpaid("A2", revision_ms=AT + 1_190_000))
    assert len(all_holds(shop)) == 1, "an old unpaid order holds nothing"


def test_no_more_is_held_than_there_is_and_a_line_is_held_whole(shop: Shop) -> None:
    shelf(shop, n=5)
    pull(shop, unpaid("A1", quantity=3), unpaid("A2", quantity=3), unpaid("A3", quantity=2))
    assert held(shop) == 5
    assert {h["n"] for h in all_holds(shop)} == {3, 2}


def test_what_a_paid_line_waits_for_is_not_held_by_an_unpaid_one(shop: Shop) -> None:
    shelf(shop, n=5)
    pull(shop, unpaid("A1", quantity=3), paid("B1", AT, quantity=4))
    assert held(shop) == 0
    assert left(shop, "B1") == 5


def test_a_bundle_holds_all_its_parts_or_none(shop: Shop) -> None:
    shelf(shop, "S1", n=5, item=None)
    shelf(shop, "S2", n=2, item=None)
    with shop.db.tx():
        shop.db.run(
            "INSERT INTO products (sku, title, kind, state, currency, buffer, guide, created_ms)"
            " VALUES ('B1', 'bundle', 'bundle', 'on', 'CNY', 0, '', 1)"
        )
        shop.db.run("INSERT INTO bundle_items VALUES ('B1', 'S1', 2), ('B1', 'S2', 1)")
        shop.db.run(
            "INSERT INTO listings (channel, item_id, variant_id, title, sku, units, state)"
            " VALUES ('shop1', 'b1', '', '', 'B1', 1, 'on')"
        )
    pull(shop, unpaid("A1", item="b1", quantity=2))
    pull(shop, unpaid("A2", item="b1"))
    assert (held(shop, "S1"), held(shop, "S2")) == (4, 2)


@pytest.mark.parametrize(
    "change",
    [
        {"status": OrderStatus.CLOSED},
        {"status": OrderStatus.SHIPPED},
        {"refund": RefundState.FULL, "status": OrderStatus.CLOSED},
        {"refund": RefundState.OPEN, "status": OrderStatus.PAID},
    ],
)
def test_closed_shipped_and_refunded_orders_drop_their_hold(
    change: dict[str, Any], shop: Shop
) -> None:
    shelf(shop, n=5)
    pull(shop, unpaid(quantity=2))
    pull(shop, replace(paid(quantity=2), **change))
    assert (states(shop), held(shop)) == (["dropped"], 0)


def test_a_hold_follows_the_lines(shop: Shop) -> None:
    shelf(shop, "S1", n=5)
    shelf(shop, "S2", n=5, item="i2")
    both = lines(("i1", 2), ("i2", 1))
    pull(shop, unpaid(lines=both))
    assert (held(shop, "S1"), held(shop, "S2")) == (2, 1)
    pull(shop, unpaid(lines=lines(("i1", 4)), revision_ms=AT + 1000))
    assert (held(shop, "S1"), held(shop, "S2")) == (4, 0)
    pull(shop, unpaid(lines=lines(("i1", 9)), revision_ms=AT + 2000))
    assert held(shop, "S1") == 4, "what is not there is not held; what was stays"
    pull(shop, paid(lines=lines(("i1", 1)), at_ms=AT + 3000))
    assert (held(shop, "S1"), states(shop)) == (1, ["paid", "dropped"])


def test_an_order_that_is_unpaid_again_has_its_old_time(shop: Shop) -> None:
    shelf(shop, n=5)
    pull(shop, unpaid())
    pull(shop, paid())
    pull(shop, unpaid(revision_ms=AT + 2_000))
    assert states(shop) == ["held"]
    tick(shop, MINUTES_15)
    assert holds.sweep(shop) == 1


def test_a_clock_that_jumps_frees_no_paid_line_and_keeps_no_unpaid_one(
    shop: Shop, clock: ManualClock
) -> None:
    shelf(shop, n=5)
    pull(shop, unpaid("A1"), unpaid("A2"))
    pull(shop, paid("A2"))
    clock.advance(-86_400_000)
    assert holds.sweep(shop) == 1, "a hold from a time to come would last for a day"
    assert sorted(states(shop)) == ["expired", "paid"]
    clock.advance(10 * 86_400_000)
    assert holds.sweep(shop) == 0
    assert held(shop) == 1


def test_keys_that_vanish_take_the_newest_holds_along(shop: Shop) -> None:
    shelf(shop, n=5)
    pull(shop, unpaid("A1", quantity=2))
    pull(shop, unpaid("A2", quantity=2))
    with shop.db.tx():
        shop.db.run("UPDATE keys SET state = 'void' WHERE line_no <= 2")
        shop.db.run("UPDATE stock SET free = 3 WHERE sku = 'S1'")
    assert holds.sweep(shop) == 1
    assert [h["state"] for h in all_holds(shop)] == ["held", "dropped"]
    assert held(shop) == 2


def test_holds_can_be_switched_off_and_set_per_channel(make_config: Any, shop: Shop) -> None:
    def with_settings(text: str) -> Shop:
        return replace(shop, config=make_config(text))

    shelf(shop, n=5)
    off = with_settings('[sync]\nhold_unpaid = "0"')
    pull(off, unpaid("A1"))
    assert all_holds(shop) == []
    own = with_settings('hold_unpaid = "1h"\n[sync]\nhold_unpaid = "0"')
    pull(own, unpaid("A2"))
    assert all_holds(shop)[0]["expires_ms"] == AT + 3_600_000


def test_the_doctor_counts_holds_and_mends_a_counter(shop: Shop) -> None:
    shelf(shop, n=5)
    pull(shop, unpaid(quantity=2))
    with shop.db.tx():
        shop.db.run("UPDATE stock SET held = 3 WHERE sku = 'S1'")
    wrong = [check for check in doctor(shop).checks if not check.ok]
    assert "held_counter" in {check.name for check in wrong}
    assert any("S1" in told for told in doctor(shop, fix=True).fixed)
    assert held(shop) == 2


def test_payment_and_the_end_of_time_race_to_one_outcome(database: str | Path, shop: Shop) -> None:
    """Both look at the same hold at the same moment; whoever is second finds it moved."""
    if not isinstance(database, str):
        pytest.skip("SQLite has one writer: nothing runs side by side")
    shelf(shop, n=20)
    pull(shop, *(unpaid(f"A{n}") for n in range(20)))
    for n in range(20):
        fact = paid(f"A{n}", AT + 10_000)
        shop_world_orders()[fact.number] = fact
    tick(shop, MINUTES_15)
    config, failed = load(shop.config.path), []

    def run(work: Any) -> None:
        try:
            with open_shop(config, clock=shop.clock) as own:
                work(own)
        except Exception as error:  # noqa: BLE001  (shown by the main thread)
            failed.append(error)

    def pay(own: Shop) -> None:
        assert not sync_channel(own, "shop1", since_ms=AT - 60_000).error

    threads = [threading.Thread(target=run, args=(w,)) for w in (pay, holds.sweep)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert set(states(shop)) <= {"paid", "expired"}
    assert held(shop) == states(shop).count("paid")


def test_side_by_side_no_more_is_held_than_is_free(database: str | Path, shop: Shop) -> None:
    if not isinstance(database, str):
        pytest.skip("SQLite has one writer: nothing runs side by side")
    shelf(shop, n=10)
    pull(shop, *(paid(f"A{n}", AT, item="x") for n in range(30)))  # orders without holds
    with shop.db.tx():
        shop.db.run("UPDATE orders SET status = 'unpaid'")
        shop.db.run("UPDATE lines SET sku = 'S1', needed = 1, state = 'new'")
    ids = [OrderId(row["id"]) for row in shop.db.all("SELECT id FROM orders ORDER BY id")]
    config, failed = load(shop.config.path), []

    def place(part: list[OrderId]) -> None:
        try:
            with open_shop(config, clock=shop.clock) as own:
                for order_id in part:
                    with own.db.tx():
                        holds.place(own, "shop1", {order_id: False})
        except Exception as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=place, args=(ids[n::3],)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert held(shop) == 10


def shop_world_orders() -> Any:
    from tests.fakes import world

    return world().orders


def test_a_paid_line_that_ends_without_keys_gives_its_pieces_back(shop: Shop) -> None:
    """Refunded elsewhere, before any key was bound: nothing else would ever end its hold."""
    shelf(shop, n=2)
    pull(shop, unpaid(quantity=2))
    pull(shop, paid(quantity=2), paid("A2", at_ms=AT + 2_000))
    assert (held(shop), states(shop), left(shop, "A2")) == (2, ["paid"], 0)
    decide(shop, "A1", Decision(Answer.RECORD))
    holds.sweep(shop)
    assert (held(shop), states(shop), left(shop, "A2")) == (0, ["dropped"], 2)
    assert holds.sweep(shop) == 0


def test_an_unpaid_order_that_grows_takes_nothing_a_paid_line_waits_for(shop: Shop) -> None:
    shelf(shop, n=3)
    pull(shop, unpaid(quantity=1))
    pull(shop, paid("A2", quantity=2, at_ms=AT + 2_000))
    pull(shop, unpaid(quantity=3, revision_ms=AT + 3_000))
    assert (held(shop), left(shop, "A2")) == (1, 2)
