"""`-o FILE`: a result written as json or csv, chosen by the suffix; and the text of `--csv`.

A csv on stdout is for programs: keys as head, cells as they are. A csv file is for people and their
spreadsheet: titles, a BOM, and foreign text that would run as a formula is disarmed.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

from kmtool.cli.blocks import Cell, Marked, Table, for_machines
from kmtool.errors import InputRefused, UsageError

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write(name: str, result: object, table: Callable[[], Table], zone: str) -> int:
    """Write the file whole or not at all; return its rows (1 for a json document)."""
    path = Path(name)
    match path.suffix.lower():
        case ".json":
            from kmtool.cli.shape import document

            text = json.dumps(document(result, zone), ensure_ascii=False, indent=2) + "\n"
            _save(path, text.encode("utf-8", "replace"))
            return 1
        case ".csv":
            found = table()
            _save(path, _people_csv(found, zone).encode("utf-8-sig", "replace"))
            return len(found.rows)
    raise UsageError(
        detail=f"the suffix of {path.name} says no format", mend="-o FILE.csv or -o FILE.json"
    )


def csv_text(table: Table, zone: str) -> str:
    """Return a table as csv for programs."""
    return _csv(
        [c.key for c in table.columns], [[for_machines(c, zone) for c in row] for row in table.rows]
    )


def _people_csv(table: Table, zone: str) -> str:
    rows = [[_disarmed(cell, zone) for cell in row] for row in table.rows]
    return _csv([column.title for column in table.columns], rows)


def _csv(head: list[str], rows: list[list[str]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()


def _disarmed(cell: Cell, zone: str) -> str:
    text = for_machines(cell, zone)
    if isinstance(cell, str | Marked) and text.startswith(_FORMULA):
        return "'" + text
    return text


def _save(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputRefused(
            detail=f"the file cannot be written: {error.strerror}",
            where=str(path),
            mend="close it in the other program, or choose another name",
        ) from None
