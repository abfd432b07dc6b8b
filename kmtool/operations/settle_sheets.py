"""Closed sheets as they stand: list them, show one, read one whole. Nothing here writes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from kmtool.domain.settlement import SheetLine, SheetLineKind
from kmtool.errors import NotFound
from kmtool.operations.settle_cells import Frozen
from kmtool.shop import Shop
from kmtool.store import settlements
from kmtool.store.db import Db, Row

ALL = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Waiting:
    """What stays open for one reason."""

    reason: str
    lines: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class SheetRow:
    """A closed sheet in a list. State: closed, part_paid, paid."""

    number: str
    supplier: str
    period: str
    keys: int
    payable_minor: int
    paid_minor: int
    currency: str
    state: str
    closed_ms: int
    hash: str


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment that was noted on a sheet."""

    voucher: str
    amount_minor: int
    currency: str
    paid_on: str
    actor: str
    note: str


@dataclass(frozen=True, slots=True)
class SheetPage:
    """One closed sheet with its lines, what stayed open, and payments."""

    sheet: SheetRow
    opening_minor: int
    due_minor: int
    settled_minor: int
    closing_minor: int
    carried_minor: int
    lines: tuple[SheetLine, ...]
    waiting: tuple[Waiting, ...]
    payments: tuple[Payment, ...]


@dataclass(frozen=True, slots=True)
class Sheets:
    """Closed sheets, newest first; `total` counts those that are not listed too."""

    sheets: tuple[SheetRow, ...]
    total: int


def listing(shop: Shop, supplier: str = "", limit: int | None = None) -> Sheets:
    """Return closed sheets, newest first."""
    rows = settlements.sheets(shop.db, supplier, ALL if limit is None else limit)
    total = settlements.count_sheets(shop.db, supplier)
    return Sheets(tuple(_sheet_row(row) for row in rows), total)


def show(shop: Shop, number: str) -> SheetPage:
    """Return one closed sheet. Raises `NotFound`."""
    frozen = load(shop.db, number)
    sheet = frozen.sheet
    currency = sheet["currency"]
    return SheetPage(
        sheet=_sheet_row(sheet),
        opening_minor=sheet["opening_minor"],
        due_minor=sheet["cost_minor"] - sheet["returned_minor"] + sheet["adjusted_minor"],
        settled_minor=sheet["settled_minor"],
        closing_minor=sheet["closing_minor"],
        carried_minor=sheet["open_minor"] + sheet["carried_out_minor"],
        lines=frozen.lines,
        waiting=by_reason([(row["reason"], row["amount_minor"]) for row in frozen.left]),
        payments=tuple(
            Payment(
                row["voucher"], row["amount_minor"], currency, row["paid_on"], row["actor"],
                row["note"],
            )
            for row in settlements.payments(shop.db, sheet["id"])
        ),
    )  # fmt: skip


def load(db: Db, number: str) -> Frozen:
    """Return a closed sheet as it was frozen. Raises `NotFound`."""
    sheet = settlements.sheet(db, number)
    if sheet is None:
        raise NotFound(kind="settle", name=number)
    chain = settlements.chain(db, sheet["supplier"])
    previous = [row["number"] for row in chain if row["chain"] == sheet["chain"] - 1]
    return Frozen(
        sheet=sheet,
        previous=previous[0] if previous else "",
        lines=tuple(line_of(row) for row in settlements.lines(db, sheet["id"])),
        batches=tuple(settlements.batches(db, sheet["id"])),
        left=tuple(settlements.left_open(db, sheet["id"])),
    )


def line_of(row: Row) -> SheetLine:
    """Return a stored line."""
    return SheetLine(**{**row, "kind": SheetLineKind(row["kind"])})


def state_of(row: Row) -> str:
    """Return closed, part_paid or paid."""
    if row["paid_minor"] >= row["payable_minor"]:
        return "paid"
    return "part_paid" if row["paid_minor"] else "closed"


def period_text(first: object, last: object) -> str:
    """Return a period of days as ISO 8601 writes it: first/last."""
    return f"{first}/{last}"


def by_reason(rows: list[tuple[str, int]]) -> tuple[Waiting, ...]:
    """Sum (reason, amount) pairs by reason."""
    count: Counter[str] = Counter(reason for reason, _ in rows)
    amount: Counter[str] = Counter()
    for reason, minor in rows:
        amount[reason] += minor
    return tuple(Waiting(reason, count[reason], amount[reason]) for reason in sorted(count))


def _sheet_row(row: Row) -> SheetRow:
    return SheetRow(
        number=row["number"],
        supplier=row["supplier"],
        period=period_text(row["period_from"], row["period_to"]),
        keys=row["keys"],
        payable_minor=row["payable_minor"],
        paid_minor=row["paid_minor"],
        currency=row["currency"],
        state=state_of(row),
        closed_ms=row["closed_ms"],
        hash=row["hash"],
    )
