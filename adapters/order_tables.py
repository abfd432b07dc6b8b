"""Rows of an order export → orders. All or nothing: one row that cannot be read refuses the file.

- Ids are text. A numeric cell of 1e15 or more, or a csv value in scientific form, has lost its
  digits and is refused; `="123"`, `'123` and trailing tabs are cleaned; leading zeros stay.
- Several rows with one order number are one order. Without a column for the line's own number a
  line is named by item and variant, so that a re-sorted export names the same lines.
- A status word the preset does not know holds the order (`review`); an unknown refund word counts
  as an open refund, which holds it too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from math import isfinite
from zoneinfo import ZoneInfo

from adapters.order_presets import Preset, missing, plain
from kmtool.clock import utc_ms
from kmtool.domain.money import parse_minor, split
from kmtool.domain.states import OrderStatus, RefundState
from kmtool.errors import InputRefused, said, told
from kmtool.ports import Buyer, LineFact, OrderFact, RefundFact
from kmtool.sheets import Table

HEADER_ROWS = 30
PROBLEMS_MAX = 100
EXACT_MAX = 10**15
_EMPTY = frozenset({"", "-", "--", "—", "无"})
_IDS = frozenset({"number", "line_no", "item_id", "variant_id", "account", "pay_no", "buyer_ref"})
_SCIENTIFIC = re.compile(r"\d(?:\.\d+)?[eE]\+?\d{2}")
_FORMULA_TEXT = re.compile(r'="([^"]*)"')
_PIECES = re.compile(r"(\d{1,6})(?:\.0+)?\s*(?:件|个|张|份)?")

# The most open state of an order's rows is the order's: nothing is sent too early.
_RANK = (
    OrderStatus.REVIEW,
    OrderStatus.UNPAID,
    OrderStatus.PAID,
    OrderStatus.SHIPPED,
    OrderStatus.DONE,
    OrderStatus.CLOSED,
)


@dataclass(frozen=True, slots=True)
class Moment:
    """When a file was made: what counts as `modified` when it has no such column."""

    file_ms: int
    currency: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file gave. With `problems` there are no orders. `columns` is role → column name."""

    orders: tuple[OrderFact, ...]
    problems: tuple[str, ...]
    columns: Mapping[str, str]
    ignored: tuple[str, ...]
    rows: int


@dataclass(frozen=True, slots=True)
class _Row:
    row_no: int
    cells: Mapping[str, str]
    quantity: int
    amount_minor: int | None
    total_minor: int | None
    refund_minor: int | None
    status: OrderStatus
    refund: RefundState
    risk: str
    created_ms: int | None
    paid_ms: int | None
    modified_ms: int | None

    @property
    def item(self) -> tuple[str, str]:
        return self.cells.get("item_id") or self.cells["title"], self.cells.get("variant_id", "")


def read_orders(tables: Sequence[Table], preset: Preset, moment: Moment) -> Reading:
    """Read the sheets that have the preset's columns.

    Raises `InputRefused` when none has; problems of single rows are returned, not raised.
    """
    rows: list[_Row] = []
    problems: list[str] = []
    columns: dict[str, str] = {}
    ignored: list[str] = []
    best = find_header(tables[0], preset) if tables else (0, {})
    for table in tables:
        at, found = find_header(table, preset)
        if missing(found):
            best = max(best, (at, found), key=lambda pair: len(pair[1]))
            continue
        header = [_text_of(cell) for cell in table.rows[at][1]]
        columns |= {role: header[index] for role, index in found.items()}
        taken = set(found.values())
        ignored += [name for i, name in enumerate(header) if name and i not in taken]
        for row_no, cells in table.rows[at + 1 :]:
            _read_row(row_no, cells, (found, preset), rows, problems)
    if not columns:
        lacking = ", ".join(missing(best[1]))
        raise InputRefused(
            detail="these columns are missing for the preset {name}: {lacking}",
            name=preset.name,
            lacking=lacking,
            mend="choose another --preset, or name the columns with map = {{ column = role }}",
        )
    orders = _orders(rows, preset, moment, problems)
    if problems:
        orders = ()
    return Reading(orders, tuple(problems[:PROBLEMS_MAX]), columns, tuple(ignored), len(rows))


def find_header(table: Table, preset: Preset) -> tuple[int, dict[str, int]]:
    """Return (index, role → column) of the row that names most of the preset's columns."""
    best: tuple[int, dict[str, int]] = (0, {})
    for at, (_, cells) in enumerate(table.rows[:HEADER_ROWS]):
        found = preset.match([_text_of(cell) for cell in cells])
        if len(found) > len(best[1]):
            best = (at, found)
    return best


def clean(text: str) -> str:
    """Return a csv value without what spreadsheets wrap around it, and without control signs."""
    text = text.strip().strip("\ufeff")
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text).strip()
    found = _FORMULA_TEXT.fullmatch(text)
    return (found[1] if found else text.removeprefix("'")).strip()


def _bad(template: str, **facts: object) -> ValueError:
    return ValueError(told(template, **facts))


