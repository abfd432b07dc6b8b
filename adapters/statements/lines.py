"""From typed rows to canonical lines: order numbers, parents, status, content hashes, balances."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.statements.amounts import Amounts, amounts
from adapters.statements.identity import Identity, complete, digest, identities
from adapters.statements.profiles import Profile
from adapters.statements.refusals import Warnings, bad_cell
from adapters.statements.rows import Row
from kmtool.domain import money
from kmtool.domain.statements import Code, LineKind, StatementLine

_CANONICAL = frozenset(
    [
        "row_id",
        "ext_txn_id",
        "order_ref",
        "refund_ref",
        "parent_ref",
        "payout_ref",
        "status",
        "counterparty",
        "item",
        "note",
        "balance",
    ]
)
_WITH_PARENT = frozenset({LineKind.REFUND, LineKind.DISPUTE, LineKind.FEE})


@dataclass(frozen=True, slots=True)
class Entry:
    """A row with what was found out about it; totals are compared on these."""

    row: Row
    amounts: Amounts
    at_ms: int
    ignored: bool
    mined: str


def entries(
    rows: Sequence[Row], times: Sequence[int], profile: Profile, currency: str, warnings: Warnings
) -> list[Entry]:
    """Return kind, amounts and status of each row; raises `Stop` where one cannot be read."""
    found = []
    for row, at_ms in zip(rows, times, strict=True):
        mined = _mined(row, profile)
        moved = amounts(row, profile, currency, mined, warnings)
        ignored = any(
            rule.hits(row.text(rule.column)) and not any(row.e5(role) for role in rule.zero)
            for rule in profile.status
        )
        found.append(Entry(row, moved, at_ms, ignored, mined))
    return found


def lines(
    found: Sequence[Entry], profile: Profile, warnings: Warnings, *, show_member: bool
) -> tuple[StatementLine, ...]:
    """Return the canonical lines of a unit in file order; raises `Stop` on repeated row ids."""
    rows, times = [entry.row for entry in found], [entry.at_ms for entry in found]
    keys = identities(rows, times, profile, warnings)
    maker = _Maker(profile, show_member=show_member)
    made = tuple(maker.line(entry, key) for entry, key in zip(found, keys, strict=True))
    _check_balances(found, warnings)
    return made


def rounded(value_e5: int, currency: str, rounding: str) -> int:
    """Return 1e-5 major units in minor units by the profile's rounding rule."""
    if rounding == "half_up":
        return money.e5_to_minor(value_e5, currency)
    unit = 10 ** (5 - money.exponent(currency))
    whole, rest = divmod(abs(value_e5), unit)
    if rounding == "half_even" and (rest * 2 > unit or (rest * 2 == unit and whole % 2)):
        whole += 1
    return -whole if value_e5 < 0 else int(whole)


def _mined(row: Row, profile: Profile) -> str:
    for role, pattern in profile.mine:
        found = pattern.search(row.text(role))
        if found is not None and found[1]:
            return str(found[1])
    return ""


