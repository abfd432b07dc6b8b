"""Lets effects flow out in slices: intent, journal, network, outcome.

A slice is what is under way when the process dies: each of its tries is then asked about or
repeated, and where the route bears neither, a person is asked. So a slice begins small, grows while
the network answers quickly, and falls back when it does not. A refund that comes meanwhile is seen
with the next slice.

On a route that takes several messages at once the intents of one slice are written while the
network works on the one before it; never more than two are under way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from kmtool.errors import KmError
from kmtool.operations import routes
from kmtool.operations.awake import Awake
from kmtool.operations.resolve import put_off
from kmtool.operations.routes import Outcome
from kmtool.operations.send import begin, finish
from kmtool.operations.tries import Begun, Sent
from kmtool.ports import Features, Repeat
from kmtool.shop import Shop
from kmtool.store.db import Row

SLICE = 20
"""How many effects are under way at first, and always where an unclear try costs a person."""
SLICE_MAX = 500
"""How many at most: enough to pay for the flushes to the disk."""
QUICK_S = 1.0
"""A slice that takes no longer, its intents and all its tries, lets the next one be larger."""


@dataclass
class _UnderWay:
    """A slice that the network works on."""

    begun: list[Begun]
    futures: list[Future[Outcome]]
    since: float


def _until(shop: Shop, features: Features) -> float:
    """Return until when an intent that is written now may be followed by its call."""
    return shop.clock.monotonic() + features.grace_ms / 2_000


class _Size:
    """How large the next slice is."""

    def __init__(self, features: Features) -> None:
        self.now = SLICE
        self._max = SLICE if features.repeat is Repeat.NONE else SLICE_MAX

    def learn(self, took_s: float) -> None:
        """Grow after a quick slice, begin anew after a slow one."""
        self.now = min(self.now * 2, self._max) if took_s <= QUICK_S else SLICE


Look = Callable[[Shop, Sequence[Row], Sent], list[Row]]
"""Reads the orders of a slice again where their facts are old; returns what may still be sent."""


def send(shop: Shop, due: Sequence[Row], tally: Sent, look: Look) -> None:
    """Send effects, route by route; every slice is looked at again right before it leaves."""
    for group in _by_route(due):
        first = group[0]
        try:
            features = routes.features_of(shop, first["kind"], first["route"], first["channel"])
        except KmError as error:
            for effect in group:
                put_off(shop, effect, error, tally)
            continue
        if features.parallel > 1:
            _side_by_side(shop, group, features, tally, look)
        else:
            _one_by_one(shop, group, features, tally, look)


def _one_by_one(
    shop: Shop, group: Sequence[Row], features: Features, tally: Sent, look: Look
) -> None:
    size, start = _Size(features), 0
    while start < len(group):
        ready = look(shop, group[start : start + size.now], tally)
        start += size.now
        until, since = _until(shop, features), shop.clock.monotonic()
        begun = begin(shop, ready) if ready else []
        awake = Awake(shop.clock)
        outcomes = [awake.attempt(shop, one.parcel, until) for one in begun]
        size.learn(shop.clock.monotonic() - since)
        if begun:
            finish(shop, list(zip(begun, outcomes, strict=True)), tally)


def _side_by_side(
    shop: Shop, group: Sequence[Row], features: Features, tally: Sent, look: Look
) -> None:
    size, start = _Size(features), 0
    under_way: deque[_UnderWay] = deque()
    awake = Awake(shop.clock)
    with shop.side_by_side(features.parallel) as pool:
        try:
            while start < len(group):
                ready = look(shop, group[start : start + size.now], tally)
                start += size.now
                until, since = _until(shop, features), shop.clock.monotonic()
                begun = begin(shop, ready) if ready else []
                awake.moved()
                futures = [pool.submit(awake.attempt, shop, one.parcel, until) for one in begun]
                under_way.append(_UnderWay(begun, futures, since))
                # A route that is not known to be quick gets nothing more until it has answered.
                while len(under_way) > (size.now > SLICE):
                    _end(shop, under_way, size, tally)
            while under_way:
                _end(shop, under_way, size, tally)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # what has not begun to leave does not
            _keep_what_is_known(shop, under_way, tally)
            raise


def _end(shop: Shop, under_way: deque[_UnderWay], size: _Size, tally: Sent) -> None:
    """Wait for the oldest slice and write its outcomes."""
    oldest = under_way[0]
    outcomes = [future.result() for future in oldest.futures]
    size.learn(shop.clock.monotonic() - oldest.since)
    under_way.popleft()
    if oldest.begun:
        finish(shop, list(zip(oldest.begun, outcomes, strict=True)), tally)


def _keep_what_is_known(shop: Shop, under_way: deque[_UnderWay], tally: Sent) -> None:
    """Write the outcomes that came before an interrupt; the other tries end as unclear."""
    known = [
        (one, future.result())
        for part in under_way
        for one, future in zip(part.begun, part.futures, strict=True)
        if not future.cancelled() and future.exception() is None
    ]
    if known:
        finish(shop, known, tally)


def _by_route(due: Sequence[Row]) -> list[list[Row]]:
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for effect in due:
        key = (effect["kind"], effect["route"], effect["channel"])
        groups.setdefault(key, []).append(effect)
    return list(groups.values())
