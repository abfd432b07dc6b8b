"""Times: zones, printed periods, and dates whose order of day and month must be found out.

Each order of the profile's formats is tried on all rows. It falls when a cell does not parse, when
a date lies outside the printed period or after today, or when a printed zone
contradicts the season. If several are left, the one that makes the file monotone over at least
three days wins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo

from adapters.statements.cells import parse_time
from adapters.statements.profiles import Profile
from adapters.statements.refusals import Stop, bad_cell
from adapters.statements.rows import Row
from kmtool.clock import utc_ms
from kmtool.domain.statements import Code, StatementPeriod

DAY_MS = 86_400_000
_LOOSE = (
    "%Y-%m-%d %H:%M:%S",
    "%Y年%m月%d日 %H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d",
    "%Y年%m月%d日",
    "%Y/%m/%d",
    "%Y%m%d",
)
_LETTERS = {"Y": "y", "y": "y", "m": "m", "b": "m", "B": "m", "d": "d"}
_HOURS = {
    "PDT": -7,
    "PST": -8,
    "EDT": -4,
    "EST": -5,
    "GMT": 0,
    "UTC": 0,
    "BST": 1,
    "CET": 1,
    "CEST": 2,
    "HKT": 8,
    "SGT": 8,
    "JST": 9,
    "AEST": 10,
    "AEDT": 11,
}
_NEVER_IN = {
    **dict.fromkeys(("PDT", "EDT"), (12, 1, 2)),
    **dict.fromkeys(("BST", "CEST"), (11, 12, 1, 2)),
    **dict.fromkeys(("PST", "EST"), (4, 5, 6, 7, 8, 9, 10)),
    "CET": (4, 5, 6, 7, 8, 9),
    "AEDT": (5, 6, 7, 8, 9),
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a date order must obey: the printed period, today, and the order the operator named."""

    period: StatementPeriod | None
    now_ms: int
    date_order: str | None = None


@dataclass(frozen=True, slots=True)
class _Stamp:
    line: int
    column: str
    value: str | datetime
    zone: str


def zone_of(profile: Profile) -> str:
    """Return the IANA zone of a profile's file, UTC where each cell carries its own."""
    zone = profile.time.zone
    return "UTC" if zone in ("utc", "offset") or zone.startswith("column:") else zone


def local_ms(moment: datetime, zone: tzinfo) -> int:
    """Return a moment in UTC ms; a naive one is taken in `zone`."""
    return utc_ms(moment if moment.tzinfo is not None else moment.replace(tzinfo=zone))


def printed_ms(text: str, profile: Profile) -> int | None:
    """Return a moment printed outside the table in UTC ms, None when it cannot be read."""
    found = parse_time(" ".join(text.strip(" []：:　").split()), _LOOSE)
    return None if found is None else local_ms(found, ZoneInfo(zone_of(profile)))


def printed_period(texts: Sequence[str], profile: Profile) -> StatementPeriod | None:
    """Return the period printed in preamble or footer; its end is made exclusive."""
    pattern = profile.printed.period
    for text in texts:
        found = pattern.search(text) if pattern is not None else None
        if found is None:
            continue
        start, end = printed_ms(found["from"], profile), printed_ms(found["to"], profile)
        if start is None or end is None or end < start:
            continue
        if "23:59:59" in found["to"]:
            end += 1000
        elif profile.printed.period_end == "inclusive":
            end += 1000 if ":" in found["to"] else DAY_MS
        return StatementPeriod(start, end, "file")
    return None


def row_times(rows: Sequence[Row], profile: Profile, bounds: Bounds) -> list[int]:
    """Return the time of each row in UTC ms; raises `Stop` BAD_TIME or AMBIGUOUS_DATE_ORDER."""
    stamps = [_stamp(row, profile) for row in rows]
    orders = _orders(profile)
    if bounds.date_order is not None and bounds.date_order in orders:
        orders = {bounds.date_order: orders[bounds.date_order]}
    if len(orders) == 1:
        (formats,) = orders.values()
        return _strictly(stamps, formats, profile)
    return _decided(stamps, orders, profile, bounds)


def _stamp(row: Row, profile: Profile) -> _Stamp:
    zone = profile.time.zone
    name = row.text(zone.partition(":")[2]) if zone.startswith("column:") else ""
    for role in profile.time.prefer:
        value = row.values.get(role)
        if isinstance(value, str | datetime) and value:
            return _Stamp(row.line, profile.columns[role].names[0], value, name)
    roles = profile.time.columns
    column = profile.columns[roles[0]].names[0]
    first = row.values.get(roles[0])
    if isinstance(first, datetime):
        return _Stamp(row.line, column, first, name)
    return _Stamp(row.line, column, " ".join(row.text(role) for role in roles).strip(), name)