class _Maker:
    """Makes lines of one profile."""

    def __init__(self, profile: Profile, *, show_member: bool) -> None:
        self.profile = profile
        self.show_member = show_member
        self.volatile = frozenset(profile.row_key.volatile)
        self.more = [
            role
            for role, column in profile.columns.items()
            if column.type == "id" and role not in _CANONICAL
        ]

    def line(self, entry: Entry, key: Identity) -> StatementLine:
        """Return the line of an entry."""
        row, moved = entry.row, entry.amounts
        currency = moved.currency
        raw_ref, ref = self._order_ref(row, moved.kind)
        fee = rounded(moved.fee, currency, self.profile.amount.rounding)
        gross, adjust = (
            self._exact(row, moved.gross, currency),
            self._exact(row, moved.adjust, currency),
        )
        neutral = self._exact(row, moved.neutral, currency)
        balance_e5 = row.e5("balance")
        balance = None if balance_e5 is None else money.e5_to_minor(balance_e5, currency)
        fields: dict[str, str] = {
            "status": row.text("status"),
            "ext_txn_id": self._id(row, "ext_txn_id"),
            "refund_ref": self._id(row, "refund_ref"),
            "parent_ref": self._parent(row, moved.kind),
            "payout_ref": self._id(row, "payout_ref"),
            "counterparty": row.text("counterparty"),
            "item": row.text("item"),
            "note": row.text("note"),
        }
        firm = [value for role, value in fields.items() if role not in self.volatile]
        figures = (entry.at_ms, moved.kind, gross, adjust, moved.fee, neutral, currency)
        kept = "\u001f".join(
            str(part) for part in (*figures, entry.ignored, raw_ref, entry.mined, balance, *firm)
        )
        return StatementLine(
            line=row.line,
            member=row.member if self.show_member else "",
            row_key=key.row_key,
            occ=key.occ,
            occurred_ms=entry.at_ms,
            kind=moved.kind,
            gross_minor=gross,
            adjust_minor=adjust,
            fee_minor=fee,
            fee_e5=moved.fee,
            net_minor=gross + adjust - fee,
            neutral_minor=neutral,
            currency=currency,
            ignored=entry.ignored,
            order_ref_raw=raw_ref,
            order_ref=ref,
            mined_ref="" if moved.kind is LineKind.SALE else entry.mined,
            more_refs=tuple(filter(None, (self._id(row, role) for role in self.more))),
            balance_minor=balance,
            raw=row.raw,
            content=digest(kept),
            content_all=digest(kept + complete(row, entry.at_ms, self.profile)),
            **fields,
        )

    def _exact(self, row: Row, value_e5: int, currency: str) -> int:
        minor = money.e5_to_minor(value_e5, currency)
        if money.minor_to_e5(minor, currency) != value_e5:
            why = f"has digits below the smallest unit of {currency}"
            text = money.format_e5(value_e5)
            raise bad_cell(Code.BAD_AMOUNT, row.line, "amount", text, why)
        return minor

    def _id(self, row: Row, role: str) -> str:
        """Return an id fit for joining: a destroyed one is none."""
        return "" if role in row.lossy else row.text(role)

    def _order_ref(self, row: Row, kind: LineKind) -> tuple[str, str]:
        rule = self.profile.order_ref
        role = next((role for role in rule.columns if row.text(role)), "")
        raw = row.text(role)
        if not raw or kind.value in rule.never or role in row.lossy:
            return raw, ""
        ref = raw
        for word, argument in rule.steps:
            ref = _step(ref, word, argument)
        return raw, ref

    def _parent(self, row: Row, kind: LineKind) -> str:
        if self.profile.parent is None:
            return self._id(row, "parent_ref")
        how, argument = self.profile.parent
        if how == "prefix_before":
            before, mark, _after = self._id(row, "ext_txn_id").partition(argument)
            return before if mark else ""
        return self._id(row, argument) if kind in _WITH_PARENT else ""


def _step(text: str, word: str, argument: str) -> str:
    if word == "strip":
        return text.strip()
    if word == "strip_prefix":
        return text.removeprefix(argument)
    if word == "upper":
        return text.upper()
    if word == "before":
        return text.partition(argument)[0]
    found = re.search(argument, text)
    return str(found[1] or "") if found else ""


def _check_balances(found: Sequence[Entry], warnings: Warnings) -> None:
    """Warn where running balances do not follow, in the direction (old or new first) that fits."""
    broken_up, broken_down = _breaks(found), _breaks(found[::-1])
    broken = min(broken_up, broken_down, key=len)
    if broken:
        text = f"the running balance does not follow from the row before it in {len(broken)} places"
        warnings.add("BALANCE_CHAIN", text, min(broken))


def _breaks(found: Sequence[Entry]) -> list[int]:
    last: dict[str, int] = {}
    broken = []
    for entry in found:
        currency, balance = entry.amounts.currency, entry.row.e5("balance")
        if balance is None or entry.amounts.direction == "neutral":
            last.pop(currency, None)
            continue
        if currency in last and last[currency] + entry.amounts.net != balance:
            broken.append(entry.row.line)
        last[currency] = balance
    return broken
