"""Cells: from what stands in a file to text, id or integer; nothing is guessed, no prefix is read.

Money is an integer of 1e-5 major units here; ids are text always. A cell that cannot be read raises
`ValueError` with the reason, which the caller places (line, column).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from adapters.statements.records import Cell
from kmtool.domain import money

_EDGES = "\ufeff\t\r\n\xa0\u3000 "
_DESTROYED = re.compile(r"^\d(\.\d+)?[Ee]\+?\d+$")
_NUMBER_ID_MAX = 10**15
_AMOUNT_MAX = 10**12
_OFF_MAX = Decimal("0.000001")


def name_key(text: str) -> str:
    """Return a header name or preamble text as it is compared: NFKC, no white space, lower-case."""
    plain = unicodedata.normalize("NFKC", text)
    return "".join(plain.split()).replace("\ufeff", "").replace("`", "").lower()


def bare(cell: Cell) -> str:
    """Return a cell as text without edges and without the one backtick or apostrophe in front."""
    text = cell if isinstance(cell, str) else number_text(cell)
    text = text.strip(_EDGES)
    return text[1:].strip(_EDGES) if text[:1] in ("`", "'", "’") else text


def number_text(cell: Cell) -> str:
    """Return a sheet value as text: whole numbers as digits, dates in ISO form."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime):
        return cell.isoformat(" ", "seconds")
    return str(cell)


def read_text(cell: Cell, empty: Collection[str]) -> str:
    """Return a text: NFC, control characters removed, empty markers as the empty text."""
    text = bare(cell)
    if text in empty:
        return ""
    if text.isascii() and text.isprintable():
        return text
    plain = unicodedata.normalize("NFC", text)
    return "".join(ch for ch in plain if unicodedata.category(ch) != "Cc")


def read_id(cell: Cell, empty: Collection[str]) -> tuple[str, bool, bool]:
    """Return an id, whether a spreadsheet destroyed it, and whether the sheet had a number."""
    text = bare(cell).replace("\t", "")
    if text in empty:
        return "", False, False
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        whole = isinstance(cell, int) or cell.is_integer()
        return text, not whole or abs(cell) >= _NUMBER_ID_MAX, True
    if text[:1].isdigit() and _DESTROYED.match(text):
        return text, True, False
    if not text.isprintable():
        text = "".join(ch for ch in text if unicodedata.category(ch) != "Cc")
    return text, False, False


def read_money(cell: Cell, empty: Collection[str], decimal: str = ".") -> int | None:
    """Return an amount in 1e-5 major units, None for an empty cell; raises `ValueError`."""
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return _number_e5(cell)
    text = bare(cell)
    if text == "" or text in empty:
        return None
    try:
        value = money.parse_e5(text, decimal=decimal)
    except ValueError:
        raise ValueError("is not an amount") from None
    if abs(value) > _AMOUNT_MAX * 100_000:
        raise ValueError("is too large an amount")
    return value


def read_time(cell: Cell, empty: Collection[str]) -> str | datetime:
    """Return a time as normalised text or as the sheet's own date."""
    if isinstance(cell, datetime):
        # A sheet keeps times as fractions of a day: what looks like 10:00:00 may be 09:59:59.9995.
        return (cell + timedelta(milliseconds=500)).replace(microsecond=0)
    if isinstance(cell, date):
        return datetime(cell.year, cell.month, cell.day)  # noqa: DTZ001  (zone comes from the profile)
    text = bare(cell)
    if text in empty:
        return ""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return text if "  " not in text and text.isprintable() else " ".join(text.split())


def parse_time(value: str | datetime, formats: Sequence[str]) -> datetime | None:
    """Return the moment a cell names in one of the formats, None when none fits."""
    if isinstance(value, datetime):
        return value
    for form in formats:
        try:
            if form == "%Y-%m-%d %H:%M:%S" and len(value) == 19 and value[10] == " ":
                return datetime.fromisoformat(value)
            return datetime.strptime(value, form)  # noqa: DTZ007  (zone comes from the profile)
        except ValueError:
            continue
    return None


def _number_e5(number: float) -> int:
    exact = Decimal(str(number))
    if not exact.is_finite() or abs(exact) > _AMOUNT_MAX:
        raise ValueError("is not an amount")
    scaled = (exact * 100_000).quantize(Decimal(1), ROUND_HALF_UP)
    if abs(scaled / 100_000 - exact) > _OFF_MAX:
        raise ValueError("has digits below 1e-5")
    return int(scaled)
