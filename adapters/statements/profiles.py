"""Profiles: what a vendor's statement looks like, declared in TOML; code knows mechanisms only.

Shipped profiles lie in `data/statements/`, the shop's own override them by `id`. Loading validates
everything (`profile_check`): an unknown key names the nearest known one, regexes are compiled,
every column named in a rule exists.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from adapters.statements.records import Dialect
from kmtool import resources
from kmtool.domain.statements import LineKind
from kmtool.errors import ConfigError, FileMissing

STANDARD = Dialect()
DEFAULT_EMPTY = ("/", "-", "--", "—", "无")
DEFAULT_FORMATS = ("%Y-%m-%d %H:%M:%S",)


@dataclass(frozen=True, slots=True)
class Note:
    """A pattern for annotated amounts: group `amount`, and a `refund` group or the word `all`."""

    pattern: re.Pattern[str]
    refund: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One role: the header names it answers to and how its cells are read."""

    role: str
    names: tuple[str, ...]
    required: bool = False
    type: str = "text"
    empty: tuple[str, ...] = DEFAULT_EMPTY
    fallback: str = ""
    formats: tuple[str, ...] = DEFAULT_FORMATS
    notes: tuple[Note, ...] = ()
    decimal: str = "."


@dataclass(frozen=True, slots=True)
class Detect:
    """Normalised texts that speak for a profile, must be there, or speak against it."""

    preamble: tuple[str, ...] = ()
    must: tuple[str, ...] = ()
    none: tuple[str, ...] = ()
    filename: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """How the detail rows are cut and where they end."""

    dialect: Dialect = STANDARD
    comment: str = ""
    end: re.Pattern[str] | None = None
    overflow: tuple[str, ...] = ()
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Amount:
    """How gross, adjust and fee come out of the money columns."""

    mode: str
    direction_in: tuple[str, ...] = ()
    direction_out: tuple[str, ...] = ()
    neutral: tuple[str, ...] = ()
    gross: tuple[tuple[int, str], ...] = ()
    settled: tuple[tuple[int, str], ...] = ()
    fee: tuple[tuple[int, str], ...] = ()
    fee_polarity: str = "cost_positive"
    identity: str = "none"
    inline_refund: str = "keep"
    currency: str = ""
    rounding: str = "half_up"
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule over a text column: how it compares, when it applies, what it gives."""

    column: str
    how: str
    values: tuple[str, ...]
    pattern: re.Pattern[str] | None = None
    kind: LineKind = LineKind.UNKNOWN
    sign: str = ""
    gives: str = ""
    use: tuple[str, ...] | None = None
    mined: bool = False
    zero: tuple[str, ...] = ()

    def hits(self, text: str) -> bool:
        """Return whether the text of the column is meant by this rule."""
        if self.how == "equals":
            return text in self.values
        if self.how == "prefix":
            return text.startswith(self.values)
        if self.how == "contains":
            return any(value in text for value in self.values)
        return self.pattern is not None and self.pattern.search(text) is not None


@dataclass(frozen=True, slots=True)
class RowKey:
    """What makes a row itself."""

    columns: tuple[str, ...] = ()
    skip_empty: bool = False
    fingerprint: tuple[str, ...] = ()
    on_duplicate: str = "refuse"
    volatile: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OrderRef:
    """Where an order number stands and how it is bared. Rows of the kinds `never` have none."""

    columns: tuple[str, ...] = ("order_ref",)
    steps: tuple[tuple[str, str], ...] = ()
    never: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TimeRule:
    """The zone of the file, time roles preferred over `time`, and columns joined into one text."""

    zone: str
    prefer: tuple[str, ...] = ()
    columns: tuple[str, ...] = ("time",)


@dataclass(frozen=True, slots=True)
class Printed:
    """Regexes for what the file prints of itself: period, export time, account."""

    period: re.Pattern[str] | None = None
    period_end: str = "inclusive"
    exported: re.Pattern[str] | None = None
    account: re.Pattern[str] | None = None
    account_column: str = ""


@dataclass(frozen=True, slots=True)
class Total:
    """One total of the file: where it is printed, which rows it counts and what it sums.

    For texts `count` and `total` are group names of `pattern`; for tables they are header names.
    """

    name: str
    where: str
    of: str
    over: str
    pattern: re.Pattern[str] | None = None
    count: tuple[str, ...] = ()
    total: tuple[str, ...] = ()
    magnitude: bool = False
    expected: bool = False


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """How a summary member is compared with a detail: both roles of the name, and its figures."""

    detail: str
    key: str
    detail_key: str
    figures: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """A whole profile."""

    id: str
    title: str
    channel: str
    version: int
    role: str
    plane: str
    certainty: str
    columns: Mapping[str, Column]
    detect: Detect = Detect()
    table: Table = Table()
    amount: Amount = Amount("signed")
    types: tuple[Rule, ...] = ()
    status: tuple[Rule, ...] = ()
    row_key: RowKey = RowKey()
    order_ref: OrderRef = OrderRef()
    mine: tuple[tuple[str, re.Pattern[str]], ...] = ()
    parent: tuple[str, str] | None = None
    time: TimeRule = TimeRule("UTC")
    printed: Printed = Printed()
    totals: tuple[Total, ...] = ()
    summary_policy: str = "strict"
    summary_hint: str = ""
    cross: CrossCheck | None = None
    path: Path = field(default=Path(), compare=False)

    @property
    def required(self) -> tuple[str, ...]:
        """Return the required roles, in profile order."""
        return tuple(role for role, column in self.columns.items() if column.required)


def load(path: Path) -> Profile:
    """Read and validate one profile; raises `ConfigError` naming the file and what is wrong."""
    from adapters.statements.profile_check import build

    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileMissing(name=path) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            detail="the profile {name} is no TOML: {problem}", name=path.name, problem=error
        ) from None
    return build(tree, path)


def load_all(own: Path | None = None) -> dict[str, Profile]:
    """Return all profiles by id: the shipped ones, overridden by those in the folder `own`."""
    found: dict[str, Profile] = {}
    folders = [resources.data_path("statements"), *([own] if own is not None else [])]
    for folder in folders:
        here: dict[str, Profile] = {}
        for path in sorted(folder.glob("*.toml")):
            profile = load(path)
            if profile.id in here:
                raise ConfigError(
                    detail="the profile id {id} is in {file} and in {other}",
                    id=profile.id,
                    file=here[profile.id].path.name,
                    other=path.name,
                )
            here[profile.id] = profile
        found.update(here)
    return found


def find(name: str, known: Mapping[str, Profile]) -> Profile:
    """Return a profile by id or by the path of its file; an unknown one names the nearest."""
    import difflib

    if name in known:
        return known[name]
    if name.endswith(".toml"):
        return load(Path(name))
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(
        detail="there is no statement profile {name}{hint}",
        name=name,
        hint=hint,
        mend="kmtool profile list",
    )
