"""The only reader of time.

Everything else asks a `Clock` it was given, so that tests and simulations can replace time.
Times are integer UTC milliseconds; business days are computed in the shop's zone by `business_day`.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

NEVER_MS = 253_402_300_799_000
"""9999-12-31T23:59:59Z: stands for "never" in columns that must sort last."""


class Clock(Protocol):
    """What operations know of time."""

    def now_ms(self) -> int:
        """Return the wall time in UTC milliseconds."""

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Return the wall time in UTC milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class ManualClock:
    """A clock that moves only when told to (tests, simulator, demo)."""

    def __init__(self, now_ms: int = 1_795_305_600_000) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """Return the set time in UTC milliseconds."""
        return self._now_ms

    def monotonic(self) -> float:
        """Return the set time in seconds."""
        return self._now_ms / 1000

    def sleep(self, seconds: float) -> None:
        """Move on instead of waiting."""
        self.advance(round(seconds * 1000))

    def advance(self, ms: int) -> None:
        """Move the clock by `ms` milliseconds."""
        self._now_ms += ms

    def set(self, now_ms: int) -> None:
        """Set the clock to `now_ms`."""
        self._now_ms = now_ms


def business_day(at_ms: int, zone: str) -> date:
    """Return the calendar day of `at_ms` in `zone` (an IANA name)."""
    return datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone)).date()


def day_start_ms(day: date, zone: str) -> int:
    """Return the first millisecond of `day` in `zone`, as UTC milliseconds."""
    return round(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def day_end_ms(day: date, zone: str) -> int:
    """Return the first millisecond after `day` in `zone`."""
    return day_start_ms(day + timedelta(days=1), zone)


def local_text(at_ms: int | None, zone: str, form: str = "%Y-%m-%d %H:%M") -> str:
    """Return `at_ms` as local text for people, empty for None."""
    if at_ms is None:
        return ""
    return datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone)).strftime(form)


def iso_text(at_ms: int | None, zone: str = "UTC") -> str | None:
    """Return `at_ms` as ISO 8601 with offset, None for None."""
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone)).isoformat(timespec="seconds")


def utc_ms(moment: datetime) -> int:
    """Return an aware datetime as UTC milliseconds."""
    assert moment.tzinfo is not None, "a naive time has no place in the database"
    return (moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