def _orders(profile: Profile) -> dict[str, list[str]]:
    """Return the profile's formats by the order of year, month and day in them."""
    orders: dict[str, list[str]] = {}
    formats = list(profile.columns[profile.time.columns[0]].formats)
    for role in profile.time.prefer:
        formats += [form for form in profile.columns[role].formats if form not in formats]
    for form in formats:
        order = "".join(_LETTERS.get(found[1], "") for found in re.finditer("%(.)", form))
        orders.setdefault(order, []).append(form)
    return orders


def _strictly(stamps: Sequence[_Stamp], formats: Sequence[str], profile: Profile) -> list[int]:
    known: dict[tuple[str | datetime, str], int] = {}
    times = []
    for stamp in stamps:
        key = (stamp.value, stamp.zone)
        at = known.get(key)
        if at is None:
            moment = parse_time(stamp.value, formats) if stamp.value else None
            if moment is None:
                why = "is not a time of this profile"
                raise bad_cell(Code.BAD_TIME, stamp.line, stamp.column, stamp.value, why)
            at = known[key] = local_ms(moment, _zone(stamp, profile))
        times.append(at)
    return times


def _zone(stamp: _Stamp, profile: Profile) -> tzinfo:
    if not profile.time.zone.startswith("column:"):
        return ZoneInfo(zone_of(profile))
    if stamp.zone.upper() in _HOURS:
        return timezone(timedelta(hours=_HOURS[stamp.zone.upper()]))
    column = profile.columns[profile.time.zone.partition(":")[2]].names[0]
    raise bad_cell(Code.BAD_TIME, stamp.line, column, stamp.zone, "is not a known time zone")


def _decided(
    stamps: Sequence[_Stamp],
    orders: Mapping[str, Sequence[str]],
    profile: Profile,
    bounds: Bounds,
) -> list[int]:
    left: dict[str, list[int]] = {}
    first_stop: Stop | None = None
    for order, formats in orders.items():
        try:
            times = _strictly(stamps, formats, profile)
        except Stop as stop:
            first_stop = first_stop or stop
            continue
        if _possible(stamps, times, profile, bounds):
            left[order] = times
    if not left:
        if first_stop is not None:
            raise first_stop
        stamp = stamps[0]
        why = "lies outside the period and after today, however it is read"
        raise bad_cell(Code.BAD_TIME, stamp.line, stamp.column, stamp.value, why)
    if len({tuple(times) for times in left.values()}) == 1:
        return next(iter(left.values()))
    steady = [times for times in left.values() if _monotone(times)]
    if len(steady) == 1:
        return steady[0]
    raise _ambiguous(stamps, left)


def _possible(
    stamps: Sequence[_Stamp], times: Sequence[int], profile: Profile, bounds: Bounds
) -> bool:
    for stamp, at in zip(stamps, times, strict=True):
        if at > bounds.now_ms + DAY_MS:
            return False
        if bounds.period and not bounds.period.from_ms <= at < bounds.period.to_ms:
            return False
        shift = _zone(stamp, profile)
        month = datetime.fromtimestamp(at / 1000, shift).month
        if month in _NEVER_IN.get(stamp.zone.upper(), ()):
            return False
    return True


def _monotone(times: Sequence[int]) -> bool:
    if len({at // DAY_MS for at in times}) < 3:
        return False
    up = all(a <= b for a, b in pairwise(times))
    return up or all(a >= b for a, b in pairwise(times))


def _ambiguous(stamps: Sequence[_Stamp], left: Mapping[str, Sequence[int]]) -> Stop:
    place = next(
        number
        for number in range(len(stamps))
        if len({times[number] for times in left.values()}) > 1
    )
    readings = {
        order: datetime.fromtimestamp(times[place] / 1000, UTC).date().isoformat()
        for order, times in left.items()
    }
    both = " or ".join(f"{day} ({order})" for order, day in readings.items())
    stamp = stamps[place]
    flags = " or ".join(f"--date-order {order}" for order in left)
    return Stop(
        Code.AMBIGUOUS_DATE_ORDER,
        f"line {stamp.line}, column {stamp.column}: 「{stamp.value}」 may be {both}",
        f"say which: {flags}",
        line=stamp.line,
        readings=readings,
    )
