"""Reads files of rows safely: text in any usual encoding, csv, xlsx, xls, zip.

Every file is hostile until it has passed its limits: size, member count, unpacked size and ratio
before anything is opened, rows and columns before a sheet is laid out in memory. Encodings go
down a ladder (byte order mark, strict UTF-8, GB18030, refuse), never through a guess.
"""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kmtool.durable import write_whole as write_whole
from kmtool.errors import FileMissing, InputRefused, told

Cell = object
Row = tuple[int, list[Cell]]

FILE_MAX = 256 * 1024 * 1024
UNPACKED_MAX = 512 * 1024 * 1024
MEMBERS_MAX = 2000
RATIO_MAX = 250
RATIO_FREE = 8 * 1024 * 1024
"""What may unpack at any ratio: a small sheet of equal rows packs very well."""
ROWS_MAX = 1_000_000
COLUMNS_MAX = 64

_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_DELIMITERS = (",", "\t", ";")
_XLS = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# An address beyond column BL (64) or row 1,000,000: calamine lays out the whole rectangle.
_FAR = re.compile(
    rb"""<(?:\w+:)?(?:c|row)\b[^>]*?\sr\s*=\s*["']
         (?:[A-Z]{3}|B[M-Z]|[C-Z][A-Z]|[A-Z]{0,2}0*(?:[1-9]\d{7}|[2-9]\d{6}|1\d{0,5}[1-9]\d*(?<=\d{7})))
    """,
    re.VERBOSE | re.IGNORECASE,
)
# A row from 50,000 on: what two cells span may be large, so a child process lays it out first.
_DEEP = re.compile(
    rb"""<(?:\w+:)?(?:c|row)\b[^>]*?\sr\s*=\s*["'][A-Z]{0,2}0*(?:[5-9]\d{4}|[1-9]\d{5,})""",
    re.IGNORECASE,
)
_NO_ADDRESS = re.compile(rb"<(?:\w+:)?c(?=[\s/>])(?![^>]*\sr\s*=)")
_BINARY = (".bin", ".png", ".jpg", ".jpeg", ".gif", ".emf", ".wmf", ".bmp", ".tiff", ".svg")
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a csv file or of one sheet, with their physical 1-based numbers."""

    name: str
    rows: list[Row]


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes; `FileMissing` or `InputRefused` when it is none or too large."""
    try:
        if path.stat().st_size > FILE_MAX:
            raise _refused(
                path.name, told("the file is larger than {file_max} MB", file_max=FILE_MAX // 2**20)
            )
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise FileMissing(name=path) from None
    except OSError as error:
        raise _refused(
            path.name, told("the file cannot be read: {reason}", reason=error.strerror)
        ) from None


def form_of(data: bytes) -> str:
    """Return `xlsx`, `xls`, `zip` or `text` by the first bytes."""
    if data.startswith(_XLS):
        return "xls"
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        with _archive(data, "") as archive:
            names = set(archive.namelist())
        return "xlsx" if "[Content_Types].xml" in names and "xl/workbook.xml" in names else "zip"
    return "text"


def decode(data: bytes, where: str = "") -> tuple[str, str]:
    """Return (text without its byte order mark, encoding). Raises `InputRefused`, never guesses."""
    marked = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)
    for encoding in [marked] if marked else ["utf-8", "gb18030"]:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        return text, encoding
    raise _refused(
        where,
        told("this is no text in UTF-8, UTF-16 with mark or GBK"),
        told("open it in its program and save it as CSV UTF-8"),
    )


