"""Brings a backup back without selling a key twice: restore, replay, the drill that proves it.

The backup is made whole beside the database: opened, brought up to date, its dead sessions buried,
the send journal replayed (without a journal that belongs to it: every free key out of sale), its
promises checked. Only then it takes the place of the database, in one step (SQLite: its own backup,
backwards; PostgreSQL: all rows in one transaction, from a trial database): whoever dies before
leaves everything as it was.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from kmtool.clock import Clock
from kmtool.config import Config
from kmtool.domain.ids import SessionId
from kmtool.domain.states import EffectKind
from kmtool.errors import (
    Broken,
    DatabaseDamaged,
    FileMissing,
    InputRefused,
    KmError,
    NotSetUp,
    Refused,
    marked,
)
from kmtool.locks import FileLock
from kmtool.operations import audit, backup, bought_before, doctor, home, journal_whole, sender
from kmtool.operations.copy import compared
from kmtool.operations.doctor import Check
from kmtool.operations.journal_check import last_chance, older
from kmtool.operations.refunds import take_back, unpack
from kmtool.operations.replay import Replayed, last_word, replay
from kmtool.shop import Shop
from kmtool.store import copying, house, machines, maintenance, sessions, transfer
from kmtool.store import doctor as store
from kmtool.store.db import connect
from kmtool.store.migrations import migrate

_TRIAL, _IN_USE = ".restore-", "in-use"

Opener = Callable[[Config], AbstractContextManager[Shop]]
"""Opens the shop of a configuration (app.open_shop with a clock)."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a person knows a shop by."""

    orders: int
    keys: int
    free: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a restore would do: the backup, what is there now (None: it cannot be read)."""

    file: str
    backup: Figures
    present: Figures | None
    journal: bool


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of keys when a copy was brought up to the journal."""

    journal: bool
    replayed: Replayed = field(default_factory=Replayed)
    quarantined: int = 0
    broken: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class Restored:
    """A finished (or rehearsed) restore; `saved` is the database that was there before.

    `away` says why nothing is sent from here all the same (the shop is at home elsewhere).
    """

    file: str
    figures: Figures
    settled: Settled
    saved: str | None
    kept: bool
    away: str = ""


@dataclass(frozen=True, slots=True)
class Drill:
    """A backup that was restored on trial."""

    file: str
    figures: Figures
    settled: Settled
    seconds: float
    ok: bool


def outlook(config: Config, file: Path, open_it: Opener) -> Outlook:
    """Look at a backup beside the present database, before anything is decided."""
    _must_be_backup(file)
    with ExitStack() as stack:
        present = _opened(config, open_it, stack)
        shop = stack.enter_context(_copy(config, file, open_it))
        _must_be_same_shop(file, shop, present)
        last_chance(present)
        there = None if present is None else figures_of(present)
        return Outlook(str(file), figures_of(shop), there, home.owns_journal(shop))


def restore(
    config: Config, clock: Clock, file: Path, open_it: Opener, *, keep: bool = True
) -> Restored:
    """Make a backup the database; without `keep` everything is tried on a copy only.

    Raises `Locked` while somebody sends, `InputRefused` for a file that is no backup of this shop.
    """
    _must_be_backup(file)
    with ExitStack() as stack:
        present = _opened(config, open_it, stack)
        if keep:
            alone = sender.alone(present) if present else sender.locked_out(config)
            stack.enter_context(alone)
            last_chance(present)
        with _copy(config, file, open_it) as shop:
            _must_be_same_shop(file, shop, present)
            settled, figures = settle(shop), figures_of(shop)
            if not keep:
                return Restored(str(file), figures, settled, None, kept=False)
            _take_token(shop, present)
            saved = _save(config, clock, present)
            _put_back(config, shop)
    try:
        with open_it(config) as shop:
            away = _arrived(shop, file, settled)
    except (OSError, Broken) as error:
        raise Broken(
            detail="the backup is the database now, but what follows failed: {problem}",
            problem=error.message() if isinstance(error, Broken) else error,
            mend="make room on the disk, then: kmtool db restore --replay, and kmtool doctor",
        ) from error
    return Restored(str(file), figures, settled, str(saved) if saved else None, True, away)


def replay_here(shop: Shop) -> Settled:
    """Bring the present database up to the journal; `Locked` while somebody sends.

    Raises `Refused` when there is no journal that belongs to it.
    """
    shop.must_be_writable()
    if not home.owns_journal(shop):
        raise Refused(
            detail="there is no send journal here that belongs to this database",
            where=str(shop.journal.path),
            mend="put the journal back, or: kmtool db restore FILE, which keeps stock out of sale",
        )
    with sender.alone(shop):
        settled = settle(shop)
    if not shop.db.rehearsing:
        _take_token(shop)
        audit.accept_if_older(shop, "db restore --replay")
    return settled


