"""Walks the TOML tree of a profile; every complaint names the file, the place and what is near."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from adapters.statements.profiles import Column
from kmtool.errors import ConfigError, told

TOP = [
    "schema",
    "id",
    "title",
    "channel",
    "version",
    "role",
    "plane",
    "certainty",
    "detect",
    "table",
    "columns",
    "amount",
    "types",
    "status",
    "row_key",
    "order_ref",
    "mine",
    "refund",
    "time",
    "period",
    "exported",
    "account",
    "summary",
    "summary_policy",
    "summary_hint",
    "cross_check",
]
KEYS = {
    "detect": ("preamble", "must", "none", "filename"),
    "table": ("delimiter", "quoting", "comment", "end", "overflow", "mark"),
    "column": ("names", "required", "type", "empty", "fallback", "formats", "notes", "decimal"),
    "notes": ("pattern", "refund"),
    "amount": (
        *("mode", "in", "out", "neutral", "gross", "settled", "fee", "fee_polarity", "identity"),
        *("inline_refund", "currency", "rounding", "parts"),
    ),
    "types": (
        *("column", "equals", "prefix", "contains", "regex"),
        *("kind", "sign", "gives", "use", "mined"),
    ),
    "status": ("column", "equals", "prefix", "contains", "regex", "action", "zero"),
    "row_key": ("columns", "skip_empty", "fingerprint", "on_duplicate", "volatile"),
    "order_ref": ("columns", "steps", "never"),
    "mine": ("column", "regex"),
    "refund": ("parent",),
    "time": ("zone", "prefer", "columns"),
    "period": ("regex", "end"),
    "exported": ("regex",),
    "account": ("regex", "column"),
    "summary": (
        *("where", "name", "pattern", "count", "sum", "of", "over", "magnitude"),
        *("expected", "items"),
    ),
    "items": ("name", "count", "sum", "of", "over", "magnitude"),
    "summary_hint": ("text",),
    "cross_check": ("detail", "key", "detail_key", "figures"),
    "figures": ("of", "count", "sum"),
}
TYPES = ("id", "money", "fee", "time", "text")


class ProfileTree:
    """Walks one tree; every complaint names the file and the place in it."""

    def __init__(self, tree: Mapping[str, object], path: Path) -> None:
        self.tree = tree
        self.path = path
        self.columns: dict[str, Column] = {}

    def fail(self, place: str, why: str, **facts: object) -> ConfigError:
        """Return the error for a place of the file."""
        return ConfigError(
            detail="statement profile {name}, {place}: {why}",
            name=self.path.name,
            place=place,
            why=told(why, **facts),
            mend="mend that line of the profile, then: kmtool profile list",
            where=str(self.path),
        )

    def section(self, tree: object, place: str, known: Collection[str]) -> Mapping[str, object]:
        """Return a table whose keys are all known."""
        if not isinstance(tree, Mapping):
            raise self.fail(place, "a table is expected")
        for key in tree:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)
                raise self.fail(
                    place,
                    "there is no key {key}; did you mean {near}?",
                    key=key,
                    near=near[0],
                )
        return tree

    def sections(self, name: str) -> list[tuple[str, Mapping[str, object]]]:
        """Return a table whose keys are all known."""
        """Return an array of tables with the place of each."""
        found = self.tree.get(name, [])
        if not isinstance(found, list):
            raise self.fail(f"[[{name}]]", "a list of tables is expected")
        places = [f"[[{name}]] {number}" for number in range(1, len(found) + 1)]
        return [
            (place, self.section(tree, place, KEYS[name]))
            for place, tree in zip(places, found, strict=True)
        ]

    def one(self, name: str) -> Mapping[str, object]:
        """Return the top-level table of that name, empty when it is not there."""
        return self.section(self.tree.get(name, {}), f"[{name}]", KEYS[name])

    def text(self, tree: Mapping[str, object], place: str, key: str, default: str = "") -> str:
        """Return a text."""
        value = tree.get(key, default)
        if not isinstance(value, str):
            raise self.fail(place, "{key} must be a text", key=key)
        return value

    def flag(self, tree: Mapping[str, object], place: str, key: str) -> bool:
        """Return a truth value."""
        value = tree.get(key, False)
        if not isinstance(value, bool):
            raise self.fail(place, "{key} must be true or false", key=key)
        return value

    def texts(self, tree: Mapping[str, object], place: str, key: str) -> tuple[str, ...]:
        """Return a list of texts; a single text is a list of one."""
        value = tree.get(key, [])
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.fail(place, "{key} must be a list of texts", key=key)
        return tuple(value)

    def choice(
        self,
        tree: Mapping[str, object],
        place: str,
        key: str,
        known: Sequence[str],
        default: str | None = None,
    ) -> str:
        """Return one of the known words."""
        value = self.text(tree, place, key, default or "")
        if value not in known:
            near = difflib.get_close_matches(value, known, n=1, cutoff=0.0)
            raise self.fail(
                place,
                told(
                    "{key} is 「{value}」; did you mean {near}?", key=key, value=value, near=near[0]
                ),
            )
        return value

    def regex(self, text: str, place: str, groups: Collection[str] = ()) -> re.Pattern[str]:
        """Return a compiled regex that has the named groups."""
        try:
            pattern = re.compile(text)
        except re.error as error:
            raise self.fail(
                place, "the regex 「{text}」 is broken: {problem}", text=text, problem=error
            ) from None
        for group in groups:
            if group not in pattern.groupindex:
                raise self.fail(
                    place,
                    "the regex 「{text}」 lacks the group {group}",
                    text=text,
                    group=group,
                )
        return pattern

    def regex_one(self, text: str, place: str) -> re.Pattern[str]:
        """Return a compiled regex with at least one group."""
        pattern = self.regex(text, place)
        if pattern.groups < 1:
            raise self.fail(place, "the regex 「{text}」 needs a group", text=text)
        return pattern

    def role(self, name: str, place: str, types: Collection[str] = TYPES) -> str:
        """Return the name of a column role that exists and has one of the types."""
        column = self.columns.get(name)
        if column is None:
            near = difflib.get_close_matches(name, self.columns, n=1, cutoff=0.0)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise self.fail(place, "there is no column role {name}{hint}", name=name, hint=hint)
        if column.type not in types:
            raise self.fail(
                place,
                told(
                    "the column role {name} must be of type {types}",
                    name=name,
                    types=" or ".join(types),
                ),
            )
        return name

    def roles(
        self,
        tree: Mapping[str, object],
        place: str,
        key: str,
        types: Collection[str] = TYPES,
    ) -> tuple[str, ...]:
        """Return names of column roles that exist and have one of the types."""
        return tuple(self.role(name, place, types) for name in self.texts(tree, place, key))
