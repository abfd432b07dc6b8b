"""Column presets of order exports (data/presets/*.toml): what a column means, what a word means.

A platform renames columns without notice, so names live in data, each with its synonyms, and a shop
overrides a preset with a file of the same name in `templates/presets/`. Names are compared without
blanks, width, case and a unit in brackets: `商品总价（元）` is `商品总价(元)` is `商品总价`.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from kmtool import resources
from kmtool.domain.states import OrderStatus, RefundState
from kmtool.errors import ConfigError

ROLES: dict[str, str] = {
    "number": "order number",
    "line_no": "number of the line within the order",
    "status": "order status",
    "item_id": "id of the item",
    "variant_id": "id or name of the variant",
    "title": "title of the item",
    "quantity": "pieces",
    "amount": "what this line pays",
    "total": "what the whole order pays",
    "refund": "refund or after-sale status",
    "refund_amount": "money given back",
    "created": "time of the order",
    "paid": "time of payment",
    "modified": "time of the last change",
    "buyer": "buyer's nickname",
    "buyer_ref": "buyer's stable id",
    "email": "buyer's e-mail",
    "phone": "buyer's phone",
    "account": "account to be charged",
    "note": "buyer's message",
    "pay_no": "number of the payment",
}
NEEDED: tuple[tuple[str, ...], ...] = (
    ("number",),
    ("status",),
    ("title", "item_id"),
    ("quantity",),
    ("amount", "total"),
)
TIMES = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y-%m-%dT%H:%M:%S",
    "%Y年%m月%d日 %H:%M:%S",
    "%Y-%m-%d",
    "%Y/%m/%d",
)
_KEYS = {
    "title", "kind", "check", "zone", "currency", "money", "times", "columns", "status", "refund",
    "refund_by_status", "stop", "ship",
}  # fmt: skip
_UNIT = re.compile(r"\((?:元|件|个|张|cny|rmb|yuan|pcs)\)$")


@dataclass(frozen=True, slots=True)
class Preset:
    """How one kind of order export is read. `check` marks what no real file has confirmed yet.

    `ship` is the platform's batch-ship form: (column, text with `{number}`).
    """

    name: str
    title: str
    check: bool
    zone: str
    currency: str
    money: str
    times: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    status: Mapping[str, OrderStatus]
    refund: Mapping[str, RefundState]
    refund_by_status: Mapping[str, RefundState]
    stop: frozenset[str] = frozenset()
    ship: tuple[tuple[str, str], ...] = ()
    overrides: Mapping[str, str] = field(default_factory=dict)

    def match(self, header: Sequence[str]) -> dict[str, int]:
        """Return role → column. A column named in `overrides` has that role and no other."""
        names = [plain(name) for name in header]
        own = {plain(column): role for column, role in self.overrides.items()}
        found = {own[name]: at for at, name in reversed([*enumerate(names)]) if name in own}
        for role, synonyms in self.columns.items():
            if role in found:
                continue
            for synonym in synonyms:
                if plain(synonym) in names and plain(synonym) not in own:
                    found[role] = names.index(plain(synonym))
                    break
        return found


@lru_cache(maxsize=4096)
def plain(text: str) -> str:
    """Return a column name or status word in the form in which they are compared."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _UNIT.sub("", "".join(c for c in folded if c.isprintable() and not c.isspace()))


def missing(found: Mapping[str, int]) -> list[str]:
    """Return which needed roles a mapping lacks, as words: `title or item_id`."""
    return [" or ".join(roles) for roles in NEEDED if not any(role in found for role in roles)]


def names(own: Path | None = None) -> list[str]:
    """Return the names of all order presets, the generic one last."""
    found: set[str] = set()
    for folder in (own / "presets" if own else None, resources.data_path("presets")):
        if folder is not None and folder.is_dir():
            found |= {path.stem for path in folder.glob("*.toml") if _is_orders(path)}
    return sorted(found, key=lambda name: (name == "generic", name))


def load(name: str, own: Path | None = None, options: Mapping[str, object] | None = None) -> Preset:
    """Load a preset and lay a channel's options over it (`map`, `status`, `refund`, `zone` …).

    Raises `ConfigError` for an unknown preset, role, status or setting.
    """
    path = resources.find(own, "presets", f"{name}.toml")
    if not re.fullmatch(r"[\w-]+", name) or not path.is_file():
        raise ConfigError(
            detail="there is no preset {name} for order exports",
            name=name,
            mend="use one of: {own}",
            own=", ".join(names(own)),
        )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            detail="the preset cannot be read: {problem}", problem=error, where=path.name
        ) from None
    return _preset(name, table, options or {})


def _preset(name: str, table: Mapping[str, Any], options: Mapping[str, object]) -> Preset:
    for key in table:
        if key not in _KEYS:
            raise ConfigError(
                detail="{key} is no setting of a preset", key=key, where=f"{name}.toml"
            )
    given = {key: options.get(key, table.get(key)) for key in ("zone", "currency", "money")}
    preset = Preset(
        name=name,
        title=str(table.get("title", name)),
        check=bool(table.get("check", False)),
        zone=str(given["zone"] or "Asia/Shanghai"),
        currency=str(given["currency"] or ""),
        money=str(given["money"] or "yuan"),
        times=(*table.get("times", ()), *TIMES),
        columns={role: tuple(words) for role, words in table.get("columns", {}).items()},
        status=_words(OrderStatus, table.get("status", {}), _own(options, "status"), name),
        refund=_words(RefundState, table.get("refund", {}), _own(options, "refund"), name),
        refund_by_status=_words(RefundState, table.get("refund_by_status", {}), {}, name),
        stop=frozenset(plain(word) for word in table.get("stop", ("合计", "总计", "total"))),
        ship=tuple((row["column"], row["text"]) for row in table.get("ship", ())),
        overrides=_own(options, "map"),
    )
    _check(preset)
    return preset


def _own(options: Mapping[str, object], name: str) -> dict[str, str]:
    """Return one of a channel's own tables: `map` is column → role, the others word → state."""
    given = options.get(name, {})
    if not isinstance(given, dict):
        raise ConfigError(detail="options.{name} must be a table: {name} = {{ … }}", name=name)
    return {str(key): str(value) for key, value in given.items()}


def _words(
    kind: type[OrderStatus] | type[RefundState],
    shipped: Mapping[str, Sequence[str]],
    own: Mapping[str, str],
    where: str,
) -> dict[str, Any]:
    """Turn state → words (in a preset) and word → state (in options) into one look-up table."""
    pairs = [(word, state) for state, words in shipped.items() for word in words]
    found = {}
    for word, state in [*pairs, *own.items()]:
        known = [member.value for member in kind]
        if state not in known:
            raise ConfigError(
                detail="{state} is none of: {known}",
                state=repr(state),
                known=", ".join(known),
                where=where,
            )
        found[plain(word)] = kind(state)
    return found


def _check(preset: Preset) -> None:
    for role in (*preset.columns, *preset.overrides.values()):
        if role not in ROLES:
            known = ", ".join(ROLES)
            raise ConfigError(
                detail="{role} is no role of a column ({known})", role=repr(role), known=known
            )
    if preset.money not in {"yuan", "fen"}:
        raise ConfigError(detail="money = {money}: use yuan or fen", money=repr(preset.money))
    try:
        ZoneInfo(preset.zone)
    except (ValueError, OSError, KeyError):
        raise ConfigError(
            detail="{zone} is no zone such as Asia/Shanghai", zone=repr(preset.zone)
        ) from None


def _is_orders(path: Path) -> bool:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig")).get("kind") == "orders"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return False