def settle(shop: Shop, *, trusted: bool = False) -> Settled:
    """Bury the sessions of a copy, then replay the journal or take all free keys out of sale.

    `trusted`: a person says that the journal here is complete, though nothing else does.
    """
    for row in sessions.live(shop.db):
        sender.close(shop, SessionId(row["id"]), "dead")
    for number in store.orphan_sessions(shop.db):
        sender.close(shop, SessionId(number), "dead")
    if _has_journal(shop) or (trusted and shop.journal.parts()):
        done, taken, journal = replay(shop), 0, True
        journal_whole.note_size(shop)
    else:
        # What it does say holds all the same; what it does not say may have been sent.
        done = replay(shop) if shop.journal.parts() else Replayed()
        taken, journal = _quarantine(shop), False
    checks = tuple(doctor.ledger_checks(shop)) if journal else _without_journal(shop)
    return Settled(journal, done, taken, doctor.Health(checks).blocking)


def _has_journal(shop: Shop) -> bool:
    """Tell whether the journal of this database is here, and names all that was delivered here."""
    if not home.owns_journal(shop):
        return False
    word = last_word(shop.journal)
    if journal_whole.lacks_purchases(shop, word):
        return False
    return machines.delivered_keys(shop.db) <= {*word.sent, *word.released}


def drill(shop: Shop, open_it: Opener) -> Drill:
    """Restore the newest backup on trial, check it, and write down when that was.

    Raises `Refused` when there is no backup.
    """
    found = backup.newest(shop.config)
    if found is None:
        raise Refused(detail="there is no backup yet", mend="kmtool db backup")
    began = shop.clock.monotonic()
    try:
        with _copy(shop.config, found.path, open_it) as copy:
            settled, figures = settle(copy), figures_of(copy)
            opened = [check for check in doctor.opening_checks(copy) if not check.ok]
            wrong = (*settled.broken, *opened)
    except KmError as error:
        _note_drill(shop, str(error), ok=False)
        raise
    ok = not wrong
    what = "; ".join(f"{check.name}: {check.figure}" for check in wrong) or found.path.name
    _note_drill(shop, what, ok=ok)
    seconds = round(shop.clock.monotonic() - began, 1)
    return Drill(str(found.path), figures, replace(settled, broken=wrong), seconds, ok)


def _note_drill(shop: Shop, what: str, *, ok: bool) -> None:
    with shop.db.tx():
        house.set_meta(shop.db, backup.DRILLED, str(shop.now_ms()))
        house.set_meta(shop.db, backup.DRILL_FOUND, ("ok " if ok else "not ok ") + what[:300])
        shop.audit("drill", "backup", ("ok " if ok else "not ok ") + what[:200])


def _must_be_backup(file: Path) -> None:
    if not file.is_file():
        raise FileMissing(name=file, mend="kmtool db backups")
    found = backup.verify(file)
    if found != "ok":
        raise InputRefused(
            detail="{name} does not open as a backup: {problem}",
            name=file.name,
            problem=found,
            mend="kmtool db backups",
        )


@contextmanager
def _copy(config: Config, file: Path, open_it: Opener) -> Iterator[Shop]:
    """Yield a shop on a copy of a backup that nobody else sees; it goes afterwards.

    It lies beside the database: there is room, and what buyers wrote stays in the shop folder.
    """
    base = config.database.parent if isinstance(config.database, Path) else config.root / "shop"
    base.mkdir(parents=True, exist_ok=True)
    _clear(base)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=_TRIAL, dir=base))
        lock = FileLock(Path(folder) / _IN_USE)
        lock.acquire()
        stack.callback(lock.release)
        if isinstance(config.database, str):
            database = stack.enter_context(backup.scratch(config.database, file))
        else:
            database = str(Path(folder) / "shop.db")
            shutil.copyfile(file, database)
        yield stack.enter_context(open_it(_elsewhere(config, database, folder)))


def _clear(base: Path) -> None:
    """Remove what a restore left that was killed: nobody holds its lock."""
    for folder in base.glob(f"{_TRIAL}*"):
        lock = FileLock(folder / _IN_USE)
        if not (folder / _IN_USE).exists():
            with suppress(OSError):
                folder.rmdir()
        elif lock.acquire():
            lock.release()
            shutil.rmtree(folder, ignore_errors=True)


