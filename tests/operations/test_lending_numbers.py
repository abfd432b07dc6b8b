"""A number of a lending is given out once, also after a restore that forgot some."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.operations import lending
from kmtool.operations.replay import replay
from kmtool.shop import Shop
from tests.operations.delivery_kit import tick
from tests.operations.lending_kit import export, lend, read, sound
from tests.operations.stock import shelf
from tests.operations.test_restore import Opener, back, saved
from tests.operations.test_restore import dump_tools as dump_tools

DAY_MS = 86_400_000


@pytest.fixture
def opener(clock: ManualClock) -> Opener:
    return lambda config: open_shop(config, clock=clock)


def numbers(shop: Shop) -> list[str]:
    return [row.number[-3:] for row in lending.lent(shop).lendings]


def came_back(shop: Shop, folder: Path, keys: list[str]) -> None:
    tick(shop, 1000)
    read(shop, export(shop, folder, [(key, "未使用", "") for key in keys]), take_back=True)
    tick(shop, 1000)


def test_a_lending_that_only_the_journal_knows_keeps_its_number(
    shop: Shop, opener: Opener, tmp_path: Path
) -> None:
    """Seed 481: of two lendings since the backup the first had come back as a whole; the other was
    written again, and the next one got its number too."""
    keys = shelf(shop, n=8)
    file = saved(shop)
    lend(shop, tmp_path, 2)
    came_back(shop, tmp_path, keys[:2])
    lend(shop, tmp_path, 3)
    back(shop, file, opener)
    with opener(shop.config) as again:
        assert numbers(again) == ["-01", "-02"]
        assert [row.returned for row in lending.lent(again).lendings] == [2, 0]
        lend(again, tmp_path, 1)
        assert numbers(again) == ["-01", "-02", "-03"] and sound(again)


def test_a_number_is_not_given_out_again_though_none_of_its_keys_is_here(
    shop: Shop, opener: Opener, tmp_path: Path
) -> None:
    file = saved(shop)
    keys = shelf(shop, n=2)
    lend(shop, tmp_path, 2)
    came_back(shop, tmp_path, keys[:2])
    for _ in range(2):
        back(shop, file, opener)
    with opener(shop.config) as again:
        replay(again)
        assert numbers(again) == []
        shelf(again, n=8, prefix="KEY-new")
        lend(again, tmp_path, 3)
        assert numbers(again) == ["-02"] and sound(again)
        tick(again, DAY_MS)
        lend(again, tmp_path, 1)
        assert numbers(again) == ["-02", "-01"]
