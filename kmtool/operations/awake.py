"""Notices that this process stood still between the intent and the network: stopped, or asleep.

Another sender may have taken over meanwhile and sent the same message. What stood still too long is
not sent: the outcome's transaction finds out whether this session may still write, and a session
that may tries again from the beginning.

An intent is good for half of the time after which others take its silence for an answer: a call
that begins later could happen after somebody asked, found nothing, and sent the message himself.
"""

from __future__ import annotations

from kmtool.clock import Clock
from kmtool.errors import marked
from kmtool.operations import routes
from kmtool.operations.routes import Outcome, Parcel, Result
from kmtool.shop import Shop

STOOD_STILL_S = 20.0
WHY = marked("this process stood still; looked at again before it is sent")


class Awake:
    """When a group of sends last moved, by the clock that never runs backwards."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._moved = clock.monotonic()

    def moved(self) -> None:
        """Note that something was done just now."""
        self._moved = self._clock.monotonic()

    def attempt(self, shop: Shop, parcel: Parcel, until: float) -> Outcome:
        """Try an effect once, unless nothing moved for too long or its intent is older than `until`
        (by the same clock): then it is certainly not sent."""
        now = self._clock.monotonic()
        if now - self._moved > STOOD_STILL_S or now > until:
            return Outcome(Result.RETRIABLE, detail=WHY)
        outcome = routes.attempt(shop, parcel)
        self.moved()
        return outcome
