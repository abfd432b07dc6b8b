"""Money paid in advance to a supplier: booked once, drawn from by what is bought there."""

from __future__ import annotations

import pytest

from kmtool.errors import NotFound, Refused, UsageError
from kmtool.operations import suppliers
from kmtool.operations.deposits import deposit
from kmtool.shop import Shop
from tests.operations.delivery_kit import broken
from tests.operations.import_kit import balances


def test_a_voucher_counts_once(shop: Shop) -> None:
    suppliers.add(shop, "z")
    first = deposit(shop, "z", 50_000, "V1", "for December")
    again = deposit(shop, "z", 50_000, " V1 ")
    assert (first.prepaid_minor, first.new) == (50_000, True)
    assert (again.prepaid_minor, again.new) == (50_000, False)
    assert deposit(shop, "z", -20_000, "V2").prepaid_minor == 30_000, "money that came back"
    assert balances(shop) == {"asset:supplier:z": 30_000, "bank:main": -30_000}
    assert suppliers.show(shop, "z").prepaid_minor == 30_000
    assert broken(shop) == []


def test_a_deposit_that_makes_no_sense_is_refused(shop: Shop) -> None:
    suppliers.add(shop, "z")
    deposit(shop, "z", 50_000, "V1")
    with pytest.raises(Refused, match=r"noted already: ￥500\.00"):
        deposit(shop, "z", 60_000, "V1")
    for amount, ref in ((0, "V2"), (100, " ")):
        with pytest.raises(UsageError, match="an amount and a voucher"):
            deposit(shop, "z", amount, ref)
    with pytest.raises(NotFound):
        deposit(shop, "nobody", 100, "V3")
    assert balances(shop) == {"asset:supplier:z": 50_000, "bank:main": -50_000}
