"""A shop with some keys, for input nobody would think of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.bad_inputs import NEW

Cli = Callable[..., Any]


@pytest.fixture
def stocked(cli: Cli, shop_folder: Path) -> Path:
    """A shop with three keys of S1."""
    (shop_folder / "keys.txt").write_text("AAAA-1111\nBBBB-2222\nCCCC-3333\n", encoding="utf-8")
    assert cli("import", "keys.txt", *NEW).code == 0
    (shop_folder / "folder.csv").mkdir()
    (shop_folder / "empty").mkdir()
    return shop_folder
