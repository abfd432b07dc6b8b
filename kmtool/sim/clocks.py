"""The two clocks of a simulated shop."""

from __future__ import annotations

from kmtool.clock import ManualClock


class SimClock(ManualClock):
    """True time, which never jumps, and the shop's own clock, which may be set."""

    offset_ms = 0

    def now_ms(self) -> int:
        """Return what the shop's clock shows."""
        return self._now_ms + self.offset_ms

    def true_ms(self) -> int:
        """Return the true time."""
        return self._now_ms

    def jump(self, ms: int) -> None:
        """Set the shop's clock forward or back."""
        self.offset_ms += ms
