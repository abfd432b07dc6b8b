"""What a supplier's next sheet would hold: gathered from the books, nothing is written here.

Three figures of what is owed come from three places and must agree: the balance identity (sums over
deliveries, batches and payments), the lines (this sheet, unpaid sheets, what stays open), and the
ledger's account of the supplier.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from datetime import date, timedelta

from kmtool.clock import business_day
from kmtool.domain import settlement as rules
from kmtool.domain.settlement import Balance, SheetLine, SheetLineKind, account
from kmtool.sheets_write import clean
from kmtool.store import ledger, settlements
from kmtool.store.db import Db, Row


@dataclass(frozen=True, slots=True)
class OpenLine:
    """Something owed that is on no sheet yet, and why."""

    batch: str
    line_no: int | None
    tail: str
    delivered_ms: int
    eligible_on: str
    amount_minor: int
    reason: str


@dataclass(frozen=True, slots=True)
class BatchStock:
    """One batch on a sheet: its stock since the last sheet, and what this sheet pays for it."""

    batch_id: int
    batch: str
    file_name: str
    file_sha256: str
    sku: str
    title: str
    mode: str
    cost_e5: int
    opening: int
    received: int
    sold: int
    ended: int
    closing: int
    quantity: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Draft:
    """A sheet before it is closed. `ledger_minor` is the ledger once the clawbacks are booked."""

    supplier: Row
    cut: date
    period_from: date
    last: Row | None
    lines: tuple[SheetLine, ...]
    open_lines: tuple[OpenLine, ...]
    batches: tuple[BatchStock, ...]
    balance: Balance
    carried_in_minor: int
    unpaid_before_minor: int
    ledger_minor: int
    accrued_total_minor: int
    undone_total_minor: int
    paid_total_minor: int
    uneven_batches: tuple[str, ...]

    @property
    def total_minor(self) -> int:
        """The sum of the lines and of what the last sheet carried over."""
        return sum(line.amount_minor for line in self.lines) + self.carried_in_minor

    @property
    def open_minor(self) -> int:
        """What stays open: not due yet, or held."""
        return sum(line.amount_minor for line in self.open_lines)

    @property
    def by_lines_minor(self) -> int:
        """What is owed by the lines: this sheet, unpaid sheets before it, what stays open."""
        return self.total_minor + self.unpaid_before_minor + self.open_minor

    @property
    def keys(self) -> int:
        """How many keys the sheet pays for."""
        return sum(line.quantity for line in self.lines if line.kind in rules.DETAIL_KINDS)


def gather(db: Db, supplier: Row, cut: date, zone: str) -> Draft:
    """Gather the next sheet of a supplier as it would be closed with this cut date."""
    code, currency, days = supplier["code"], supplier["currency"], supplier["settle_days"]
    last = settlements.last_sheet(db, code, currency)
    before = defaultdict(int, last or {})
    keys = settlements.open_keys(db, code, currency)
    bought = settlements.bought_batches(db, code, currency)
    lines: list[SheetLine] = []
    left: list[OpenLine] = []
    for row in keys:
        _place_key(row, rules.eligible_on(row["delivered_ms"], days, zone), cut, lines, left)
    for row in bought:
        _place_batch(row, rules.eligible_on(row["imported_ms"], days, zone), cut, lines, left)
    lines += [_clawback(row) for row in settlements.settled_keys_gone_bad(db, code, currency)]
    lines += _agreed(settlements.agreed_debits(db, code, currency), lines)
    lines = _numbered(lines)
    payable, paid = settlements.totals(db, code, currency)
    batches, uneven = _batches(db, code, currency, lines)
    taken_back = -sum(x.amount_minor for x in lines if x.kind == SheetLineKind.CLAWBACK)
    accrued = settlements.accrued(db, code, currency) + sum(_accepted(row) for row in bought)
    undone = sum(_accepted(row) - _owed(row) for row in bought)
    return Draft(
        supplier=supplier,
        cut=cut,
        period_from=_period_from(db, code, last, cut, zone),
        last=last,
        lines=tuple(lines),
        open_lines=tuple(left),
        batches=batches,
        balance=Balance(
            opening_minor=before["closing_minor"],
            cost_minor=accrued - before["accrued_total_minor"],
            returned_minor=taken_back + undone - before["undone_total_minor"],
            adjusted_minor=0,
            settled_minor=paid - before["paid_total_minor"],
            discount_minor=0,
            commission_minor=0,
        ),
        carried_in_minor=before["carried_out_minor"],
        unpaid_before_minor=payable - paid,
        ledger_minor=-ledger.balance(db, account(code), currency) - taken_back,
        accrued_total_minor=accrued,
        undone_total_minor=undone,
        paid_total_minor=paid,
        uneven_batches=uneven,
    )


def _place_key(
    row: Row, eligible: date, cut: date, lines: list[SheetLine], left: list[OpenLine]
) -> None:
    """Put a delivered key on the sheet, or on the list of what stays open.

    Texts are kept as a workbook carries them: what is hashed is what the supplier reads.

    A key that turned out bad before it was settled stands on the sheet and is taken back on it,
    unless a person decided that the shop bears it.
    """
    invalid = not row["borne"] and rules.is_invalid(
        row["state"], row["line_state"], row["key_state"]
    )
    key_state = "delivered" if row["borne"] else row["key_state"]
    reason = rules.hold_reason(row["line_state"], key_state, row["refund"], row["hold_reason"])
    if eligible > cut:
        reason = rules.NOT_DUE
    if eligible > cut or (reason and not invalid):
        left.append(
            OpenLine(
                batch=row["batch"],
                line_no=row["line_no"],
                tail=row["tail"],
                delivered_ms=row["delivered_ms"],
                eligible_on=eligible.isoformat(),
                amount_minor=row["amount_minor"],
                reason=reason,
            )
        )
        return
    line = SheetLine(
        seq=0,
        kind=SheetLineKind.SALE,
        allocation_id=row["allocation_id"],
        batch_id=row["batch_id"],
        batch=row["batch"],
        batch_sha256=row["file_sha256"],
        line_no=row["line_no"],
        tail=clean(row["tail"]),
        sku=row["sku"],
        delivered_ms=row["delivered_ms"],
        quantity=1,
        cost_e5=row["cost_e5"],
        amount_minor=row["amount_minor"],
        order_tail=clean(rules.order_tail(row["order_number"])),
    )
    lines.append(line)
    if invalid:
        lines.append(_taken_back(line))


def _taken_back(line: SheetLine) -> SheetLine:
    return replace(
        line,
        kind=SheetLineKind.CLAWBACK,
        delivered_ms=None,
        quantity=0,
        amount_minor=-line.amount_minor,
        reason="卡密失效",
    )


def _clawback(row: Row) -> SheetLine:
    return SheetLine(
        seq=0,
        kind=SheetLineKind.CLAWBACK,
        allocation_id=row["allocation_id"],
        batch_id=row["batch_id"],
        batch=row["batch"],
        batch_sha256=row["batch_sha256"],
        line_no=row["line_no"],
        tail=row["tail"],
        sku=row["sku"],
        delivered_ms=None,
        quantity=0,
        cost_e5=row["cost_e5"],
        amount_minor=-row["amount_minor"],
        order_tail=row["order_tail"],
        ref_number=row["ref_number"],
        ref_seq=row["ref_seq"],
        reason="卡密失效",
    )


def _agreed(rows: list[Row], lines: list[SheetLine]) -> list[SheetLine]:
    """Return the lines for bought keys that are taken back: once their batch stands on a sheet."""
    here = {line.batch_id for line in lines if line.kind == SheetLineKind.BATCH}
    found = [row for row in rows if row["ref_seq"] is not None or row["batch_id"] in here]
    return [
        _clawback(
            {
                **row,
                "order_tail": clean(rules.order_tail(row["order_number"])),
                "tail": clean(row["tail"]),
                "ref_number": row["ref_number"] or "",
            }
        )
        for row in found
    ]


def _accepted(row: Row) -> int:
    return rules.line_amount(row["accepted"], row["cost_e5"], row["currency"])


def _owed(row: Row) -> int:
    kept = row["accepted"] - row["removed"] if row["state"] == "accepted" else 0
    return rules.line_amount(kept, row["cost_e5"], row["currency"])


def _place_batch(
    row: Row, eligible: date, cut: date, lines: list[SheetLine], left: list[OpenLine]
) -> None:
    """Put a bought batch on the sheet, or what changed in it since it was settled."""
    owed = _owed(row)
    settled = row["ref_seq"] is not None
    change = owed - row["settled_minor"]
    if change == 0:
        return
    if not settled and eligible > cut:
        left.append(
            OpenLine(
                batch=row["batch"],
                line_no=None,
                tail="",
                delivered_ms=row["imported_ms"],
                eligible_on=eligible.isoformat(),
                amount_minor=owed,
                reason=rules.NOT_DUE,
            )
        )
        return
    lines.append(
        SheetLine(
            seq=0,
            kind=SheetLineKind.CHANGE if settled else SheetLineKind.BATCH,
            allocation_id=None,
            batch_id=row["batch_id"],
            batch=row["batch"],
            batch_sha256=row["file_sha256"],
            line_no=None,
            tail="",
            sku=row["sku"],
            delivered_ms=None if settled else row["imported_ms"],
            quantity=0 if settled else row["accepted"] - row["removed"],
            cost_e5=row["cost_e5"],
            amount_minor=change,
            order_tail="",
            ref_number=row["ref_number"] or "",
            ref_seq=row["ref_seq"],
            reason="批次撤回" if settled else "",
        )
    )


def _numbered(lines: list[SheetLine]) -> list[SheetLine]:
    """Number the lines: what is paid first, then what is taken back, each in its order.

    A line taken back on the same sheet names that line; the sheet's number comes at closing.
    """
    first = [line for line in lines if line.kind in rules.DETAIL_KINDS]
    ordered = first + [line for line in lines if line.kind not in rules.DETAIL_KINDS]
    ordered = [replace(line, seq=seq) for seq, line in enumerate(ordered, 1)]
    sold = {line.allocation_id: line.seq for line in ordered if line.kind == SheetLineKind.SALE}
    batch = {line.batch_id: line.seq for line in ordered if line.kind == SheetLineKind.BATCH}
    return [
        replace(line, ref_seq=sold.get(line.allocation_id) or batch[line.batch_id])
        if line.kind == SheetLineKind.CLAWBACK and line.ref_seq is None
        else line
        for line in ordered
    ]


def _batches(
    db: Db, supplier: str, currency: str, lines: list[SheetLine]
) -> tuple[tuple[BatchStock, ...], tuple[str, ...]]:
    """Return the batches worth showing, and the numbers of those whose stock does not add up."""
    shown = settlements.shown_so_far(db, supplier)
    paid = [line for line in lines if line.kind in rules.DETAIL_KINDS]
    quantity: Counter[int] = Counter()
    amount: Counter[int] = Counter()
    for line in paid:
        quantity[line.batch_id] += line.quantity
        amount[line.batch_id] += line.amount_minor
    found, uneven = [], []
    for row in settlements.batch_stock(db, supplier, currency):
        batch = row["batch_id"]
        so_far = defaultdict(int, shown.get(batch, {}))
        sold = row["sold"] if row["mode"] == "buyout" else row["settled"] + quantity[batch]
        if row["held"] != row["received"]:
            uneven.append(row["batch"])
        opening = so_far["received"] - so_far["sold"] - so_far["ended"]
        stock = BatchStock(
            **{name: row[name] for name in _SAME},
            opening=opening,
            received=row["received"] - so_far["received"],
            sold=sold - so_far["sold"],
            ended=row["ended"] - so_far["ended"],
            closing=row["held"] - sold - row["ended"],
            quantity=quantity[batch],
            amount_minor=amount[batch],
        )
        if stock.closing or stock.opening or stock.received or stock.quantity:
            found.append(stock)
    return tuple(found), tuple(uneven)


_SAME = ("batch_id", "batch", "file_name", "file_sha256", "sku", "title", "mode", "cost_e5")


def _period_from(db: Db, supplier: str, last: Row | None, cut: date, zone: str) -> date:
    """Return the day after the last sheet's period; for the first sheet that of the first batch."""
    if last is not None:
        return min(cut, date.fromisoformat(last["period_to"]) + timedelta(days=1))
    first_ms = settlements.first_fact_ms(db, supplier)
    return cut if first_ms is None else min(cut, business_day(first_ms, zone))
