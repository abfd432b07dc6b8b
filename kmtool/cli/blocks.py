"""What a screen is made of, and how it becomes plain lines of text. Nothing here prints.

A view turns a result into blocks: `Heading`, `Line`, `Facts` (label and value) and `Table`. Tables
are plain columns without box characters; an East Asian wide character counts as two columns. Cells
are text, numbers, None, or one of `Money`, `Moment`, `Marked`, which know how they look to a person
and to a machine. Foreign text loses control characters and terminal escapes on the way.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kmtool.clock import iso_text, local_text
from kmtool.domain.money import format_minor, format_plain
from kmtool.words import tell

_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"
    r"|\x1b\[[0-?]*[ -/]*[@-~]|\x1b.|\x9b[0-?]*[ -/]*[@-~]",
    re.DOTALL,
)
_GAP = "  "
ID_MAX = 36
"""An id up to this width is never cut: half an order number is none."""


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in a cell."""

    minor: int | None
    currency: str = "CNY"


@dataclass(frozen=True, slots=True)
class Moment:
    """A time in a cell (UTC milliseconds, shown in the shop's zone)."""

    ms: int | None


@dataclass(frozen=True, slots=True)
class Marked:
    """Text in a cell with a style: good, warn, bad or dim (colour on a terminal only)."""

    text: str
    style: str


Cell = str | int | float | Money | Moment | Marked | None


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its stable key (csv, ids) and its title; numbers stand to the right.

    A `spare` one is left out where the screen is too narrow for the others to be read.
    """

    key: str
    title: str
    spare: bool = False


@dataclass(frozen=True, slots=True)
class Heading:
    """A line that names what follows."""

    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence; style is good, warn, bad or dim."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Labels with their values, one below the other."""

    pairs: Sequence[tuple[str, Cell]]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns. `id_key` names the column of `--ids` (the first by default).

    `total` is how many there are when `rows` holds only the first of them.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    id_key: str = ""
    total: int | None = None
    empty: str = ""


Block = Heading | Line | Facts | Table


def plain(text: str) -> str:
    """Return foreign text fit for a terminal: no escapes, no controls, one line."""
    text = _ESCAPES.sub("", text)
    if text.isprintable():
        return text
    return "".join(" " if c in "\n\r\t" else c for c in text if _shown(c))


def _shown(char: str) -> bool:
    return char in "\n\r\t" or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def width(text: str) -> int:
    """Return how many columns a text takes: wide characters two, combining marks none."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def cut(text: str, columns: int) -> str:
    """Return a text no wider than `columns`, ending in … where something is left out."""
    if width(text) <= columns:
        return text
    kept = ""
    for char in text:
        if width(kept + char) > columns - 1:
            break
        kept += char
    return kept + "…"


def for_people(cell: Cell, zone: str) -> str:
    """Return a cell as a person reads it."""
    match cell:
        case None:
            return ""
        case Money(minor, currency):
            return "" if minor is None else format_minor(minor, currency)
        case Moment(ms):
            return local_text(ms, zone)
        case Marked(text, _):
            return plain(tell(text))
        case str(text):
            return plain(tell(text))
        case _:
            return plain(str(cell))


def for_machines(cell: Cell, zone: str) -> str:
    """Return a cell as a program reads it: amounts without sign and groups, times ISO 8601."""
    match cell:
        case None:
            return ""
        case Money(minor, currency):
            return "" if minor is None else format_plain(minor, currency)
        case Moment(ms):
            return iso_text(ms, zone) or ""
        case Marked(text, _):
            return plain(text)
        case _:
            return plain(str(cell))


def table_lines(table: Table, zone: str, columns: int, rows: int | None) -> Iterable[list[Cell]]:
    """Yield the lines of a table, title first, each a list of padded cells (last one unpadded).

    Where the screen is too narrow, empty and spare columns go, years go into the titles, and texts
    are cut. Ids, amounts, times, numbers and commands never are: the line rather runs over.
    """
    shown = [list(row) for row in (table.rows if rows is None else table.rows[:rows])]
    texts = [[for_people(cell, zone) for cell in row] for row in shown]
    titles = [column.title for column in table.columns]
    if _over(_widths(titles, texts), columns) > 0:
        said = [
            i
            for i, column in enumerate(table.columns)
            if not texts or (not column.spare and any(row[i] for row in texts))
        ]
        titles = [titles[i] for i in said]
        shown = [[row[i] for i in said] for row in shown]
        texts = [[row[i] for i in said] for row in texts]
        keys = [table.columns[i].key for i in said]
        _shorten_years(titles, shown, texts)
    else:
        keys = [column.key for column in table.columns]
    widths = _widths(titles, texts)
    fixed = [
        (key == (table.id_key or table.columns[0].key) and widths[i] <= ID_MAX)
        or any(row[i].startswith("kmtool ") for row in texts)
        or not any(c.isalpha() for row in texts for c in row[i])
        or all(isinstance(row[i], int | float | Money | Moment | None) for row in shown)
        for i, key in enumerate(keys)
    ]
    _squeeze(widths, fixed, columns)
    right = [
        any(isinstance(row[i], int | float | Money) for row in shown)
        and all(isinstance(row[i], int | float | Money | None) for row in shown)
        for i in range(len(titles))
    ]
    yield [_pad(t, w, r) for t, w, r in zip(titles, widths, right, strict=True)]
    for row, line in zip(shown, texts, strict=True):
        padded = [_pad(t, w, r) for t, w, r in zip(line, widths, right, strict=True)]
        yield [
            Marked(text, cell.style) if isinstance(cell, Marked) else text
            for text, cell in zip(padded, row, strict=True)
        ]


def _widths(titles: list[str], texts: list[list[str]]) -> list[int]:
    return [
        max([width(title), *(width(row[i]) for row in texts)]) for i, title in enumerate(titles)
    ]


def _over(widths: list[int], columns: int) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1) - columns


def _shorten_years(titles: list[str], shown: list[list[Cell]], texts: list[list[str]]) -> None:
    """A column of times within one year says the year once, in its title."""
    for i, title in enumerate(titles):
        moments = [t[i] for t, row in zip(texts, shown, strict=True) if isinstance(row[i], Moment)]
        years = {text[:5] for text in moments if text}
        if len(moments) == len(shown) and len(years) == 1 and min(years)[4:] == "-":
            titles[i] = f"{title} ({min(years)[:4]})"
            for row in texts:
                row[i] = row[i][5:]


def _squeeze(widths: list[int], fixed: list[bool], columns: int) -> None:
    """Narrow the widest columns of text until the line fits, none below six."""
    for _step in range(max(0, _over(widths, columns))):
        free = [i for i, stays in enumerate(fixed) if not stays and widths[i] > 6]
        if not free:
            return
        widths[max(free, key=lambda i: widths[i])] -= 1


def _pad(text: str, columns: int, right: bool) -> str:
    text = cut(text, columns)
    space = " " * (columns - width(text))
    return space + text if right else text + space
