"""One thing that waits for a person: its money, its age and the one command that settles it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_PLAIN = re.compile(r"\w[\w.:@+/-]*")


@dataclass(frozen=True, slots=True)
class NeedsYou:
    """One thing for a person: its money, since when, the command.

    What the owner has to fill in stands in capitals (`FILE`, `SKU`). `rank` orders the screen.
    `assumed`: nobody knows its money (a sale by hand that a restore brought back).
    """

    what: str
    amount_minor: int
    currency: str
    since_ms: int
    command: str
    orders: int = 0
    rank: int = field(default=0, repr=False)
    assumed: bool = False


def quoted(name: str) -> str:
    """Return a name as it has to be typed; what only looks like an option is quoted too."""
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', "") + '"'
