"""Builds a `Profile` from its TOML tree and refuses whatever is not exactly right.

Rules: an unknown key is an error that names the nearest known one; every regex compiles and has the
groups it needs; every column named in a rule exists.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from adapters.statements import profiles as p
from adapters.statements.cells import name_key
from adapters.statements.profile_tree import KEYS, TOP, TYPES, ProfileTree
from adapters.statements.records import Dialect
from kmtool.domain.statements import LineKind

_MODES = {
    "two_columns": ("amount_in", "amount_out"),
    "direction": ("amount", "direction"),
    "by_kind": ("amount",),
    "signed": ("amount",),
    "components": (),
}
_ROUNDING = ("half_up", "half_even", "down")
_OF = re.compile(r"^(all|sign=[+-]|direction=(in|out|neutral)|kind=([A-Z]+))$")
_STEPS = {"strip": False, "strip_prefix": True, "regex": True, "upper": False, "before": True}


def build(tree: Mapping[str, object], path: Path) -> p.Profile:
    """Return the profile of a TOML tree; raises `ConfigError` at the first thing that is off."""
    b = ProfileTree(tree, path)
    b.section(tree, "top level", TOP)
    if tree.get("schema") != 1:
        raise b.fail("top level", "schema must be 1")
    profile_id = b.text(tree, "top level", "id")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", profile_id):
        raise b.fail("top level", "the id 「{id}」 must be snake_case", id=profile_id)
    version = tree.get("version", 1)
    if not isinstance(version, int) or isinstance(version, bool):
        raise b.fail("top level", "version must be a whole number")
    role = b.choice(tree, "top level", "role", ("detail", "summary"), "detail")
    b.columns = _columns(b)
    detail = role == "detail"
    return p.Profile(
        id=profile_id,
        title=b.text(tree, "top level", "title", profile_id),
        channel=b.text(tree, "top level", "channel"),
        version=version,
        role=role,
        plane=b.choice(tree, "top level", "plane", ("trade", "flow", "both"), "both"),
        certainty=b.choice(tree, "top level", "certainty", ("sure", "check"), "check"),
        columns=b.columns,
        detect=_detect(b),
        table=_table(b),
        amount=_amount(b) if detail else p.Amount("signed"),
        types=tuple(_type(b, place, rule) for place, rule in b.sections("types")),
        status=tuple(_status(b, place, rule) for place, rule in b.sections("status")),
        row_key=_row_key(b),
        order_ref=_order_ref(b),
        mine=_mine(b),
        parent=_parent(b),
        time=_time(b, detail=detail),
        printed=_printed(b),
        totals=_totals(b),
        summary_policy=b.choice(tree, "top level", "summary_policy", ("strict", "warn"), "strict"),
        summary_hint=b.text(b.one("summary_hint"), "[summary_hint]", "text"),
        cross=_cross(b),
        path=path,
    )


def _columns(b: ProfileTree) -> dict[str, p.Column]:
    tree = b.tree.get("columns")
    if not isinstance(tree, Mapping) or not tree:
        raise b.fail("[columns]", "at least one column is needed")
    found: dict[str, p.Column] = {}
    owner: dict[str, str] = {}
    for role, part in tree.items():
        place = f"[columns.{role}]"
        section = b.section(part, place, KEYS["column"])
        names = b.texts(section, place, "names")
        if not names:
            raise b.fail(place, "names must hold at least one header name")
        for name in names:
            other = owner.setdefault(name_key(name), role)
            if other != role:
                belongs = "the header name {name} belongs to {other} already"
                raise b.fail(place, belongs, name=name, other=other)
        empty = b.texts(section, place, "empty")
        found[role] = p.Column(
            role=role,
            names=names,
            required=b.flag(section, place, "required"),
            type=b.choice(section, place, "type", TYPES, "text"),
            empty=empty if "empty" in section else p.DEFAULT_EMPTY,
            fallback=b.text(section, place, "fallback"),
            formats=b.texts(section, place, "formats") or p.DEFAULT_FORMATS,
            notes=_notes(b, section, place),
            decimal=b.choice(section, place, "decimal", (".", ","), "."),
        )
    b.columns = found
    for role, column in found.items():
        if column.fallback:
            b.role(column.fallback, f"[columns.{role}] fallback")
    if not any(column.required for column in found.values()):
        raise b.fail("[columns]", "at least one column must be required")
    return found


def _notes(b: ProfileTree, section: Mapping[str, object], place: str) -> tuple[p.Note, ...]:
    listed = section.get("notes", [])
    if not isinstance(listed, list):
        raise b.fail(place, "notes must be a list of tables")
    notes = []
    for item in listed:
        part = b.section(item, f"{place} notes", KEYS["notes"])
        refund = b.choice(part, f"{place} notes", "refund", ("", "all"), "")
        groups = ("amount",) if refund else ("amount", "refund")
        pattern = b.regex(b.text(part, place, "pattern"), f"{place} notes", groups)
        notes.append(p.Note(pattern, refund))
    return tuple(notes)


def _detect(b: ProfileTree) -> p.Detect:
    tree = b.one("detect")
    keys = {
        key: tuple(name_key(token) for token in b.texts(tree, "[detect]", key))
        for key in ("preamble", "must", "none")
    }
    filename = b.texts(tree, "[detect]", "filename")
    return p.Detect(keys["preamble"], keys["must"], keys["none"], filename)


def _table(b: ProfileTree) -> p.Table:
    tree = b.one("table")
    end = b.text(tree, "[table]", "end")
    return p.Table(
        Dialect(
            b.choice(tree, "[table]", "delimiter", (",", "\t", ";"), ","),
            b.choice(tree, "[table]", "quoting", ("standard", "none"), "standard"),
        ),
        b.text(tree, "[table]", "comment"),
        b.regex(end, "[table] end") if end else None,
        b.roles(tree, "[table] overflow", "overflow", ("text",)),
        b.text(tree, "[table]", "mark"),
    )


def _amount(b: ProfileTree) -> p.Amount:
    tree = b.one("amount")
    mode = b.choice(tree, "[amount]", "mode", tuple(_MODES))
    for role in _MODES[mode]:
        b.role(role, f"[amount] mode {mode}", ("text",) if role == "direction" else ("money",))
    parts = {key: _signed_roles(b, tree, key) for key in ("gross", "settled", "fee")}
    if mode == "components" and not parts["gross"]:
        raise b.fail("[amount]", "components needs gross")
    if mode != "components" and any(parts.values()):
        raise b.fail("[amount]", "gross, settled and fee belong to mode components")
    currency = b.text(tree, "[amount]", "currency")
    if currency and not re.fullmatch(r"[A-Z]{3}", currency):
        b.role(currency, "[amount] currency", ("text",))
    identity = b.choice(tree, "[amount]", "identity", ("strict", "warn", "none"), "none")
    if identity != "none":
        b.role("net", "[amount] identity", ("money", "fee"))
    words = {key: b.texts(tree, "[amount]", key) for key in ("in", "out", "neutral")}
    polarities = ("cost_positive", "cost_negative")
    return p.Amount(
        mode,
        direction_in=words["in"],
        direction_out=words["out"],
        neutral=words["neutral"],
        gross=parts["gross"],
        settled=parts["settled"],
        fee=parts["fee"],
        fee_polarity=b.choice(tree, "[amount]", "fee_polarity", polarities, polarities[0]),
        identity=identity,
        inline_refund=b.choice(tree, "[amount]", "inline_refund", ("subtract", "keep"), "keep"),
        currency=currency,
        rounding=b.choice(tree, "[amount]", "rounding", _ROUNDING, _ROUNDING[0]),
        parts=b.roles(tree, "[amount] parts", "parts", ("money", "fee")),
    )


def _signed_roles(
    b: ProfileTree, tree: Mapping[str, object], key: str
) -> tuple[tuple[int, str], ...]:
    found = []
    for text in b.texts(tree, "[amount]", key):
        if text[:1] not in ("+", "-"):
            raise b.fail("[amount]", "{key}: 「{text}」 must start with + or -", key=key, text=text)
        role = b.role(text[1:], f"[amount] {key}", ("money", "fee"))
        found.append((1 if text[0] == "+" else -1, role))
    return tuple(found)


def _rule(
    b: ProfileTree, place: str, tree: Mapping[str, object]
) -> tuple[str, str, tuple[str, ...], re.Pattern[str] | None]:
    column = b.role(b.text(tree, place, "column"), place, ("text", "id"))
    ways = [way for way in ("equals", "prefix", "contains", "regex") if way in tree]
    if len(ways) != 1:
        raise b.fail(place, "exactly one of equals, prefix, contains, regex is needed")
    values = b.texts(tree, place, ways[0])
    if ways[0] == "regex":
        return column, ways[0], (), b.regex("|".join(f"(?:{v})" for v in values), place)
    return column, ways[0], values, None


def _type(b: ProfileTree, place: str, tree: Mapping[str, object]) -> p.Rule:
    column, how, values, pattern = _rule(b, place, tree)
    return p.Rule(
        column,
        how,
        values,
        pattern,
        kind=LineKind(b.choice(tree, place, "kind", [kind.value for kind in LineKind])),
        sign=b.choice(tree, place, "sign", ("", "+", "-"), ""),
        gives=b.choice(tree, place, "gives", ("", "+", "-"), ""),
        use=b.roles(tree, place, "use", ("money", "fee")) if "use" in tree else None,
        mined=b.flag(tree, place, "mined"),
    )


def _status(b: ProfileTree, place: str, tree: Mapping[str, object]) -> p.Rule:
    column, how, values, pattern = _rule(b, place, tree)
    b.choice(tree, place, "action", ("ignore",))
    zero = b.roles(tree, place, "zero", ("money", "fee"))
    return p.Rule(column, how, values, pattern, zero=zero)


def _row_key(b: ProfileTree) -> p.RowKey:
    tree = b.one("row_key")
    required = tuple(role for role, column in b.columns.items() if column.required)
    return p.RowKey(
        b.roles(tree, "[row_key] columns", "columns"),
        b.flag(tree, "[row_key]", "skip_empty"),
        b.roles(tree, "[row_key] fingerprint", "fingerprint") or required,
        b.choice(tree, "[row_key]", "on_duplicate", ("refuse", "fingerprint"), "refuse"),
        b.roles(tree, "[row_key] volatile", "volatile"),
    )


def _order_ref(b: ProfileTree) -> p.OrderRef:
    tree = b.one("order_ref")
    steps = []
    for step in b.texts(tree, "[order_ref]", "steps"):
        word, colon, argument = step.partition(":")
        if word not in _STEPS or bool(colon and argument) is not _STEPS[word]:
            near = difflib.get_close_matches(word, _STEPS, n=1, cutoff=0.0)
            no_step = "no step 「{step}」; did you mean {near}?"
            raise b.fail("[order_ref]", no_step, step=step, near=near[0])
        if word == "regex":
            b.regex_one(argument, "[order_ref]")
        steps.append((word, argument))
    never = b.texts(tree, "[order_ref]", "never")
    for kind in never:
        if kind not in LineKind.__members__:
            raise b.fail("[order_ref]", "never: there is no kind {sort}", sort=kind)
    columns = b.roles(tree, "[order_ref] columns", "columns", ("id", "text"))
    return p.OrderRef(columns or ("order_ref",), tuple(steps), never)


def _mine(b: ProfileTree) -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple(
        (
            b.role(b.text(tree, place, "column"), place, ("text", "id")),
            b.regex_one(b.text(tree, place, "regex"), place),
        )
        for place, tree in b.sections("mine")
    )


def _parent(b: ProfileTree) -> tuple[str, str] | None:
    rule = b.text(b.one("refund"), "[refund]", "parent")
    if not rule:
        return None
    how, _, argument = rule.partition(":")
    if how in ("column", "same"):
        b.role(argument, "[refund] parent", ("id", "text"))
    elif how != "prefix_before" or not argument:
        none_of = "parent 「{rule}」 is none of column:, prefix_before:, same:"
        raise b.fail("[refund]", none_of, rule=rule)
    return how, argument


def _time(b: ProfileTree, *, detail: bool) -> p.TimeRule:
    tree = b.one("time")
    zone = b.text(tree, "[time]", "zone", "UTC")
    if zone.startswith("column:"):
        b.role(zone.partition(":")[2], "[time] zone", ("text",))
    elif zone not in ("offset", "utc"):
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise b.fail("[time]", "there is no time zone {zone}", zone=zone) from None
    columns = b.roles(tree, "[time] columns", "columns") or ("time",)
    if detail:
        b.role(columns[0], "[time]", ("time",))
    return p.TimeRule(zone, b.roles(tree, "[time] prefer", "prefer", ("time",)), columns)


def _printed(b: ProfileTree) -> p.Printed:
    def pattern(name: str, groups: Sequence[str]) -> re.Pattern[str] | None:
        text = b.text(b.one(name), f"[{name}]", "regex")
        return b.regex(text, f"[{name}]", groups) if text else None

    column = b.text(b.one("account"), "[account]", "column")
    return p.Printed(
        pattern("period", ("from", "to")),
        b.choice(b.one("period"), "[period]", "end", ("exclusive", "inclusive"), "inclusive"),
        pattern("exported", ("at",)),
        pattern("account", ("id",)),
        b.role(column, "[account] column") if column else "",
    )


def _totals(b: ProfileTree) -> tuple[p.Total, ...]:
    found: list[p.Total] = []
    for place, tree in b.sections("summary"):
        where = b.choice(tree, place, "where", ("preamble", "footer", "table"))
        if where != "table":
            found.append(_text_total(b, place, tree, where))
            continue
        items = tree.get("items")
        if not isinstance(items, list) or not items:
            raise b.fail(place, "a table needs items")
        for item in items:
            part = b.section(item, f"{place} items", KEYS["items"])
            count, total = b.texts(part, place, "count"), b.texts(part, place, "sum")
            if not count and not total:
                raise b.fail(place, "an item needs count or sum")
            name = b.text(part, place, "name") or (total or count)[0]
            found.append(
                p.Total(
                    name,
                    where,
                    *_selection(b, part, place),
                    count=count,
                    total=total,
                    magnitude=b.flag(part, place, "magnitude"),
                )
            )
    return tuple(found)


def _text_total(b: ProfileTree, place: str, tree: Mapping[str, object], where: str) -> p.Total:
    count, total = b.texts(tree, place, "count"), b.texts(tree, place, "sum")
    if not count and not total:
        raise b.fail(place, "count or sum is needed")
    text = b.text(tree, place, "pattern")
    plain = re.match(r"[^\\(\[.*+?{^$|]*", text)
    of, over = _selection(b, tree, place)
    return p.Total(
        b.text(tree, place, "name") or (plain[0].rstrip(":：共") if plain else "") or of,
        where,
        of,
        over,
        b.regex(text, place, (*count, *total)),
        count,
        total,
        b.flag(tree, place, "magnitude"),
        b.flag(tree, place, "expected"),
    )


def _selection(b: ProfileTree, tree: Mapping[str, object], place: str) -> tuple[str, str]:
    of = b.text(tree, place, "of", "all")
    found = _OF.match(of)
    if not found or (found[3] and found[3] not in LineKind.__members__):
        raise b.fail(place, "of 「{of}」 is none of all, kind=…, direction=…, sign=…", of=of)
    over = b.text(tree, place, "over", "gross")
    if over not in ("gross", "net", "neutral"):
        b.role(over, f"{place} over", ("money", "fee"))
    return of, over


def _cross(b: ProfileTree) -> p.CrossCheck | None:
    if "cross_check" not in b.tree:
        return None
    tree = b.one("cross_check")
    place = "[cross_check]"
    listed = tree.get("figures", [])
    if not isinstance(listed, list):
        raise b.fail(place, "figures must be a list of tables")
    figures = []
    for item in listed:
        part = b.section(item, f"{place} figures", KEYS["figures"])
        of, _over = _selection(b, {"of": part.get("of", "all")}, place)
        count = b.role(b.text(part, place, "count"), place)
        figures.append((of, count, b.role(b.text(part, place, "sum"), place, ("money",))))
    return p.CrossCheck(
        b.text(tree, place, "detail"),
        b.role(b.text(tree, place, "key"), place),
        b.text(tree, place, "detail_key", "type"),
        tuple(figures),
    )
