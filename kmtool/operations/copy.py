"""Moves a shop between SQLite and PostgreSQL: all tables, compared, and the way to switch.

The source stays as it is. The copy is at home nowhere until kmtool.toml names it and it is adopted;
with `switch` both happens at once and the source is retired.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from kmtool import config as configuration
from kmtool.config import Config
from kmtool.durable import write_whole
from kmtool.errors import Broken, ConfigError, InputRefused, Refused, told
from kmtool.operations import config_text, home, sender
from kmtool.operations.journal_check import last_chance
from kmtool.shop import Shop
from kmtool.store import machines, transfer
from kmtool.store.db import Db, connect
from kmtool.store.migrations import migrate
from kmtool.store.transfer import Figures


@dataclass(frozen=True, slots=True)
class Copied:
    """A shop in another database; `switched` when kmtool.toml names it now."""

    target: str
    tables: tuple[Figures, ...]
    rows: int
    sequences: int
    switched: bool
    kept: bool


def copy(shop: Shop, target: str, *, switch: bool = False, keep: bool = True) -> Copied:
    """Copy the shop into an empty database at a path or a `postgresql://` address.

    Counts and sums of every table are compared before anything is kept. Raises `Locked` while
    somebody sends, `Refused` when the target is not empty or is the source itself, `AwayFromHome`
    when a copy that may not send is to be switched.
    """
    shop.must_be_writable(anywhere=True)  # it says itself whether it may
    if switch:
        home.must_not_be_away(shop)
    place = _target(shop, target)
    with ExitStack() as stack:
        stack.enter_context(sender.alone(shop))
        if switch and keep:
            last_chance(shop)
        fresh = isinstance(place, Path) and not place.exists()
        other = connect(place, create=True)
        stack.callback(other.close)
        try:
            done = _carried(shop, other, keep=keep)
        except BaseException:
            _leave_nothing(place, other, made=fresh)
            raise
        if not keep:
            _leave_nothing(place, other, made=fresh)
            return replace(done, target=target)
        if switch:
            _switch(shop, other, target)
    return replace(done, target=target, switched=switch)


def compared(source: Db, target: Db, names: Iterable[str]) -> tuple[Figures, ...]:
    """Return the figures of every table; `Broken` names the first that differs."""
    found = []
    for name in names:
        there, here = transfer.figures(source, name), transfer.figures(target, name)
        if there != here:
            raise Broken(
                detail="{table} differs in the copy: {there} rows there, {here} here",
                table=name,
                there=there.rows,
                here=here.rows,
                mend="nothing was kept; kmtool db check",
            )
        found.append(here)
    return tuple(found)


def _target(shop: Shop, target: str) -> str | Path:
    place: str | Path = target if "://" in target else (shop.config.root / target).resolve()
    same = place == shop.config.database or (
        isinstance(place, Path)
        and isinstance(shop.config.database, Path)
        and place == shop.config.database.resolve()
    )
    if same:
        raise Refused(detail="{target} is this shop's own database", target=target,
                      mend="name another one")  # fmt: skip
    if isinstance(place, Path) and place.is_dir():
        raise InputRefused(
            detail="{target} is a folder",
            target=target,
            mend="name a file, such as {target}/shop.db",
        )
    return place


def _carried(shop: Shop, other: Db, *, keep: bool) -> Copied:
    migrate(other, shop.clock)
    if not transfer.is_empty(other):
        raise Refused(
            detail="the target holds a shop already; nothing was copied", mend="name an empty one"
        )
    with ExitStack() as stack:
        stack.enter_context(transfer.snapshot(shop.db))
        stack.enter_context(other.tx() if keep else other.rehearsal())
        names = list(transfer.carry(shop.db, other, shop.progress))
        count = transfer.sequences(shop.db, other)
        found = compared(shop.db, other, names)
    return Copied("", found, sum(one.rows for one in found), count, switched=False, kept=keep)


def _leave_nothing(place: str | Path, other: Db, *, made: bool) -> None:
    """A file that was made for a copy that was not kept goes again."""
    if made and isinstance(place, Path):
        other.close()
        for suffix in ("", "-wal", "-shm"):
            place.with_name(place.name + suffix).unlink(missing_ok=True)


def _switch(shop: Shop, other: Db, target: str) -> None:
    """Retire the source, write kmtool.toml, let the copy be at home: in this order."""
    config, now = shop.config, shop.now_ms()
    switched = write_database(config, target, now)
    with shop.db.tx():
        machines.retire_homes(shop.db, target.partition("@")[2] or target, now)
        shop.audit("db.copy", "database", "switched")
    with other.tx():
        token = home.write_home(switched, other, now)
    home.keep_home(shop.journal.path, switched, other, token)


def write_database(config: Config, target: str, stamp_ms: int) -> Config:
    """Let kmtool.toml name another database; nothing else in it may change. Returns it loaded."""
    old = config_text.read(config.path)
    new = config_text.set_values(old, ("data",), {"database": target})
    trial = config.path.with_name(f".{config.path.name}.new")
    by_hand = told('write database = "{target}" into [data] of kmtool.toml', target=target)
    try:
        trial.write_bytes(new.text.encode(new.encoding))
        loaded = replace(configuration.load(trial), path=config.path)
        if replace(loaded, data=replace(loaded.data, database=config.data.database)) != config:
            raise Refused(detail="the change would alter other settings too", mend=by_hand)
        folder = config.folder("backups")
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"kmtool-{stamp_ms}.toml", old.raw, private=True)
        shutil.copymode(config.path, trial)
        trial.replace(config.path)
    except (OSError, ConfigError) as error:
        raise Refused(
            detail="kmtool.toml cannot be changed: {error}", error=error, mend=by_hand
        ) from None
    finally:
        trial.unlink(missing_ok=True)
    return loaded