def read_csv(text: str, where: str = "", delimiter: str = "") -> Table:
    """Read csv; the delimiter is the one that stands most often in the first line with any."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter or _delimiter(text))
    rows: list[Row] = []
    line_no = 1
    try:
        for cells in reader:
            if len(cells) > COLUMNS_MAX:
                raise _refused(
                    f"{where}:{line_no}",
                    told("more than {columns_max} columns", columns_max=COLUMNS_MAX),
                )
            if len(rows) >= ROWS_MAX:
                raise _refused(where, told("more than {rows_max} rows", rows_max=f"{ROWS_MAX:,}"))
            rows.append((line_no, list(cells)))
            line_no = reader.line_num + 1
    except csv.Error as error:
        raise _refused(
            f"{where}:{line_no}", told("the csv is broken: {problem}", problem=error)
        ) from None
    return Table(where, rows)


def read_workbook(data: bytes, where: str = "") -> list[Table]:
    """Return the visible sheets of an xlsx or xls; numbers, dates and texts stay what they are."""
    if data.startswith(_XLS) or _check_workbook(data, where):
        _probe(data, where)
    import python_calamine as calamine

    try:
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
        visible = [
            sheet.name
            for sheet in book.sheets_metadata
            if sheet.visible == calamine.SheetVisibleEnum.Visible
            and sheet.typ == calamine.SheetTypeEnum.WorkSheet
        ]
        return [_table(book.get_sheet_by_name(name), where) for name in visible]
    except calamine.PasswordError:
        raise _refused(
            where, told("the workbook has a password"), told("save it without a password")
        ) from None
    except (calamine.CalamineError, zipfile.BadZipFile) as error:
        raise _refused(
            where, told("the workbook cannot be read: {problem}", problem=error)
        ) from None
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # a bug in the reader, met by a broken file
            raise _refused(where, told("the workbook cannot be read: it is damaged")) from None
        raise


def read_tables(data: bytes, where: str = "") -> list[Table]:
    """Return csv text as one table, a workbook as its sheets."""
    if form_of(data) in {"xlsx", "xls"}:
        return read_workbook(data, where)
    return [read_csv(decode(data, where)[0], where)]


def unpack(data: bytes, where: str = "") -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes) of a zip's files, without folders, hidden files and macOS leftovers."""
    with _archive(data, where) as archive:
        for member in archive.infolist():
            path = PurePosixPath(_member_name(member))
            if member.is_dir() or path.name.startswith((".", "~$")) or "__MACOSX" in path.parts:
                continue
            if member.file_size > FILE_MAX:
                raise _refused(f"{where}/{path}", told("the file is too large"))
            yield str(path), b"".join(_chunks(archive, member, where))


def write_csv_for_people(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]
) -> Path:
    """Write a csv that Excel opens well; foreign text cannot become a formula. Never overwrites.

    Return the path that was written: `name-2.csv` when the name was taken.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    stem, number = path.stem, 1
    while True:
        try:
            file = path.open("x", encoding="utf-8-sig", newline="")
            break
        except FileExistsError:
            number += 1
            path = path.with_name(f"{stem}-{number}{path.suffix}")
    try:
        with file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows([_harmless(cell) for cell in row] for row in rows)
    except BaseException:
        path.unlink(missing_ok=True)  # no cut file under its own name
        raise
    return path


def _harmless(cell: object) -> object:
    """Put an apostrophe before text that a spreadsheet would compute."""
    if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + cell
    return cell


def _table(sheet: object, where: str) -> Table:
    height, width = sheet.total_height, sheet.total_width  # type: ignore[attr-defined]
    name = sheet.name  # type: ignore[attr-defined]
    if height > ROWS_MAX:
        raise _refused(
            f"{where}:{name}", told("more than {rows_max} rows", rows_max=f"{ROWS_MAX:,}")
        )
    if width > COLUMNS_MAX:
        raise _refused(
            f"{where}:{name}", told("more than {columns_max} columns", columns_max=COLUMNS_MAX)
        )
    cells = sheet.to_python(skip_empty_area=False)  # type: ignore[attr-defined]
    return Table(name, list(enumerate(cells, 1)))


def _archive(data: bytes, where: str) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise _refused(where, told("the zip is damaged or cut short")) from None
    members = archive.infolist()
    if len(members) > MEMBERS_MAX:
        raise _refused(
            where, told("the zip holds more than {members_max} files", members_max=MEMBERS_MAX)
        )
    if len({member.filename for member in members}) != len(members):
        raise _refused(where, told("the zip holds two files of one name"))
    total = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    if total > UNPACKED_MAX or (total > RATIO_FREE and total > RATIO_MAX * max(packed, 1)):
        raise _refused(where, told("the zip unpacks to far more than it should"))
    for member in members:
        if member.flag_bits & 1:
            raise _refused(
                where, told("the zip has a password"), told("unpack it, then import the files")
            )
        path = PurePosixPath(_member_name(member).replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in str(path):
            raise _refused(where, told("the zip holds a file name that leads outside of it"))
    return archive


def _member_name(member: zipfile.ZipInfo) -> str:
    """Undo zipfile's cp437 reading for names that Windows wrote in GBK."""
    if member.flag_bits & 0x800:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("gb18030")
    except UnicodeError:
        return member.filename


