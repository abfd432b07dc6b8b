"""Routes: how often each was used."""

from __future__ import annotations

ROUTES: tuple[str | dict[str, str], ...] = ()
