"""Orders of several top-ups: what is said of one line is not done to another one."""

from __future__ import annotations

import pytest

from adapters.demo_shop import DemoShop
from kmtool.errors import NotFound, Refused
from kmtool.operations import order_why, purchase_records
from kmtool.operations.order_changes import redeliver
from kmtool.operations.status import status
from kmtool.ports import LineFact
from kmtool.shop import Shop
from tests.fakes import order
from tests.operations.delivery_kit import broken, keys_at, line, outside, pull
from tests.operations.stock import shelf
from tests.operations.topups.kit import PHONE, settled
from tests.operations.topups.test_set_back import sort as sort
from tests.operations.topups.test_set_back import supplier as supplier

OTHER = "13800138002"
BOTH = (
    LineFact("1", "t1", "", "话费 10 元", 1, 1000, PHONE),
    LineFact("2", "t1", "", "话费 10 元", 1, 1000, OTHER),
)
pytestmark = pytest.mark.parametrize("sort", ["neither"], indirect=True)


def commands(shop: Shop) -> list[str]:
    return sorted(item.command for item in status(shop).needs_you)


def unclear_and_refused(shop: Shop, lab: DemoShop) -> None:
    """Line 1 was charged and the reply got lost; line 2 was sold out."""
    lab.fail("place", "lost_reply")
    lab.supply.goods["TEL-10"].left = 1
    pull(shop, order("A1", lines=BOTH, amount=2000))
    settled(shop, 4)
    assert line(shop)["state"] == line(shop, line_no="2")["state"] == "human"
    lab.supply.goods["TEL-10"].left = 5


def test_the_refused_one_is_bought_again_alone(shop: Shop, lab: DemoShop, sort: str) -> None:
    """The command that is named for line 2 charged the account of line 1 a second time."""
    unclear_and_refused(shop, lab)
    assert "kmtool order redeliver A1" in commands(shop)
    assert redeliver(shop, "A1").lines == 1
    settled(shop, 4)
    assert lab.supply.charged(PHONE) == lab.supply.charged(OTHER) == 1
    assert (line(shop)["state"], line(shop, line_no="2")["state"]) == ("human", "delivered")
    purchase_records.settle_charged(shop, "A1", "seen there", 980, "1")
    settled(shop, 2)
    assert line(shop)["state"] == "delivered" and "A1" in outside().shipped
    assert len(lab.supply.orders) == 2 and broken(shop) == []


def test_what_may_have_been_charged_has_to_be_named(shop: Shop, lab: DemoShop, sort: str) -> None:
    """Given once more, when only line 1 was left, the same command charged it all the same."""
    unclear_and_refused(shop, lab)
    redeliver(shop, "A1")
    settled(shop, 4)
    with pytest.raises(Refused, match="line 1 may have been charged") as refused:
        redeliver(shop, "A1")
    assert "kmtool order charged A1 --amount AMOUNT --reason TEXT --line 1" in str(
        refused.value.next_step()
    )
    settled(shop, 2)
    assert lab.supply.charged(PHONE) == 1
    with pytest.raises(NotFound):
        redeliver(shop, "A1", "7")
    assert redeliver(shop, "A1", "1").lines == 1
    settled(shop, 2)
    assert lab.supply.charged(PHONE) == 2, "his word: bought again under its number"
    assert lab.supply.charged(OTHER) == 1 and len(lab.supply.orders) == 3


def test_a_key_beside_it_is_sent_again_alone(shop: Shop, lab: DemoShop, sort: str) -> None:
    """A key that was sent again had the account beside it charged again."""
    shelf(shop, n=1)
    lines = (BOTH[0], LineFact("2", "i1", "", "item", 1, 1000))
    lab.fail("place", "lost_reply")
    outside().faults = ["rejected"]
    pull(shop, order("A1", lines=lines, amount=2000))
    settled(shop, 4)
    assert line(shop)["state"] == line(shop, line_no="2")["state"] == "human"
    redeliver(shop, "A1")
    settled(shop, 4)
    assert lab.supply.charged(PHONE) == 1 and len(keys_at("A1")) == 1
    assert (line(shop)["state"], line(shop, line_no="2")["state"]) == ("human", "delivered")
    with pytest.raises(Refused, match="may have been charged"):
        redeliver(shop, "A1")
    redeliver(shop, "A1", "2")
    settled(shop, 4)
    assert len(outside().received["A1"]) == 2 and lab.supply.charged(PHONE) == 1
    assert broken(shop) == []