def _chunks(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> Iterator[bytes]:
    """Read a member; zipfile stops at the declared size and checks the sum, so sizes cannot lie."""
    try:
        with archive.open(member) as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError):
        raise _refused(
            where, told("{filename} in the file is damaged", filename=member.filename)
        ) from None


def _check_workbook(data: bytes, where: str) -> bool:
    """Unpack every member once (sizes and sums), look at every address; tell whether it is deep."""
    deep = False
    with _archive(data, where) as archive:
        for member in archive.infolist():
            # A workbook may call any member a sheet, so every xml is looked at.
            is_xml = not member.filename.lower().endswith(_BINARY)
            before = b""
            for chunk in _chunks(archive, member, where):
                if not is_xml:
                    continue
                text = before + chunk
                if b"\0" in chunk:
                    raise _refused(where, told("a sheet is in an encoding no program writes"))
                if _FAR.search(text):
                    raise _refused(
                        where,
                        told(
                            "a sheet goes beyond {rows_max} rows or {columns_max} columns",
                            rows_max=f"{ROWS_MAX:,}",
                            columns_max=COLUMNS_MAX,
                        ),
                        told("delete what stands far right or far below, then save it again"),
                    )
                deep = deep or _DEEP.search(text) is not None
                end = text.rfind(b"<")
                if _NO_ADDRESS.search(text, 0, max(end, 0)):
                    raise _refused(
                        where,
                        told("its cells have no addresses"),
                        told("save it again with Excel or WPS"),
                    )
                before = text[end:][-4096:] if end >= 0 else b""
    return deep


_PROBE = """
import io, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
except (ImportError, ValueError, OSError):
    pass
import python_calamine
book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(sys.stdin.buffer.read()))
for name in book.sheet_names:
    book.get_sheet_by_name(name)
"""


def _probe(data: bytes, where: str) -> None:
    """Open a workbook in a child process with little memory first: its cells may lie anywhere."""
    try:
        run = subprocess.run(  # noqa: S603  (our own interpreter, our own text)
            [sys.executable, "-I", "-c", _PROBE], input=data, capture_output=True, timeout=60
        )
    except subprocess.TimeoutExpired:
        raise _refused(where, told("the workbook takes too long to open")) from None
    if run.returncode == 0:
        return
    if b"PasswordError" in run.stderr:
        raise _refused(
            where, told("the workbook has a password"), told("save it without a password")
        )
    raise _refused(
        where, told("the workbook cannot be read"), told("save it as a new .xlsx and try again")
    )


def _delimiter(text: str) -> str:
    for line in io.StringIO(text):
        counts = {delimiter: line.count(delimiter) for delimiter in _DELIMITERS}
        best = max(_DELIMITERS, key=lambda delimiter: counts[delimiter])
        if counts[best]:
            return best
    return ","


def _refused(where: str, detail: str, mend: str = "") -> InputRefused:
    return InputRefused(where=where, detail=detail, mend=mend)
