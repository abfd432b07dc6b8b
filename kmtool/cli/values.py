"""Costs, prices and days as people type them; a bad one is a `UsageError` with an example."""

from __future__ import annotations

from datetime import date

from kmtool.errors import UsageError

PRICE_MAX = 10**12
FIRST_YEAR, LAST_YEAR = 1990, 2199
"""No day of a shop lies outside; a slip such as 0206 or 20260 does."""


def cost(text: str) -> int:
    """Return a unit cost in 1e-5 major units; empty is zero."""
    from kmtool.domain.money import parse_e5

    try:
        return parse_e5(text) if text else 0
    except ValueError:
        raise UsageError(
            detail="{text} is no cost such as 12.50", text=text, mend="--cost 12.50"
        ) from None


def price(text: str | None, currency: str, flag: str = "--price") -> int | None:
    """Return a price in minor units, None for none."""
    from kmtool.domain.money import parse_minor

    if not text:
        return None
    try:
        minor = parse_minor(text, currency)
    except ValueError:
        minor = -1
    if not 0 <= minor <= PRICE_MAX:
        raise UsageError(
            detail="{text} is no price such as 48.00", text=text, mend="{flag} 48.00", flag=flag
        )
    return minor


def signed(text: str, currency: str) -> int:
    """Return an amount in minor units that may be below zero."""
    from kmtool.domain.money import parse_minor

    try:
        minor = parse_minor(text, currency)
    except ValueError:
        minor = PRICE_MAX + 1
    if abs(minor) > PRICE_MAX:
        raise UsageError(
            detail="{text} is no amount such as 500.00", text=text, mend="--amount 500.00"
        )
    return minor


def day(text: str | None, flag: str) -> date | None:
    """Return a calendar day written as 2027-01-31, None for none."""
    if not text:
        return None
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = date.min
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise UsageError(
            detail="{text} is no day such as 2027-01-31",
            text=text,
            mend="{flag} 2027-01-31",
            flag=flag,
        )
    return found
