"""How long something was certainly waited for, whatever happened to the wall clock meanwhile.

The distance between the wall clock and the clock that never jumps changes when the wall clock is
set, when the machine starts or sleeps, and when the shop goes to another machine. Whoever begins a
try and whoever asks about one looks at it; what began before the last change waits anew.
"""

from __future__ import annotations

from kmtool.operations import home
from kmtool.shop import Shop
from kmtool.store import house

DRIFT_MS = 2_000
"""A wall clock that is held right by a time server moves by less at once."""
CLOCKS = "wall_clock"
"""The note: the distance of the two clocks, and since when it is the same, in milliseconds."""


def look(shop: Shop) -> int:
    """Return since when the wall clock has not jumped (ms of that clock). In a transaction."""
    name = CLOCKS if shop.db.dialect == "sqlite" else f"{CLOCKS}_{home.here().id}"
    now = shop.now_ms()
    distance = now - round(shop.clock.monotonic() * 1000)
    known, since = _read(house.meta(shop.db, name) or "")
    if since and since <= now and abs(known - distance) <= DRIFT_MS:
        return since
    house.set_meta(shop.db, name, f"{distance} {now}")
    return now


def _read(note: str) -> tuple[int, int]:
    """Return (distance, since); a note that somebody changed says nothing."""
    try:
        distance, since = note.split()
        return int(distance), int(since)
    except ValueError:
        return 0, 0


def over_ms(shop: Shop, began_ms: int, wait_ms: int) -> int:
    """Return the time of the wall clock from which a wait that began then is certainly over."""
    with shop.db.tx():
        return max(began_ms, look(shop)) + wait_ms
