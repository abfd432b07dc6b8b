"""Numbers of lendings, counted per day: none is given out twice, whatever a restore forgot.

A lending whose keys are not in this database is not written again when the send journal is
replayed, but its number stands in the journal: a second lending of that number would be taken for
the first one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from kmtool.clock import business_day
from kmtool.shop import Shop
from kmtool.store import house
from kmtool.store import lending as store

JOURNALLED = "lendings_journalled"
"""Meta: the highest number of each day that the journal had and this database has not."""
_NUMBER = re.compile(r"L([0-9]{8})-([0-9]{2,6})")


def following(shop: Shop, now_ms: int) -> str:
    """Return the next number of a day; call it with `lock_numbers` held."""
    day = business_day(now_ms, shop.config.shop.timezone).strftime("%Y%m%d")
    highest = _highest([*store.numbers(shop.db, f"L{day}-"), *_journalled(shop)])
    return _number(day, highest.get(day, 0) + 1)


def remember(shop: Shop, journal: Iterable[str]) -> None:
    """Keep in mind which numbers a journal knows, in the open transaction of its replay."""
    here = _highest(store.numbers(shop.db, "L"))
    known = _highest([*journal, *_journalled(shop)])
    beyond = [_number(day, n) for day, n in sorted(known.items()) if n > here.get(day, 0)]
    if beyond != _journalled(shop):
        house.set_meta(shop.db, JOURNALLED, " ".join(beyond))


def _journalled(shop: Shop) -> list[str]:
    return (house.meta(shop.db, JOURNALLED) or "").split()


def _highest(numbers: Iterable[str]) -> dict[str, int]:
    """Return day → the highest number; what is no number of a lending does not count."""
    found: dict[str, int] = {}
    for number in numbers:
        parts = _NUMBER.fullmatch(number)
        if parts:
            day, n = parts[1], int(parts[2])
            found[day] = max(n, found.get(day, 0))
    return found


def _number(day: str, n: int) -> str:
    return f"L{day}-{n:02d}"
