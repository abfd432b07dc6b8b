"""Top-ups where the send journal was lost, cut, or from before it named purchases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.demo_shop import DemoShop
from kmtool.domain.states import RefundState
from kmtool.errors import Refused
from kmtool.operations import purchase_records, restore
from kmtool.operations.deliver import deliver
from kmtool.operations.order_changes import redeliver
from kmtool.operations.reserve import reserve_due
from kmtool.shop import Shop
from tests.operations.delivery_kit import broken, line, pull
from tests.operations.import_kit import balances
from tests.operations.test_restore import back, saved
from tests.operations.test_restore import dump_tools as dump_tools
from tests.operations.topups.kit import PHONE, bought, refunded, settled, wish
from tests.operations.topups.test_set_back import (
    SORTS,
    Opener,
    must_be_charged_once,
    refused_once,
)
from tests.operations.topups.test_set_back import opener as opener
from tests.operations.topups.test_set_back import sort as sort
from tests.operations.topups.test_set_back import supplier as supplier


def lost(shop: Shop) -> None:
    """Journal and home file are gone with the machine."""
    path = shop.journal.path
    for gone in path.parent.glob(f"{path.stem}*"):
        gone.unlink()


@pytest.mark.parametrize("sort", SORTS, indirect=True)
@pytest.mark.parametrize("far", ["unknown", "planned", "tried", "refused"])
def test_without_a_journal_all_that_was_ordered_before_is_asked_about(
    shop: Shop, lab: DemoShop, opener: Opener, sort: str, far: str
) -> None:
    file = saved(shop)
    pull(shop, wish())
    if far == "planned":
        reserve_due(shop)
        file = saved(shop)
    if far == "tried":
        with lab.offline():
            deliver(shop)
        file = saved(shop)
    if far == "refused":
        refused_once(shop, lab)
    settled(shop, 25 if far == "tried" else 2)
    before = bought(shop)[-1]
    assert len(lab.supply.orders) == 1
    lost(shop)
    assert not back(shop, file, opener).settled.journal
    with opener(shop.config) as again:
        if far in {"unknown", "refused"}:
            pull(again, wish())
        if sort == "asked":
            must_be_charged_once(again, lab, sort, before["our_no"])
        elif far != "refused":
            must_be_charged_once(again, lab, "neither", before["our_no"])
        else:
            settled(again, 4)
            assert line(again)["state"] == "human" and len(lab.supply.orders) == 1
        later = replace(wish("A2"), created_ms=again.now_ms() + 3_600_000)
        pull(again, later)
        settled(again, 2)
        assert line(again, "A2")["state"] == "delivered", "what came later is bought at once"


@pytest.mark.parametrize("was", ["charged", "not"])
@pytest.mark.parametrize("known", ["no order", "planned"])
def test_a_refund_calls_nothing_off_that_may_have_been_charged_before(
    shop: Shop, lab: DemoShop, opener: Opener, known: str, was: str
) -> None:
    """Seed 900013: it was planned again, a refund came before the supplier was asked, and nobody
    asked any more: an account was charged that the books did not know."""
    if known == "planned":
        pull(shop, wish())
        reserve_due(shop)
    file = saved(shop)
    if was == "charged":
        pull(shop, wish())
        settled(shop, 2)
    charged = 980 if was == "charged" else 0
    lost(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        if known == "no order":
            pull(again, wish())
            reserve_due(again)
        pull(again, refunded(again, RefundState.FULL))
        settled(again, 14)
        assert lab.supply.charged(PHONE) == (1 if charged else 0)
        assert line(again)["state"] == "refund_case"
        assert balances(again).get("cost:topup", 0) == charged and broken(again) == []


@pytest.mark.parametrize("sort", ["neither"], indirect=True)
@pytest.mark.parametrize("was", ["at a person", "asked before"])
def test_who_was_to_look_for_one_number_is_to_look_for_all_of_them(
    shop: Shop, lab: DemoShop, opener: Opener, sort: str, was: str
) -> None:
    """Seed 806413: the question of before was taken for the new one, so it was repeated under its
    number, while the account had been charged under the next one."""
    if was == "asked before":  # and set back once before, without the journal too
        file = saved(shop)
        pull(shop, wish())
        lost(shop)
        back(shop, file, opener)
    with opener(shop.config) as first:
        if was == "at a person":
            lab.fail("place", "closed_before")
        pull(first, wish())
        settled(first, 4)
        assert line(first)["state"] == "human" and lab.supply.orders == {}
        file = saved(first)
        purchase_records.settle_charged(first, "A1", "nothing there", 0)
        redeliver(first, "A1")
        settled(first, 2)
        assert lab.supply.charged(PHONE) == 1 and line(first)["state"] == "delivered"
    lost(shop)
    assert not back(shop, file, opener).settled.journal
    with opener(shop.config) as again:
        settled(again, 2)
        assert "look there for all of them" in line(again)["reason"]
        for name in ("", "1"):
            with pytest.raises(Refused, match="look there first"):
                redeliver(again, "A1", name)
        purchase_records.settle_charged(again, "A1", "seen there", 980)
        settled(again, 4)
        assert lab.supply.charged(PHONE) == 1 and line(again)["state"] == "delivered"
        assert balances(again)["cost:topup"] == 980 and broken(again) == []


def test_a_journal_that_was_deleted_names_what_was_bought_again(
    shop: Shop, lab: DemoShop, opener: Opener
) -> None:
    file = saved(shop)
    pull(shop, wish())
    settled(shop, 2)
    (before,) = bought(shop)
    shop.journal.path.write_bytes(b"")
    deliver(shop)
    (entry,) = shop.journal.read()
    assert (entry.kind, entry.order, entry.generation) == ("BUY", "A1", 1)
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, wish())
        must_be_charged_once(again, lab, "asked", before["our_no"])


def test_what_was_bought_before_the_journal_named_it_is_named_at_the_next_start(
    shop: Shop, lab: DemoShop, opener: Opener
) -> None:
    file = saved(shop)
    pull(shop, wish())
    settled(shop, 2)
    (before,) = bought(shop)
    shop.journal.path.unlink()
    shop.db.run("DELETE FROM meta WHERE name LIKE 'journal_%'")
    shop.db.run("UPDATE sessions SET journalled = 0")
    deliver(shop)
    assert [one.kind for one in shop.journal.read()] == ["BUY"]
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, wish())
        must_be_charged_once(again, lab, "asked", before["our_no"])


def test_a_purchase_of_which_only_a_replay_told_is_named_again(
    shop: Shop, lab: DemoShop, opener: Opener
) -> None:
    """Seed 1000747: set back twice, and the journal deleted in between: charged twice."""
    file = saved(shop)
    pull(shop, wish())
    settled(shop, 2)
    (before,) = bought(shop)
    back(shop, file, opener)
    shop.journal.path.write_bytes(b"")
    with opener(shop.config) as mended:
        deliver(mended)
        assert [one.kind for one in mended.journal.read()] == ["BUY"]
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, wish())
        must_be_charged_once(again, lab, "asked", before["our_no"])


def test_a_drill_sees_that_the_journal_does_not_name_what_was_bought(
    shop: Shop, opener: Opener
) -> None:
    """On PostgreSQL, where each machine has its own journal, an empty one passed for whole."""
    pull(shop, wish())
    settled(shop, 2)
    saved(shop)
    assert restore.drill(shop, opener).settled.journal
    shop.journal.path.write_bytes(b"")
    assert not restore.drill(shop, opener).settled.journal


@pytest.mark.parametrize("sort", ["neither", "replays", "refuses"], indirect=True)
@pytest.mark.parametrize("then", ["bought", "refused"])
def test_who_looked_for_all_numbers_is_not_asked_about_the_next_one(
    shop: Shop, lab: DemoShop, opener: Opener, sort: str, then: str
) -> None:
    """Every new number «may have been charged» again, without end: the top-up was never bought."""
    file = saved(shop)
    pull(shop, wish())
    lost(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, wish())
        settled(again, 4)
        reason = line(again)["reason"]
        assert line(again)["state"] == "human" and bought(again)[0]["our_no"] in reason
        assert "or under a later number" in reason
        purchase_records.settle_charged(again, "A1", "looked: nothing there", 0)
        if then == "refused":
            redeliver(again, "A1")
            refused_once(again, lab)
        else:
            redeliver(again, "A1")
        settled(again, 4)
        assert line(again)["state"] == "delivered" and lab.supply.charged(PHONE) == 1
        assert broken(again) == []


@pytest.mark.parametrize("sort", ["asked"], indirect=True)
def test_a_supplier_that_can_be_asked_is_asked_whatever_a_person_said(
    shop: Shop, lab: DemoShop, opener: Opener, sort: str
) -> None:
    """A person's word about one number must not stand for the next one, which was charged."""
    file = saved(shop)
    pull(shop, wish())
    refused_once(shop, lab)
    settled(shop, 2)
    before = bought(shop)[-1]
    assert before["generation"] == 2 and before["state"] == "done"
    lost(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, wish())
        with lab.offline():
            deliver(again)
        purchase_records.settle_charged(again, "A1", "that number is not there", 0)
        redeliver(again, "A1")
        must_be_charged_once(again, lab, sort, before["our_no"])
