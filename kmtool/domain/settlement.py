"""The rules of supplier settlement: when a key is due, what is held back, sums, numbers, the chain.

- Consignment: owed at delivery, the integer stored on the allocation. Buy-out: owed at acceptance
  of the batch, keys × unit cost, rounded once per batch. Nothing else is rounded.
- A line is due N natural days after its day in the shop's zone (T+N).
- 期初未结 + 本期应付 − 本期结算 − 优惠 − 扣点 = 期末未结, and that is the ledger's balance.
- A sheet's hash covers the one before it: SHA-256 of (previous hash, head, hash of the detail).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from kmtool.clock import business_day
from kmtool.domain.money import e5_to_minor

BANK = "bank:main"
"""The account that suppliers are paid from."""
OWN = "own"
"""Stands where a supplier does for keys the shop has already: they are owed to nobody."""
OWN_MODE = "buyout"
"""Such keys are an asset like bought ones; against them stands what the owner brought in."""
NOT_DUE = "未到结算日"
BY_HAND = "人工挂账："
"""Why a line stays open, as workbooks and the books say it; screens say it in their language."""
FIRST_HASH = "0" * 64
RULE = "natural-days-1"
DETAIL_HEADER = (
    "seq,kind,batch_no,batch_sha256,line_no,last4,status,delivered_at_utc,qty,amount_minor,"
    "order_tail,ref_sheet,ref_line,reason"
)

HEAD = (
    "number", "supplier", "currency", "period_from", "period_to", "cut", "rule", "opening_minor",
    "cost_minor", "returned_minor", "adjusted_minor", "settled_minor", "discount_minor",
    "commission_minor", "closing_minor", "carried_in_minor", "payable_minor", "carried_out_minor",
    "lines",
)  # fmt: skip
"""What the hash of a sheet covers beside its detail."""


class SheetLineKind(StrEnum):
    """What one line of a sheet is."""

    SALE = "sale"
    BATCH = "batch"
    CLAWBACK = "clawback"
    CHANGE = "change"


DETAIL_KINDS = (SheetLineKind.SALE, SheetLineKind.BATCH)
"""These stand on the detail sheet of the workbook, the others on 扣回调整."""

STATUS = {
    SheetLineKind.SALE: "已售",
    SheetLineKind.BATCH: "已入库",
    SheetLineKind.CLAWBACK: "扣回",
    SheetLineKind.CHANGE: "入库更正",
}


@dataclass(frozen=True, slots=True)
class SheetLine:
    """One line of a closed sheet. Buy-out batches and their changes have no key of their own."""

    seq: int
    kind: SheetLineKind
    allocation_id: int | None
    batch_id: int
    batch: str
    batch_sha256: str
    line_no: int | None
    tail: str
    sku: str
    delivered_ms: int | None
    quantity: int
    cost_e5: int
    amount_minor: int
    order_tail: str
    ref_number: str = ""
    ref_seq: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Balance:
    """The balance identity of one sheet, in minor units."""

    opening_minor: int
    cost_minor: int
    returned_minor: int
    adjusted_minor: int
    settled_minor: int
    discount_minor: int
    commission_minor: int

    @property
    def due_minor(self) -> int:
        """本期应付: what arose in the period."""
        return self.cost_minor - self.returned_minor + self.adjusted_minor

    @property
    def closing_minor(self) -> int:
        """期末未结: what the ledger must show."""
        return (
            self.opening_minor
            + self.due_minor
            - self.settled_minor
            - self.discount_minor
            - self.commission_minor
        )


def account(supplier: str) -> str:
    """Return the ledger account of what a supplier is owed; of what the owner brought in."""
    return "equity:own" if supplier == OWN else f"payable:supplier:{supplier}"


def eligible_on(at_ms: int, days: int, zone: str) -> date:
    """Return the first day on which what is of `at_ms` may stand on a sheet (T+N natural days)."""
    return business_day(at_ms, zone) + timedelta(days=days)


def line_amount(quantity: int, cost_e5: int, currency: str) -> int:
    """Return quantity × unit cost in minor units, rounded half away from zero, once."""
    return e5_to_minor(quantity * cost_e5, currency)


def hold_reason(line_state: str, key_state: str, refund: str, order_hold: str | None) -> str:
    """Return why a delivered key that is due stays off the sheet; empty when nothing holds it.

    A line in state `closed` was decided by a person: neither a refund nor the key holds it then.
    """
    if order_hold:
        return f"{BY_HAND}{order_hold}"
    if line_state == "closed":
        return ""
    if line_state != "delivered":
        return "退款争议处理中" if line_state == "refund_case" else "订单行待处理"
    if refund in ("open", "full"):
        return "退款处理中"
    return "" if key_state == "delivered" else "卡密待核实"


def is_invalid(allocation_state: str, line_state: str, key_state: str) -> bool:
    """Tell whether a delivered key turned out bad: replaced, or its case closed with a bad key."""
    return allocation_state == "replaced" or (
        line_state == "closed" and key_state in ("defective", "void", "returned")
    )


def payable_and_carried(total_minor: int) -> tuple[int, int]:
    """Return (payable, carried to the next sheet): a total below zero is carried, never paid."""
    return (total_minor, 0) if total_minor >= 0 else (0, total_minor)


def number_of(supplier: str, cut: date, nth: int) -> str:
    """Return the number of a sheet: JS-<supplier>-YYYYMM-NN, counted per supplier and month."""
    return f"JS-{supplier}-{cut:%Y%m}-{nth:02d}"


def order_tail(number: str) -> str:
    """Return what a supplier sees of an order number."""
    return number[-6:]


def utc_second(at_ms: int | None) -> str:
    """Return a time as the detail carries it: UTC, whole seconds, cut and not rounded."""
    if at_ms is None:
        return ""
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def detail_row(line: SheetLine) -> tuple[object, ...]:
    """Return a line as a row of the detail, in the order of its header."""
    return (
        line.seq, str(line.kind), line.batch, line.batch_sha256, _or_empty(line.line_no),
        line.tail, STATUS[line.kind], utc_second(line.delivered_ms), line.quantity,
        line.amount_minor, line.order_tail, line.ref_number, _or_empty(line.ref_seq), line.reason,
    )  # fmt: skip


def detail_csv(rows: Iterable[Sequence[object]]) -> bytes:
    """Return the detail as bytes: UTF-8, LF, minimal quoting, sorted by sequence number."""
    text = io.StringIO()
    text.write(DETAIL_HEADER + "\n")
    ordered: list[Sequence[object]] = sorted(rows, key=_seq)
    csv.writer(text, lineterminator="\n").writerows(ordered)
    return text.getvalue().encode("utf-8")


def head_json(sheet: Mapping[str, object]) -> str:
    """Return the head of a sheet as JSON with sorted keys and no spaces."""
    facts = {name: sheet[name] for name in HEAD}
    return json.dumps(facts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def sheet_hash(previous: str, head: str, detail: bytes) -> str:
    """Return the hash that chains a sheet to the one before it (SHA-256, lower-case hex)."""
    return hashlib.sha256(
        f"{previous}\n{head}\n{hashlib.sha256(detail).hexdigest()}".encode()
    ).hexdigest()


def _seq(row: Sequence[object]) -> int:
    return int(str(row[0]))


def _or_empty(value: int | None) -> object:
    return "" if value is None else value
