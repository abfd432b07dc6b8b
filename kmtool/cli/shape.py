"""Result dataclass → the one document of `--json`, with stable keys. Nothing here prints.

- `net_minor` becomes `net` (an integer in minor units; the currency stands beside it), `seen_ms`
  becomes `seen` (ISO 8601 with the shop's offset), `cost_e5` becomes `cost` (text, major units).
  Durations in results end in `_s`, so that `_ms` is always a moment.
- `id` and `…_id` are strings, enums their value, dates ISO, paths text, a `Secret` its mask.
- A result may define `to_json()` and answer for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from enum import Enum
from pathlib import PurePath
from typing import Any

from kmtool.clock import iso_text
from kmtool.domain.money import format_e5
from kmtool.domain.secret import Secret


def document(value: object, zone: str) -> Any:
    """Return what `json.dumps` takes. Raw bytes are a bug: sealed values do not leave."""
    own = getattr(value, "to_json", None)
    if own is not None:
        return document(own(), zone)
    if is_dataclass(value) and not isinstance(value, type):
        found = {field.name: getattr(value, field.name) for field in fields(value)}
        return dict(_entry(name, part, zone) for name, part in found.items())
    match value:
        case Enum():
            return document(value.value, zone)
        case None | bool() | int() | float() | str():
            return value
        case date():
            return value.isoformat()
        case Secret() | PurePath():
            return str(value)
        case Mapping():
            return dict(_entry(_name(key), part, zone) for key, part in value.items())
        case list() | tuple() | set() | frozenset():
            return [document(part, zone) for part in value]
    raise TypeError(f"a {type(value).__name__} has no place in a result")


def _entry(name: str, value: object, zone: str) -> tuple[str, Any]:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if name.endswith("_ms") and (whole or value is None):
        return name[:-3], iso_text(value, zone)  # type: ignore[arg-type]
    if name.endswith("_e5") and (whole or value is None):
        return name[:-3], None if value is None else format_e5(value)  # type: ignore[arg-type]
    if whole and (name == "id" or name.endswith("_id")):
        return name, str(value)
    if name.endswith("_ids") and isinstance(value, list | tuple):
        return name, [str(part) for part in value]
    return name.removesuffix("_minor"), document(value, zone)


def _name(key: object) -> str:
    return str(key.value if isinstance(key, Enum) else key)
