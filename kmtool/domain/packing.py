"""What a route carries: how many messages its quotas leave, and how keys are parted over several.

A quota looks back over any stretch of its period, so it holds whichever clock the other side keeps
its own count by. Parts are cut between keys, as few as fit, in the order of the keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

HOUR_MS = 3_600_000
DAY_MS = 86_400_000
ORDER = "order"
ROUTE = "route"
PARTS_MAX = 50
"""No buyer wants more messages than this for one order; a route that needs more is not taken."""
PLENTY = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Quota:
    """At most `limit` messages in any `period_ms` (0: ever), of one order or of the whole route.

    `scope` is `order` or `route`. A send whose outcome is unclear counts as used.
    """

    limit: int
    period_ms: int
    scope: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What a route bears: characters per message (None: any), and its quotas."""

    text_max: int | None
    quotas: tuple[Quota, ...]


@dataclass(frozen=True, slots=True)
class Room:
    """How many messages a route takes now; with too little room, when it opens (None: never)."""

    left: int
    opens_ms: int | None = None


def limits(
    text_max: int | None,
    declared: Sequence[Quota],
    *,
    own_text_max: int = 0,
    per_order: int = 0,
    per_hour: int = 0,
    per_day: int = 0,
) -> Limits:
    """Return the limits in force: the adapter's, where the shop set none (0) of its own.

    A limit per order keeps the period that the adapter declares for it. A text is never longer than
    the adapter bears.
    """
    found = list(declared)
    if per_order:
        mine = [quota for quota in found if quota.scope == ORDER]
        found = [quota for quota in found if quota.scope != ORDER]
        found += [Quota(per_order, quota.period_ms, ORDER) for quota in mine]
        if not mine:
            found.append(Quota(per_order, 0, ORDER))
    for limit, period_ms in ((per_hour, HOUR_MS), (per_day, DAY_MS)):
        if limit:
            found = [q for q in found if (q.scope, q.period_ms) != (ROUTE, period_ms)]
            found.append(Quota(limit, period_ms, ROUTE))
    sizes = [size for size in (text_max, own_text_max) if size]
    return Limits(min(sizes) if sizes else None, tuple(found))


def room(
    quotas: Sequence[Quota],
    of_order: Sequence[int],
    of_route: Sequence[int],
    now_ms: int,
    wanted: int = 1,
) -> Room:
    """Return how many messages may go now; when fewer than wanted, when that many may.

    `of_order` and `of_route` are the moments of earlier uses, newest first.
    """
    left, opens_ms, never = PLENTY, 0, False
    for quota in quotas:
        uses = of_order if quota.scope == ORDER else of_route
        inside = [at for at in uses if not quota.period_ms or at > now_ms - quota.period_ms]
        here = max(0, quota.limit - len(inside))
        left = min(left, here)
        if here >= wanted:
            continue
        if wanted > quota.limit or not quota.period_ms:
            never = True
            continue
        # Room for `wanted` is there once only `limit - wanted` uses are still inside the period.
        opens_ms = max(opens_ms, inside[quota.limit - wanted] + quota.period_ms)
    return Room(left, None if never or not opens_ms else opens_ms)


def split(items: int, fits: Callable[[int, int], bool]) -> list[tuple[int, int]] | None:
    """Cut `items` things in a row into as few pieces as fit: `[start, end)` each.

    `fits(start, end)` says whether a piece fits; what is part of a piece that fits must fit too.
    Returns None when one thing alone does not fit, or when there would be more than `PARTS_MAX`.
    """
    pieces: list[tuple[int, int]] = []
    start = 0
    while start < items:
        if len(pieces) == PARTS_MAX or not fits(start, start + 1):
            return None
        low, high = start + 1, items  # `low` fits; everything above `high` is not there
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if fits(start, middle) else (low, middle - 1)
        pieces.append((start, low))
        start = low
    return pieces
