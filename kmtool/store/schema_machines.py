"""Machines: seen keys, restores, moves."""

from __future__ import annotations

MACHINES: tuple[str | dict[str, str], ...] = ()
