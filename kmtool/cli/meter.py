"""How far a long loop is: a live line on a terminal, else a line every ten seconds."""

from __future__ import annotations

from kmtool.clock import Clock, SystemClock
from kmtool.words import _

LIVE_S = 0.1
SLOW_S = 10.0


class Meter:
    """Counts steps and says what to print now, if anything."""

    def __init__(
        self, title: str, total: int | None, *, live: bool, clock: Clock | None = None
    ) -> None:
        self._title = title
        self._total = total
        self._live = live
        self._clock = clock or SystemClock()
        self._started = self._told = self._clock.monotonic()
        self._done = 0
        self._shown = 0

    def step(self) -> str:
        """Count one step; return the text to print, usually none."""
        self._done += 1
        now = self._clock.monotonic()
        if now - self._told < (LIVE_S if self._live else SLOW_S):
            return ""
        self._told = now
        return self._text(now)

    def end(self) -> str:
        """Return what ends the display: a last line if anything was shown before."""
        if not self._shown:
            return ""
        return self._text(self._clock.monotonic()) + ("\n" if self._live else "")

    def _text(self, now: float) -> str:
        taken = max(now - self._started, 1e-6)
        rate = self._done / taken
        parts = [f"{self._title} {self._done:,}"]
        if self._total:
            parts[0] += f"/{self._total:,}"
        parts.append(_("{rate}/s").format(rate=f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"))
        if self._total and self._done < self._total:
            left = round((self._total - self._done) / rate)
            parts.append(_("{time} left").format(time=f"{left // 60}:{left % 60:02d}"))
        line = " · ".join(parts)
        padded = line.ljust(self._shown)
        self._shown = len(line)
        return f"\r{padded}" if self._live else f"{line}\n"
