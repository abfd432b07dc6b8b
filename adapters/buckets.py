"""How often a site may be called: a token bucket that several threads share."""

from __future__ import annotations

import threading

from kmtool.clock import Clock


class Bucket:
    """A token bucket: at most `calls` at once and per `per_s` seconds; more have to wait."""

    def __init__(self, calls: float, per_s: float, clock: Clock) -> None:
        self._calls, self._per_s, self._clock = calls, per_s, clock
        self._lock = threading.Lock()
        self._tokens = calls
        self._seen = clock.monotonic()

    def take(self) -> None:
        """Take one token, waiting until there is one."""
        with self._lock:
            now = self._clock.monotonic()
            fresh = (now - self._seen) * self._calls / self._per_s
            self._tokens = min(self._calls, self._tokens + fresh) - 1
            self._seen = now
            wait = -self._tokens * self._per_s / self._calls
        if wait > 0:
            self._clock.sleep(wait)
