"""The command `import` as a person meets it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Cli = Callable[..., Any]


def test_a_three_line_file_is_stock_after_one_command(cli: Cli, shop_folder: Path) -> None:
    (shop_folder / "keys.txt").write_text("AAAA-1111\nBBBB-2222\nCCCC-3333\n", encoding="utf-8")
    told = cli("import", "keys.txt", "--sku", "S1", "--supplier", "z", "--new", "--yes", "--json")
    assert told.code == 0, told.err
    document = told.json()
    assert document["accepted"] == 3
    assert document["files"][0]["batch"] == "B20261122-01"
    assert "1111" in told.err
    assert "AAAA-1111" not in told.out + told.err
