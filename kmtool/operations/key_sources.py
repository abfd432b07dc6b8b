"""Reads files that should hold keys, and says what they are when they do not.

A zip is a bundle of files of its own; every file becomes a batch. Nothing is written here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from kmtool import resources, sheets
from kmtool.domain import keyfiles, pictures
from kmtool.errors import InputRefused, UsageError, WrongFile, told
from kmtool.shop import Shop
from kmtool.toml_reader import read_toml

_TABLES = (".csv", ".tsv")
_SHELL = frozenset("&;()<>|*?'#")
"""What a shell takes for its own unless it is quoted."""
_HEAD = 30
"""How many rows are looked at to tell an order export or a bill."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file's name and bytes, as they came, and the path by which a command finds it.

    Files out of a zip have the path of the zip: no command can reach into it. A folder of pictures
    has `members` and no bytes of its own.
    """

    name: str
    data: bytes
    path: str = ""
    members: tuple[tuple[str, bytes], ...] = ()

    @property
    def typed(self) -> str:
        """Return the path as it has to be typed in a command."""
        path = self.path or self.name
        return f'"{path}"' if any(c.isspace() or c in _SHELL for c in path) else path


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are to be read: the separator between parts, and column → header text or number."""

    separator: str = ""
    mapping: Mapping[str, str] | None = None
    images: bool = False


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file that was read: its identity, encoding and what it holds."""

    name: str
    sha256: str
    encoding: str
    parsed: keyfiles.Parsed


def load(path: Path, *, images: bool = False) -> Source:
    """Return a file from the disk, or a folder when its pictures are wanted.

    Another folder and a lock file are refused with what to do instead.
    """
    if path.is_dir() and images:
        return _folder(path)
    if path.is_dir():
        inside = sorted(p.name for p in path.iterdir() if p.is_file())
        listed = ", ".join(inside[:10]) or "nothing"
        raise WrongFile(
            name=path,
            what=told("it is a folder; it holds {listed}", listed=listed),
            mend="kmtool import {name}/FILE",
        )
    if path.name.startswith("~$"):
        raise WrongFile(
            name=path.name,
            what=told("Excel keeps this lock file beside an open workbook"),
            mend="kmtool import {book}",
            book=path.name[2:],
        )
    return Source(path.name, sheets.read_bytes(path), str(path))


def _folder(path: Path) -> Source:
    files = sorted(p for p in path.iterdir() if p.is_file() and pictures.is_picture_name(p.name))
    if not files:
        raise WrongFile(name=path, what=told("it is a folder without a picture"))
    if len(files) > pictures.COUNT_MAX:
        raise InputRefused(
            where=str(path),
            detail="more than {n} pictures",
            n=f"{pictures.COUNT_MAX:,}",
            mend="split the folder; every part becomes a batch",
        )
    members = tuple((p.name, sheets.read_bytes(p)) for p in files)
    return Source(path.name, b"", str(path), members)


def read_any(path: Path) -> Iterator[KeyFile]:
    """Yield the keys that a file, a folder or a zip names, texts and pictures alike.

    Nothing is left out in silence: a picture that cannot be read raises `InputRefused`.
    """
    for source in _alone(path):
        images = pictures.is_picture(source.data) or pictures.is_picture_name(source.name)
        for file in read(source, Reading(images=images)):
            if images and file.parsed.refused:
                why = file.parsed.refused[0].reason
                raise InputRefused(where=source.name, detail="{reason}", reason=why)
            yield file


def _alone(path: Path) -> Iterator[Source]:
    """Yield every file of a folder or a zip by itself, but those that a system hides."""
    if path.is_dir():
        for inside in sorted(p for p in path.iterdir() if p.is_file() and p.name[0] != "."):
            yield from _alone(inside)
        return
    source = load(path)
    if source.data.strip() and sheets.form_of(source.data) == "zip":
        for name, data in sheets.unpack(source.data, source.name):
            yield Source(f"{source.name}/{name}", data, str(path))
        return
    yield source


def from_stream(stream: BinaryIO, name: str) -> Source:
    """Return what is piped in, up to the size a file may have."""
    data = stream.read(sheets.FILE_MAX + 1)
    if len(data) > sheets.FILE_MAX:
        raise InputRefused(where=name, detail="more than a file may hold", mend="split it")
    return Source(name, data, "FILE")


def reading(
    shop: Shop,
    separator: str,
    mapping: Mapping[str, str] | None,
    preset: str,
    images: bool = False,
) -> Reading:
    """Return how to read; a preset is a section of `presets/keys.toml` (the shop's own first).

    Raises `UsageError` for an unknown preset.
    """
    if images:
        return Reading(images=True)
    if not preset:
        return Reading(separator, mapping)
    tables = read_toml(resources.find(shop.config.root, "presets", "keys.toml"))
    found = tables.get(preset)
    if not isinstance(found, dict):
        raise UsageError(
            detail="there is no preset {preset}; there are: {tables}",
            preset=preset,
            tables=", ".join(sorted(tables)),
            mend="kmtool import FILE --preset NAME, or --map key=COLUMN",
        )
    columns = {name: str(found[name]) for name in ("key", "password") if name in found}
    return Reading(separator or str(found.get("sep", "")), mapping or columns or None)


def read(source: Source, how: Reading) -> Iterator[KeyFile]:
    """Yield what a source holds, one `KeyFile` per file in it. Raises `InputRefused`."""
    if how.images:
        yield _pictures(source)
        return
    if not source.data.strip():
        raise WrongFile(
            name=source.name,
            what=told("it is empty"),
            mend="save it again in the program it came from, then repeat the import",
        )
    _refuse_other_kinds(source)
    form = sheets.form_of(source.data)
    if form == "zip":
        members = list(sheets.unpack(source.data, source.name))
        if not members:
            raise WrongFile(name=source.name, what=told("the zip is empty"))
        for name, data in members:
            inner = Source(f"{source.name}/{name}", data, source.path or source.name)
            if sheets.form_of(data) == "zip":
                raise WrongFile(
                    name=inner.name, what=told("it is a zip inside a zip"), mend="unpack it"
                )
            yield from read(inner, how)
        return
    try:
        encoding, parsed = _parse(source, form, how)
    except keyfiles.Unclear as unclear:
        raise InputRefused(
            where=source.name,
            detail="it is not clear which column holds the key: {unclear}",
            unclear=unclear,
            mend="name it: kmtool import FILE --map key=COLUMN,password=COLUMN (text or number)",
        ) from None
    if parsed.rows > sheets.ROWS_MAX:
        raise InputRefused(
            where=source.name,
            detail="more than {rows_max} rows",
            rows_max=f"{sheets.ROWS_MAX:,}",
            mend="split the file; every part becomes a batch",
        )
    if not parsed.rows:
        raise WrongFile(name=source.name, what=told("it has no row with a key"))
    yield KeyFile(source.name, hashlib.sha256(source.data).hexdigest(), encoding, parsed)


def refuse_exports(source: Source) -> None:
    """Refuse orders, bills and what is no text before anything is asked about the file's keys."""
    if not source.data.strip():
        return
    _refuse_other_kinds(source)
    form = sheets.form_of(source.data)
    if form == "zip":
        for name, data in sheets.unpack(source.data, source.name):
            if sheets.form_of(data) != "zip":
                refuse_exports(Source(f"{source.name}/{name}", data, source.path or source.name))
    elif form in {"xlsx", "xls"}:
        for table in sheets.read_workbook(source.data, source.name):
            _refuse_exports(source, [row for _, row in table.rows[:_HEAD]])
    else:
        text, _encoding = sheets.decode(source.data, source.name)
        _refuse_exports(source, _first_rows(text))


def _first_rows(text: str) -> list[list[object]]:
    return [_loose_cells(line) for _, line in islice(keyfiles.lines(text), _HEAD)]


def _pictures(source: Source) -> KeyFile:
    """Read a picture, or all of a folder or zip as one batch."""
    files = source.members or ((source.name, source.data),)
    if not source.members and sheets.form_of(source.data) == "zip":
        files = tuple(sheets.unpack(source.data, source.name))
    if not files:
        raise WrongFile(name=source.name, what=told("the zip is empty"))
    if len(files) > pictures.COUNT_MAX:
        raise InputRefused(
            where=source.name,
            detail="more than {n} pictures",
            n=f"{pictures.COUNT_MAX:,}",
            mend="split the file; every part becomes a batch",
        )
    if not any(pictures.is_picture_name(name) for name, _data in files):
        raise WrongFile(
            name=source.name,
            what=told("there is no picture in it"),
            mend="leave --images out for files of text",
        )
    whole = hashlib.sha256()
    for name, data in sorted(files):
        whole.update(name.encode("utf-8", "replace") + b"\0" + hashlib.sha256(data).digest())
    digest = whole.hexdigest() if source.members else hashlib.sha256(source.data).hexdigest()
    return KeyFile(source.name, digest, "pictures", keyfiles.from_pictures(files))


def text_of(source: Source) -> KeyFile:
    """Read a whole file as one text. Raises `InputRefused`."""
    if not source.data.strip():
        raise WrongFile(name=source.name, what=told("it is empty"))
    text, encoding = sheets.decode(source.data, source.name)
    digest = hashlib.sha256(source.data).hexdigest()
    return KeyFile(source.name, digest, encoding, keyfiles.whole_text(text))


def _parse(source: Source, form: str, how: Reading) -> tuple[str, keyfiles.Parsed]:
    if form in {"xlsx", "xls"}:
        tables = [t for t in sheets.read_workbook(source.data, source.name) if _filled(t.rows)]
        if not tables:
            raise WrongFile(name=source.name, what=told("its sheets are empty"))
        if how.mapping is None:
            _refuse_exports(source, [row for t in tables for _, row in t.rows[:_HEAD]])
        if len(tables) > 1:
            names = ", ".join(table.name for table in tables)
            raise InputRefused(
                where=source.name,
                detail="several sheets hold rows ({names}), and each is a batch of its own",
                names=names,
                mend="keep one sheet per file",
            )
        return form, keyfiles.from_table(form, tables[0].rows, how.mapping, how.separator)
    text, encoding = sheets.decode(source.data, source.name)
    if how.mapping is None:
        _refuse_exports(source, _first_rows(text))
    if source.name.lower().endswith(_TABLES):
        rows = sheets.read_csv(text, source.name).rows
        return encoding, keyfiles.from_table("csv", rows, how.mapping, how.separator)
    return encoding, keyfiles.from_text(text, how.separator, how.mapping)


def _loose_cells(line: str) -> list[object]:
    """Part a line of any text export into cells well enough to recognise it."""
    return [cell.strip('" ') for cell in line.replace("\t", ",").split(",")]


def _filled(rows: list[sheets.Row]) -> bool:
    return any(cell not in (None, "") for _, cells in rows for cell in cells)


def _refuse_other_kinds(source: Source) -> None:
    kind = keyfiles.wrong_kind(source.data)
    if kind == "picture":
        raise WrongFile(
            name=source.name,
            what=told("it is a picture; keys must be text that can be copied"),
            mend="ask the supplier for a txt, csv or xlsx; to sell the picture itself: --images",
        )
    if kind == "pdf":
        raise WrongFile(
            name=source.name,
            what=told("it is a PDF"),
            mend="copy its lines into a .txt file, then: kmtool import FILE.txt",
        )
    if kind in {"rar", "7z", "gzip"}:
        raise WrongFile(
            name=source.name,
            what=told("it is a {sort} archive", sort=kind),
            mend="unpack it, then import the files",
        )
    if kind:
        raise WrongFile(name=source.name, what=told("it is a {sort}", sort=kind))


def _refuse_exports(source: Source, first_rows: list[list[object]]) -> None:
    match keyfiles.looks_like(first_rows):
        case "bill":
            raise WrongFile(
                name=source.name,
                what=told("it looks like a bill of a payment account"),
                mend="kmtool reconcile {path}",
                path=source.typed,
            )
        case "orders":
            raise WrongFile(
                name=source.name,
                what=told("it looks like an export of orders"),
                mend="put it into inbox/orders/CHANNEL/, then: kmtool sync",
            )
