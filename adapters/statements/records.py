"""Records: lists of cells with the physical line they start on, from text or from a sheet.

Two dialects of text exist: `standard` (csv, quotes may hold delimiters and line ends) and `none`
(a quote is a letter like any other). Stray quotes inside an unquoted cell are literal in both.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from itertools import islice
from typing import NamedTuple

from adapters.statements.refusals import bad_row, shown

Cell = str | int | float | bool | datetime | date | time | timedelta

CELL_MAX = 131_072


class Record(NamedTuple):
    """Cells of one row, the physical line (or sheet row) it starts on, its first line of text."""

    line: int
    cells: Sequence[Cell]
    text: str


class Dialect(NamedTuple):
    """How a text is cut into cells."""

    delimiter: str = ","
    quoting: str = "standard"


def text_records(text: str, dialect: Dialect, limit: int | None = None) -> Iterator[Record]:
    """Yield the records of a text, blank ones included; raises `Stop` BAD_ROW on a broken quote."""
    rows = _plain(text, dialect) if dialect.quoting == "none" else _quoted(text, dialect)
    return rows if limit is None else islice(rows, limit)


def sheet_records(rows: Iterable[tuple[int, Sequence[object]]]) -> tuple[Record, ...]:
    """Return the records of a sheet from its numbered rows."""
    return tuple(
        Record(number, [_cell(cell) for cell in cells], ",".join(map(_shown, cells)))
        for number, cells in rows
    )


def is_blank(record: Record) -> bool:
    """Return whether nothing stands in the record."""
    return not any(str(cell).strip("\ufeff \t\r\n\xa0\u3000") for cell in record.cells)


def _plain(text: str, dialect: Dialect) -> Iterator[Record]:
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        bare = line.rstrip("\n")
        yield Record(number, bare.split(dialect.delimiter), bare)


def _quoted(text: str, dialect: Dialect) -> Iterator[Record]:
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            taken.append(line)
            yield line

    reader = csv.reader(lines(), delimiter=dialect.delimiter)
    number = 1
    try:
        for cells in reader:
            if len(taken) > 1 and _is_open("".join(taken), dialect):
                raise bad_row(number, "a quote opens here and is never closed")
            yield Record(number, cells, taken[0].rstrip("\r\n"))
            number += len(taken)
            taken.clear()
    except csv.Error as error:
        raise bad_row(number, f"it cannot be cut into cells: {shown(error)}") from None


def _is_open(text: str, dialect: Dialect) -> bool:
    """Return whether the text of a record over several lines ends inside a quoted cell."""
    try:
        list(csv.reader(io.StringIO(text, newline=""), delimiter=dialect.delimiter, strict=True))
    except csv.Error as error:
        return "unexpected end of data" in str(error)
    return False


def _cell(cell: object) -> Cell:
    return cell if isinstance(cell, Cell) else _shown(cell)


def _shown(cell: object) -> str:
    return "" if cell is None else str(cell)
