"""A shop that sells a top-up, and the supplier it buys from, on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from adapters.demo_shop import DemoShop, Good
from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.operations import products
from kmtool.operations.products import Fields, Mapping
from kmtool.shop import Shop
from tests.operations.topups.kit import TOML


@pytest.fixture
def lab(clock: ManualClock) -> Iterator[DemoShop]:
    """The supplier: 10 yuan of credit cost 9.80."""
    with DemoShop(clock) as found:
        found.supply.add_good(Good("TEL-10", "话费 10 元", 980, takes=r"1[0-9]{10}"))
        yield found
    assert found.troubles == []


@pytest.fixture
def limits() -> tuple[str, str]:
    return "500.00", "100.00"


@pytest.fixture
def shop(
    make_config: Any, clock: ManualClock, lab: DemoShop, limits: tuple[str, str]
) -> Iterator[Shop]:
    config = make_config(TOML.format(url=lab.url, day=limits[0], one=limits[1]))
    create_shop(config, clock)
    with open_shop(config, clock=clock) as opened:
        products.add(
            opened,
            "TEL",
            Fields(
                title="话费 10 元", kind="topup", account_rule="phone-cn", supplier="toplab",
                supplier_item="TEL-10", cap_minor=980,
            ),
        )  # fmt: skip
        products.map_listing(opened, Mapping("shop1", "t1", "", "TEL"))
        yield opened
