"""What a payout or transaction statement (账单) says, once read: records, no files, no vendors.

Rules of the canonical line:

- `gross_minor` is signed: + into the shop, - out of it.
- `fee_minor` and `fee_e5` are cost positive; a fee given back is negative.
- `net_minor` is always gross + adjust - fee.
- A neutral row has gross = fee = net = 0 and its unsigned amount in `neutral_minor`.
- An ignored row is stored and counted, never summed or matched.
- Outside ids are text; an empty text is "not there" and never joins with another empty text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class LineKind(StrEnum):
    """What a statement line is, from the profile's type vocabulary."""

    SALE = "SALE"
    REFUND = "REFUND"
    FEE = "FEE"
    SUBSIDY = "SUBSIDY"
    ADJUST = "ADJUST"
    TRANSFER = "TRANSFER"
    PAYOUT = "PAYOUT"
    DISPUTE = "DISPUTE"
    NEUTRAL = "NEUTRAL"
    UNKNOWN = "UNKNOWN"


class Code(StrEnum):
    """Why a statement is refused."""

    UNKNOWN_SOURCE = "UNKNOWN_SOURCE"
    MISSING_COLUMN = "MISSING_COLUMN"
    AMBIGUOUS_PROFILE = "AMBIGUOUS_PROFILE"
    SUMMARY_FILE = "SUMMARY_FILE"
    NO_DETAIL_MEMBER = "NO_DETAIL_MEMBER"
    SUMMARY_MISMATCH = "SUMMARY_MISMATCH"
    LOSSY_ID = "LOSSY_ID"
    AMBIGUOUS_DATE_ORDER = "AMBIGUOUS_DATE_ORDER"
    BAD_ENCODING = "BAD_ENCODING"
    BAD_ROW = "BAD_ROW"
    BAD_AMOUNT = "BAD_AMOUNT"
    BAD_TIME = "BAD_TIME"
    IDENTITY_BROKEN = "IDENTITY_BROKEN"
    DUPLICATE_ROW_ID = "DUPLICATE_ROW_ID"
    WRONG_ACCOUNT = "WRONG_ACCOUNT"
    UNSAFE_ARCHIVE = "UNSAFE_ARCHIVE"


OVERRIDES: Mapping[Code, str] = {
    Code.UNKNOWN_SOURCE: "--profile",
    Code.AMBIGUOUS_PROFILE: "--profile",
    Code.SUMMARY_MISMATCH: "--accept-summary-mismatch",
    Code.LOSSY_ID: "--accept-lossy",
    Code.AMBIGUOUS_DATE_ORDER: "--date-order",
    Code.WRONG_ACCOUNT: "--account",
}
"""The flag that answers a refusal; a refusal with such a flag exits 6, any other 9."""


@dataclass(frozen=True, slots=True)
class StatementRefusal:
    """Why a file is not taken: the code, what and where, what to do, and the facts for machines."""

    code: Code
    text: str
    mend: str = ""
    details: Mapping[str, object] = field(default_factory=dict)

    @property
    def override(self) -> str | None:
        """Return the flag that answers this refusal, None when there is none."""
        return OVERRIDES.get(self.code)


@dataclass(frozen=True, slots=True)
class StatementWarning:
    """Something odd that blocks nothing. `line` is the first place, `count` how many there are."""

    code: str
    text: str
    line: int | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One row of a statement in canonical form (amounts in minor units, times in UTC ms).

    `row_key` has no account in front (the store adds it). `content` hashes the fields whose change
    matters, `content_all` the volatile ones too. `mined_ref` is an order number found in a note;
    `more_refs` are further ids of the row that may join it to other lines.
    """

    line: int
    row_key: str
    occ: int
    occurred_ms: int
    kind: LineKind
    gross_minor: int
    adjust_minor: int
    fee_minor: int
    fee_e5: int
    net_minor: int
    neutral_minor: int
    currency: str
    status: str
    ignored: bool
    ext_txn_id: str
    order_ref_raw: str
    order_ref: str
    refund_ref: str
    parent_ref: str
    payout_ref: str
    mined_ref: str
    more_refs: tuple[str, ...]
    balance_minor: int | None
    counterparty: str
    item: str
    note: str
    raw: Mapping[str, str]
    content: str
    content_all: str
    member: str = ""


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over lines of one currency, ignored lines left out."""

    rows: int = 0
    gross: int = 0
    adjust: int = 0
    fee: int = 0
    net: int = 0
    neutral: int = 0
    fee_e5: int = 0

    def plus(self, line: StatementLine) -> Sums:
        """Return the sums with one more line."""
        return Sums(
            self.rows + 1,
            self.gross + line.gross_minor,
            self.adjust + line.adjust_minor,
            self.fee + line.fee_minor,
            self.net + line.net_minor,
            self.neutral + line.neutral_minor,
            self.fee_e5 + line.fee_e5,
        )


