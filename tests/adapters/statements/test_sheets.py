"""Workbooks: the first sheet with a header wins, hidden ones are skipped, no giant grids."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import xlsxwriter

from kmtool.domain.statements import Code
from tests.adapters.statements import make
from tests.adapters.statements.make import identity, one, save


def workbook(path: Path, *, numeric_ids: bool = False, hidden_first: bool = False) -> Path:
    """Write the personal WeChat bill as its vendor's workbook does: money as numbers."""
    printed = make.wechat_personal()
    with xlsxwriter.Workbook(str(path)) as book:
        money = book.add_format({"num_format": "¥0.00"})
        if hidden_first:
            hidden = book.add_worksheet("old")
            hidden.write_row(0, 0, printed.header)
            hidden.hide()
        note = book.add_worksheet("note")
        note.write(0, 0, "说明")
        note.activate()
        sheet = book.add_worksheet("bill")
        for line, text in enumerate(printed.preamble):
            sheet.merge_range(line, 0, line, 10, text.rstrip(","))
        start = len(printed.preamble)
        sheet.write_row(start, 0, printed.header)
        for line, row in enumerate(printed.rows, start=start + 1):
            for place, cell in enumerate(row):
                if place == 5:
                    sheet.write_number(line, place, float(cell.strip("¥")), money)
                elif place == 8 and numeric_ids:
                    sheet.write_number(line, place, 10_000 + line)
                else:
                    sheet.write_string(line, place, cell.strip("\t"))
    return path


@pytest.mark.parametrize("hidden_first", [False, True])
def test_csv_and_workbook_give_the_same_lines(hidden_first: bool, tmp_path: Path) -> None:
    plain = one(save(tmp_path, make.wechat_personal()))
    parsed = one(workbook(tmp_path / "s.dat", hidden_first=hidden_first))
    assert parsed.refusal is None
    assert parsed.encoding == "xlsx"
    assert parsed.header_line == 8
    assert identity(parsed) == identity(plain)


def test_numbers_as_ids_warn(tmp_path: Path) -> None:
    parsed = one(workbook(tmp_path / "s.xlsx", numeric_ids=True))
    assert parsed.refusal is None
    assert "NUMERIC_ID" in {warning.code for warning in parsed.warnings}
    assert parsed.lines[0].ext_txn_id == "10008"


def _write(path: Path, fill: Callable[[xlsxwriter.worksheet.Worksheet], object]) -> Path:
    with xlsxwriter.Workbook(str(path)) as book:
        fill(book.add_worksheet())
    return path


@pytest.mark.parametrize("place", [(1_048_575, 0), (0, 16_383)])
def test_a_giant_grid_is_refused_before_it_unfolds(place: tuple[int, int], tmp_path: Path) -> None:
    path = _write(tmp_path / "s.xlsx", lambda sheet: sheet.write_string(*place, "x"))
    parsed = one(path)
    assert parsed.refusal is not None
    assert parsed.refusal.code is Code.UNSAFE_ARCHIVE


def test_real_sheet_dates_are_times(tmp_path: Path) -> None:
    printed = make.stripe()

    def fill(sheet: xlsxwriter.worksheet.Worksheet) -> None:
        sheet.write_row(0, 0, printed.header)
        for line, row in enumerate(printed.rows, start=1):
            sheet.write_row(line, 0, row)
            moment = datetime.fromisoformat(row[1])
            sheet.write_datetime(line, 1, moment, book_formats["date"])

    path = tmp_path / "s.xlsx"
    book_formats = {}
    with xlsxwriter.Workbook(str(path)) as book:
        book_formats["date"] = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        fill(book.add_worksheet())
    parsed = one(path)
    assert parsed.refusal is None
    assert identity(parsed) == identity(one(save(tmp_path, printed)))


def test_ids_of_sixteen_digits_in_a_sheet_are_destroyed(tmp_path: Path) -> None:
    printed = make.stripe()

    def fill(sheet: xlsxwriter.worksheet.Worksheet) -> None:
        sheet.write_row(0, 0, printed.header)
        for line, row in enumerate(printed.rows, start=1):
            sheet.write_row(line, 0, row)
        sheet.write_number(1, 0, 1.234567890123456e15)

    parsed = one(_write(tmp_path / "s.xlsx", fill))
    assert parsed.refusal is not None
    assert parsed.refusal.code is Code.LOSSY_ID
    assert "balance_transaction_id" in parsed.refusal.text


def test_a_broken_workbook_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
    path = tmp_path / "s.xlsx"
    path.write_bytes(buffer.getvalue())
    parsed = one(path)
    assert parsed.refusal is not None
    assert parsed.refusal.code is Code.UNSAFE_ARCHIVE
