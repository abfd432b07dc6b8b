"""The files of a platform's own key pool: what is uploaded there, and what its export says.

A form is data (presets/pools/NAME.toml, the shop's own first): the columns that are put in, the
columns and status words that come back. A key of two parts is card and password; one of one part is
a card without password. Keys are written byte for byte: no cell is disarmed or cleaned, so these
files are for the platform, not for a spreadsheet.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kmtool import resources, sheets, sheets_write
from kmtool.domain.keyfiles import JOINER
from kmtool.domain.secret import Secret
from kmtool.errors import ConfigError, InputRefused
from kmtool.toml_reader import read_toml

USED, UNUSED = "used", "unused"
HEADER_ROWS = 10
ROLES = ("card", "password", "status", "order")
_WIDTH = 36.0


@dataclass(frozen=True, slots=True)
class PoolForm:
    """One platform's forms. `check` says that no real file has confirmed them yet.

    `put` is (column, its text, its text for a key of one part).
    """

    name: str
    title: str
    check: bool
    suffix: str
    put: tuple[tuple[str, str, str], ...]
    back: Mapping[str, tuple[str, ...]]
    words: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PoolRow:
    """One row of an export: what it says of which key. `state` is empty for an unknown word."""

    row_no: int
    card: Secret
    password: Secret
    state: str
    word: str
    order: str


@dataclass(frozen=True, slots=True)
class PoolExport:
    """An export of a pool. Without a status column every `state` is empty and `by_status` False."""

    rows: tuple[PoolRow, ...]
    by_status: bool


def names(root: Path) -> list[str]:
    """Return the forms there are, the shop's own among them."""
    folders = (root / "presets" / "pools", resources.data_path("presets", "pools"))
    return sorted({path.stem for folder in folders for path in folder.glob("*.toml")})


def load(root: Path, name: str) -> PoolForm:
    """Return a form by its name; raises `ConfigError` naming those there are."""
    path = resources.find(root, "presets", "pools", f"{name}.toml")
    if not re.fullmatch(r"[\w-]+", name) or not path.is_file():
        raise ConfigError(
            detail="there is no form {name} for a pool of keys",
            name=name or "?",
            mend="--form with one of: {names}",
            names=", ".join(names(root)),
        )
    table = read_toml(path)
    put = tuple(
        (str(row["column"]), str(row["text"]), str(row.get("single", row["text"])))
        for row in table.get("put", ())
    )
    back = {role: tuple(table.get("back", {}).get(role, ())) for role in ROLES}
    suffix = str(table.get("form", "csv"))
    if not put or not back["card"] or suffix not in {"csv", "xlsx"}:
        raise ConfigError(
            detail="a form of a pool wants put, back.card, and form csv or xlsx", where=path.name
        )
    return PoolForm(
        name=name,
        title=str(table.get("title", name)),
        check=bool(table.get("check", False)),
        suffix=suffix,
        put=put,
        back=back,
        words=_words(table.get("words", {})),
    )


def _words(table: Mapping[str, Any]) -> dict[str, str]:
    return {_plain(word): state for state in (USED, UNUSED) for word in table.get(state, ())}


def parts(key: Secret) -> tuple[str, str]:
    """Return (card, password) of a key; the password of a key of one part is empty."""
    card, joiner, password = key.text().partition(JOINER)
    return (card, password) if joiner and card and password else (key.text(), "")


def write(path: Path, form: PoolForm, keys: Sequence[Secret], shop: str, at_ms: int) -> Path:
    """Write the upload form for this user's eyes only (0600); return where it lies."""
    heads = [column for column, *_ in form.put]
    rows = [_row(form, *parts(key)) for key in keys]
    if form.suffix == "csv":
        data = sheets_write.csv_bytes(heads, rows, mark=True)
        return sheets_write.write_bytes(path, data, private=True)
    cells = [[sheets_write.Cell(text) for text in row] for row in [heads, *rows]]
    sheet = sheets_write.Sheet("Sheet1", [_WIDTH] * len(heads), cells, head=1)
    book = sheets_write.Book(form.title, shop, at_ms, "CNY", (sheet,))
    return sheets_write.write_book(path, book, private=True)


def _row(form: PoolForm, card: str, password: str) -> list[str]:
    filled = {"{card}": card, "{password}": password}
    texts = [text if password else single for _, text, single in form.put]
    return [re.sub(r"\{(card|password)\}", lambda m: filled[m.group()], text) for text in texts]


def read(data: bytes, where: str, form: PoolForm) -> PoolExport:
    """Read an export; raises `InputRefused` when no table of it has a column of cards."""
    for table in sheets.read_tables(data, where):
        found = _header(table, form)
        if found is not None:
            first, columns = found
            return PoolExport(tuple(_rows(table, first, columns, form)), "status" in columns)
    raise InputRefused(
        detail="there is no column of cards: {columns}",
        columns=", ".join(form.back["card"]),
        where=where,
        mend="export the pool's list of keys again, or name its columns in"
        " presets/pools/{name}.toml of this shop",
        name=form.name,
    )


def _header(table: sheets.Table, form: PoolForm) -> tuple[int, dict[str, int]] | None:
    for at, (_, cells) in enumerate(table.rows[:HEADER_ROWS]):
        texts = [_plain(_text(cell)) for cell in cells]
        columns: dict[str, int] = {}
        for role, synonyms in form.back.items():
            known = [texts.index(_plain(word)) for word in synonyms if _plain(word) in texts]
            free = [column for column in known if column not in columns.values()]
            if free:
                columns[role] = free[0]
        if "card" in columns:
            return at + 1, columns
    return None


def _rows(
    table: sheets.Table, first: int, columns: Mapping[str, int], form: PoolForm
) -> Iterable[PoolRow]:
    for number, cells in table.rows[first:]:
        texts = {
            role: _text(cells[column]) if column < len(cells) else ""
            for role, column in columns.items()
        }
        if not texts["card"].strip():
            continue
        word = texts.get("status", "")
        yield PoolRow(
            row_no=number,
            card=Secret(texts["card"]),
            password=Secret(texts.get("password", "")),
            state=form.words.get(_plain(word), ""),
            word=word.strip()[:40],
            order=_number(texts.get("order", "")),
        )


def _text(cell: object) -> str:
    """Return a cell as text; a whole number loses nothing (a float of 16 digits has lost it)."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    return str(cell)


def _number(text: str) -> str:
    """Return an order number without what spreadsheets put around it."""
    return text.strip().removeprefix("=").strip("\"'\t ")[:100]


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if c.isprintable() and not c.isspace())
