"""A delivery day set back to a past point: the buyers are asked at its end (bench/restore.py)."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace as changed
from io import RawIOBase

import pytest

from bench import restore as restoring
from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.config import Config
from kmtool.domain.ids import OrderId, SessionId
from kmtool.errors import Broken, Locked
from kmtool.journal import Journal
from kmtool.operations import doctor, sender
from kmtool.operations import restore as operation
from kmtool.operations.deliver import deliver, deliver_all
from kmtool.operations.order_replace import ReplaceWish, replace
from kmtool.ports import LineFact
from kmtool.shop import Shop
from kmtool.store import deliveries
from tests.fakes import order
from tests.operations.delivery_kit import broken, keys_at, line, outside, pull, run_on, states, tick
from tests.operations.import_kit import bring
from tests.operations.stock import shelf
from tests.operations.test_restore import Opener, back, saved, told
from tests.operations.test_restore import dump_tools as dump_tools


@pytest.fixture
def opener(clock: ManualClock) -> Opener:
    return lambda config: open_shop(config, clock=clock)


@pytest.mark.parametrize("how", restoring.HOWS)
def test_nothing_is_sold_twice_or_forgotten(how: str) -> None:
    found = restoring.run(2, 77, (how,))
    assert found.wrong == []
    assert found.points[how] == 2 and found.keys > 50
    assert found.bound_again > 0, "the point was no past one: this would prove nothing"


def test_a_replacement_that_waited_in_the_copy_is_the_one_that_was_sent_since(
    shop: Shop, opener: Opener
) -> None:
    """Seed 54: in the copy the line waited for a key; the one sent since lay beside it."""
    shelf(shop, n=2)
    pull(shop, order("A1", quantity=2, amount=2000))
    deliver(shop)
    bad = str(shop.db.value("SELECT min(tail) FROM keys"))
    assert replace(shop, "A1", ReplaceWish(reason="dead", key=bad)).waiting == 1
    file = saved(shop)
    bring(shop, "KEY-MORE-01\nKEY-MORE-02\n")
    deliver(shop)
    before = told("A1")
    back(shop, file, opener)
    with opener(shop.config) as again:
        bring(again, "KEY-MORE-01\nKEY-MORE-02\n")
        run_on(again)
        assert line(again)["state"] == "delivered"
        assert told("A1") == before and len(before["A1"]) == 3
        assert states(again) == {"delivered": 2, "defective": 1, "free": 1}
        assert broken(again) == []


def test_a_message_whose_record_broke_off_goes_out_whole_after_a_restore(
    shop: Shop, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed 98: the power went while its records were written; one key of two was sent."""
    shelf(shop, n=4)
    pull(shop, order("A1", quantity=2, amount=2000))
    file = saved(shop)

    def half(self: Journal, file: RawIOBase, data: bytes) -> None:
        file.write(data[: len(data) * 2 // 3])
        raise OSError(5, "the power is gone")

    with monkeypatch.context() as torn:
        torn.setattr(Journal, "_put", half)
        with pytest.raises(Broken):
            deliver(shop)
    assert keys_at("A1") == set() and shop.journal.count() == 1
    back(shop, file, opener)
    with opener(shop.config) as again:
        run_on(again)
        assert len(keys_at("A1")) == 2 and states(again) == {"delivered": 2, "free": 2}
        assert broken(again) == []


def test_a_replacement_that_was_bound_in_the_copy_is_asked_about_before_it_is_sent_again(
    shop: Shop, opener: Opener
) -> None:
    """Seed 10: it had arrived after the backup, and came a second time."""
    shelf(shop, n=3)
    pull(shop, order("A1"))
    deliver(shop)
    replace(shop, "A1", ReplaceWish(reason="dead", all_keys=True))
    file = saved(shop)
    deliver(shop)
    assert len(outside().received["A1"]) == 2
    back(shop, file, opener)
    with opener(shop.config) as again:
        run_on(again)
        assert len(outside().received["A1"]) == 2
        assert line(again)["state"] == "delivered" and broken(again) == []
        assert states(again) == {"delivered": 1, "defective": 1, "free": 1}


def test_a_fenced_off_sender_that_wakes_after_a_restore_pulls_without_harm(
    shop: Shop, opener: Opener
) -> None:
    """Seed 137: its session is not in this database."""
    shelf(shop, n=2)
    file = saved(shop)
    pull(shop, order("A1"))
    deliver(shop)
    before = told("A1")
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(changed(again, session=SessionId(99)), order("A1"))
        run_on(again)
        assert told("A1") == before and broken(again) == []


@pytest.mark.parametrize("same", [True, False])
def test_a_message_that_was_tried_again_since_the_copy_is_asked_about(
    shop: Shop, opener: Opener, *, same: bool
) -> None:
    """Seeds 344, 409, 1000294: its first try had failed before the copy, the second had arrived.
    Seed 1001391: of its lines only the first was asked about."""
    shelf(shop, n=2)
    ones = tuple(LineFact(n, "i1", "", "t", 1, 1000) for n in ("1", "2"))
    pull(shop, order("A1", lines=ones, amount=2000))
    outside().faults += ["down"]
    with sender.sending(shop, "run") if same else nullcontext(shop) as mine:
        go_on = deliver_all if same else deliver
        go_on(mine)
        file = saved(shop)
        for _ in range(3):
            tick(shop, 130_000)
            go_on(mine)
    assert len(outside().received["A1"]) == 1
    back(shop, file, opener)
    with opener(shop.config) as again:
        run_on(again)
        assert len(outside().received["A1"]) == 1
        assert {line(again, line_no=n)["state"] for n in ("1", "2")} == {"delivered"}
        assert broken(again) == []


def test_nobody_takes_over_from_a_restore_that_stands_still(
    shop: Shop, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed 490: what the other one sent meanwhile was on record in the old database only, under
    the session number that the replay had taken for itself."""
    shelf(shop, n=3)
    pull(shop, order("A1"))
    deliver(shop)
    file = saved(shop)
    pull(shop, order("A2"))
    put_back = operation._put_back

    def standing(config: Config, copy: Shop) -> None:
        with opener(shop.config) as other:
            with pytest.raises(Locked, match="being restored"):
                sender.take_over(other)
            with pytest.raises(Locked), sender.sending(other, "run"):
                pytest.fail("it may send")
        put_back(config, copy)

    monkeypatch.setattr(operation, "_put_back", standing)
    back(shop, file, opener)
    with opener(shop.config) as again:
        assert keys_at("A2") == set()
        pull(again, order("A2"))
        run_on(again)
        assert len(keys_at("A2")) == 1 and line(again, "A2")["state"] == "delivered"
        assert doctor.journal_check(again).ok and broken(again) == []


def test_other_stock_is_no_replacement_for_one_that_was_sent(shop: Shop, opener: Opener) -> None:
    """Its file is not here yet; another file came in first."""
    shelf(shop, n=2)
    pull(shop, order("A1", quantity=2, amount=2000))
    deliver(shop)
    bad = str(shop.db.value("SELECT min(tail) FROM keys"))
    assert replace(shop, "A1", ReplaceWish(reason="dead", key=bad)).waiting == 1
    file = saved(shop)
    bring(shop, "KEY-MORE-01\nKEY-MORE-02\n")
    deliver(shop)
    before = told("A1")
    back(shop, file, opener)
    with opener(shop.config) as again:
        bring(again, "KEY-OTHER-01\nKEY-OTHER-02\n")
        run_on(again)
        assert told("A1") == before and line(again)["state"] == "human"
        bring(again, "KEY-MORE-01\nKEY-MORE-02\n")
        run_on(again)
        assert told("A1") == before and line(again)["state"] == "delivered"
        assert broken(again) == []


def test_what_was_replayed_once_is_asked_about_once(shop: Shop, opener: Opener) -> None:
    shelf(shop, n=2)
    file = saved(shop)
    pull(shop, order("A1"))
    outside().faults += ["unknown"]
    deliver(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, order("A1"))
        deliver(again)
        tries = again.db.value("SELECT tries FROM effects")
        for _ in range(3):
            operation.replay_here(again)
        assert again.db.value("SELECT tries FROM effects") == tries


def test_no_message_gets_a_number_that_was_used_since_the_copy(shop: Shop, opener: Opener) -> None:
    """Seed 1000020: a key that was sent since was bound without a parcel, its number given anew."""
    shelf(shop, n=3)
    pull(shop, order("A1"))
    deliver(shop)
    file = saved(shop)
    replace(shop, "A1", ReplaceWish(reason="dead", all_keys=True))
    deliver(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        run_on(again)
        order_id = OrderId(again.db.value("SELECT id FROM orders WHERE number = 'A1'"))
        assert deliveries.next_parcels(again.db, [order_id]) == {order_id: 3}


def test_keys_sent_since_in_place_of_delivered_ones_are_not_beside_them(
    shop: Shop, opener: Opener
) -> None:
    """Seed 1000737: a key was replaced twice since the copy; its line held four of two keys."""
    shelf(shop, n=4)
    pull(shop, order("A1", quantity=2, amount=2000))
    deliver(shop)
    file = saved(shop)
    for nth in (0, 2):
        tails = [row["tail"] for row in shop.db.all("SELECT tail FROM keys ORDER BY id")]
        replace(shop, "A1", ReplaceWish(reason="dead", key=str(tails[nth])))
        deliver(shop)
    before = keys_at("A1")
    assert len(before) == 4
    back(shop, file, opener)
    with opener(shop.config) as again:
        run_on(again)
        assert line(again)["state"] == "delivered"
        assert states(again) == {"delivered": 2, "defective": 2}
        assert keys_at("A1") == before and broken(again) == []


def test_a_key_sent_since_for_a_delivered_one_may_lie_in_a_file_that_is_brought_in_later(
    shop: Shop, opener: Opener
) -> None:
    """Seed 6000399: its line waited for the file, and then held three of two keys."""
    shelf(shop, n=2)
    pull(shop, order("A1", quantity=2, amount=2000))
    deliver(shop)
    file = saved(shop)
    bring(shop, "KEY-S1-09000\n")
    replace(shop, "A1", ReplaceWish(reason="dead", key="0001"))
    deliver(shop)
    before = keys_at("A1")
    assert len(before) == 3
    back(shop, file, opener)
    with opener(shop.config) as again:
        run_on(again)
        assert line(again)["state"] == "human"
        bring(again, "KEY-S1-09000\n")
        run_on(again)
        assert line(again)["state"] == "delivered"
        assert states(again) == {"delivered": 2, "defective": 1}
        assert keys_at("A1") == before and broken(again) == []
