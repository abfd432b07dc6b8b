"""What would have been sent while a channel is only watched."""

from __future__ import annotations

WATCHING: tuple[str | dict[str, str], ...] = ()
