"""From bytes to tables: the container by its first bytes, the archive guards, the decoding ladder.

Rules: the suffix of a name proves nothing; member paths are never used for writing; nothing is
unpacked before its declared size was looked at; no encoding is guessed by statistics.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from dataclasses import dataclass

from adapters.statements.records import Record, sheet_records
from adapters.statements.refusals import Stop, shown
from kmtool import sheets
from kmtool.domain.statements import Code
from kmtool.errors import InputRefused

FILE_MAX = 50 * 1024 * 1024
UNPACKED_MAX = 200 * 1024 * 1024
RATIO_MAX = 200
MEMBERS_MAX = 50
ROWS_MAX = 1_000_000
COLUMNS_MAX = 64

_ZIP = b"PK\x03\x04"
_ZIP_EMPTY = b"PK\x05\x06"
_XLS = b"\xd0\xcf\x11\xe0"
_BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig", "utf-8"),
    (b"\xff\xfe", "utf-16-le", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be", "utf-16-be"),
)
_NOISE = ("__MACOSX/", ".DS_Store")


@dataclass(frozen=True, slots=True)
class Source:
    """One member that may hold a table: decoded text, or the records of its visible sheets."""

    name: str
    text: str | None
    encoding: str
    sheets: tuple[tuple[Record, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Opened:
    """What a file holds: its members, and the refusals of those that are no table."""

    archive: bool
    sources: tuple[Source, ...]
    unreadable: tuple[tuple[str, Stop], ...] = ()


def open_bytes(name: str, data: bytes) -> Opened:
    """Open a statement file; raises `Stop` when a guard or the decoding refuses it."""
    guard_size(len(data))
    if not data.startswith((_ZIP, _ZIP_EMPTY)):
        return Opened(False, (_source("", data),))
    with _archive(data) as archive:
        if _is_workbook(archive):
            return Opened(False, (_source("", data),))
        sources: list[Source] = []
        unreadable: list[tuple[str, Stop]] = []
        for member, info in _members(archive):
            content = _unpack(archive, info)
            try:
                sources.append(_source(member, content))
            except Stop as stop:
                if stop.refusal.code is Code.UNSAFE_ARCHIVE:
                    raise
                unreadable.append((member, stop))
    return Opened(True, tuple(sources), tuple(unreadable))


def guard_size(size: int) -> None:
    """Refuse a file that is too large to be a statement."""
    if size > FILE_MAX:
        raise _unsafe(f"the file is larger than {FILE_MAX // 2**20} MB", "file size")


def decode(data: bytes) -> tuple[str, str]:
    """Return text and encoding: BOM, then strict UTF-8, then strict GB18030; else `Stop`."""
    for mark, label, codec in _BOMS:
        if data.startswith(mark):
            try:
                return data[len(mark) :].decode(codec), label
            except UnicodeDecodeError as error:
                raise _bad_encoding(data, error.start + len(mark), label) from None
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("gb18030"), "gb18030"
    except UnicodeDecodeError as error:
        raise _bad_encoding(data, error.start, "UTF-8 nor GB18030") from None


def member_name(info: zipfile.ZipInfo) -> str:
    """Return a member's true name: without the UTF-8 flag it is UTF-8 or GB18030, not cp437."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        raw = info.orig_filename.encode("cp437")
    except UnicodeEncodeError:
        return info.filename
    for codec in ("utf-8", "gb18030"):
        try:
            return raw.decode(codec)
        except UnicodeDecodeError:
            continue
    return info.filename


def _bad_encoding(data: bytes, offset: int, tried: str) -> Stop:
    line = data.count(b"\n", 0, offset) + 1
    piece = data[offset : offset + 4].hex(" ")
    text = f"line {line}: the bytes {piece} at offset {offset} are neither {tried}"
    if "nor" not in tried:
        text = f"line {line}: the bytes {piece} at offset {offset} are not {tried}"
    mend = "download the file again; do not open and save it in between"
    return Stop(Code.BAD_ENCODING, text, mend, offset=offset, line=line)


def _unsafe(text: str, guard: str) -> Stop:
    mend = "unpack it by hand, look at what is inside, then import the statement file itself"
    return Stop(Code.UNSAFE_ARCHIVE, f"{text} (guard: {guard})", mend, guard=guard)


def _archive(data: bytes) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise _unsafe(f"the ZIP cannot be read: {shown(error)}", "readable archive") from None


def _is_workbook(archive: zipfile.ZipFile) -> bool:
    return any(info.filename == "[Content_Types].xml" for info in archive.infolist())


def _guard_archive(infos: list[zipfile.ZipInfo]) -> None:
    if len(infos) > MEMBERS_MAX:
        raise _unsafe(f"the archive has {len(infos)} members, {MEMBERS_MAX} at most", "members")
    _guard_unpacked(infos)


def _guard_unpacked(infos: list[zipfile.ZipInfo]) -> None:
    if sum(info.file_size for info in infos) > UNPACKED_MAX:
        raise _unsafe(f"unpacked it is larger than {UNPACKED_MAX // 2**20} MB", "unpacked size")
    for info in infos:
        if info.flag_bits & 0x1:
            raise _unsafe(f"the member {shown(member_name(info))} is encrypted", "encryption")
        if info.file_size > RATIO_MAX * max(info.compress_size, 1):
            raise _unsafe(
                f"the member {shown(member_name(info))} is packed more than {RATIO_MAX} to one",
                "compression ratio",
            )


def _members(archive: zipfile.ZipFile) -> list[tuple[str, zipfile.ZipInfo]]:
    infos = [info for info in archive.infolist() if not info.is_dir()]
    _guard_archive(infos)
    named: list[tuple[str, zipfile.ZipInfo]] = []
    for info in infos:
        name = member_name(info).replace("\\", "/")
        if name.startswith("/") or re.match(r"^[A-Za-z]:", name) or ".." in name.split("/"):
            raise _unsafe(f"the member path {shown(name)} leaves the archive", "member path")
        if not any(noise in name for noise in _NOISE):
            named.append((name, info))
    return named


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        with archive.open(info) as stream:
            content = stream.read(info.file_size + 1)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError) as error:
        name = shown(member_name(info))
        raise _unsafe(f"the member {name} is damaged: {shown(error)}", "readable archive") from None
    if len(content) > info.file_size:
        raise _unsafe("a member is larger than the archive declares", "unpacked size")
    return content


def _source(name: str, data: bytes) -> Source:
    if data.startswith((_ZIP, _ZIP_EMPTY)):
        with _archive(data) as archive:
            if not _is_workbook(archive):
                raise _unsafe(f"the member {shown(name)} is an archive itself", "nested archive")
            _guard_unpacked(archive.infolist())
        return Source(name, None, "xlsx", _sheets(name, data))
    if data.startswith(_XLS):
        return Source(name, None, "xls", _sheets(name, data))
    text, encoding = decode(data)
    return Source(name, text.replace("\0", ""), encoding)


def _sheets(name: str, data: bytes) -> tuple[tuple[Record, ...], ...]:
    """Return the records of every visible sheet, in workbook order."""
    try:
        tables = sheets.read_workbook(data, name)
    except InputRefused as refused:
        raise _unsafe(f"the workbook cannot be read: {refused}", "readable workbook") from None
    return tuple(sheet_records(table.rows) for table in tables)
