"""What the owner decided and has in the drawer: the other half of the truth.

A restore takes the shop back to a past point, and the owner's decisions since then with it: each is
kept with the sequence number of its commit and with what takes it back (`Owner.back_to`). What the
owner has outside of the shop (files of keys, exports of pools) is brought in again afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kmtool.config import Config
    from kmtool.sim.stage import Stage
    from kmtool.sim.world import Name


@dataclass
class Brought:
    """A file of keys in the owner's drawer. `undone`: it was a mistake, and was taken out again."""

    name: str
    sku: str
    data: bytes
    keys: tuple[str, ...]
    uses: int | None = None
    supplier: str = "sup1"
    mode: str = ""
    undone: bool = False
    here: bool = True
    """The shop has it: False after it was set back, until it is brought in again."""
    batch: str = ""
    whole: bool = True
    """All its keys came in with that batch; else some of them lie in an earlier one."""


@dataclass
class Pool:
    """A platform's own pool: what lies in it, and what it gave to whom."""

    name: str
    lying: list[str] = field(default_factory=list)
    given: dict[str, str] = field(default_factory=dict)
    """key → the platform's order number"""
    files: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class Point:
    """A moment that can be come back to: a backup, a copied file, or a copied folder."""

    kind: str
    path: Path
    seq: int
    journal_seq: int = 0


@dataclass
class Burst:
    """Orders that came at once: no more than `limit` pieces may leave within the hour unasked
    (of one product, where it is named)."""

    names: frozenset[Name]
    limit: int
    until_ms: int
    pieces: int = 0
    seen: set[Name] = field(default_factory=set)
    sku: str = ""


@dataclass
class Owner:
    """Decisions, drawer, unfinished business."""

    files: list[Brought] = field(default_factory=list)
    gone: dict[str, int] = field(default_factory=dict)
    """key → sequence of the commit that took it out of sale: no later intent may send it."""
    paused: dict[str, int] = field(default_factory=dict)
    """scope → sequence of the commit that paused it."""
    modes: dict[str, tuple[str, int]] = field(default_factory=dict)
    """channel → its mode and the sequence since which every new process knows it."""
    released: set[Name] = field(default_factory=set)
    """Orders that the owner let go: the gates that ask are open."""
    pools: dict[str, Pool] = field(default_factory=dict)
    bursts: list[Burst] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    places: list[Config] = field(default_factory=list)
    """Places that were given up: nothing may be sent from there."""
    unfinished: list[tuple[str, Callable[[Stage], object]]] = field(default_factory=list)
    """Commands that died on the way: they are given again."""
    buyers: int = 0
    text: int = 1
    """The number of the text that is sold without limit."""
    text_here: bool = True
    pictures_here: bool = False
    """The shop knows the products that are pictures: False after it was set back to before."""
    rewritten: set[Name] = field(default_factory=set)
    """Orders whose messages may have been written anew after the shop was set back."""
    set_back: bool = False
    """Something happened to the whole shop: stock and record are looked over in the end."""
    sold: set[str] = field(default_factory=set)
    """Sold when the journal was lost: only the buyers know. Left out of files brought again."""
    resorted: set[Name] = field(default_factory=set)
    """Orders that got other keys in the end, because nothing else helped: once each."""
    counter: dict[Name, int] = field(default_factory=dict)
    """Sales over the counter → the commit with which the shop knew of them."""
    hurt: int = -1
    """How many starts there had been when the send journal was last hurt."""
    forgetful: set[Name] = field(default_factory=set)
    """Orders that a restore without a journal forgot: their buyers may get keys anew."""
    _log: list[tuple[int, Callable[[], object]]] = field(default_factory=list)

    def lent(self) -> set[str]:
        """Return the keys that lie in pools or were given out there."""
        return {key for pool in self.pools.values() for key in (*pool.lying, *pool.given)}

    def decided(self, seq: int, back: Callable[[], object]) -> None:
        """Keep what takes a decision back that was written with commit `seq`."""
        self._log.append((seq, back))

    def back_to(self, seq: int) -> int:
        """Take back every decision that was written after commit `seq`; return how many."""
        count = 0
        while self._log and self._log[-1][0] > seq:
            self._log.pop()[1]()
            count += 1
        return count
