"""Rules of payout reconciliation: what an order's figures mean, how bad it is, what is due when.

Pure: the store sums up each order into a `Situation` (yes-or-no facts), `judge` turns one into a
`Verdict`. All comparisons behind the facts are exact to the minor unit; there is no tolerance. The
number of different situations is small, so a run judges each of them once, not each order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

DELIVERY_LIMIT_MS = 86_400_000
"""A paid order that is not delivered after this long is reported (one day)."""


class Group(StrEnum):
    """The five plain-word groups of exceptions that people meet."""

    MONEY_MISSING = "money missing"
    MONEY_TOO_MUCH = "money too much"
    REFUND = "refund"
    FEE = "fee"
    FILE = "file"


class Severity(StrEnum):
    """How bad an exception is."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class ExceptionKind:
    """What stands behind a code; `{…}` in `command` is filled from the exception's subject."""

    code: str
    group: Group
    severity: Severity
    meaning: str
    command: str


_SHOW = "kmtool recon show {id}"
EXCEPTIONS: dict[str, ExceptionKind] = {
    kind.code: kind
    for kind in (
        ExceptionKind(
            "DELIVERED_UNPAID",
            Group.MONEY_MISSING,
            Severity.CRITICAL,
            "delivered, but never paid: neither here nor on the statement",
            "kmtool order show {order}",
        ),
        ExceptionKind(
            "PAID_UNDELIVERED",
            Group.MONEY_TOO_MUCH,
            Severity.CRITICAL,
            "paid, but not delivered for more than a day",
            "kmtool order why {order}",
        ),
        ExceptionKind(
            "DUPLICATE_PAYOUT",
            Group.MONEY_TOO_MUCH,
            Severity.HIGH,
            "the buyer paid twice: refund one payment",
            _SHOW,
        ),
        ExceptionKind(
            "REFUND_NOT_RECORDED",
            Group.REFUND,
            Severity.HIGH,
            "the statement refunds more than the order knows; the key may still be valid",
            "kmtool order show {order}",
        ),
        ExceptionKind(
            "CHARGEBACK",
            Group.REFUND,
            Severity.HIGH,
            "the buyer's bank took the money back: collect evidence of the delivery",
            "kmtool order show {order}",
        ),
        ExceptionKind(
            "MISSING_PAYOUT",
            Group.MONEY_MISSING,
            Severity.HIGH,
            "delivered and due, but no money on any statement: ask the channel",
            "kmtool order show {order}",
        ),
        ExceptionKind(
            "MISSING_ORDER",
            Group.MONEY_TOO_MUCH,
            Severity.HIGH,
            "money on the statement without an order: sync that day, then link it or write it off",
            "kmtool sync",
        ),
        ExceptionKind(
            "AMOUNT_MISMATCH",
            Group.MONEY_MISSING,
            Severity.HIGH,
            "the statement's amount is not the order's: compare the coupon columns",
            _SHOW,
        ),
        ExceptionKind(
            "CURRENCY_MISMATCH",
            Group.MONEY_TOO_MUCH,
            Severity.HIGH,
            "the statement's currency is not the order's",
            _SHOW,
        ),
        ExceptionKind(
            "LINE_CHANGED",
            Group.FILE,
            Severity.HIGH,
            "two files say different things of one line: compare the versions",
            _SHOW,
        ),
        ExceptionKind(
            "SUMMARY_MISMATCH",
            Group.FILE,
            Severity.HIGH,
            "a file was taken although its own totals do not agree: download it again",
            "kmtool statement show {file}",
        ),
        ExceptionKind(
            "REFUND_MISSING",
            Group.REFUND,
            Severity.MEDIUM,
            "a recorded refund is not on the statement: look at it at the channel",
            "kmtool order show {order}",
        ),
        ExceptionKind(
            "STATUS_MISMATCH",
            Group.MONEY_TOO_MUCH,
            Severity.MEDIUM,
            "the statement says paid, the order says not",
            "kmtool sync",
        ),
        ExceptionKind(
            "AMBIGUOUS",
            Group.MONEY_TOO_MUCH,
            Severity.MEDIUM,
            "more than one order fits this line",
            "kmtool recon link {line} ORDER",
        ),
        ExceptionKind(
            "UNKNOWN_TYPE",
            Group.FEE,
            Severity.MEDIUM,
            "a type of line this profile does not know: add a [[types]] rule",
            "kmtool profile show {profile}",
        ),
        ExceptionKind(
            "LOSSY_ID",
            Group.FILE,
            Severity.MEDIUM,
            "the only number of this line was destroyed by a spreadsheet: download it again",
            _SHOW,
        ),
        ExceptionKind(
            "COVERAGE_GAP",
            Group.FILE,
            Severity.LOW,
            "no statement covers these days: download the bill and reconcile it",
            "kmtool reconcile FILE --account {account}",
        ),
    )
}
"""All codes a run can raise, most severe first: an order's bucket shows the first that holds."""

