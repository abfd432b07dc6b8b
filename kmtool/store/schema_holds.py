"""Stock held for orders that are not paid yet."""

from __future__ import annotations

HOLDS: tuple[str | dict[str, str], ...] = ()
