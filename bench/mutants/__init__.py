"""Seeded bugs: mistakes that somebody might make in delivery, which `kmtool selftest` must see.

A mutant is data: exact old text and new text of one file (or of a few, where several guards stand
before one danger and each covers for the others). It is applied to a copy, one mutant at a time
(`python -m bench.mutants`); the simulator runs there and has to find it. A simulator that finds no
seeded bug proves nothing by finding no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Sees(StrEnum):
    """Which promise a mutant breaks: where it should be noticed first."""

    ONE_BUYER = "a key reaches one buyer (or as many as it serves)"
    ITS_KEYS = "a paid order gets exactly the keys it paid for"
    NO_REPEAT = "a message comes twice only where its route bears it, and unchanged"
    STOPPED = "nothing leaves after a refund, a hold or a brake that stands"
    MONEY = "every cent is booked once"
    DOCTOR = "the shop's own checks"
    ENDS = "once the faults stop, everything deliverable is delivered"


@dataclass(frozen=True, slots=True)
class Edit:
    """One change: `old` stands in `file` exactly once."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A mistake: what is changed, why somebody would make it, what should see it."""

    name: str
    edits: tuple[Edit, ...]
    why: str
    sees: Sees
    script: str = "owner"
    """Which lives it is tried on (`probe.SCRIPTS`)."""


class DoesNotFit(Exception):
    """The old text of a mutant is not in its file, or more than once."""


def applied(text: str, edit: Edit) -> str:
    """Return a file's text with one edit made; raises `DoesNotFit`."""
    found = text.count(edit.old)
    if found != 1:
        raise DoesNotFit(f"{edit.file}: found {found} times: {edit.old.strip().splitlines()[0]}")
    assert edit.old != edit.new, "a mutant changes something"
    return text.replace(edit.old, edit.new)


def files_of(mutant: Mutant, root: Path) -> dict[str, str]:
    """Return file → its text with all edits of a mutant made; raises `DoesNotFit`."""
    found: dict[str, str] = {}
    for edit in mutant.edits:
        text = found.get(edit.file) or (root / edit.file).read_text(encoding="utf-8")
        found[edit.file] = applied(text, edit)
    return found
