"""Money: integers in minor units (分, cents) with an ISO 4217 code beside them.

Floats never touch money. Fees and unit costs carry five decimals of the major unit ("e5"), because
payment providers print fees below one cent. Rounding is half away from zero, and happens once.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_ZERO = frozenset({"JPY", "KRW", "VND", "CLP", "ISK"})
_THREE = frozenset({"KWD", "BHD", "OMR", "JOD", "TND"})
_E5_OF_MINOR = (100_000, 10_000, 1_000, 100)
"""How many 1e-5 major units a minor unit has, by its decimals."""
_SIGNS = {"CNY": "￥", "USD": "$"}
_MONEY = re.compile(
    r"^(?P<sign>[+-])?(?:[¥￥$€£]|CNY|RMB|USD|EUR)?\s*(?P<sign2>[+-])?"
    r"(?P<whole>\d{1,3}(?:,\d{3})+|\d+)?(?:\.(?P<part>\d+))?$"
)


def exponent(currency: str) -> int:
    """Return how many decimals the minor unit of `currency` has (ISO 4217; 2 by default)."""
    return 0 if currency in _ZERO else 3 if currency in _THREE else 2


def parse_e5(text: str, *, decimal: str = ".") -> int:
    """Return an amount as an integer of 1e-5 major units.

    Full-width digits, one currency sign, group commas and accounting brackets are understood;
    anything else raises `ValueError` with the text (never a prefix of it is parsed).
    """
    plain = unicodedata.normalize("NFKC", text).strip()
    if decimal == ",":
        plain = plain.replace(".", "").replace(",", ".")
    bracketed = plain.startswith("(") and plain.endswith(")")
    found = _MONEY.match(plain[1:-1] if bracketed else plain)
    if not found or (found["whole"] is None and found["part"] is None):
        raise ValueError(text)
    if found["sign"] and found["sign2"]:
        raise ValueError(text)
    part = found["part"] or ""
    if part[5:].strip("0"):
        raise ValueError(text)
    value = int((found["whole"] or "0").replace(",", "")) * 100_000 + int(part[:5].ljust(5, "0"))
    negative = bracketed or (found["sign"] or found["sign2"]) == "-"
    return -value if negative else value


def divide(value: int, by: int) -> int:
    """Return value ÷ by (by > 0), rounded half away from zero."""
    whole, rest = divmod(abs(value), by)
    if rest * 2 >= by:
        whole += 1
    return -whole if value < 0 else whole


def e5_to_minor(value_e5: int, currency: str = "CNY") -> int:
    """Return 1e-5 major units in minor units, rounded half away from zero."""
    return divide(value_e5, _E5_OF_MINOR[exponent(currency)])


def minor_to_e5(value_minor: int, currency: str = "CNY") -> int:
    """Return minor units in 1e-5 major units (exact)."""
    return value_minor * _E5_OF_MINOR[exponent(currency)]


def parse_minor(text: str, currency: str = "CNY") -> int:
    """Return an amount in minor units; digits below the minor unit raise `ValueError`."""
    value_e5 = parse_e5(text)
    minor = e5_to_minor(value_e5, currency)
    if minor_to_e5(minor, currency) != value_e5:
        raise ValueError(text)
    return minor


def format_minor(value_minor: int, currency: str = "CNY", *, sign: bool = True) -> str:
    """Return an amount for people: `￥1,812.40`, `-$3.00`, `1,200 JPY`."""
    digits = exponent(currency)
    whole, part = divmod(abs(value_minor), 10**digits)
    text = f"{whole:,}" + (f".{part:0{digits}d}" if digits else "")
    minus = "-" if value_minor < 0 else ""
    if not sign:
        return minus + text
    mark = _SIGNS.get(currency)
    return f"{minus}{mark}{text}" if mark else f"{minus}{text} {currency}"


def format_plain(value_minor: int, currency: str = "CNY") -> str:
    """Return an amount for machines: `1812.40`, no groups, no sign of currency."""
    return format_minor(value_minor, currency, sign=False).replace(",", "")


def format_e5(value_e5: int) -> str:
    """Return a unit cost with two to five decimals: `12.50`, `0.00021`."""
    whole, part = divmod(abs(value_e5), 100_000)
    decimals = f"{part:05d}".rstrip("0").ljust(2, "0")
    return f"{'-' if value_e5 < 0 else ''}{whole}.{decimals}"


def split(whole_minor: int, weights: Sequence[int]) -> list[int]:
    """Split an amount by weights so that the parts add up exactly (largest remainder).

    Ties go to the earlier part. A negative whole is split by magnitude. Zero weights in total
    are taken as equal ones.
    """
    assert weights, "nothing to split over"
    if sum(weights) == 0:
        weights = [1] * len(weights)
    total = sum(weights)
    size = abs(whole_minor)
    parts = [size * w // total for w in weights]
    order = sorted(range(len(weights)), key=lambda i: (-(size * weights[i] % total), i))
    for i in order[: size - sum(parts)]:
        parts[i] += 1
    return [-p for p in parts] if whole_minor < 0 else parts
