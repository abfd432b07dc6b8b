"""Supplier settlement: preview, close, write the workbook again.

Closing is one transaction: the lines, the number, the hash and the ledger's clawbacks. The workbook
comes after it and can be written again at any time, byte for byte the same.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from kmtool import __version__
from kmtool.clock import business_day
from kmtool.domain import settlement as rules
from kmtool.domain.money import format_minor
from kmtool.domain.settlement import SheetLine, SheetLineKind, account
from kmtool.errors import NotFound, Refused, SheetUnbalanced, UsageError
from kmtool.operations import debits, settle_book
from kmtool.operations.refund_records import Debit
from kmtool.operations.settle_cells import Frozen
from kmtool.operations.settle_draft import Draft, gather
from kmtool.operations.settle_sheets import Waiting, by_reason, load, period_text
from kmtool.sheets_write import safe_name, write_book
from kmtool.shop import Shop
from kmtool.store import ledger, settlements, suppliers
from kmtool.store.db import Db, Row


@dataclass(frozen=True, slots=True)
class BatchShare:
    """One batch on a sheet: what is paid for it, and what is left of it."""

    batch: str
    sku: str
    mode: str
    quantity: int
    amount_minor: int
    sold: int
    left: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What a closing would do now. `difference_minor` must be 0 for it to be possible.

    `debits` are what the supplier may be charged and is on no sheet yet (`settle adjust`).
    """

    supplier: str
    currency: str
    cut: date
    period: str
    keys: int
    payable_minor: int
    carried_minor: int
    opening_minor: int
    due_minor: int
    settled_minor: int
    closing_minor: int
    ledger_minor: int
    difference_minor: int
    clawbacks: int
    batches: tuple[BatchShare, ...]
    waiting: tuple[Waiting, ...]
    debits: tuple[Debit, ...]


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed sheet and its workbook; without a number there was nothing to settle."""

    number: str | None
    supplier: str
    period: str
    keys: int
    payable_minor: int
    carried_minor: int
    currency: str
    workbook: str | None
    sha256: str | None
    hash: str | None


def preview(shop: Shop, supplier: str, cut: date | None = None) -> Preview:
    """Show what `close` would settle; nothing is written. Raises `NotFound`, `UsageError`."""
    draft = _draft(shop, supplier, cut)
    payable, carried = rules.payable_and_carried(draft.total_minor)
    balance = draft.balance
    return Preview(
        supplier=supplier,
        currency=draft.supplier["currency"],
        cut=draft.cut,
        period=period_text(draft.period_from, draft.cut),
        keys=draft.keys,
        payable_minor=payable,
        carried_minor=draft.open_minor + carried,
        opening_minor=balance.opening_minor,
        due_minor=balance.due_minor,
        settled_minor=balance.settled_minor,
        closing_minor=balance.closing_minor,
        ledger_minor=draft.ledger_minor,
        difference_minor=balance.closing_minor - draft.ledger_minor,
        clawbacks=sum(line.kind == SheetLineKind.CLAWBACK for line in draft.lines),
        batches=tuple(
            BatchShare(x.batch, x.sku, x.mode, x.quantity, x.amount_minor, x.sold, x.closing)
            for x in draft.batches
        ),
        waiting=by_reason([(x.reason, x.amount_minor) for x in draft.open_lines]),
        debits=debits.listing(shop, supplier),
    )


def close(shop: Shop, supplier: str, cut: date | None = None) -> Closed:
    """Close a supplier's sheet and write its workbook.

    Nothing that is due gives a result without a number. Raises `SheetUnbalanced` before anything is
    kept when the three figures of what is owed differ.
    """
    shop.must_be_writable()
    db = shop.db
    with db.tx():
        settlements.freeze(db)
        draft = _draft(shop, supplier, cut)
        if not draft.lines:
            return _nothing(draft)
        _must_balance(db, draft)
        number = _keep(shop, draft)
    if db.rehearsing:
        return _closed(load(db, number), None)
    return export(shop, number)


def export(shop: Shop, number: str, target: Path | None = None) -> Closed:
    """Write the workbook of a closed sheet: the same bytes as when it was closed."""
    frozen = load(shop.db, number)
    folder = shop.config.folder("exports") / "settlements"
    path = target or folder / f"{safe_name(number)}.xlsx"
    return _closed(frozen, write_book(path, settle_book.book(frozen)))


def _draft(shop: Shop, code: str, cut: date | None) -> Draft:
    if code == rules.OWN:
        raise Refused(
            detail="what you had already ({code}) is owed to nobody: there is nothing to settle",
            code=code,
            mend="kmtool key batch list",
        )
    supplier = suppliers.supplier(shop.db, code)
    if supplier is None:
        raise NotFound(kind="supplier", name=code)
    zone = shop.config.shop.timezone
    today = business_day(shop.now_ms(), zone)
    if cut is not None and cut > today:
        raise UsageError(
            detail="the cut date {cut} has not come yet",
            cut=cut,
            mend="--cut {today} or earlier",
            today=today,
        )
    return gather(shop.db, supplier, cut or today, zone)


def _must_balance(db: Db, draft: Draft) -> None:
    code, currency = draft.supplier["code"], draft.supplier["currency"]
    closing, by_lines, booked = (
        draft.balance.closing_minor, draft.by_lines_minor, draft.ledger_minor
    )  # fmt: skip
    if not closing == by_lines == booked:
        shown = [format_minor(figure, currency) for figure in (closing, by_lines, booked)]
        raise SheetUnbalanced(
            supplier=code,
            detail="balance {balance}, lines {lines}, ledger {ledger} ({code}, {currency})",
            balance=shown[0],
            lines=shown[1],
            ledger=shown[2],
            code=account(code),
            currency=currency,
        )
    foreign = settlements.other_currencies(db, code, currency)
    if foreign:
        raise SheetUnbalanced(
            supplier=code,
            detail="it is paid in {currency}, but has batches in {foreign}",
            currency=currency,
            foreign=", ".join(foreign),
            mend="give batches of another currency a supplier of their own",
        )
    if draft.uneven_batches:
        raise SheetUnbalanced(
            supplier=code,
            detail="keys accepted and keys held differ in " + ", ".join(draft.uneven_batches),
        )


def _keep(shop: Shop, draft: Draft) -> str:
    """Insert the sheet with all its parts, book the clawbacks, and return its number."""
    db, supplier = shop.db, draft.supplier
    code, currency = supplier["code"], supplier["currency"]
    month = f"{draft.cut:%Y%m}"
    nth, chain = settlements.next_places(db, code, month)
    number = rules.number_of(code, draft.cut, nth)
    lines = [_named(line, number) for line in draft.lines]
    detail = rules.detail_csv(rules.detail_row(line) for line in lines)
    chained = settlements.chain(db, code)
    sheet = _sheet_values(shop, draft)
    sheet |= {"number": number, "month": month, "nth": nth, "chain": chain}
    sheet |= {
        "detail_sha256": hashlib.sha256(detail).hexdigest(),
        "prev_hash": chained[-1]["hash"] if chained else rules.FIRST_HASH,
    }
    sheet["hash"] = rules.sheet_hash(sheet["prev_hash"], rules.head_json(sheet), detail)
    settlements.insert_parts(
        db,
        settlements.insert_sheet(db, sheet),
        [asdict(line) for line in lines],
        [{"seq": n, **asdict(row)} for n, row in enumerate(draft.batches, 1)],
        [{"seq": n, **asdict(row)} for n, row in enumerate(draft.open_lines, 1)],
    )
    for line in lines:
        if line.kind == SheetLineKind.CLAWBACK:
            ledger.post(
                db,
                shop.now_ms(),
                "supplier_clawback",
                f"{number}:{line.seq}",
                line.reason,
                [
                    (account(code), currency, -line.amount_minor),
                    ("cost:keys", currency, line.amount_minor),
                ],
            )
    shop.audit("settle.close", f"settlement:{number}", f"{len(lines)} lines, hash {sheet['hash']}")
    return number


def _sheet_values(shop: Shop, draft: Draft) -> Row:
    supplier, balance = draft.supplier, draft.balance
    payable, carried = rules.payable_and_carried(draft.total_minor)
    return {
        "supplier": supplier["code"],
        "cut": draft.cut.isoformat(),
        "period_from": draft.period_from.isoformat(),
        "period_to": draft.cut.isoformat(),
        "zone": shop.config.shop.timezone,
        "currency": supplier["currency"],
        "closed_ms": shop.now_ms(),
        "actor": shop.actor,
        "shop_name": shop.config.shop.name,
        "supplier_name": supplier["name"],
        "payee_tail": supplier["payee"][-4:] if len(supplier["payee"]) >= 8 else "",
        "settle_days": supplier["settle_days"],
        "rule": f"T+{supplier['settle_days']} {rules.RULE}",
        "program": f"kmtool {__version__}",
        **asdict(balance),
        "closing_minor": balance.closing_minor,
        "carried_in_minor": draft.carried_in_minor,
        "payable_minor": payable,
        "carried_out_minor": carried,
        "unpaid_before_minor": draft.unpaid_before_minor,
        "open_minor": draft.open_minor,
        "accrued_total_minor": draft.accrued_total_minor,
        "undone_total_minor": draft.undone_total_minor,
        "paid_total_minor": draft.paid_total_minor,
        "lines": len(draft.lines),
        "keys": draft.keys,
    }


def _named(line: SheetLine, number: str) -> SheetLine:
    """Give a line that is taken back on its own sheet the number of that sheet."""
    if line.kind != SheetLineKind.CLAWBACK or line.ref_number:
        return line
    return SheetLine(**{**asdict(line), "ref_number": number})


def _nothing(draft: Draft) -> Closed:
    return Closed(
        number=None,
        supplier=draft.supplier["code"],
        period=period_text(draft.period_from, draft.cut),
        keys=0,
        payable_minor=0,
        carried_minor=draft.open_minor + draft.carried_in_minor,
        currency=draft.supplier["currency"],
        workbook=None,
        sha256=None,
        hash=None,
    )


def _closed(frozen: Frozen, path: Path | None) -> Closed:
    sheet = frozen.sheet
    return Closed(
        number=sheet["number"],
        supplier=sheet["supplier"],
        period=period_text(sheet["period_from"], sheet["period_to"]),
        keys=sheet["keys"],
        payable_minor=sheet["payable_minor"],
        carried_minor=sheet["open_minor"] + sheet["carried_out_minor"],
        currency=sheet["currency"],
        workbook=None if path is None else str(path),
        sha256=None if path is None else hashlib.sha256(path.read_bytes()).hexdigest(),
        hash=sheet["hash"],
    )
