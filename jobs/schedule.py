"""When a job runs: every so often, daily at a time, or never; read as people write it.

`2m` · `90s` · `03:30` · `03:30 mon-fri` · `22:00 sat,sun` · `off`
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kmtool.config import parse_duration
from kmtool.errors import ConfigError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SHORTEST_MS = 1_000
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?:\s+([a-z,-]+))?")


@dataclass(frozen=True, slots=True)
class Every:
    """Again and again, `ms` apart."""

    ms: int

    def __str__(self) -> str:
        for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
            if self.ms % size == 0:
                return f"{self.ms // size}{unit}"
        return f"{self.ms}ms"


@dataclass(frozen=True, slots=True)
class Daily:
    """At a time of the shop's zone, on some days of the week (all when none is named)."""

    hour: int
    minute: int
    days: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join(filter(None, (f"{self.hour:02d}:{self.minute:02d}", ",".join(self.days))))


Schedule = Every | Daily


def parse(text: str, where: str) -> Schedule | None:
    """Return a schedule, None for `off`; raises `ConfigError` with examples."""
    plain = " ".join(text.lower().replace("：", ":").split())
    if plain in {"off", "no", "never"}:
        return None
    try:
        found = _TIME.fullmatch(plain)
        if found:
            return Daily(int(found[1]), int(found[2]), _days(found[3] or ""))
        ms = parse_duration(plain)
    except ValueError:
        ms = 0
    if ms < SHORTEST_MS:
        raise ConfigError(
            detail='{place} = "{text}" is no time for a job',
            place=where,
            text=text,
            where=where,
            mend='write {place} as "2m", "03:30", "03:30 mon-fri" or "off" in kmtool.toml',
        )
    return Every(ms)


def _days(text: str) -> tuple[str, ...]:
    """Return the days that are named, in the order of the week; raises `ValueError`."""
    chosen: set[str] = set()
    for part in filter(None, text.split(",")):
        first, dash, last = part.partition("-")
        start, end = DAYS.index(first[:3]), DAYS.index((last if dash else first)[:3])
        chosen.update(DAYS[(start + n) % 7] for n in range((end - start) % 7 + 1))
    if text and not chosen:
        raise ValueError(text)
    return tuple(day for day in DAYS if day in chosen)
