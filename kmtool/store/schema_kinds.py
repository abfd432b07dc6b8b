"""Stock kinds beyond one key for one buyer, and purchases for top-ups."""

from __future__ import annotations

KINDS: tuple[str | dict[str, str], ...] = ()
