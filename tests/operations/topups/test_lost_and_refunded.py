"""Top-ups after a restore with refunds, changes and words of persons; the journal lost or whole."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.demo_shop import DemoShop
from kmtool.domain.states import Mode, RefundState
from kmtool.errors import Refused
from kmtool.operations import order_close, purchase_records, topup
from kmtool.operations.deliver import deliver
from kmtool.operations.order_changes import hold, redeliver, release
from kmtool.operations.reserve import reserve_due
from kmtool.shop import Shop
from tests.operations.delivery_kit import broken, line, pull, tick
from tests.operations.import_kit import balances
from tests.operations.test_restore import back, saved
from tests.operations.test_restore import dump_tools as dump_tools
from tests.operations.topups.kit import PHONE, bought, refunded, settled, wish
from tests.operations.topups.test_lost_journal import lost
from tests.operations.topups.test_set_back import Opener, must_be_charged_once, refused_once
from tests.operations.topups.test_set_back import opener as opener
from tests.operations.topups.test_set_back import sort as sort
from tests.operations.topups.test_set_back import supplier as supplier

OTHER = "13800138002"


def sold_out(shop: Shop, lab: DemoShop) -> None:
    """The first number is refused; the supplier has the credit again later."""
    pull(shop, wish())
    lab.supply.goods["TEL-10"].left = 0
    deliver(shop)
    assert line(shop)["state"] == "human"
    lab.supply.goods["TEL-10"].left = 5


def waits_for_a_word(shop: Shop, lab: DemoShop) -> Shop:
    """It was tried while the supplier was away, then its channel was set to ask: that shop."""
    pull(shop, wish())
    with lab.offline():
        deliver(shop)
    channels = dict(shop.config.channels)
    channels["shop1"] = replace(channels["shop1"], mode=Mode.ASK)
    asking = replace(shop, config=replace(shop.config, channels=channels))
    tick(shop, 600_000)
    deliver(asking)
    assert line(shop)["state"] == "human" and bought(shop)[0]["state"] == "planned"
    return asking


def changed_while_unclear(shop: Shop, lab: DemoShop) -> None:
    """The supplier's answer was lost, then the order became another one."""
    lab.fail("place", "lost_reply")
    pull(shop, wish())
    deliver(shop)
    assert line(shop)["state"] == "unknown"
    pull(shop, wish(quantity=2, revision_ms=shop.now_ms()))
    assert line(shop)["state"] == "human"


def must_know_its_cost(shop: Shop, lab: DemoShop) -> None:
    """The order comes refunded: a case, charged once, its cost in the books."""
    pull(shop, refunded(shop, RefundState.FULL))
    settled(shop, 14)
    assert line(shop)["state"] == "refund_case" and lab.supply.charged(PHONE) == 1
    assert balances(shop)["cost:topup"] == 980 and broken(shop) == []


def must_stay_changed(shop: Shop) -> None:
    """A person says what it came to: the change is still to be looked at."""
    settled(shop, 4)
    purchase_records.settle_charged(shop, "A1", "seen there", 980)
    settled(shop, 2)
    assert line(shop)["state"] == "human" and "changed at the channel" in line(shop)["reason"]
    assert balances(shop)["cost:topup"] == 980 and broken(shop) == []


