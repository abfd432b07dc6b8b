"""`-o FILE`: a result written as json, csv or xlsx, by its suffix; and the text of `--csv`.

A csv on stdout is for programs: keys as head, cells as they are. A csv or xlsx file is for people
and their spreadsheet: titles, and foreign text that would run as a formula is disarmed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from kmtool.cli.blocks import Cell, Marked, Moment, Money, Table, for_machines, for_people, width
from kmtool.clock import SystemClock
from kmtool.errors import UsageError

if TYPE_CHECKING:
    from kmtool import sheets_write

WIDEST = 60


def write(
    name: str, result: object, table: Callable[[], Table | None], zone: str
) -> tuple[Path, int]:
    """Write the file whole or not at all; return where it lies and its rows (json: 1)."""
    from kmtool import sheets_write

    path = Path(name)
    match path.suffix.lower():
        case ".json":
            from kmtool.cli.shape import document

            text = json.dumps(document(result, zone), ensure_ascii=False, indent=2) + "\n"
            return sheets_write.write_bytes(path, text.encode("utf-8", "replace")), 1
        case ".csv":
            found = _found(table(), path)
            head = [column.title for column in found.columns]
            rows = [[_disarmed(cell, zone) for cell in row] for row in found.rows]
            data = sheets_write.csv_bytes(head, rows, mark=True)
            return sheets_write.write_bytes(path, data), len(found.rows)
        case ".xlsx":
            found = _found(table(), path)
            return sheets_write.write_book(path, _book(path.stem, found, zone)), len(found.rows)
    raise UsageError(
        detail="the suffix of {name} says no format",
        name=path.name,
        mend="-o FILE.xlsx, -o FILE.csv or -o FILE.json",
    )


def _found(table: Table | None, path: Path) -> Table:
    if table is None:
        raise UsageError(
            detail="it is done, but its result has no table for {name}",
            name=path.name,
            mend="-o FILE.json",
        )
    return table


def csv_text(table: Table, zone: str) -> str:
    """Return a table as csv for programs."""
    from kmtool import sheets_write

    rows = [[for_machines(cell, zone) for cell in row] for row in table.rows]
    head = [column.key for column in table.columns]
    return sheets_write.csv_bytes(head, rows, mark=False).decode()


def _disarmed(cell: Cell, zone: str) -> str:
    from kmtool import sheets_write

    if isinstance(cell, Moment):
        return for_people(cell, zone)
    text = for_machines(cell, zone)
    return sheets_write.disarmed(text) if isinstance(cell, str | Marked) else text


def _book(title: str, table: Table, zone: str) -> sheets_write.Book:
    from kmtool.sheets_write import Book, Look, Sheet
    from kmtool.sheets_write import Cell as SheetCell

    amounts = [cell for row in table.rows for cell in row if isinstance(cell, Money)]
    currency = amounts[0].currency if amounts else "CNY"
    head = [SheetCell(column.title, look=Look.HEAD) for column in table.columns]
    rows = [[_sheet_cell(cell, currency, zone) for cell in row] for row in table.rows]
    widths = [
        min(WIDEST, 2 + max([width(column.title), *(_wide(row[i], zone) for row in table.rows)]))
        for i, column in enumerate(table.columns)
    ]
    sheet = Sheet("1", widths, [head, *rows], head=1, last=len(rows) + 1)
    return Book(title, "kmtool", SystemClock().now_ms(), currency, (sheet,))


def _sheet_cell(cell: Cell, currency: str, zone: str) -> sheets_write.Cell:
    from kmtool.sheets_write import Cell as SheetCell
    from kmtool.sheets_write import Kind

    if isinstance(cell, Money) and cell.currency == currency:
        return SheetCell(cell.minor, Kind.MONEY)
    if isinstance(cell, int) and not isinstance(cell, bool) and abs(cell) < 10**15:
        return SheetCell(cell, Kind.COUNT)
    text = for_people(cell, zone)
    return SheetCell(text or None)


def _wide(cell: Cell, zone: str) -> int:
    return width(for_people(cell, zone))
