"""Stock held for unpaid orders at the gates: others wait for it, the order itself gets it."""

from __future__ import annotations

from typing import Any

from kmtool.domain.states import OrderStatus
from kmtool.operations import keys, products
from kmtool.operations.deliver import deliver
from kmtool.operations.doctor import doctor
from kmtool.shop import Shop
from tests.fakes import order
from tests.operations.delivery_kit import broken, keys_at, line, pull, tick
from tests.operations.stock import shelf

AT = 1_795_305_600_000


def unpaid(number: str, quantity: int, **more: Any) -> Any:
    return order(number, status=OrderStatus.UNPAID, quantity=quantity, **more)


def paid(number: str, quantity: int, at_ms: int = AT + 1_000) -> Any:
    return order(number, quantity=quantity, amount=1000 * quantity, revision_ms=at_ms)


def states(shop: Shop) -> list[str]:
    rows = shop.db.all("SELECT state FROM stock_holds ORDER BY id")
    return [row["state"] for row in rows]


def test_others_wait_for_what_is_held_and_get_it_when_its_time_is_over(shop: Shop) -> None:
    shelf(shop, n=3)
    pull(shop, unpaid("A1", 2))
    pull(shop, paid("B1", 2))
    assert deliver(shop).held == {"stock": 1}
    assert keys_at("B1") == set()
    tick(shop, 900_000)
    assert deliver(shop).delivered == 1
    assert (len(keys_at("B1")), states(shop)) == (2, ["expired"])
    assert broken(shop) == []


def test_who_held_stock_gets_it_however_many_came_after(shop: Shop) -> None:
    shelf(shop, n=5)
    pull(shop, unpaid("Z9", 3))
    pull(shop, paid("B1", 2), paid("B2", 1), paid("B3", 1), paid("Z9", 3, AT + 2_000))
    assert deliver(shop).held["stock"] in {1, 2}
    assert len(keys_at("Z9")) == 3
    assert sum(len(keys_at(name)) for name in ("B1", "B2", "B3")) == 2
    assert states(shop) == ["claimed"]
    assert shop.db.value("SELECT held FROM stock") == 0
    assert broken(shop) == []


def test_a_hold_of_fewer_pieces_than_are_bought_in_the_end_still_helps(shop: Shop) -> None:
    shelf(shop, n=4)
    pull(shop, unpaid("A1", 2), unpaid("A2", 1))
    pull(shop, paid("A1", 3))
    assert deliver(shop).delivered == 1
    assert len(keys_at("A1")) == 3
    assert sorted(states(shop)) == ["claimed", "held"]


def test_keys_that_vanish_leave_paid_lines_waiting_not_stuck(shop: Shop) -> None:
    """Two paid lines whose stock was voided: the older has it, the other waits for more."""
    shelf(shop, n=2)
    pull(shop, unpaid("A1", 1), unpaid("A2", 1))
    pull(shop, paid("A1", 1), paid("A2", 1))
    with shop.db.tx():
        shop.db.run("UPDATE keys SET state = 'void' WHERE line_no = 2")
        shop.db.run("UPDATE stock SET free = 1")
    done = deliver(shop)
    assert (done.delivered, done.held) == (1, {"stock": 1})
    assert sorted(states(shop)) == ["claimed", "dropped"]
    shelf(shop, n=1, prefix="KEY-more")
    assert deliver(shop).delivered == 1
    assert broken(shop) == []


def test_a_refund_before_delivery_gives_the_hold_back(shop: Shop) -> None:
    shelf(shop, n=1)
    pull(shop, unpaid("A1", 1))
    pull(shop, order("A1", status=OrderStatus.CLOSED, revision_ms=AT + 1_000), paid("B1", 1))
    assert deliver(shop).delivered == 1
    assert len(keys_at("B1")) == 1
    assert line(shop, "A1")["state"] == "cancelled"


def test_holds_for_nothing_and_for_too_long_are_found(shop: Shop) -> None:
    shelf(shop, n=5)
    pull(shop, unpaid("A1", 2))
    with shop.db.tx():
        shop.db.run("UPDATE lines SET state = 'closed'")
    wrong = {check.name: check for check in doctor(shop).checks if not check.ok}
    assert "still holds 2 of S1" in wrong["held_for_waiting"].figure
    doctor(shop, fix=True)
    assert "held_for_waiting" not in {c.name for c in doctor(shop).checks if not c.ok}
    assert states(shop) == ["dropped"]


def test_what_is_held_is_shown_beside_what_is_free(shop: Shop) -> None:
    shelf(shop, n=5)
    pull(shop, unpaid("A1", 2))
    assert (products.show(shop, "S1").free, products.show(shop, "S1").held) == (5, 2)
    assert [(row.free, row.held) for row in keys.stock(shop).products] == [(5, 2)]
    fields = products.Fields(buffer=1, shelf_floor=3)
    changed = products.change(shop, "S1", fields)
    assert (changed.buffer, changed.shelf_floor) == (1, 3)
