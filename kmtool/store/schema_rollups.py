"""Counters kept in the transaction of the facts: what left per minute."""

from __future__ import annotations

ROLLUPS: tuple[str | dict[str, str], ...] = ()