_RANK = {code: rank for rank, code in enumerate(EXCEPTIONS)}


@dataclass(frozen=True, slots=True)
class Situation:
    """An order's figures as facts. The order of the fields is the order of the bits.

    S is money in for sales, R money out for refunds (by the statement), P the expected amount, Q
    the refunds the order knows. `due` means that the lag after the payment is over, `covered` that
    every day from the payment to then is on a statement; the `refund_` pair is the same of the last
    refund.
    """

    in_scope: bool = True
    settled: bool = False  # S > 0
    too_much: bool = False  # S > P
    too_little: bool = False  # S < P
    refunds_seen: bool = False  # R > 0
    refunds_above_sales: bool = False  # R > S
    refunds_equal_sales: bool = False  # R = S
    refunds_above_record: bool = False  # R > Q
    refunds_below_record: bool = False  # R < Q
    paid_twice: bool = False
    charged_back: bool = False
    paid: bool = True
    cancelled: bool = False
    delivered: bool = True
    overdue_delivery: bool = False
    split: bool = False
    due: bool = False
    covered: bool = False
    refund_due: bool = False
    refund_covered: bool = False

    def bits(self) -> int:
        """Return the situation as an integer: bit n is the n-th field."""
        return sum(1 << n for n, name in enumerate(FACTS) if getattr(self, name))

    @classmethod
    def of(cls, bits: int) -> Situation:
        """Return the situation of an integer."""
        return cls(**{name: bool(bits >> n & 1) for n, name in enumerate(FACTS)})


FACTS: tuple[str, ...] = tuple(Situation.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """An order's bucket, the code or reason beside it, and every code that holds."""

    bucket: str
    code: str = ""
    reason: str = ""
    codes: tuple[str, ...] = ()


def judge(s: Situation) -> Verdict:
    """Return what an order's situation means: every code that holds, the worst as its bucket."""
    if not s.in_scope:
        return Verdict("OUT_OF_SCOPE")
    codes = tuple(sorted(_codes(s), key=_RANK.__getitem__))
    if codes:
        return Verdict("EXCEPTION", code=codes[0], codes=codes)
    if not s.settled and not s.refunds_seen:
        return _nothing_came(s)
    if s.too_little:
        return Verdict("PARTLY_SETTLED")
    return Verdict("REFUNDED" if s.refunds_equal_sales else "SETTLED")


def _nothing_came(s: Situation) -> Verdict:
    """Nothing on any statement: not due yet, or nothing to expect."""
    if not s.paid and not s.delivered:
        return Verdict("OUT_OF_SCOPE", reason="unpaid")
    if not s.due:
        return Verdict("NOT_DUE", reason="lag")
    if not s.covered:
        return Verdict("NOT_DUE", reason="coverage")
    if s.cancelled:
        return Verdict("OUT_OF_SCOPE", reason="cancelled")
    return Verdict("NOT_DUE", reason="delivery")


def _codes(s: Situation) -> Iterable[str]:
    if s.paid_twice:
        yield "DUPLICATE_PAYOUT"
    short = s.settled and s.too_little and (s.due or not s.split)
    if s.too_much or short or s.refunds_above_sales:
        yield "AMOUNT_MISMATCH"
    if s.charged_back:
        yield "CHARGEBACK"
    if s.refunds_above_record:
        yield "REFUND_NOT_RECORDED"
    if s.refunds_below_record and s.refund_due and s.refund_covered:
        yield "REFUND_MISSING"
    if s.settled and (not s.paid or s.cancelled):
        yield "STATUS_MISMATCH"
    if (s.settled or s.paid) and s.overdue_delivery:
        yield "PAID_UNDELIVERED"
    if not s.settled and s.delivered and s.due and s.covered:
        yield "MISSING_PAYOUT" if s.paid else "DELIVERED_UNPAID"


def due_day(event: date, settle_lag_days: int, publish_lag_days: int) -> date:
    """Return the day on which money for an event must stand on a published statement."""
    return event + timedelta(days=settle_lag_days + publish_lag_days)


def days_between(first: date, last: date) -> Iterable[date]:
    """Return all days from first to last, both included."""
    return (first + timedelta(days=n) for n in range((last - first).days + 1))


def uncovered(event: date, due: date, covered: Collection[date]) -> list[date]:
    """Return the days from event to due, both included, that no statement covers."""
    return [day for day in days_between(event, due) if day not in covered]


def spans(days: Iterable[date]) -> list[tuple[date, date]]:
    """Return contiguous days merged into (first, last) pairs, oldest first."""
    found: list[tuple[date, date]] = []
    for day in sorted(set(days)):
        if found and found[-1][1] + timedelta(days=1) == day:
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found