@dataclass(frozen=True, slots=True)
class DeclaredTotal:
    """A printed total beside what was read. Sums are 1e-5 major units; None: not printed."""

    name: str
    count: int | None
    sum_e5: int | None
    parsed_count: int | None
    parsed_sum_e5: int | None
    strict: bool = True

    @property
    def agrees(self) -> bool:
        """Return whether both figures are those that were read."""
        if self.count is None and self.sum_e5 is None:
            return not self.parsed_count
        same_count = self.count is None or self.count == self.parsed_count
        return same_count and (self.sum_e5 is None or self.sum_e5 == self.parsed_sum_e5)


@dataclass(frozen=True, slots=True)
class StatementPeriod:
    """The time a statement covers, `[from_ms, to_ms)`; `source` is `file` (printed) or `rows`."""

    from_ms: int
    to_ms: int
    source: str


@dataclass(frozen=True, slots=True)
class ParsedStatement:
    """One import unit: all detail rows of one profile in one file or archive.

    `sha256` is over the bytes of the original file (the archive itself, not its member). A refused
    file keeps its lines only where they could be read (`SUMMARY_MISMATCH`, `LOSSY_ID`).
    """

    file: str
    sha256: str
    members: tuple[str, ...] = ()
    encoding: str = ""
    profile: str = ""
    profile_version: int = 0
    plane: str = ""
    channel: str = ""
    certainty: str = ""
    zone: str = "UTC"
    currency: str = "CNY"
    account: str = ""
    period: StatementPeriod | None = None
    exported_ms: int | None = None
    header_line: int | None = None
    lines: tuple[StatementLine, ...] = ()
    declared: tuple[DeclaredTotal, ...] = ()
    warnings: tuple[StatementWarning, ...] = ()
    refusal: StatementRefusal | None = None
    provisional: bool = False

    @property
    def account_masked(self) -> str:
        """Return the account printed in the file, fit for the screen: `2088…0156`."""
        return masked(self.account)

    @property
    def ignored(self) -> int:
        """Return how many rows are ignored."""
        return sum(line.ignored for line in self.lines)

    def sums(self) -> dict[str, Sums]:
        """Return the sums by currency, ignored rows left out."""
        return {key[0]: value for key, value in _grouped(self.lines, by_kind=False).items()}

    def kinds(self) -> dict[LineKind, dict[str, Sums]]:
        """Return the sums by kind and currency, ignored rows left out."""
        found: dict[LineKind, dict[str, Sums]] = {}
        for (currency, kind), value in sorted(_grouped(self.lines, by_kind=True).items()):
            found.setdefault(LineKind(kind), {})[currency] = value
        return found


def masked(account: str) -> str:
    """Return an account number fit for the screen: the first and last four characters."""
    if len(account) > 8:
        return f"{account[:4]}…{account[-4:]}"
    return f"…{account[-2:]}" if account else ""


def _grouped(lines: Iterable[StatementLine], *, by_kind: bool) -> dict[tuple[str, str], Sums]:
    groups: dict[tuple[str, str], Sums] = {}
    for line in lines:
        if not line.ignored:
            key = (line.currency, line.kind if by_kind else "")
            groups[key] = groups.get(key, Sums()).plus(line)
    return groups
