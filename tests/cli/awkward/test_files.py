"""Files nobody would think of end in three lines or in the right result."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.config import load
from kmtool.operations.sync import sync
from kmtool.ports import Buyer, LineFact
from tests import fakes
from tests.cli.bad_inputs import NEW, ORDER_HEAD, ORDER_ROW, books, three_lines
from tests.test_sheets import workbook

Cli = Callable[..., Any]
HOSTILE = "\x1b[31mdemo\x1b]0;gone\x07_😀\u202eoge\r\n\x00=cmd|x"


def bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("keys.txt", b"A" * (300 * 1024 * 1024))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("line.txt", b"A" * 10_000_000, "longer than 4096"),
        ("nul.txt", b"AAAA\0BBBB\n", "no text"),
        ("bomb.zip", bomb(), "unpacks to far more"),
        ("bomb.xlsx", bomb(), "unpacks to far more"),
        ("cut.xlsx", workbook([["卡密"], ["X-1"]])[:900], "damaged or cut short"),
        ("latin.txt", "clé-à-vendre-œ\xff".encode("latin-1", "ignore") + b"\xff\xff", "no text"),
        ("up.zip", None, "leads outside"),
        ("quote.csv", b'key\n"never closed\n' + b"x" * 200_000, "csv is broken"),
        ("wide.csv", b"," * 5_000 + b"\n", "columns"),
    ],
)
def test_an_awkward_file_is_refused_whole(
    cli: Cli, stocked: Path, name: str, content: bytes | None, says: str
) -> None:
    if content is None:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("../../keys.txt", "UP-1\n")
        content = file.getvalue()
    (stocked / name).write_bytes(content)
    before = books(stocked)
    assert says in three_lines(cli("import", name, *NEW), 9)
    assert books(stocked) == before


def test_a_workbook_called_csv_is_read_as_what_it_is(cli: Cli, stocked: Path) -> None:
    (stocked / "k.csv").write_bytes(workbook([["卡密"], ["XLSX-1"]]))
    assert cli("import", "k.csv", *NEW, "--json").json()["accepted"] == 1
    assert cli("key", "find", "-", input="XLSX-1\n").code == 0


def test_a_file_whose_name_looks_like_an_option(cli: Cli, stocked: Path) -> None:
    (stocked / "--json.txt").write_text("DASH-1\n", encoding="utf-8")
    assert cli("import", *NEW, "--", "--json.txt").code == 0


@pytest.mark.parametrize(
    ("number", "quantity", "amount"),
    [("A1", "1", "-48.00"), ("A1", "-1", "48.00"), ("A1", "1", "9" * 30), ("A" * 10_000, "1", "1"),
     ("A1", "9" * 20, "1"), ("A1", "1.5", "1"), ("A1", "1", "NaN")],
)  # fmt: skip
def test_an_awkward_order_export_is_refused_or_waits(
    cli: Cli, stocked: Path, number: str, quantity: str, amount: str
) -> None:
    assert cli("channel", "add", "leaf", "--adapter", "file", "--mode", "auto").code == 0
    text = f"{ORDER_HEAD}\n{ORDER_ROW.format(number, quantity, amount)}\n"
    (stocked / "inbox/orders/leaf/o.csv").write_text(text, encoding="utf-8")
    told = cli("sync", "leaf")
    assert told.code in {0, 3, 7, 8, 9} and "Traceback" not in told.err
    assert "KM-E100" not in told.err
    cli("product", "map", "leaf", "8801", "S1")
    assert cli("deliver").code in {0, 3}
    assert {row["state"] for row in books(stocked)["keys"]} == {"free"} or number != "A1"
    for words in (("order", "list"), ("status",), ("product", "unmapped")):
        assert cli(*words).code in {0, 8}


def test_a_hostile_buyer_stays_text_everywhere(cli: Cli, stocked: Path, clock: ManualClock) -> None:
    line = LineFact("1", "i1", "", HOSTILE, 1, 1000)
    fact = fakes.order("A1", lines=(line,), note=HOSTILE, revision_ms=clock.now_ms() - 600_000)
    fakes.world("shop1").orders["A1"] = replace(
        fact, buyer=Buyer(ref="b", name=HOSTILE, email="a@example.test")
    )
    with open_shop(load(stocked / "kmtool.toml"), clock=clock) as shop:
        sync(shop)
    for words in (("order", "list"), ("order", "show", "A1"), ("order", "why", "A1"), ("status",),
                  ("product", "unmapped"), ("order", "list", "--csv")):  # fmt: skip
        told = cli(*words)
        assert told.code in {0, 8}, told.err
        assert not set(told.out) & set("\x1b\x07\x00\u202e"), words
    found = cli("order", "list", "--json")
    assert "\x1b" not in found.out and len(found.json()["orders"]) == 1
    assert cli("order", "list", "-o", "o.csv").code == 0
    assert "\x1b" not in (stocked / "o.csv").read_text(encoding="utf-8-sig")
    assert cli("export", "orders", "-o", "o.xlsx").code == 0