@pytest.mark.parametrize("journal", ["lost", "whole"])
def test_a_refund_does_not_end_what_was_charged_under_the_next_number(
    shop: Shop, lab: DemoShop, opener: Opener, journal: str
) -> None:
    """The backup knew of a refusal only: nobody asked for the next number, its cost was missing."""
    sold_out(shop, lab)
    file = saved(shop)
    redeliver(shop, "A1")
    settled(shop, 2)
    if journal == "lost":
        lost(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        must_know_its_cost(again, lab)


@pytest.mark.parametrize("journal", ["lost", "whole"])
@pytest.mark.parametrize("far", ["comes refunded", "ready", "held"])
def test_a_refund_does_not_end_what_had_waited_and_may_have_been_charged(
    shop: Shop, lab: DemoShop, opener: Opener, far: str, journal: str
) -> None:
    """A line that had no purchase yet was called off unasked: its cost was missing."""
    if far != "comes refunded":
        pull(shop, wish())
    if far == "held":
        hold(shop, "A1", "look")
    file = saved(shop)
    pull(shop, wish())
    if far == "held":
        release(shop, "A1")
    settled(shop, 2)
    if journal == "lost":
        lost(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        must_know_its_cost(again, lab)


@pytest.mark.parametrize("journal", ["lost", "whole"])
def test_a_refund_does_not_end_what_was_let_go_since_by_a_word(
    shop: Shop, lab: DemoShop, opener: Opener, journal: str
) -> None:
    """What had waited for a word was called off unasked: its cost was missing."""
    asking = waits_for_a_word(shop, lab)
    file = saved(shop)
    release(asking, "A1")
    settled(asking, 3)
    if journal == "lost":
        lost(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        must_know_its_cost(again, lab)


@pytest.mark.parametrize("sort", ["asked", "neither"], indirect=True)
def test_what_changed_before_anybody_was_asked_is_not_bought_again_unseen(
    shop: Shop, lab: DemoShop, opener: Opener, sort: str
) -> None:
    """A person had it bought again before all numbers were looked for: it was charged twice."""
    pull(shop, wish())
    file = saved(shop)
    refused_once(shop, lab)
    settled(shop, 2)
    lost(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        reserve_due(again)
        assert line(again)["state"] == "unknown"
        pull(again, wish(quantity=2, revision_ms=again.now_ms()))
        assert line(again)["state"] == "human"
        with pytest.raises(Refused, match="look there first"):
            redeliver(again, "A1")
        settled(again, 14)
        assert lab.supply.charged(PHONE) == 1 and broken(again) == []


@pytest.mark.parametrize("journal", ["lost", "whole"])
@pytest.mark.parametrize("sort", ["asked", "neither"], indirect=True)
def test_a_change_is_still_told_of_after_a_person_looked_there(
    shop: Shop, lab: DemoShop, opener: Opener, sort: str, journal: str
) -> None:
    """The change was forgotten over where to look: one piece was delivered where two were due."""
    changed_while_unclear(shop, lab)
    file = saved(shop)
    tick(shop, 60_000)
    if journal == "lost":
        lost(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        must_stay_changed(again)


@pytest.mark.parametrize("sort", ["asked", "neither"], indirect=True)
def test_a_refund_that_is_withdrawn_does_not_have_it_bought_again(
    shop: Shop, lab: DemoShop, opener: Opener, sort: str
) -> None:
    """Who withdraws a refund must not be charged once more under the number of the backup."""
    pull(shop, wish())
    file = saved(shop)
    refused_once(shop, lab)
    settled(shop, 2)
    before = bought(shop)[-1]
    lost(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        reserve_due(again)
        pull(again, refunded(again, RefundState.OPEN))
        assert line(again)["state"] == "refund_case"
        tick(again, 1000)
        pull(again, wish(revision_ms=again.now_ms()))
        must_be_charged_once(again, lab, sort, before["our_no"])


@pytest.mark.parametrize("sort", ["asked", "neither"], indirect=True)
def test_what_may_have_been_charged_cannot_be_closed_by_hand(
    shop: Shop, lab: DemoShop, opener: Opener, sort: str
) -> None:
    """A line that is closed before it is asked about would leave its cost out of the books."""
    file = saved(shop)
    pull(shop, wish())
    refused_once(shop, lab)
    settled(shop, 2)
    before = bought(shop)[-1]
    lost(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, wish())
        reserve_due(again)
        with pytest.raises(Refused, match="nothing of order A1 is waiting"):
            order_close.close(again, "A1", "has it")
        must_be_charged_once(again, lab, sort, before["our_no"])


def test_the_fifth_number_is_found_too(shop: Shop, lab: DemoShop, opener: Opener) -> None:
    """Only three later numbers were asked about: the fifth was charged, and the first again."""
    file = saved(shop)
    pull(shop, wish())
    lab.supply.goods["TEL-10"].left = 0
    deliver(shop)
    for _ in range(3):
        redeliver(shop, "A1")
        deliver(shop)
    lab.supply.goods["TEL-10"].left = 5
    redeliver(shop, "A1")
    settled(shop, 2)
    before = bought(shop)[-1]
    assert before["generation"] == 5
    lost(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, wish())
        must_be_charged_once(again, lab, "asked", before["our_no"])


@pytest.mark.parametrize("named", ["nothing", "one purchase"])
def test_a_backup_from_before_the_loss_is_asked_about_a_second_time_too(
    shop: Shop, lab: DemoShop, opener: Opener, named: str
) -> None:
    """The journal begun after the loss must not pass for whole when the backup is put back again:
    it names nothing of what the lost one named."""
    if named == "one purchase":
        pull(shop, wish("A0", OTHER))
        settled(shop, 2)
    file = saved(shop)
    pull(shop, wish())
    refused_once(shop, lab)
    settled(shop, 2)
    lost(shop)
    assert not back(shop, file, opener).settled.journal
    with opener(shop.config) as first:
        later = replace(wish("A2", OTHER), created_ms=first.now_ms() + 3_600_000)
        pull(first, later)
        settled(first, 2)
        assert line(first, "A2")["state"] == "delivered"
    assert not back(shop, file, opener).settled.journal
    with opener(shop.config) as again:
        pull(again, wish())
        settled(again, 14)
        assert lab.supply.charged(PHONE) == 1 and line(again)["state"] == "delivered"
        assert broken(again) == []


def test_another_account_given_since_does_not_have_it_bought_again(
    shop: Shop, lab: DemoShop, opener: Opener
) -> None:
    """Two accounts must not be charged for one line because the first one was forgotten."""
    pull(shop, wish(account="123"))
    deliver(shop)
    file = saved(shop)
    topup.set_account(shop, "A1", PHONE)
    settled(shop, 2)
    lost(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        topup.set_account(again, "A1", OTHER)
        settled(again, 14)
        assert (lab.supply.charged(PHONE), lab.supply.charged(OTHER)) == (1, 0)
        assert line(again)["state"] == "delivered" and balances(again)["cost:topup"] == 980
        assert broken(again) == []
