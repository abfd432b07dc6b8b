"""Writing workbooks and csv, one place. What a file shows is data (`Book`), how is decided here.

- Every text is written as text: no cell but our own totals is a formula, whatever a buyer or
  supplier put into a name. A csv for people disarms such texts with an apostrophe.
- The same book gives the same bytes: its creation time is given, nothing else looks at a clock.
- A file appears whole or not at all (temporary name, then rename). Where a spreadsheet program
  holds the old one, the new one gets another name.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width
from zoneinfo import ZoneInfo

from kmtool.domain.money import exponent
from kmtool.durable import sweep
from kmtool.errors import FileNotWritten

CHINA_HOURS = 8
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
MANY_ROWS = 50_000
ROW_HEIGHT = 18
CELL_CHARS_MAX = 32_767
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_FONT = "微软雅黑"


class Kind(StrEnum):
    """What a cell holds: decides its type and format."""

    TEXT = "text"
    COUNT = "count"
    MONEY = "money"
    UNIT = "unit"
    TIME = "time"
    DAY = "day"


_NUMBERS = frozenset({Kind.COUNT, Kind.MONEY, Kind.UNIT})


class Look(StrEnum):
    """What a cell looks like beside its format."""

    PLAIN = "plain"
    TITLE = "title"
    HEAD = "head"
    LABEL = "label"
    BOX = "box"
    TOTAL = "total"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell. Money is minor units, a unit cost 1e-5 major units. A time is UTC milliseconds,
    shown in UTC+8, or a moment without zone, shown as it stands.

    With `formula` the value is its cached result. `span` merges cells to the right.
    """

    value: str | int | date | None
    kind: Kind = Kind.TEXT
    look: Look = Look.PLAIN
    formula: str = ""
    span: int = 1
    wrap: bool = False
    red: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """One sheet: rows of cells from A1 on. `head` is the row of column titles, counted from 1."""

    name: str
    widths: Sequence[float]
    rows: Sequence[Sequence[Cell | None]]
    head: int = 0
    last: int = 0
    landscape: bool = True
    heights: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Book:
    """A workbook: its sheets, and what goes into its properties and footers."""

    title: str
    author: str
    created_ms: int
    currency: str
    sheets: tuple[Sheet, ...]


def clean(text: str) -> str:
    """Return text that XML can carry, no longer than a cell takes."""
    return _ILLEGAL.sub("", text)[:CELL_CHARS_MAX]


def fitting(texts: Iterable[str], least: float, most: float) -> float:
    """Return a column's width for its texts; an East Asian wide character takes two places."""
    widest = max(
        (sum(1 + (east_asian_width(c) in "WFA") for c in text) for text in texts), default=0
    )
    return min(most, max(least, widest + 3))


def safe_name(text: str) -> str:
    """Return text as a file name on every system: letters, digits, dot, dash and underscore."""
    return re.sub(r"[^\w.-]+", "_", text).strip("._") or "file"


def number_in_cell(cell: Cell, currency: str) -> float:
    """Return the number a cell holds: 分 / 100 for money, whole numbers for counts."""
    assert isinstance(cell.value, int)
    if cell.kind is Kind.MONEY:
        return float(cell.value / 10 ** exponent(currency))
    return float(cell.value / 100_000) if cell.kind is Kind.UNIT else float(cell.value)