def unclear_beside_a_difference(shop: Shop, lab: DemoShop) -> None:
    """Line 1 was charged and the reply got lost; line 2 came to more than agreed."""
    lab.fail("place", "lost_reply")
    lab.supply.surcharge_minor = 20
    pull(shop, order("A1", lines=BOTH, amount=2000))
    settled(shop, 4)
    assert (line(shop)["state"], line(shop, line_no="2")["state"]) == ("human", "delivered")


@pytest.mark.parametrize("line_no", ["", "2"])
def test_a_difference_is_settled_beside_what_is_unclear(
    shop: Shop, lab: DemoShop, sort: str, line_no: str
) -> None:
    """The command that was named for the difference was refused, with a hint to line 1."""
    unclear_beside_a_difference(shop, lab)
    assert commands(shop) == [
        "kmtool order charged A1 --amount AMOUNT --reason TEXT --line 1",
        "kmtool order charged A1 --reason TEXT --line 2",
    ]
    assert purchase_records.settle_charged(shop, "A1", "their fee", line_no=line_no).purchases == 1
    assert commands(shop) == ["kmtool order charged A1 --amount AMOUNT --reason TEXT --line 1"]
    with pytest.raises(Refused, match="say which was made"):
        purchase_records.settle_charged(shop, "A1", "and the other", line_no="1")
    purchase_records.settle_charged(shop, "A1", "seen there", 980, "1")
    settled(shop, 2)
    assert line(shop)["state"] == "delivered" and broken(shop) == []


def test_a_difference_of_one_line_leaves_the_other(shop: Shop, lab: DemoShop, sort: str) -> None:
    """A person looked at one line; the other one is still to be looked at."""
    lab.supply.surcharge_minor = 20
    pull(shop, order("A1", lines=BOTH, amount=2000))
    settled(shop, 4)
    assert len(commands(shop)) == 2
    assert purchase_records.settle_charged(shop, "A1", "their fee", line_no="1").purchases == 1
    assert commands(shop) == ["kmtool order charged A1 --reason TEXT --line 2"]
    assert purchase_records.settle_charged(shop, "A1", "their fee").purchases == 1
    assert commands(shop) == []


def test_why_names_the_line_that_is_unclear(shop: Shop, lab: DemoShop, sort: str) -> None:
    """`order why` named a command without the line, which two unclear lines have refused."""
    lab.fail("place", "lost_reply", times=2)
    pull(shop, order("A1", lines=BOTH, amount=2000))
    settled(shop, 4)
    charged = "kmtool order charged A1 --amount AMOUNT --reason TEXT --line {}"
    found = [one.command for one in order_why.why(shop, "A1").lines]
    assert found == [charged.format(1), charged.format(2)] and commands(shop) == found[:1]
    with pytest.raises(Refused, match="line 1 may have been charged"):
        redeliver(shop, "A1")
    assert len(lab.supply.orders) == 2


def test_why_says_of_a_delivered_line_only_its_own(shop: Shop, lab: DemoShop, sort: str) -> None:
    """What the other line waits for was told of the one that is delivered, with its command."""
    lab.supply.goods["TEL-10"].left = 1
    pull(shop, order("A1", lines=BOTH, amount=2000))
    settled(shop, 4)
    assert (line(shop)["state"], line(shop, line_no="2")["state"]) == ("delivered", "human")
    own, other = order_why.why(shop, "A1").lines
    assert own.command == "" and "could not go again" not in own.answer
    assert other.command == "kmtool order redeliver A1"
