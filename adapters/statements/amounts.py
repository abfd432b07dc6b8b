"""Amounts of a row: gross, adjust, fee and net in the profile's mode, and the kind of the row.

Everything is an integer of 1e-5 major units until the line is made. Signs: + into the shop,
- out of it; fees are cost positive.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from adapters.statements.profiles import Profile, Rule
from adapters.statements.refusals import Stop, Warnings, bad_cell, bad_row, shown
from adapters.statements.rows import Row
from kmtool.domain import money
from kmtool.domain.statements import Code, LineKind

_GIVES_PLUS = frozenset({LineKind.SALE, LineKind.SUBSIDY})
_CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True, slots=True)
class Amounts:
    """What a row moves, in 1e-5 major units, with its kind and direction (in, out, neutral)."""

    kind: LineKind
    direction: str
    currency: str
    gross: int = 0
    adjust: int = 0
    fee: int = 0
    neutral: int = 0

    @property
    def net(self) -> int:
        """Return gross + adjust - fee."""
        return self.gross + self.adjust - self.fee


def amounts(
    row: Row, profile: Profile, shop_currency: str, mined: str, warnings: Warnings
) -> Amounts:
    """Return kind and amounts of a row; raises `Stop` BAD_ROW, BAD_AMOUNT or IDENTITY_BROKEN."""
    currency = _currency(row, profile, shop_currency)
    _check_digits(row, profile, currency)
    value, direction = _value(row, profile)
    rule = _rule(row, profile, value, direction, mined)
    kind = rule.kind if rule is not None else LineKind.UNKNOWN
    if rule is None:
        _warn_unknown(row, profile, warnings)
    if direction == "neutral":
        return Amounts(kind, direction, currency, neutral=abs(value))
    found = _moved(row, profile, value, rule, Amounts(kind, direction, currency))
    _check_identity(row, profile, found, warnings)
    _check_parts(row, profile, found, warnings)
    return found


def _currency(row: Row, profile: Profile, shop_currency: str) -> str:
    named = profile.amount.currency
    if named not in profile.columns:
        return named or shop_currency
    text = row.text(named).upper() or shop_currency
    if _CURRENCY.fullmatch(text) is None:
        column = profile.columns[named].names[0]
        raise bad_row(row.line, f"column {column}: 「{shown(text)}」 is not a currency code")
    return text


def _check_digits(row: Row, profile: Profile, currency: str) -> None:
    unit = 10 ** (5 - money.exponent(currency))
    for role, value in row.values.items():
        if isinstance(value, int) and value % unit and profile.columns[role].type == "money":
            raise bad_cell(
                Code.BAD_AMOUNT,
                row.line,
                profile.columns[role].names[0],
                money.format_e5(value),
                f"has digits below the smallest unit of {currency}",
            )


def _value(row: Row, profile: Profile) -> tuple[int, str]:
    """Return the signed value before the kind is known, and its direction."""
    amount = profile.amount
    if amount.mode == "two_columns":
        came, went = row.e5("amount_in") or 0, row.e5("amount_out") or 0
        if came and went:
            raise bad_row(row.line, "both the income and the expense column hold an amount")
        return abs(came) - abs(went), "out" if went else "in"
    if amount.mode == "components":
        value = _component_sum(row, amount.gross, None)
        return value, "out" if value < 0 else "in"
    number = row.e5("amount")
    if number is None:
        column = profile.columns["amount"].names[0]
        raise bad_cell(Code.BAD_AMOUNT, row.line, column, "", "is empty")
    if amount.mode != "direction":
        return number, "out" if number < 0 else "in"
    text = row.text("direction")
    if text in amount.direction_in:
        return abs(number), "in"
    if text in amount.direction_out:
        return -abs(number), "out"
    if text in amount.neutral:
        return abs(number), "neutral"
    column = profile.columns["direction"].names[0]
    raise bad_row(row.line, f"column {column}: 「{shown(text)}」 is no direction of this profile")


def _rule(row: Row, profile: Profile, value: int, direction: str, mined: str) -> Rule | None:
    sign = "" if direction == "neutral" else "-" if direction == "out" else "+"
    for rule in profile.types:
        if rule.sign and rule.sign != sign:
            continue
        if rule.mined and not mined:
            continue
        if rule.hits(row.text(rule.column)):
            return rule
    return None


def _warn_unknown(row: Row, profile: Profile, warnings: Warnings) -> None:
    roles = dict.fromkeys(rule.column for rule in profile.types)
    told = ", ".join(shown(row.text(role)) for role in roles if row.text(role))
    warnings.add("UNKNOWN_TYPE", f"no rule of the profile knows the type 「{told}」", row.line)


def _moved(row: Row, profile: Profile, value: int, rule: Rule | None, base: Amounts) -> Amounts:
    amount = profile.amount
    polarity = -1 if amount.fee_polarity == "cost_negative" else 1
    if amount.mode == "components":
        use = rule.use if rule is not None else None
        gross = _component_sum(row, amount.gross, use)
        settled = any(role in row.values for _, role in amount.settled)
        adjust = _component_sum(row, amount.settled, use) - gross if settled else 0
        fee = polarity * _component_sum(row, amount.fee, use)
        direction = "out" if gross < 0 else "in"
        return Amounts(base.kind, direction, base.currency, gross, adjust, fee)
    gross, direction = value, base.direction
    if amount.mode == "by_kind":
        gives = rule.gives if rule is not None else ""
        plus = gives == "+" if gives else base.kind in _GIVES_PLUS
        gross, direction = (abs(value), "in") if plus else (-abs(value), "out")
    settled_e5 = row.e5("settled")
    adjust = 0
    if settled_e5 is not None:
        adjust = (-abs(settled_e5) if gross < 0 else abs(settled_e5)) - gross
    fee = polarity * (row.e5("fee") or 0)
    return Amounts(base.kind, direction, base.currency, gross, adjust, fee)


def _component_sum(
    row: Row, parts: tuple[tuple[int, str], ...], use: tuple[str, ...] | None
) -> int:
    return sum(sign * (row.e5(role) or 0) for sign, role in parts if use is None or role in use)


def _check_identity(row: Row, profile: Profile, found: Amounts, warnings: Warnings) -> None:
    printed = row.e5("net")
    if profile.amount.identity == "none" or printed is None or printed == found.net:
        return
    figures = (
        f"{money.format_e5(found.gross + found.adjust)} minus fee {money.format_e5(found.fee)} "
        f"is not the printed {money.format_e5(printed)}"
    )
    if profile.amount.identity == "warn":
        warnings.add("IDENTITY_WARN", f"the row does not add up: {figures}", row.line)
        return
    raise Stop(
        Code.IDENTITY_BROKEN,
        f"line {row.line}: the row does not add up: {figures}",
        "download the file again; if it comes out the same, the profile reads a column wrongly",
        line=row.line,
        gross_e5=found.gross + found.adjust,
        fee_e5=found.fee,
        net_e5=printed,
    )


def _check_parts(row: Row, profile: Profile, found: Amounts, warnings: Warnings) -> None:
    parts = [row.e5(role) or 0 for role in profile.amount.parts]
    if any(parts) and sum(parts) != found.gross:
        warnings.add(
            "IDENTITY_WARN",
            f"the parts sum to {money.format_e5(sum(parts))}, the row moves "
            f"{money.format_e5(found.gross)}",
            row.line,
        )
