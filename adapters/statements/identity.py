"""Row identity: vendor keys, fingerprints, numbers among equals, and content hashes.

Two equal rows in one second are two lines: equal fingerprints are numbered in the sorted order of
the complete rows, so the order in the file does not matter. The account is put in front of a key by
the store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.statements.profiles import Profile
from adapters.statements.refusals import Stop, Warnings, shown
from adapters.statements.rows import Row, Value
from kmtool.clock import iso_text
from kmtool.domain.statements import Code

_BETWEEN = "\u001f"


@dataclass(frozen=True, slots=True)
class Identity:
    """The key of a row without its account, and its number among equals."""

    row_key: str
    occ: int = 1


def identities(
    rows: Sequence[Row], times: Sequence[int], profile: Profile, warnings: Warnings
) -> list[Identity]:
    """Return the identity of each row of a unit; raises `Stop` DUPLICATE_ROW_ID or BAD_ROW."""
    keys = [_vendor_key(row, profile) for row in rows]
    if profile.row_key.on_duplicate == "fingerprint":
        vendor = [key for key in keys if key]
        if len(set(vendor)) < len(vendor):
            warnings.add("KEY_FALLBACK", "row ids repeat; rows are known by their content instead")
            keys = [""] * len(rows)
    _refuse_duplicates(rows, keys)
    found = [Identity(f"{profile.id}|{key}") for key in keys]
    numbered: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        if not key:
            print_ = _fingerprint(rows[place], times[place], profile)
            numbered.setdefault(f"{profile.id}|fp:{print_}", []).append(place)
    for row_key, places in numbered.items():
        places.sort(key=lambda place: complete(rows[place], times[place], profile))
        for occ, place in enumerate(places, start=1):
            found[place] = Identity(row_key, occ)
    return found


def key_roles(profile: Profile) -> tuple[str, ...]:
    """Return the roles whose destruction makes a row unknowable: the vendor key, else the ids."""
    if profile.row_key.columns:
        return profile.row_key.columns
    return tuple(role for role in profile.row_key.fingerprint if profile.columns[role].type == "id")


def complete(row: Row, at_ms: int, profile: Profile) -> str:
    """Return the complete normalised row as one text."""
    return _BETWEEN.join(
        f"{role}={_normal(value, role, at_ms, profile)}" for role, value in row.values.items()
    )


def digest(text: str) -> str:
    """Return the SHA-256 of a text in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _vendor_key(row: Row, profile: Profile) -> str:
    """Return the vendor's key, empty where the file has none or a spreadsheet destroyed it."""
    columns = profile.row_key.columns
    if row.values.keys().isdisjoint(columns) or not row.lossy.isdisjoint(columns):
        return ""
    parts = [str(_plain(row.values.get(role))) for role in columns]
    if not any(parts):
        names = ", ".join(profile.columns[role].names[0] for role in columns)
        raise Stop(
            Code.BAD_ROW,
            f"line {row.line}: the row has no id (column {names} is empty)",
            "download the file again and do not edit it",
            line=row.line,
        )
    return "|".join(part for part in parts if part or not profile.row_key.skip_empty)


def _refuse_duplicates(rows: Sequence[Row], keys: Sequence[str]) -> None:
    first: dict[str, Row] = {}
    for row, key in zip(rows, keys, strict=True):
        other = first.setdefault(key, row) if key else row
        if other is row:
            continue
        same = other.values == row.values
        text = f"lines {other.line} and {row.line} carry the same row id {shown(key)}"
        if same:
            text += " and are equal"
        else:
            text += f" and differ: {_differences(other, row)}"
        raise Stop(
            Code.DUPLICATE_ROW_ID,
            text,
            "download the file again; if both rows are really there, tell us about this format",
            lines=[other.line, row.line],
            equal=same,
        )


def _differences(one: Row, other: Row) -> str:
    pairs = [
        f"{name}: {shown(value)} / {shown(other.raw.get(name, ''))}"
        for name, value in one.raw.items()
        if value != other.raw.get(name)
    ]
    return "; ".join(pairs[:5])


def _fingerprint(row: Row, at_ms: int, profile: Profile) -> str:
    values = (
        _normal(row.values.get(role), role, at_ms, profile) for role in profile.row_key.fingerprint
    )
    return digest(_BETWEEN.join(values))


def _normal(value: Value, role: str, at_ms: int, profile: Profile) -> str:
    if role == profile.time.columns[0]:
        return iso_text(at_ms) or ""
    return str(_plain(value))


def _plain(value: Value) -> str | int:
    return "" if value is None else value if isinstance(value, str | int) else value.isoformat(" ")
