"""The settlement workbook: same bytes, no foreign formula, cached totals, proofs that can fail."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import python_calamine
from xlsxwriter import Workbook

from kmtool.domain import hanzi
from kmtool.errors import SheetChanged
from kmtool.operations import settle, settle_paid, settle_sheets, settle_verify
from kmtool.operations.settle_sheets import Payment
from kmtool.sheets_write import clean
from kmtool.shop import Shop
from tests.house.source import ROOT
from tests.operations.make_ledger import Books

NUMBER = "JS-sup1-202611-01"
HOSTILE = (
    "=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "http://evil.example/x",
    "=HYPERLINK(\"http://evil.example\",\"x\")", "DDE(\"cmd\";\"/C calc\")", "\x00\x07bell\x1b[31m",
)  # fmt: skip

OURS = re.compile(
    r"=(SUM\([A-Z]\d+:[A-Z]\d+\)|ROUND\([-+B\d]+,2\)|[-+B\d]+|('[\w]+'![A-Z]\d+\+?)+)"
)

AGAIN = """
import hashlib, sys
from pathlib import Path
from kmtool.app import open_shop
from kmtool.config import load
from kmtool.operations import settle
with open_shop(load(Path(sys.argv[1]))) as shop:
    sys.stdout.write(str(settle.export(shop, sys.argv[2], Path(sys.argv[3])).sha256))
