"""Purchases that are only known from a journal, and what happens when somebody changes one."""

from __future__ import annotations

import pytest

from kmtool.errors import Broken
from kmtool.shop import Shop
from kmtool.store import house, purchases
from kmtool.store.purchases import Kept

PLACE = ("demo", "A1", "1")
KEPT = Kept(2, 1, "faka", 990, 1_700_000_000_000)


def test_what_is_kept_is_read_back(shop: Shop) -> None:
    with shop.db.tx():
        purchases.keep_bought(shop.db, PLACE, KEPT)
    assert purchases.bought_places(shop.db) == [PLACE]
    assert purchases.bought_at(shop.db, PLACE) == KEPT
    assert purchases.kept_spent(shop.db, "faka", 0) == 990
    assert purchases.kept_spent(shop.db, "faka", KEPT.at + 1) == 0
    with shop.db.tx():
        purchases.forget_bought(shop.db, PLACE)
    assert not purchases.any_bought(shop.db)


@pytest.mark.parametrize("value", ["", "{", "[1, 2]", '[1, 2, "s", "x", 5]', "null", "7"])
def test_a_changed_value_is_told_as_one(shop: Shop, value: str) -> None:
    with shop.db.tx():
        purchases.keep_bought(shop.db, PLACE, KEPT)
        (name,) = (
            row["name"] for row in shop.db.all("SELECT name FROM meta WHERE name LIKE 'bo%'")
        )
        house.set_meta(shop.db, name, value)
    for read in (
        lambda: purchases.bought_at(shop.db, PLACE),
        lambda: purchases.kept_spent(shop.db, "faka", 0),
    ):
        with pytest.raises(Broken, match="was changed") as told:
            read()
        assert name in told.value.message()


@pytest.mark.parametrize("name", ["bought:", "bought:{", "bought:[1]", "bought:7"])
def test_a_changed_name_is_told_as_one(shop: Shop, name: str) -> None:
    with shop.db.tx():
        house.set_meta(shop.db, name, '[1, 0, "s", 5, 5]')
    with pytest.raises(Broken, match="was changed"):
        purchases.bought_places(shop.db)
