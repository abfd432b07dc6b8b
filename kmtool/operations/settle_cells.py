"""What settlement workbooks are made of: a frozen sheet, table sheets, labelled figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kmtool.domain import settlement as rules
from kmtool.domain.settlement import SheetLine
from kmtool.sheets_write import Cell, Kind, Look, Sheet
from kmtool.store.db import Row


@dataclass(frozen=True, slots=True)
class Frozen:
    """A closed sheet as the database keeps it."""

    sheet: Row
    previous: str
    lines: tuple[SheetLine, ...]
    batches: tuple[Row, ...]
    left: tuple[Row, ...]

    @property
    def paid_for(self) -> tuple[SheetLine, ...]:
        """The lines of the detail."""
        return tuple(line for line in self.lines if line.kind in rules.DETAIL_KINDS)

    @property
    def adjusted(self) -> tuple[SheetLine, ...]:
        """The lines of 扣回调整."""
        return tuple(line for line in self.lines if line.kind not in rules.DETAIL_KINDS)


@dataclass(frozen=True, slots=True)
class Part:
    """A table sheet with the address and the value of its total."""

    sheet: Sheet
    total: str
    total_minor: int
    rows: int


def table(
    name: str,
    columns: Sequence[tuple[str, float]],
    rows: Sequence[Sequence[Cell]],
    *,
    total: int,
    empty: str,
) -> Part:
    """Return a table sheet: titles, rows (or a line that says there are none), the total."""
    body = rows or [(Cell(empty, look=Look.NOTE, span=len(columns)),)]
    letter = chr(ord("A") + total)
    last = len(body) + 1
    value = sum(int(str(row[total].value)) for row in rows)
    ending: list[Cell | None] = [None] * total
    ending[0] = Cell("合计", look=Look.TOTAL)
    sum_cell = Cell(value, Kind.MONEY, Look.TOTAL, formula=f"=SUM({letter}2:{letter}{last})")
    sheet = Sheet(
        name=name,
        widths=[width for _, width in columns],
        rows=[[head(title) for title, _ in columns], *body, [*ending, sum_cell]],
        head=1,
        last=last,
    )
    return Part(sheet, f"'{name}'!{letter}{last + 1}", value, len(rows))


def with_note(part: Part, note: str) -> Part:
    """Add a line below the total."""
    sheet = part.sheet
    line = (Cell(note, look=Look.NOTE, span=len(sheet.widths)),)
    return replace(part, sheet=replace(sheet, rows=[*sheet.rows, line]))


def head(text: str, span: int = 1) -> Cell:
    """Return a column title."""
    return Cell(text, look=Look.HEAD, span=span)


def label(text: str) -> Cell:
    """Return a label in a box."""
    return Cell(text, look=Look.LABEL)


def box(text: str, span: int = 1) -> Cell:
    """Return text in a box."""
    return Cell(text, look=Look.BOX, span=span, wrap=True)


def figure(
    name: str, amount_minor: int, note: str, formula: str = "", *, red: bool = False,
    bold: bool = False,
) -> tuple[Cell, ...]:  # fmt: skip
    """Return a row of the summary: label, amount, explanation."""
    look = Look.LABEL if bold else Look.BOX
    amount = Cell(amount_minor, Kind.MONEY, look, formula=formula, red=red)
    return (label(name), amount, Cell(note, look=Look.BOX, span=2))
