"""Tables of the statement side."""

from __future__ import annotations

STATEMENTS: tuple[str, ...] = ()