def _elsewhere(config: Config, database: str, folder: str) -> Config:
    """Return the same shop with another database; copies before an update go into the folder."""
    return replace(config, data=replace(config.data, database=database, backups=folder))


def _put_back(config: Config, shop: Shop) -> None:
    """Let the settled copy be the database: one step, whoever is reading meanwhile."""
    if isinstance(config.database, Path):
        whole = Path(str(shop.config.database)).with_name("whole.db")
        copying.copy_sqlite(shop.db, whole)
        copying.put_back(whole, config.database)
        return
    with closing(connect(config.database)) as live:
        migrate(live, shop.clock)
        with transfer.snapshot(shop.db), live.tx():
            names = list(transfer.carry(shop.db, live, shop.progress))
            transfer.sequences(shop.db, live)
            compared(shop.db, live, names)


def _must_be_same_shop(file: Path, shop: Shop, present: Shop | None) -> None:
    """A backup of another shop may open too, when its master key is on this machine."""
    if present is None:
        return
    ids = {house.meta(one.db, home.DATABASE_ID) for one in (shop, present)}
    if len(ids) > 1:
        raise InputRefused(
            detail="{name} is a backup of another shop", name=file.name, mend="kmtool db backups"
        )


def figures_of(shop: Shop) -> Figures:
    """Return what a person knows a shop by."""
    row = machines.figures(shop.db)
    return Figures(row["orders"], row["keys"], row["free"], row["last_ms"])


def _opened(config: Config, open_it: Opener, stack: ExitStack) -> Shop | None:
    """Open the present shop; None when its database is gone, empty or damaged."""
    try:
        shop = stack.enter_context(open_it(config))
    except (DatabaseDamaged, NotSetUp):
        if isinstance(config.database, str):
            raise
        return None
    return None if maintenance.integrity(shop.db, quick=True) else shop


def _save(config: Config, clock: Clock, present: Shop | None) -> Path | None:
    """Keep the database that is there: as a copy that opens, or as it lies when it is damaged."""
    if isinstance(config.database, str):
        assert present is not None
        return Path(backup.backup(present).file)
    target = config.folder("backups") / f"before-restore-{clock.now_ms()}.db"
    if present is not None:
        copying.copy_sqlite(present.db, target)
        return target
    if not config.database.exists():
        return None
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(config.database, target)
    return target


def _take_token(shop: Shop, present: Shop | None = None) -> None:
    """Let a copy be at home where the home file says; a stopped sender stays fenced off."""
    file = home.read_home(shop.journal.path)
    with shop.db.tx():
        if file is not None and machines.home(shop.db) is not None:
            machines.take_token(shop.db, file.tokens[-1])
        if present is not None:
            epoch = house.meta(present.db, machines.EPOCH)
            house.set_meta(shop.db, machines.EPOCH, epoch or "0")


def _arrived(shop: Shop, file: Path, settled: Settled) -> str:
    """The database is the restored one: bind it if it has no home, put the restore on record.

    Returns why nothing is sent from here, empty when the shop is at home.
    """
    if settled.journal and older(shop):  # somebody showed a key while pages were copied
        replay(shop)
    bound = machines.home(shop.db) and home.read_home(shop.journal.path)
    if not bound or (not settled.journal and home.away(shop) is None):
        home.settle(shop, "restored", fresh=not settled.journal)
    with shop.db.tx():
        shop.audit("db.restore", file.name, told_of(settled))
    audit.accept_restored(shop, f"db restore {file.name}")
    found = home.away(shop)
    return "" if found is None else found.why


def told_of(settled: Settled) -> str:
    """Return what became of the keys, in one line for the audit."""
    if not settled.journal:
        return f"no journal: {settled.quarantined} keys out of sale"
    done = settled.replayed
    return f"{done.records} records: {done.bound} bound again, {done.waiting} wait"


def _quarantine(shop: Shop) -> int:
    """Take every key that may have been sold since out of sale; unsent parcels are undone first."""
    with shop.db.tx():
        for effect in machines.untried(shop.db):
            undo = take_back if effect["kind"] == EffectKind.REPLACE else unpack
            undo(shop, effect, marked("the stock is reconciled after a restore first"))
        taken = machines.quarantine_free(shop.db, shop.now_ms())
        house.set_meta(shop.db, machines.UNPROVED, str(shop.now_ms()))
        bought_before.lose_journal(shop)
        shop.audit("quarantine", "stock", f"{taken} keys: restored without a send journal")
    return taken


def _without_journal(shop: Shop) -> tuple[Check, ...]:
    return tuple(check for check in doctor.ledger_checks(shop) if check.name != "journal")