def china_time(at_ms: int) -> datetime:
    """Return a time as the workbook shows it: UTC+8, whole seconds, without a zone."""
    moment = datetime.fromtimestamp(at_ms // 1000, UTC) + timedelta(hours=CHINA_HOURS)
    return moment.replace(tzinfo=None)


def local_time(at_ms: int, zone: str) -> datetime:
    """Return a time as a table of the shop shows it: in its zone, whole seconds, without one."""
    return datetime.fromtimestamp(at_ms // 1000, ZoneInfo(zone)).replace(tzinfo=None)


def write_book(path: Path, book: Book, *, private: bool = False) -> Path:
    """Write a workbook and return where it lies (another name when the wanted one is held open)."""

    created_s = book.created_ms // 1000

    def fill(partial: Path) -> None:
        import xlsxwriter

        options = {
            "strings_to_formulas": False,
            "strings_to_numbers": False,
            "strings_to_urls": False,
            "constant_memory": sum(len(sheet.rows) for sheet in book.sheets) > MANY_ROWS,
        }
        packed = io.BytesIO()  # a zip that meets a full disk would complain once more at its end
        workbook = xlsxwriter.Workbook(packed, options)
        workbook.set_properties(
            {
                "title": clean(book.title),
                "author": clean(book.author),
                "created": datetime.fromtimestamp(created_s, UTC).replace(tzinfo=None),
            }
        )
        formats = _Formats(workbook, book.currency)
        for sheet in book.sheets:
            _write_sheet(workbook, sheet, book, formats)
        try:
            workbook.close()
        except xlsxwriter.exceptions.FileCreateError as error:
            raise OSError(str(error)) from None
        _fill(partial, packed.getvalue())

    return save(path, fill, private=private)


def write_bytes(path: Path, data: bytes, *, private: bool = False) -> Path:
    """Write a finished file and return where it lies."""
    return save(path, lambda partial: _fill(partial, data), private=private)


def save(path: Path, fill: Callable[[Path], None], *, private: bool = False) -> Path:
    """Let `fill` write a temporary file, force it to the disk and give it its name."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = 0o600 if private else 0o666
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode))
        sweep(partial)
        fill(partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        return _rename(partial, path)
    except OSError as error:
        raise FileNotWritten(name=path, detail="{reason}", reason=error.strerror or error) from None
    finally:
        with suppress(OSError):
            partial.unlink()


def disarmed(text: str) -> str:
    """Return text that a spreadsheet takes for text: an apostrophe before a formula."""
    return f"'{text}" if text.startswith(FORMULA_SIGNS) else text


def csv_bytes(head: Sequence[str], rows: Iterable[Sequence[str]], *, mark: bool) -> bytes:
    """Return csv in UTF-8, with a byte order mark for spreadsheet programs or without."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n" if mark else "\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8-sig" if mark else "utf-8", "backslashreplace")


def _fill(partial: Path, data: bytes) -> None:
    partial.write_bytes(data)


def _rename(partial: Path, path: Path) -> Path:
    """Rename; on Windows a file that a spreadsheet program shows cannot be replaced."""
    for nth in range(1, 10):
        target = path if nth == 1 else path.with_stem(f"{path.stem}-{nth}")
        try:
            return partial.replace(target)
        except PermissionError:
            if nth == 9:
                raise
    raise AssertionError


def _write_sheet(workbook: Any, sheet: Sheet, book: Book, formats: _Formats) -> None:
    page = workbook.add_worksheet(sheet.name)
    for column, wide in enumerate(sheet.widths):
        page.set_column(column, column, wide)
    page.set_default_row(ROW_HEIGHT)
    heights = dict(sheet.heights)
    for number, row in enumerate(sheet.rows):
        if number + 1 in heights:
            page.set_row(number, heights[number + 1])
        column = 0
        for cell in row:
            if cell is not None:
                _write_cell(page, number, column, cell, book, formats)
            column += 1 if cell is None else cell.span
    if sheet.head:
        page.freeze_panes(sheet.head, 0)
        page.repeat_rows(sheet.head - 1)
        page.autofilter(sheet.head - 1, 0, max(sheet.last, sheet.head) - 1, len(sheet.widths) - 1)
    _print_setup(page, sheet, book)


def _write_cell(
    page: Any, row: int, column: int, cell: Cell, book: Book, formats: _Formats
) -> None:
    form = formats.of(cell)
    if cell.span > 1:
        page.merge_range(row, column, row, column + cell.span - 1, "", form)
    if cell.red:
        page.conditional_format(
            row, column, row, column,
            {"type": "cell", "criteria": "!=", "value": 0, "format": formats.alarm()},
        )  # fmt: skip
    if cell.value is None:
        page.write_blank(row, column, None, form)
    elif cell.formula:
        page.write_formula(row, column, cell.formula, form, number_in_cell(cell, book.currency))
    elif cell.kind is Kind.TEXT:
        page.write_string(row, column, clean(str(cell.value)), form)
    elif cell.kind is Kind.TIME:
        moment = china_time(cell.value) if isinstance(cell.value, int) else cell.value
        page.write_datetime(row, column, moment, form)
    elif cell.kind is Kind.DAY:
        page.write_datetime(row, column, cell.value, form)
    else:
        page.write_number(row, column, number_in_cell(cell, book.currency), form)


def _print_setup(page: Any, sheet: Sheet, book: Book) -> None:
    """A4, one page wide, a footer with the title; `&` in it would be a command."""
    page.set_paper(9)
    if sheet.landscape:
        page.set_landscape()
    page.fit_to_pages(1, 0)
    page.set_margins(left=0.59, right=0.59, top=0.59, bottom=0.75)
    title = clean(book.title).replace("&", "&&")[:150]
    page.set_footer(f"&L{title}&C{sheet.name}&R第 &P 页 共 &N 页", {"margin": 0.3})


class _Formats:
    """The formats of one workbook, each made once."""

    def __init__(self, workbook: Any, currency: str) -> None:
        self._workbook = workbook
        places = exponent(currency)
        money = "#,##0" + ("." + "0" * places if places else "")
        self._numbers = {
            Kind.TEXT: "@",
            Kind.COUNT: "#,##0",
            Kind.MONEY: f"{money};[Red]-{money}",
            Kind.UNIT: "#,##0.00###",
            Kind.TIME: "yyyy-mm-dd hh:mm:ss",
            Kind.DAY: "yyyy-mm-dd",
        }
        self._made: dict[tuple[Kind, Look, bool], Any] = {}
        self._alarm: Any = None

    def of(self, cell: Cell) -> Any:
        """Return the format of a cell."""
        key = (cell.kind, cell.look, cell.wrap)
        if key not in self._made:
            self._made[key] = self._workbook.add_format(self._describe(*key))
        return self._made[key]

    def alarm(self) -> Any:
        """Return the format of a check that does not come to zero."""
        if self._alarm is None:
            self._alarm = self._workbook.add_format({"bg_color": "#C00000", "font_color": "white"})
        return self._alarm

    def _describe(self, kind: Kind, look: Look, wrap: bool) -> dict[str, object]:
        form: dict[str, object] = {
            "font_name": _FONT,
            "font_size": 10,
            "num_format": self._numbers[kind],
            "valign": "vcenter",
            "align": "right" if kind in _NUMBERS else "left",
            "indent": 1,
        }
        extra: dict[Look, dict[str, object]] = {
            Look.TITLE: {"bold": True, "font_size": 16, "align": "center", "indent": 0},
            Look.HEAD: {"bold": True, "bg_color": "#E7EEF7", "align": "center", "indent": 0},
            Look.LABEL: {"bold": True, "border": 1, "bg_color": "#F5F7FA"},
            Look.BOX: {"border": 1},
            Look.TOTAL: {"bold": True},
            Look.NOTE: {"font_size": 9, "font_color": "#666666"},
        }
        form |= extra.get(look, {})
        if wrap:
            form["text_wrap"] = True
        return form
