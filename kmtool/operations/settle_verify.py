"""Proves closed sheets: recomputes hashes from the database, and a workbook cell by cell.

What differs first is named as the workbook shows it: sheet and row. A workbook is also proved the
way a supplier can: the detail is built anew from its cells alone and hashed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path

from kmtool import sheets
from kmtool.domain import settlement as rules
from kmtool.domain.money import exponent
from kmtool.domain.settlement import STATUS, SheetLine
from kmtool.errors import NotFound, SheetChanged
from kmtool.operations import settle_book
from kmtool.operations.settle_book import ADJUSTMENTS, CHECKS, DETAIL, ROWS_PER_SHEET
from kmtool.operations.settle_cells import Frozen
from kmtool.operations.settle_sheets import ALL, load
from kmtool.operations.settle_summary import SUMMARY
from kmtool.sheets_write import CHINA_HOURS, Book, Cell, Kind, china_time, clean, number_in_cell
from kmtool.shop import Shop
from kmtool.store import settlements
from kmtool.store.db import Db

_KINDS = {status: kind for kind, status in STATUS.items()}
_Page = Sequence[Sequence[object]]


@dataclass(frozen=True, slots=True)
class SheetCheck:
    """One sheet or workbook that was proved; `problem` is empty when all is as it was closed."""

    name: str
    ok: bool
    problem: str
    hash: str


@dataclass(frozen=True, slots=True)
class Verified:
    """All that was proved."""

    checks: tuple[SheetCheck, ...]

    @property
    def ok(self) -> bool:
        """Tell whether every check came out right."""
        return all(check.ok for check in self.checks)


def verify(shop: Shop, what: str = "") -> Verified:
    """Prove a sheet by number, a workbook by file name, or everything for ''. Raises `NotFound`."""
    if not what:
        rows = settlements.sheets(shop.db, "", ALL)
        return Verified(tuple(_sheet(shop.db, row["number"]) for row in reversed(rows)))
    if what.lower().endswith(".xlsx"):
        return Verified((_workbook(shop.db, Path(what)),))
    return Verified((_sheet(shop.db, what),))


def _sheet(db: Db, number: str) -> SheetCheck:
    frozen = load(db, number)
    problem = next(_wrong_in_database(db, frozen), "")
    return SheetCheck(number, not problem, problem, frozen.sheet["hash"])


def _workbook(db: Db, path: Path) -> SheetCheck:
    pages = {
        table.name: [cells for _, cells in table.rows]
        for table in sheets.read_workbook(sheets.read_bytes(path), path.name)
    }
    number = str(_at(pages.get(SUMMARY, []), 2, 1))
    try:
        frozen = load(db, number)
    except NotFound:
        raise SheetChanged(
            number=path.name,
            detail="no sheet {wanted} was closed here",
            wanted=repr(number),
            mend="kmtool settle list",
        ) from None
    wrong = (
        *_first(_wrong_in_database(db, frozen)),
        *_first(_wrong_in_cells(settle_book.book(frozen), pages)),
        *_first(_wrong_hashes(frozen, pages)),
    )
    return SheetCheck(path.name, not wrong, wrong[0] if wrong else "", frozen.sheet["hash"])


def _first(problems: Iterator[str]) -> tuple[str, ...]:
    problem = next(problems, "")
    return (problem,) if problem else ()


def _wrong_in_database(db: Db, frozen: Frozen) -> Iterator[str]:
    """Yield what is not as it was closed, the place in the workbook first."""
    sheet = frozen.sheet
    facts = {row["seq"]: row for row in settlements.facts_of_lines(db, sheet["id"])}
    for place, line in _places(frozen):
        fact = facts.get(line.seq)
        if fact and (fact["amount_minor"], fact["delivered_ms"]) != _booked(line):
            yield f"{place}: not what was booked at delivery"
    if [line.seq for line in frozen.lines] != list(range(1, sheet["lines"] + 1)):
        yield f"{DETAIL}: {len(frozen.lines)} lines of {sheet['lines']}, or out of order"
    total = sum(line.amount_minor for line in frozen.lines) + sheet["carried_in_minor"]
    if total != sheet["payable_minor"] + sheet["carried_out_minor"]:
        yield f"{SUMMARY}: the lines do not sum to what is payable"
    detail = rules.detail_csv(rules.detail_row(line) for line in frozen.lines)
    if hashlib.sha256(detail).hexdigest() != sheet["detail_sha256"]:
        yield f"{DETAIL}: the hash of the detail differs"
    if rules.sheet_hash(sheet["prev_hash"], rules.head_json(sheet), detail) != sheet["hash"]:
        yield f"{SUMMARY}: the hash of the sheet differs"
    chain = {row["chain"]: row["hash"] for row in settlements.chain(db, sheet["supplier"])}
    expected = rules.FIRST_HASH if sheet["chain"] == 1 else chain.get(sheet["chain"] - 1)
    if sheet["prev_hash"] != expected:
        yield f"{CHECKS}: the chain is broken before this sheet"


def _places(frozen: Frozen) -> Iterator[tuple[str, SheetLine]]:
    """Yield every line with its sheet and row in the workbook."""
    for nth, line in enumerate(frozen.paid_for):
        page, row = divmod(nth, ROWS_PER_SHEET)
        yield f"{DETAIL if not page else f'{DETAIL}_{page + 1}'}:{row + 2}", line
    for nth, line in enumerate(frozen.adjusted):
        yield f"{ADJUSTMENTS}:{nth + 2}", line


def _booked(line: SheetLine) -> tuple[int, int | None]:
    """Return what the allocation must say for a line."""
    return (abs(line.amount_minor), line.delivered_ms)


def _wrong_in_cells(book: Book, pages: Mapping[str, _Page]) -> Iterator[str]:
    """Yield the cells of a workbook that are not as it was written, in its order."""
    for sheet in book.sheets:
        if sheet.name not in pages:
            yield f"{sheet.name}: the sheet is missing"
            continue
        page = pages[sheet.name]
        for number, cells in enumerate(sheet.rows):
            wanted = [_wanted(cell, book.currency) for cell in _spread(cells)]
            width = max(len(wanted), len(page[number]) if number < len(page) else 0)
            for column in range(width):
                right = wanted[column] if column < len(wanted) else ""
                if not _same(right, _at(page, number, column)):
                    yield f"{sheet.name}:{number + 1}: column {column + 1} differs"
        for number, found in enumerate(page[len(sheet.rows) :], len(sheet.rows) + 1):
            if any(cell != "" for cell in found):
                yield f"{sheet.name}:{number}: the row was added"
    for name in pages:
        if name not in {sheet.name for sheet in book.sheets}:
            yield f"{name}: the sheet was added"


def _spread(cells: Sequence[Cell | None]) -> Iterator[Cell | None]:
    for cell in cells:
        yield cell
        if cell is not None:
            yield from [None] * (cell.span - 1)


def _wanted(cell: Cell | None, currency: str) -> object:
    if cell is None or cell.value is None:
        return ""
    if cell.kind is Kind.TEXT:
        return clean(str(cell.value))
    if cell.kind is Kind.TIME:
        assert isinstance(cell.value, int)
        return china_time(cell.value)
    return cell.value if cell.kind is Kind.DAY else number_in_cell(cell, currency)


def _same(wanted: object, found: object) -> bool:
    if isinstance(wanted, date) and isinstance(found, date):
        return abs(_moment(wanted) - _moment(found)) < timedelta(seconds=0.5)
    if isinstance(wanted, float) and isinstance(found, int | float):
        return abs(wanted - found) <= 1e-9 * max(1.0, abs(wanted))
    return wanted == found


def _moment(value: date) -> datetime:
    return value if isinstance(value, datetime) else datetime.combine(value, time())


def _wrong_hashes(frozen: Frozen, pages: Mapping[str, _Page]) -> Iterator[str]:
    """Yield what does not hash as the check sheet says, from the cells alone."""
    checks = pages.get(CHECKS, [])
    said = {str(row[0]): str(row[1]) for row in checks if len(row) > 1}
    hashes = {str(row[0]): str(row[3]) for row in checks if len(row) > 3}
    detail = rules.detail_csv(_rows_from_cells(pages, hashes, frozen.sheet["currency"]))
    if hashlib.sha256(detail).hexdigest() != said.get("明细 SHA-256"):
        yield f"{DETAIL}: the detail built from the cells has another hash"
    if rules.sheet_hash(said.get("上一单哈希", ""), said.get("单头", ""), detail) != said.get(
        "本单哈希"
    ):
        yield f"{CHECKS}: the hash of the sheet does not follow from its parts"


def _rows_from_cells(
    pages: Mapping[str, _Page], hashes: Mapping[str, str], currency: str
) -> Iterator[tuple[object, ...]]:
    """Yield the rows of the detail as a supplier builds them from the workbook."""
    for name, page in pages.items():
        if name == DETAIL or name.startswith(f"{DETAIL}_"):
            for row in _numbered(page):
                seq, batch, line_no, tail, status, sent, quantity, amount, order = row[:9]
                yield (
                    _whole(seq), str(_KINDS.get(str(status), "")), batch,
                    hashes.get(str(batch), ""), _whole(line_no), tail, status, _utc(sent),
                    _whole(quantity), _minor(amount, currency), order, "", "", "",
                )  # fmt: skip
    for row in _numbered(pages.get(ADJUSTMENTS, [])):
        seq, status, ref, ref_seq, batch, line_no, tail, amount, reason, order = row[:10]
        yield (
            _whole(seq), str(_KINDS.get(str(status), "")), batch, hashes.get(str(batch), ""),
            _whole(line_no), tail, status, "", 0, _minor(amount, currency), order, ref,
            _whole(ref_seq), reason,
        )  # fmt: skip


def _numbered(page: _Page) -> Iterator[Sequence[object]]:
    return (row for row in page if isinstance(row[0], int | float))


def _at(page: _Page, row: int, column: int) -> object:
    return page[row][column] if row < len(page) and column < len(page[row]) else ""


def _whole(value: object) -> object:
    return round(value) if isinstance(value, int | float) else value


def _minor(value: object, currency: str) -> object:
    return round(value * 10 ** exponent(currency)) if isinstance(value, int | float) else value


def _utc(value: object) -> str:
    if not isinstance(value, datetime):
        return ""
    moment = value - timedelta(hours=CHINA_HOURS) + timedelta(milliseconds=500)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
