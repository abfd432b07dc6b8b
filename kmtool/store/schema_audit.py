"""The audit chain: heads, and triggers that refuse changes to what was written."""

from __future__ import annotations

AUDIT: tuple[str | dict[str, str], ...] = ()
