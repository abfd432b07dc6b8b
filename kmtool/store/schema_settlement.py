"""Tables of the settlement side."""

from __future__ import annotations

SETTLEMENT: tuple[str, ...] = ()
