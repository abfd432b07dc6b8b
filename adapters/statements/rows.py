"""From detail records to typed rows: row shape, cell types, destroyed ids, duplicate columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from adapters.statements import cells as read
from adapters.statements.profiles import Column, Profile
from adapters.statements.records import Cell, Record
from adapters.statements.refusals import Stop, Warnings, bad_cell, bad_row, shown
from adapters.statements.sections import Sections
from kmtool.domain.statements import Code

Value = str | int | datetime | None


@dataclass(slots=True)
class Row:
    """One detail row with a value for each role of the file (money in 1e-5 major units)."""

    line: int
    member: str
    values: dict[str, Value]
    raw: dict[str, str]
    lossy: frozenset[str] = frozenset()

    def text(self, role: str) -> str:
        """Return the text of a role, empty where the file has none."""
        value = self.values.get(role)
        return value if isinstance(value, str) else ""

    def e5(self, role: str) -> int | None:
        """Return the money of a role, None where there is none."""
        value = self.values.get(role)
        return value if isinstance(value, int) else None


def read_rows(sections: Sections, warnings: Warnings) -> list[Row]:
    """Return the typed rows of a member; raises `Stop` at the first that cannot be read."""
    shape = _Shape(sections, warnings)
    return [shape.row(record) for record in sections.details]


class _Shape:
    """What is known of a member's table: widths, names and the columns in use."""

    def __init__(self, sections: Sections, warnings: Warnings) -> None:
        self.profile: Profile = sections.header.profile
        self.member = sections.member
        self.warnings = warnings
        self.is_text = sections.encoding not in ("xlsx", "xls")
        head = [read.bare(cell) for cell in sections.header.record.cells]
        self.wide = len(head)
        while head and not head[-1]:
            head.pop()
        self.names = head
        self.width = len(head)
        index = dict(sections.header.index)
        self.in_use: list[tuple[str, int, Column]] = []
        for role, column in self.profile.columns.items():
            place = index.get(role, index.get(column.fallback))
            if place is not None:
                self.in_use.append((role, place, column))
        self.required_to = 1 + max(place for _, place, column in self.in_use if column.required)
        self.doubles = self._doubles(index, sections.header.record.line)
        self.overflow = [index[role] for role in self.profile.table.overflow if role in index]

    def _doubles(self, index: dict[str, int], line: int) -> list[tuple[int, int]]:
        """Warn of header names that stand twice; return the pairs whose cells must agree."""
        keys = [read.name_key(name) for name in self.names]
        pairs = []
        for role, place in index.items():
            for other in range(place + 1, self.width):
                if keys[other] == keys[place]:
                    text = f"the column {shown(self.names[place])} stands twice; the first is used"
                    self.warnings.add("DUPLICATE_COLUMN", text, line)
                    if self.profile.columns[role].required:
                        pairs.append((place, other))
        return pairs

    def row(self, record: Record) -> Row:
        """Read one record."""
        cells = self._fit(record)
        for first, other in self.doubles:
            if read.bare(cells[first]) != read.bare(cells[other]):
                name = self.names[first]
                raise bad_row(record.line, f"column {name} stands twice with different values")
        return self._read(record.line, cells)

    def _fit(self, record: Record) -> Sequence[Cell]:
        """Return the record's cells in the width of the header."""
        cells = record.cells
        found = len(cells)
        if found == self.width:
            return cells
        if found > self.width:
            return self._narrowed(record)
        if found < self.required_to:
            lost = [
                self.names[place]
                for _, place, column in self.in_use
                if column.required and place >= found
            ]
            why = f"{found} cells, {self.width} columns; missing: {', '.join(lost)}"
            raise bad_row(record.line, why)
        self.warnings.add(
            "SHORT_ROW", "a row ends early; its last cells count as empty", record.line
        )
        return [*cells[:found], *[""] * (self.width - found)]

    def _narrowed(self, record: Record) -> Sequence[Cell]:
        """Return a row with surplus cells in the header's width.

        Empty cells at the end fall away; else the surplus goes back into the one free text it can
        have been cut out of. Where both, or two texts, are possible and differ, the row is refused.
        """
        cells = self._marked(record.cells)
        if len(cells) == self.width:
            return cells
        cells = list(record.cells)
        spare = len(cells) if not self.is_text else max(self.wide, self.width + 1)
        blank = all(not read.bare(cell) for cell in cells[self.width :])
        if blank and (not self.overflow or self.wide > self.width or not self.is_text):
            fits = [cells[: self.width]] if len(cells) <= spare else []
        else:
            tries = [cells[: self.width]] if blank and "\t" not in cells[-1:] else []
            tries += self._joined(cells)
            fits = [attempt for attempt in tries if self._typed(record.line, attempt)]
        if not fits or any(self._firm(fit) != self._firm(fits[0]) for fit in fits[1:]):
            raise bad_row(record.line, f"{len(cells)} cells, {self.width} columns")
        return fits[0]

    def _marked(self, cells: Sequence[Cell]) -> list[Cell]:
        """Join cells that lack the mark which the vendor prints before every value."""
        mark, table = self.profile.table.mark, self.profile.table
        joined: list[Cell] = []
        for cell in cells:
            if mark and joined and not str(cell).startswith(mark):
                joined[-1] = f"{joined[-1]}{table.dialect.delimiter}{cell}"
            else:
                joined.append(cell)
        return joined

    def _joined(self, cells: list[Cell]) -> list[list[Cell]]:
        """Return the row with its surplus put back into each of the free texts."""
        if not self.is_text:
            return []
        after = len(cells) - self.width + 1
        delimiter = self.profile.table.dialect.delimiter
        return [
            [*cells[:at], delimiter.join(map(str, cells[at : at + after])), *cells[at + after :]]
            for at in self.overflow
        ]

    def _firm(self, cells: Sequence[Cell]) -> list[str]:
        """Return the cells in which two readings of a row must not differ."""
        return [read.bare(cells[at]) for _, at, column in self.in_use if column.type != "text"]

    def _typed(self, line: int, cells: Sequence[Cell]) -> bool:
        """Return whether every typed cell reads as its type, ids as ids usually look."""
        try:
            row = self._read(line, cells)
        except Stop:
            return False
        amount = self.profile.amount
        known = (*amount.direction_in, *amount.direction_out, *amount.neutral)
        if amount.mode == "direction" and row.text("direction") not in known:
            return False
        for role, _, column in self.in_use:
            value = row.values[role]
            if column.type == "id" and (not str(value).isascii() or " " in str(value)):
                return False
            known_time = column.type != "time" or (not value and not column.required)
            if not known_time and not self._is_time(value, column):
                return False
        return True

    def _is_time(self, value: Value, column: Column) -> bool:
        if isinstance(value, datetime):
            return True
        return isinstance(value, str) and read.parse_time(value, column.formats) is not None

    def _read(self, line: int, cells: Sequence[Cell]) -> Row:
        values: dict[str, Value] = {}
        lossy: list[str] = []
        for role, place, column in self.in_use:
            cell = cells[place]
            kind = column.type
            if kind == "text":
                values[role] = read.read_text(cell, column.empty)
            elif kind == "id":
                text, destroyed, numeric = read.read_id(cell, column.empty)
                values[role] = text
                if destroyed:
                    lossy.append(role)
                elif numeric:
                    name = self.names[place]
                    self.warnings.add(
                        "NUMERIC_ID",
                        f"column {name} holds numbers; leading zeros may be lost",
                        line,
                    )
            elif kind == "time":
                values[role] = read.read_time(cell, column.empty)
            else:
                values[role] = self._money(line, place, column, cell)
        raw = {name: _raw(cell) for name, cell in zip(self.names, cells, strict=True) if name}
        return Row(line, self.member, values, raw, frozenset(lossy))

    def _money(self, line: int, place: int, column: Column, cell: Cell) -> int | None:
        try:
            return read.read_money(cell, column.empty, column.decimal)
        except ValueError as error:
            noted = self._noted(column, read.bare(cell))
            if noted is not None:
                return noted
            why = str(error)
            raise bad_cell(Code.BAD_AMOUNT, line, self.names[place], read.bare(cell), why) from None

    def _noted(self, column: Column, text: str) -> int | None:
        """Read an annotated amount (`131.77(已退款89.84)`) where the column declares such notes."""
        for note in column.notes:
            found = note.pattern.fullmatch(text)
            if found is None:
                continue
            try:
                amount = read.read_money(found["amount"], (), column.decimal) or 0
                refund = (
                    amount
                    if note.refund == "all"
                    else read.read_money(found["refund"] or "", (), column.decimal) or 0
                )
            except ValueError:
                continue
            return amount - refund if self.profile.amount.inline_refund == "subtract" else amount
        return None


def _raw(cell: Cell) -> str:
    return cell if isinstance(cell, str) else read.number_text(cell)