"""


@pytest.fixture
def closed(shop: Shop) -> Iterator[Books]:
    """A closed sheet with sales, one key bad from the start, a held line and one not due yet."""
    books = Books(shop)
    books.supplier("sup1", payee="6222020000001234")
    batch = books.batch("sup1", "S1", 20, cost="0.33335")
    bad = books.sell(batch, 1)
    books.sell(batch, 3)
    held = books.sell(batch, 2)
    books.close_case(bad)
    books.set_line(held, "refund_case")
    settle.close(shop, "sup1")
    yield books


def workbook(shop: Shop) -> Path:
    return shop.config.folder("exports") / "settlements" / f"{NUMBER}.xlsx"


def cells(path: Path, sheet: str) -> list[list[Any]]:
    book = python_calamine.CalamineWorkbook.from_path(str(path))
    return book.get_sheet_by_name(sheet).to_python(skip_empty_area=False)


def test_all_six_sheets_stand_even_when_empty(shop: Shop) -> None:
    books = Books(shop)
    books.supplier("sup1")
    books.sell(books.batch("sup1", "S1", 2), 2)
    settle.close(shop, "sup1")
    path = workbook(shop)
    names = python_calamine.CalamineWorkbook.from_path(str(path)).sheet_names
    assert names == ["汇总", "按商品", "卡密明细", "扣回调整", "未结挂账", "校验"]
    assert cells(path, "扣回调整")[1][0] == "本期无扣回调整"
    assert cells(path, "未结挂账")[1][0] == "本期无未结挂账"


def test_the_summary_says_what_the_ledger_says(shop: Shop, closed: Books) -> None:
    said = {str(row[0]): row[1] for row in cells(workbook(shop), "汇总") if row[0]}
    page = settle_sheets.show(shop, NUMBER)
    assert said["期末未结"] == closed.owed("sup1") / 100 == page.closing_minor / 100
    assert said["本次应付"] == page.sheet.payable_minor / 100 == 1.00
    assert said["大写金额"] == hanzi.write(100)
    assert said["未结挂账"] == 0.67
    assert (said["差额"], said["核对差额"]) == (0, 0)
    assert said["收款账户"] == "尾号 1234"


def test_cached_totals_equal_what_a_program_recalculates(shop: Shop, closed: Books) -> None:
    path = workbook(shop)
    formulas = openpyxl.load_workbook(path)
    cached = openpyxl.load_workbook(path, data_only=True)
    seen = 0
    for sheet in formulas.worksheets:
        for row in sheet.iter_rows():
            for cell in row:
                if cell.data_type == "f" and str(cell.value).startswith("=SUM("):
                    area = str(cell.value).removeprefix("=SUM(").removesuffix(")")
                    parts = [c.value for (c,) in cached[sheet.title][area]]
                    total = sum(p for p in parts if isinstance(p, int | float))
                    assert cached[sheet.title][cell.coordinate].value == pytest.approx(total)
                    seen += 1
    assert seen == 4


def test_another_process_in_another_zone_writes_the_same_bytes(
    shop: Shop, closed: Books, tmp_path: Path
) -> None:
    wanted = hashlib.sha256(workbook(shop).read_bytes()).hexdigest()
    for zone in ("America/New_York", "Asia/Tokyo"):
        run = subprocess.run(
            [sys.executable, "-c", AGAIN, str(shop.config.path), NUMBER, str(tmp_path / "x.xlsx")],
            capture_output=True, check=True, encoding="utf-8", timeout=60,
            env={**os.environ, "TZ": zone, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        assert run.stdout == wanted


def test_what_happened_since_changes_no_byte(shop: Shop, closed: Books) -> None:
    before = workbook(shop).read_bytes()
    shop.db.run("UPDATE products SET title = 'other'")
    shop.db.run("UPDATE suppliers SET name = 'other', payee = 'other'")
    settle_paid.paid(shop, NUMBER, Payment("V1", 50, "CNY", "2026-11-22", "", ""))
    closed.later(30)
    settle.export(shop, NUMBER)
    assert workbook(shop).read_bytes() == before


def test_a_hostile_text_is_text(shop: Shop) -> None:
    """In every text column; two sheets per text, so that each kind of row occurs."""
    for nth, text in enumerate(HOSTILE):
        _settle_hostile(shop, f"sup{nth}", text.replace("\x00", ""))
    found = set()
    for path in sorted((shop.config.folder("exports") / "settlements").glob("*.xlsx")):
        assert settle_verify.verify(shop, str(path)).ok
        for sheet in openpyxl.load_workbook(path).worksheets:
            assert not sheet._hyperlinks
            formulas = [c.value for row in sheet.iter_rows() for c in row if c.data_type == "f"]
            assert [f for f in formulas if not OURS.fullmatch(f)] == []
            found |= {str(cell) for row in cells(path, sheet.title) for cell in row}
    assert {clean(text) for text in HOSTILE} <= found


def _settle_hostile(shop: Shop, supplier: str, text: str) -> None:
    books = Books(shop)
    books.supplier(supplier, name=text, payee=text * 4)
    batch = books.batch(supplier, f"{text}{supplier}", 5, title=text, file_name=text)
    number = f"{text}{supplier}"
    line = books.sell(batch, 1, number=number, buyer=text, title=text)
    books.sell(batch, 1, number=f"T{supplier}")
    shop.db.run("UPDATE orders SET hold_reason = :r WHERE number = :n", r=text, n=number)
    shop.db.run("UPDATE keys SET tail = :t WHERE batch_id = :b", t=text[:4], b=batch.id)
    assert settle.close(shop, supplier).keys == 1
    shop.db.run("UPDATE orders SET hold_reason = NULL")
    assert settle.close(shop, supplier).keys == 1
    books.close_case(line)
    assert settle.close(shop, supplier).number


def test_no_whole_key_is_in_the_file(shop: Shop, closed: Books) -> None:
    with zipfile.ZipFile(workbook(shop)) as archive:
        inside = b"".join(archive.read(name) for name in archive.namelist())
    assert inside
    assert not [text for text in closed.texts if text.encode() in inside]


def test_what_was_closed_is_proved(shop: Shop, closed: Books) -> None:
    closed.later(1)
    batch = closed.batch("sup1", "S2", 3)
    closed.sell(batch, 1)
    settle.close(shop, "sup1")
    result = settle_verify.verify(shop)
    assert (len(result.checks), result.ok) == (2, True)
    assert settle_verify.verify(shop, NUMBER).ok
    assert settle_verify.verify(shop, str(workbook(shop))).ok


def _unlock(shop: Shop, table: str) -> None:
    if shop.db.dialect == "sqlite":
        shop.db.run(f"DROP TRIGGER {table}_keep")
    else:
        shop.db.run(f"DROP TRIGGER {table}_keep ON {table}")


CHANGES = (
    ("settlement_lines", "amount_minor = amount_minor + 1 WHERE seq = 2", "卡密明细:3"),
    ("settlement_lines", "delivered_ms = delivered_ms + 86400000 WHERE seq = 3", "卡密明细:4"),
    ("settlement_lines", "amount_minor = amount_minor - 1 WHERE seq = 5", "扣回调整:2"),
    ("settlement_lines", "tail = '9999' WHERE seq = 1", "卡密明细"),
    ("settlement_lines", "seq = 9 WHERE seq = 4", "卡密明细"),
    ("settlements", "payable_minor = payable_minor + 1", "汇总"),
    ("settlements", "cut = '2026-11-21'", "汇总"),
    ("settlements", "prev_hash = 'x'", "汇总"),
)


def test_one_changed_figure_in_the_database_is_noticed(shop: Shop, closed: Books) -> None:
    for table, change, place in CHANGES:
        with shop.db.rehearsal():
            _unlock(shop, table)
            shop.db.run(f"UPDATE {table} SET {change}")
            (check,) = settle_verify.verify(shop, NUMBER).checks
            assert not check.ok, change
            assert check.problem.startswith(place), change
    assert settle_verify.verify(shop, NUMBER).ok


def test_a_chain_with_another_link_is_noticed(shop: Shop, closed: Books) -> None:
    closed.sell(closed.batch("sup1", "S2", 3), 1)
    second = str(settle.close(shop, "sup1").number)
    _unlock(shop, "settlements")
    shop.db.run("UPDATE settlements SET hash = 'x' WHERE number = :n", n=NUMBER)
    (check,) = settle_verify.verify(shop, second).checks
    assert check.problem == "校验: the chain is broken before this sheet"


FORGERIES = (
    ("卡密明细", "H3", 0.99, "卡密明细:3"),
    ("卡密明细", "D2", "9999", "卡密明细:2"),
    ("按商品", "G2", 9, "按商品:2"),
    ("未结挂账", "G2", "other", "未结挂账:2"),
    ("汇总", "B4", "other", "汇总:4"),
    ("校验", "B15", "0" * 64, "校验:15"),
    ("卡密明细", "A9", "more", "卡密明细:9"),
)


def test_one_changed_cell_in_the_workbook_is_noticed(
    shop: Shop, closed: Books, tmp_path: Path
) -> None:
    copied = tmp_path / "copied.xlsx"
    _copy(workbook(shop), copied, "", "", None)
    assert settle_verify.verify(shop, str(copied)).ok
    for sheet, cell, value, place in FORGERIES:
        _copy(workbook(shop), copied, sheet, cell, value)
        (check,) = settle_verify.verify(shop, str(copied)).checks
        assert check.problem.startswith(f"{place}: "), cell


def test_a_sheet_that_is_missing_or_added_is_noticed(
    shop: Shop, closed: Books, tmp_path: Path
) -> None:
    book = openpyxl.load_workbook(workbook(shop), data_only=True)
    book.create_sheet("more")["A1"] = "x"
    book.save(tmp_path / "more.xlsx")
    (check,) = settle_verify.verify(shop, str(tmp_path / "more.xlsx")).checks
    assert check.problem == "more: the sheet was added"
    del book["more"], book["未结挂账"]
    book.save(tmp_path / "less.xlsx")
    (check,) = settle_verify.verify(shop, str(tmp_path / "less.xlsx")).checks
    assert check.problem == "未结挂账: the sheet is missing"


def _copy(source: Path, target: Path, sheet: str, cell: str, value: object) -> None:
    """Copy the values of a workbook into another, with one cell changed."""
    found = python_calamine.CalamineWorkbook.from_path(str(source))
    with Workbook(str(target), {"strings_to_formulas": False}) as book:
        dates = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        for name in found.sheet_names:
            page = book.add_worksheet(name)
            for y, row in enumerate(found.get_sheet_by_name(name).to_python(False)):
                for x, held in enumerate(row):
                    if hasattr(held, "year"):
                        page.write_datetime(y, x, held, dates)
                    elif held != "":
                        page.write(y, x, held)
            if name == sheet:
                page.write(cell, value)


def test_a_workbook_of_another_shop_is_said_so(shop: Shop, tmp_path: Path) -> None:
    other = tmp_path / "other.xlsx"
    with Workbook(str(other)) as book:
        book.add_worksheet("汇总").write("B3", "JS-nobody-202611-01")
    with pytest.raises(SheetChanged, match="JS-nobody-202611-01"):
        settle_verify.verify(shop, str(other))
