"""Top-ups bought before a restore whose lines are over here when they come back."""

from __future__ import annotations

import pytest

from adapters.demo_shop import DemoShop
from kmtool.operations import order_close, purchase_records, topup
from kmtool.operations.deliver import deliver
from kmtool.operations.ingest import ingest
from kmtool.operations.status import status
from kmtool.shop import Shop
from kmtool.store import purchases
from tests.operations.delivery_kit import broken, line, pull
from tests.operations.import_kit import balances
from tests.operations.test_restore import back, saved
from tests.operations.test_restore import dump_tools as dump_tools
from tests.operations.topups.kit import PHONE, settled, told, wish
from tests.operations.topups.test_set_back import SORTS, Opener
from tests.operations.topups.test_set_back import opener as opener
from tests.operations.topups.test_set_back import sort as sort
from tests.operations.topups.test_set_back import supplier as supplier


def comes_ended(shop: Shop, how: str) -> None:
    """The order is here again, and nothing is to be sent for it any more."""
    if how == "history":
        with shop.db.tx():
            ingest(shop, "shop1", wish(), history=True)
    else:
        pull(shop, wish(account=""))
        order_close.close(shop, "A1", "the buyer has it")
    assert line(shop)["state"] == "closed"


@pytest.mark.parametrize("sort", SORTS, indirect=True)
@pytest.mark.parametrize("how", ["history", "closed"])
@pytest.mark.parametrize("made", [True, False])
def test_what_a_line_cost_is_found_out_though_it_is_over(
    shop: Shop, lab: DemoShop, opener: Opener, sort: str, how: str, made: bool
) -> None:
    """A charge that only the journal named was never asked about, and its cost never booked."""
    file = saved(shop)
    if not made:
        lab.fail("place", "closed_before")
    pull(shop, wish(account=PHONE if how == "history" else ""))
    if how == "closed":
        topup.set_account(shop, "A1", PHONE)
    deliver(shop)
    if made:
        settled(shop, 2)
    back(shop, file, opener)
    with opener(shop.config) as again:
        comes_ended(again, how)
        settled(again, 14)
        assert not purchases.any_bought(again.db)
        if sort != "asked":
            (found,) = status(again).needs_you
            assert found.command.startswith("kmtool order charged A1 --amount AMOUNT")
            purchase_records.settle_charged(again, "A1", "looked there", 980 if made else 0)
            settled(again, 2)
        assert lab.supply.charged(PHONE) == int(made) and line(again)["state"] == "closed"
        assert balances(again).get("cost:topup", 0) == 980 * made and told().count(PHONE) == made
        assert status(again).needs_you == () and broken(again) == []