def cell_text(cell: object, *, exact: bool = False) -> str:
    """Return a cell as text. With `exact` (ids) raises `ValueError` when digits were lost."""
    if isinstance(cell, bool) or cell is None:
        return "" if cell is None else str(cell).lower()
    if isinstance(cell, int | float):
        if exact and abs(cell) >= EXACT_MAX:
            raise _bad(
                "the spreadsheet keeps this number with 15 digits only, the rest is lost; "
                "export again as CSV, or with the column as text"
            )
        if not isfinite(cell):
            return ""
        # Sums in a workbook carry the noise of binary fractions far behind the point.
        return format(Decimal(repr(round(cell, 9))).normalize(), "f")
    if isinstance(cell, datetime):
        return cell.isoformat(" ", "seconds")
    if isinstance(cell, date):
        return cell.isoformat()
    text = clean(str(cell))
    if exact and _SCIENTIFIC.fullmatch(text):
        lost = "{text} has lost its digits; export again and do not save it with Excel"
        raise _bad(lost, text=text)
    return text


def parse_time(text: str, preset: Preset) -> int | None:
    """Return a local time of the export as UTC milliseconds, None for an empty cell."""
    if text in _EMPTY:
        return None
    zone = ZoneInfo(preset.zone)
    if text[4:5] == "-":
        try:  # by far the most frequent form, and the fastest to read
            moment = datetime.fromisoformat(text)
        except ValueError:
            pass
        else:
            return utc_ms(moment if moment.tzinfo else moment.replace(tzinfo=zone))
    for form in preset.times:
        try:
            moment = datetime.strptime(text, form)  # noqa: DTZ007  (the zone follows)
        except ValueError:
            continue
        return utc_ms(moment.replace(tzinfo=zone))
    raise _bad("{text} is no time such as 2026-11-22 08:00:00", text=text)


def _text_of(cell: object) -> str:
    return cell_text(cell)


def _read_row(
    row_no: int,
    cells: Sequence[object],
    how: tuple[Mapping[str, int], Preset],
    rows: list[_Row],
    problems: list[str],
) -> None:
    """Append a row, or what is wrong with it. Empty rows and totals are passed over."""
    found, preset = how
    texts: dict[str, str] = {}
    if not any(_text_of(cell) for cell in cells):
        return
    if plain(_text_of(cells[0])) in preset.stop:
        return
    for role, index in found.items():
        try:
            texts[role] = cell_text(cells[index] if index < len(cells) else "", exact=role in _IDS)
        except ValueError as error:
            place = told("row {row}, {role}", row=row_no, role=role)
            problems.append(told("{place}: {why}", place=place, why=said(error)))
            return
    try:
        rows.append(_row(row_no, texts, preset))
    except ValueError as error:
        problems.append(told("row {row}, {why}", row=row_no, why=said(error)))


def _row(row_no: int, texts: dict[str, str], preset: Preset) -> _Row:
    if not texts["number"]:
        raise _bad("number: there is no order number")
    if not (texts.get("title") or texts.get("item_id")):
        raise _bad("title: there is no item")
    pieces = _PIECES.fullmatch(texts["quantity"])
    if pieces is None or int(pieces[1]) == 0:
        raise _bad("quantity: {quantity} is no count of pieces", quantity=repr(texts["quantity"]))
    status = preset.status.get(plain(texts["status"]), OrderStatus.REVIEW)
    risk = ""
    if plain(texts["status"]) not in preset.status:
        risk = f"unknown status “{texts['status']}”"
    elif status is OrderStatus.REVIEW:
        risk = texts["status"]
    refund = preset.refund_by_status.get(plain(texts["status"]), RefundState.NONE)
    word = plain(texts.get("refund", ""))
    if word in preset.refund:
        refund = max(refund, preset.refund[word], key=_REFUND_RANK.index)
    elif word:
        refund, risk = RefundState.OPEN, risk or f"unknown refund status “{texts['refund']}”"
    return _Row(
        row_no=row_no,
        cells=texts,
        quantity=int(pieces[1]),
        amount_minor=_money(texts, "amount", preset),
        total_minor=_money(texts, "total", preset),
        refund_minor=_money(texts, "refund_amount", preset),
        status=status,
        refund=refund,
        risk=risk,
        created_ms=_time(texts, "created", preset),
        paid_ms=_time(texts, "paid", preset),
        modified_ms=_time(texts, "modified", preset),
    )


AMOUNT_MAX = 10**13
_REFUND_RANK = [RefundState.NONE, RefundState.PARTIAL, RefundState.FULL, RefundState.OPEN]


def _money(texts: Mapping[str, str], role: str, preset: Preset) -> int | None:
    text = texts.get(role, "")
    if text in _EMPTY:
        return None
    try:
        value = int(text) if preset.money == "fen" else parse_minor(text, preset.currency or "CNY")
    except ValueError:
        value = -1
    if not 0 <= value <= AMOUNT_MAX:
        raise _bad("{role}: {text} is no amount such as 12.50", role=role, text=repr(text))
    return value


