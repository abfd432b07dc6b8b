"""Keys placed into a platform's own pool."""

from __future__ import annotations

LENDING: tuple[str | dict[str, str], ...] = ()
