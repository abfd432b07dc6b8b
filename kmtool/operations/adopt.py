"""Lets a shop be at home where it is now: after a copy, a new machine, a lost home file.

A journal that belongs to the database is replayed; without one every free key is kept out of sale
until it is reconciled. The place that was home before is retired where it can be reached, and
nobody may be sending there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from kmtool.config import Config
from kmtool.errors import KmError, Locked, Refused
from kmtool.operations import audit, home, journal_whole, sender
from kmtool.operations.journal_check import older
from kmtool.operations.move import clear_unfinished
from kmtool.operations.replay import last_word
from kmtool.operations.restore import Figures, Settled, figures_of, settle
from kmtool.shop import Shop
from kmtool.store import house, machines
from kmtool.store.db import Db, connect


@dataclass(frozen=True, slots=True)
class Outlook:
    """What adopting means here: why it is asked, where home was, is the journal at hand."""

    why: str
    was: str
    journal: bool
    joins: bool
    figures: Figures


@dataclass(frozen=True, slots=True)
class Adopted:
    """A shop that is at home here now; `retired` is the place that sends no more."""

    place: str
    was: str
    retired: bool
    settled: Settled


def outlook(shop: Shop) -> Outlook:
    """Look at what adopting would do; raises `Refused` when the shop is at home here already."""
    found = home.away(shop)
    if found is None:
        raise Refused(detail="the shop is at home here already", mend="kmtool deliver")
    return Outlook(
        why=found.why,
        was=found.place,
        journal=home.owns_journal(shop),
        joins=_joins(shop),
        figures=figures_of(shop),
    )


def adopt(shop: Shop, *, journal_complete: bool = False) -> Adopted:
    """Make this the shop's home. `journal_complete` is the owner's word for a journal of old.

    Raises `Locked` when somebody sends here or at the old place.
    """
    shop.must_be_writable(anywhere=True)
    found = outlook(shop)
    with sender.alone(shop), _other_place(shop, found.was) as other:
        joins = found.joins
        if not shop.db.rehearsing:
            clear_unfinished(shop)
        if other is not None and not shop.db.rehearsing:
            _make_whole(replace(shop, config=_at(shop, Path(found.was)), db=other))
        settled = Settled(True) if joins else settle(shop, trusted=journal_complete)
        home.settle(shop, "adopted", fresh=not settled.journal)
        if other is not None and not shop.db.rehearsing:
            with other.tx():
                place = home.place_of(shop.config, shop.db)
                machines.retire_homes(other, place, shop.now_ms())
    if not shop.db.rehearsing:
        audit.accept_if_older(shop, "db adopt")
    place = home.place_of(shop.config, shop.db)
    return Adopted(place, found.was, other is not None, settled)


def _make_whole(there: Shop) -> None:
    """The place that was home knows what the journal may have lost: the last chance to ask it."""
    with suppress(KmError):
        if not older(there):
            journal_whole.write_missing(there, last_word(there.journal).last)


def _joins(shop: Shop) -> bool:
    """Tell whether this is the very database that others serve too: one more machine for it."""
    if shop.db.dialect == "sqlite":
        return False
    row = machines.home(shop.db)
    return row is not None and row["place"] == home.place_of(shop.config, shop.db)


@contextmanager
def _other_place(shop: Shop, place: str) -> Iterator[Db | None]:
    """Open the database that was at home before, while nobody sends from there."""
    path = Path(place)
    here = shop.config.database
    if not place or "://" in place or place.startswith("postgresql:") or not path.is_file():
        yield None
        return
    if isinstance(here, Path) and path.resolve() == here.resolve():
        yield None
        return
    try:
        other = connect(path)
    except KmError:
        yield None
        return
    with closing(other):
        mine = house.meta(shop.db, home.DATABASE_ID)
        if house.meta(other, home.DATABASE_ID) != mine:
            yield None
            return
        there = replace(shop, config=_at(shop, path), db=other)
        try:
            with sender.alone(there, beside=shop):
                yield other
        except Locked as error:
            raise Locked(
                detail="{problem}, from {place}",
                problem=error.message(),
                place=place,
                mend="stop it there first: kmtool run stop",
            ) from None


def _at(shop: Shop, path: Path) -> Config:
    return replace(shop.config, data=replace(shop.config.data, database=str(path)))
