"""Rounds that are no effect of an order, through the same faults: what they leave, and what mends.

Pulling, reading again before a send, stock figures, the shelf, and telling the owner.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kmtool.operations import alerts
from kmtool.operations import shelf as guard
from kmtool.operations.stock_push import push_stock
from kmtool.operations.sync import ChannelResult, sync_channel
from kmtool.store import orders
from tests.faults.rules import HTTP, SMTP, Means, Phase
from tests.faults.stands import GRACE_MS, Stand, stand
from tests.faults.walks import some

ROUTES = ["woocommerce", "demo"]
EVERY = 1_000_000


@pytest.fixture(params=ROUTES)
def found(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stand]:
    extra = 'reread_after = "1s"' if "read_again" in request.node.name else 'reread_after = "100d"'
    with stand(request.param, tmp_path, deliver=extra, channel="shelf = true") as one:
        yield one


def figure(there: Stand) -> int:
    if there.route == "woocommerce":
        return int(there.platform.products[int(there.item)]["stock_quantity"])
    return int(there.platform.stock(there.item))


def is_on(there: Stand) -> bool:
    if there.route == "woocommerce":
        return bool(there.platform.products[int(there.item)]["status"] == "publish")
    return bool(there.platform.items[there.item, ""].on)


def keep_back(there: Stand, n: int) -> None:
    """Change what may be sold by keeping some pieces back."""
    with there.shop.db.tx():
        there.shop.db.run("UPDATE products SET buffer = :n", n=n)


def pulled(there: Stand) -> ChannelResult:
    there.tick(5_000)
    return sync_channel(there.shop, "shop1")


def test_a_pull_that_goes_wrong_keeps_its_place(found: Stand) -> None:
    for phase in some(HTTP, 1):
        pulled(found)
        before = orders.cursor(found.shop.db, "shop1")
        number = found.add()
        found.tick(5_000)
        with found.failing(phase):
            told = sync_channel(found.shop, "shop1")
        assert told.error, phase.name
        assert orders.cursor(found.shop.db, "shop1") == before, phase.name
        again = pulled(found)
        assert (again.error, again.orders_new) == ("", 1), phase.name
        assert found.row("SELECT id FROM orders WHERE number = :n", n=number)


def test_nothing_leaves_when_the_order_cannot_be_read_again(found: Stand) -> None:
    numbers: dict[Phase, str] = {phase: found.add() for phase in some(HTTP, 2)}
    found.pull()
    found.tick(5_000)
    for phase, number in numbers.items():
        with found.failing(phase):
            found.go([number])
        assert found.effect(number, "hand_over")[:3] == ("reserved", "retry_at", None), phase.name
        assert found.received(number) == []
    found.tick(GRACE_MS)
    found.go()
    for phase, number in numbers.items():
        assert found.effect(number, "hand_over")[0] == "delivered", phase.name
        assert len(found.received(number)) == 1, phase.name


def test_a_stock_figure_that_may_be_lost_is_told_again(found: Stand) -> None:
    for n, phase in enumerate(some(HTTP, 3), 1):
        keep_back(found, n)
        synced = pulled(found)
        before = figure(found)
        with found.failing(phase):
            told = push_stock(found.shop, synced)
        assert (told.pushed, told.failed) == (0, 1), phase.name
        assert (figure(found) != before) is phase.acted, phase.name
        assert push_stock(found.shop, pulled(found)).pushed == 1, phase.name
        assert figure(found) == 200 - n, phase.name
        assert push_stock(found.shop, pulled(found)).pushed == 0, phase.name


def test_a_listing_ends_where_its_stock_wants_it(found: Stand) -> None:
    for n, phase in enumerate(some(HTTP, 4)):
        goes_off = n % 2 == 0
        keep_back(found, EVERY if goes_off else 0)
        synced = pulled(found)
        with found.failing(phase, 1):
            told = guard.guard(found.shop, synced)
        unclear = phase.write is Means.UNKNOWN
        assert (told.unclear, told.failed) == (int(unclear), int(not unclear)), phase.name
        for _ in range(2):
            found.tick(guard.AGAIN_MS)
            assert guard.guard(found.shop, pulled(found)).error == ""
        assert is_on(found) is not goes_off, phase.name
        rows = found.shop.db.all("SELECT state FROM shelf_moves WHERE state IN ('open', 'unknown')")
        assert rows == [], phase.name


def test_a_shelf_that_cannot_be_read_is_left_alone(found: Stand) -> None:
    keep_back(found, EVERY)
    for phase in some(HTTP, 5):
        synced = pulled(found)
        with found.failing(phase):
            told = guard.guard(found.shop, synced)
        assert (told.taken_off, told.failed) == (0, 1), phase.name
        assert told.error and is_on(found), phase.name


def test_an_alert_is_told_until_the_owner_has_it(tmp_path: Path) -> None:
    with stand("email", tmp_path) as found:
        assert found.inbox is not None
        for phase in some([p for p in SMTP if not p.name.startswith(("starttls", "auth"))], 0):
            alerts.raise_alert(found.shop, "needs_you", phase.name, f"alert-{phase.name}.")
            before = len(found.inbox.texts)
            with found.failing(phase):
                sent, failed, _ = alerts.tell(found.shop)
            done = phase.write is Means.DONE
            assert (sent, failed) == (int(done), int(not done)), phase.name
            assert len(found.inbox.texts) - before == int(phase.acted), phase.name
            assert alerts.tell(found.shop)[:2] == (int(not done), 0), phase.name
            assert found.inbox.has(f"alert-{phase.name}.")
