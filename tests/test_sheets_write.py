"""Writing files: names that are held, big books, cells as text."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest
import xlsxwriter

from kmtool import sheets_write
from kmtool.errors import FileNotWritten
from kmtool.sheets_write import Book, Cell, Kind, Sheet, clean, disarmed, safe_name, write_book


def book(rows: list[list[Cell | None]]) -> Book:
    return Book("t", "a", 0, "CNY", (Sheet("s", (10,), rows),))


def test_a_file_that_a_program_holds_gets_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = tmp_path / "a.xlsx"
    replace = Path.replace

    def held(self: Path, target: Path) -> Path:
        if target == wanted:
            raise PermissionError(13, "held")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", held)
    assert write_book(wanted, book([[Cell("x")]])) == tmp_path / "a-2.xlsx"
    assert [path.name for path in tmp_path.iterdir()] == ["a-2.xlsx"]


def test_when_all_names_are_held_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held(_self: Path, _target: Path) -> Path:
        raise PermissionError(13, "held")

    monkeypatch.setattr(Path, "replace", held)
    with pytest.raises(FileNotWritten, match="held"):
        write_book(tmp_path / "a.xlsx", book([[Cell("x")]]))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_self: object) -> None:
        raise xlsxwriter.exceptions.FileCreateError("no space left")

    monkeypatch.setattr(xlsxwriter.Workbook, "close", full)
    with pytest.raises(FileNotWritten, match="no space left"):
        write_book(tmp_path / "a.xlsx", book([[Cell("x")]]))
    assert list(tmp_path.iterdir()) == []


def test_a_big_book_is_written_row_by_row_with_the_same_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[list[Cell | None]] = [
        [Cell("=1"), Cell(123, Kind.MONEY), None, Cell("wide", span=2), Cell(7, Kind.COUNT)]
        for _ in range(20)
    ]
    small = openpyxl.load_workbook(write_book(tmp_path / "small.xlsx", book(rows)))
    monkeypatch.setattr(sheets_write, "MANY_ROWS", 5)
    big = openpyxl.load_workbook(write_book(tmp_path / "big.xlsx", book(rows)))
    values = [list(page["s"].iter_rows(values_only=True)) for page in (small, big)]
    assert values[0] == values[1]
    assert values[0][0] == ("=1", 1.23, None, "wide", None, 7)


@pytest.mark.parametrize(
    ("text", "kept"),
    [("=1", "'=1"), ("+1", "'+1"), ("-1", "'-1"), ("@a", "'@a"), ("\ta", "'\ta"), ("\r", "'\r"),
     ("a=1", "a=1"), ("", "")],
)  # fmt: skip
def test_a_text_that_would_run_is_disarmed(text: str, kept: str) -> None:
    assert disarmed(text) == kept


def test_what_xml_cannot_carry_is_left_out() -> None:
    assert clean("a\x00\x07b\ud800c\x1f\ufffe\n") == "abc\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("JS-a/b-1", "JS-a_b-1"),
        ("../x", "x"),
        ("供应商", "供应商"),
        ("..", "file"),
        ("a:b*?", "a_b"),
    ],
)
def test_a_file_name_is_safe_everywhere(text: str, name: str) -> None:
    assert safe_name(text) == name


def test_a_column_is_as_wide_as_its_texts() -> None:
    assert sheets_write.fitting([], 10, 60) == 10
    assert sheets_write.fitting(["卡密卡密卡密", "abc"], 10, 60) == 15
    assert sheets_write.fitting(["x" * 100], 10, 60) == 60
