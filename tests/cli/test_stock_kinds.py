"""Shared keys, texts, bundles and pictures at the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.operations.test_stock_kinds import JPEG, PNG


def test_keys_that_serve_several_buyers(cli: Any, shop_folder: Path) -> None:
    Path("keys.txt").write_text("AAAA-0001\nAAAA-0002\n", encoding="utf-8")
    told = cli("import", "keys.txt", "--sku", "S1", "--uses", "3", "--new", "--yes")
    assert told.code == 0, told.err
    assert "each key serves 3 buyers" in told.err
    assert cli("key", "stock", "S1", "--json").json()["products"][0]["free"] == 6
    assert cli("import", "keys.txt", "--sku", "S2", "--uses", "0", "--new", "--yes").code == 2


def test_a_text_is_set_from_a_file_or_stdin(cli: Any, shop_folder: Path) -> None:
    assert cli("product", "add", "T1", "--kind", "text").code == 0
    told = cli("product", "set", "T1", "--text", "-", input="网盘链接：demo\n提取码：demo\n")
    assert told.code == 0 and "no limit" in told.out
    Path("text.txt").write_text("another text", encoding="utf-8")
    assert cli("product", "set", "T1", "--text", "text.txt", "--title", "教程").code == 0
    assert cli("product", "show", "T1", "--json").json()["title"] == "教程"
    assert cli("product", "set", "T1", "--text", "none.txt").code == 5
    assert cli("product", "set", "T1").code == 2


def test_a_bundle_is_shown_with_its_parts(cli: Any, shop_folder: Path) -> None:
    for sku in ("A", "B"):
        assert cli("product", "add", sku).code == 0
    told = cli("product", "add", "AB", "--bundle", "A:2,B")
    assert told.code == 0
    parts = cli("product", "show", "AB", "--json").json()["parts"]
    assert [(p["sku"], p["units"]) for p in parts] == [("A", 2), ("B", 1)]
    assert cli("product", "set", "AB", "--bundle", "A:x,").code == 2
    assert cli("product", "set", "AB", "--bundle", "GONE").code == 5


def test_pictures_are_taken_when_they_are_asked_for(cli: Any, shop_folder: Path) -> None:
    Path("cards").mkdir()
    Path("cards/c-0001.png").write_bytes(PNG)
    Path("cards/c-0002.jpg").write_bytes(JPEG)
    assert cli("import", "cards", "--sku", "P1", "--new", "--yes").code == 9
    told = cli("import", "cards", "--images", "--sku", "P1", "--new", "--yes", "--json")
    assert told.code == 0 and told.json()["accepted"] == 2
    shown = cli("key", "show", "1", "--reveal", "--reason", "test")
    assert shown.code == 0, shown.err
    path = Path(shown.out.strip().splitlines()[-1])
    assert path.read_bytes() in {PNG, JPEG} and path.stat().st_mode & 0o077 == 0
    assert cli("export", "keys", "--reveal", "-o", "k.xlsx", "--yes").code == 0
