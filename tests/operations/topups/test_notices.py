"""What tells a buyer of his top-up is found by a number that no other message ever gets."""

from __future__ import annotations

import pytest

from adapters.demo_shop import DemoShop
from kmtool.operations import purchase_end
from kmtool.operations.deliver import deliver
from kmtool.operations.order_changes import redeliver
from kmtool.ports import LineFact
from kmtool.shop import Shop
from tests.fakes import order
from tests.operations.delivery_kit import broken, keys_at, line, outside, pull, tick
from tests.operations.import_kit import bring
from tests.operations.stock import shelf
from tests.operations.test_restore import back, saved
from tests.operations.test_restore import dump_tools as dump_tools
from tests.operations.topups.kit import PHONE, settled, told
from tests.operations.topups.test_set_back import Opener
from tests.operations.topups.test_set_back import opener as opener

OTHER = "13800138002"
KEY_TOO = (
    LineFact("1", "t1", "", "话费 10 元", 1, 1000, PHONE),
    LineFact("2", "i1", "", "a key", 1, 1000),
)
BOTH = (
    LineFact("1", "t1", "", "话费 10 元", 1, 1000, PHONE),
    LineFact("2", "t1", "", "话费 10 元", 1, 1000, OTHER),
)
HALF_AN_HOUR_MS = 31 * 60_000
LONG_MS = 600_000


@pytest.mark.parametrize("fault", ["unknown", ""])
def test_a_key_that_follows_a_lost_notice_arrives(
    shop: Shop, lab: DemoShop, opener: Opener, fault: str
) -> None:
    """Its message got the notice's number: found there by it, and taken for delivered."""
    shelf(shop, n=0)
    file = saved(shop)
    pull(shop, order("A1", lines=KEY_TOO, amount=2000))
    settled(shop, 4)
    tick(shop, HALF_AN_HOUR_MS)
    settled(shop, 4)
    assert line(shop)["state"] == "delivered" and line(shop, line_no="2")["state"] == "held"
    back(shop, file, opener)
    with opener(shop.config) as again:
        bring(again, "KEY-S1-09000\n")
        pull(again, order("A1", lines=KEY_TOO, amount=2000))
        outside().faults += [fault] if fault else []
        settled(again, 12, 30_000)
        assert line(again, line_no="2")["state"] == "delivered"
        assert keys_at("A1") == {"KEY-S1-09000"} and broken(again) == []
        assert told().count(PHONE) == 1, "the notice is there already"


def test_of_two_accounts_the_other_ones_notice_is_no_proof(
    shop: Shop, lab: DemoShop, opener: Opener
) -> None:
    """The first to be done got the number of the one that was done first before: never told."""
    file = saved(shop)
    lab.supply.delay_ms = LONG_MS
    pull(shop, order("A1", lines=BOTH, amount=2000))
    deliver(shop)
    first, second = lab.supply.orders.values()
    second.ready_ms = shop.now_ms()
    settled(shop, 3)
    assert OTHER in told() and PHONE not in told()
    back(shop, file, opener)
    with opener(shop.config) as again:
        first.ready_ms = again.now_ms()
        pull(again, order("A1", lines=BOTH, amount=2000))
        settled(again, 12)
        assert {line(again, line_no=n)["state"] for n in "12"} == {"delivered"}
        assert told().count(PHONE) == told().count(OTHER) == 1
        assert lab.supply.charged(PHONE) == lab.supply.charged(OTHER) == 1


def test_its_number_follows_from_the_purchase_and_keys_are_numbered_on(
    shop: Shop, lab: DemoShop
) -> None:
    """A notice took the next number of the keys' messages, which no journal names."""
    lab.supply.goods["TEL-10"].left = 0
    half_delivered(shop)
    lab.supply.goods["TEL-10"].left = 5
    redeliver(shop, "A1")
    settled(shop, 2)
    bring(shop, "KEY-S1-09000\n")
    settled(shop, 4)
    assert numbered(shop) == [("purchase", 1), ("hand_over", 2), ("notify", 200_001)]
    code = shop.db.value("SELECT code FROM orders WHERE number = 'A1'")
    assert f"{code}-200001\n" in told() and f"{code}-2\n" in told()
    redeliver(shop, "A1")
    settled(shop, 4)
    assert f"{code}-200001-2\n" in told() and f"{code}-2-2\n" in told()


def test_a_notice_that_was_numbered_among_the_keys_keeps_its_number(
    shop: Shop, lab: DemoShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Databases of before hold such notices, some of them not sent yet."""
    monkeypatch.setattr(purchase_end, "NOTICES", 1)
    outside().faults += ["down"]
    half_delivered(shop)
    assert numbered(shop) == [("purchase", 1), ("notify", 2)]
    monkeypatch.undo()
    bring(shop, "KEY-S1-09000\n")
    settled(shop, 4)
    assert numbered(shop) == [("purchase", 1), ("notify", 2), ("hand_over", 3)]
    assert told().count(PHONE) == 1 and keys_at("A1") == {"KEY-S1-09000"} and broken(shop) == []


def half_delivered(shop: Shop) -> None:
    """The key of its second line is short; after half an hour the first one goes alone."""
    shelf(shop, n=0)
    pull(shop, order("A1", lines=KEY_TOO, amount=2000))
    deliver(shop)
    tick(shop, HALF_AN_HOUR_MS)
    deliver(shop)


def numbered(shop: Shop) -> list[tuple[str, int]]:
    rows = shop.db.all("SELECT kind, parcel_n FROM effects WHERE parcel_n > 0 ORDER BY parcel_n")
    return [(row["kind"], row["parcel_n"]) for row in rows]
