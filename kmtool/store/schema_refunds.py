"""What the operator decided on refunds and defective keys."""

from __future__ import annotations

REFUNDS: tuple[str | dict[str, str], ...] = ()
