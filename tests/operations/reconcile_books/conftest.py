"""The shop whose books are reconciled over time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.shop import Shop
from tests.operations import recon_kit as kit


@pytest.fixture
def shop(make_config: Any, clock: ManualClock) -> Iterator[Shop]:
    """A shop with one wallet that prints flows and one that prints trades."""
    config = make_config(kit.ACCOUNTS)
    create_shop(config, clock)
    with open_shop(config, clock=clock) as opened:
        yield opened