def _time(texts: Mapping[str, str], role: str, preset: Preset) -> int | None:
    try:
        return parse_time(texts.get(role, ""), preset)
    except ValueError as error:
        raise _bad("{role}: {why}", role=role, why=said(error)) from None


def _orders(
    rows: Sequence[_Row], preset: Preset, moment: Moment, problems: list[str]
) -> tuple[OrderFact, ...]:
    grouped: dict[str, list[_Row]] = {}
    for row in rows:
        grouped.setdefault(row.cells["number"], []).append(row)
    orders = []
    for number, group in grouped.items():
        try:
            orders.append(_order(number, group, preset, moment))
        except ValueError as error:
            place = told("row {row}, order {number}", row=group[0].row_no, number=number)
            problems.append(told("{place}: {why}", place=place, why=said(error)))
    return tuple(orders)


def _order(number: str, rows: list[_Row], preset: Preset, moment: Moment) -> OrderFact:
    total = _total(rows)
    lines = _lines(rows, total)
    status = min((row.status for row in rows), key=_RANK.index)
    times = [row.modified_ms for row in rows if row.modified_ms is not None]
    paid = [row.paid_ms for row in rows if row.paid_ms is not None]
    created = [row.created_ms for row in rows if row.created_ms is not None]
    revision = max(times, default=moment.file_ms)
    paid_ms = min(paid, default=None)
    if paid_ms is None and status is not OrderStatus.UNPAID:
        paid_ms = min(created, default=None)
    refund, back = _refund(rows, total)
    return OrderFact(
        number=number,
        revision_ms=revision,
        status=status,
        refund=refund,
        currency=preset.currency or moment.currency,
        total_minor=total,
        lines=lines,
        created_ms=min(created, default=paid_ms if paid_ms is not None else revision),
        paid_ms=paid_ms,
        refunds=() if back is None else (back,),
        buyer=Buyer(*(_first(rows, role) for role in ("buyer_ref", "buyer", "email", "phone"))),
        expected_gross_minor=total,
        ext_txn_id=_first(rows, "pay_no"),
        risk=next((row.risk for row in rows if row.risk), ""),
        note=_first(rows, "note"),
    )


def _first(rows: Sequence[_Row], role: str) -> str:
    return next((row.cells[role] for row in rows if row.cells.get(role)), "")


def _total(rows: Sequence[_Row]) -> int:
    totals = {row.total_minor for row in rows if row.total_minor is not None}
    if len(totals) > 1:
        raise _bad("its rows name different totals; give that column the role amount")
    if totals:
        return totals.pop()
    if any(row.amount_minor is None for row in rows):
        raise _bad("a row has no amount")
    return sum(row.amount_minor or 0 for row in rows)


def _lines(rows: Sequence[_Row], total: int) -> tuple[LineFact, ...]:
    """Return the lines in a steady order; their amounts add up to the order's total."""
    named: dict[str, _Row] = {}
    for row in sorted(rows, key=lambda row: (row.cells.get("line_no", ""), row.item, row.row_no)):
        item_id, variant_id = row.item
        own = row.cells.get("line_no", "")
        name = base = own or "/".join(filter(None, (item_id, variant_id)))
        if own and own in named:
            raise _bad("the line {own} stands twice (again in row {n})", own=own, n=row.row_no)
        twin = 1
        while name in named:
            twin += 1
            name = f"{base}#{twin}"
        named[name] = row
    whole = [row.amount_minor for row in named.values()]
    weights = [row.quantity if None in whole else row.amount_minor or 0 for row in named.values()]
    amounts = split(total, weights)
    return tuple(
        LineFact(
            line_no=name,
            item_id=row.item[0],
            variant_id=row.item[1],
            title=row.cells.get("title") or row.item[0],
            quantity=row.quantity,
            amount_minor=amount,
            account=row.cells.get("account", ""),
        )
        for (name, row), amount in zip(named.items(), amounts, strict=True)
    )


def _refund(rows: Sequence[_Row], total: int) -> tuple[RefundState, RefundFact | None]:
    """Sum up the rows: an open refund outweighs all, one row of several given back is partial."""
    states = [row.refund for row in rows]
    amounts = [row.refund_minor for row in rows if row.refund_minor]
    back = sum(amounts)
    closed_in_part = len({row.status is OrderStatus.CLOSED for row in rows}) > 1
    if RefundState.OPEN in states:
        state = RefundState.OPEN
    elif all(state is RefundState.FULL for state in states) or (back and back >= total):
        state = RefundState.FULL
    elif back or closed_in_part or any(state is not RefundState.NONE for state in states):
        state = RefundState.PARTIAL
    else:
        return RefundState.NONE, None
    amount = back or (total if state is RefundState.FULL else 0)
    fact = "open" if state is RefundState.OPEN else "done"
    return state, RefundFact(rows[0].cells["number"], amount, fact)


def stale(orders: Sequence[OrderFact], reason: str) -> tuple[OrderFact, ...]:
    """Return the orders with those still to be delivered marked for a person."""
    return tuple(
        replace(order, risk=order.risk or reason) if order.status is OrderStatus.PAID else order
        for order in orders
    )
