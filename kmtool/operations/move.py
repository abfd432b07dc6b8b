"""Moves a shop: to another folder of this machine, or packed into one file for another machine.

The order is the safety: copy, retire the old place (nothing is sent from there any more), take the
last state with it, let the new place be at home. Whoever dies in between has a shop that sends
nothing until `kmtool db adopt` says where it is at home.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from kmtool import bundle
from kmtool import config as configuration
from kmtool.config import FILE_NAME, Config
from kmtool.domain.secret import Secret
from kmtool.durable import copy_whole, keep_name
from kmtool.errors import Broken, FileMissing, InputRefused, NotSetUp, Refused, marked, told
from kmtool.operations import home, sender
from kmtool.operations.journal_check import last_chance
from kmtool.operations.restore import Figures, figures_of, settle
from kmtool.shop import Shop
from kmtool.store import copying, house, machines
from kmtool.vault import MasterKey, load_master, save_master

Opener = Callable[[Config], AbstractContextManager[Shop]]
_SHOP, _JOURNAL, _MASTER = "shop", "journal", "master.key"
_STAY = {"locks", "logs"}
RETIRED = (
    marked("the shop was not moved ({problem}); nothing is sent from here until you decide"),
    marked("make room, then kmtool db adopt; after that move the shop again, or stay"),
)
NOT_HOME = (
    marked("the shop lies in {folder}, but is not at home there yet ({problem})"),
    marked("make room, then in that folder: kmtool db adopt"),
)


@dataclass(frozen=True, slots=True)
class Moved:
    """Where a shop went; `packed` when it is in a file that waits for another machine."""

    place: str
    figures: Figures
    files: int
    packed: bool
    with_key: bool
    kept: bool


def is_folder(target: Path) -> bool:
    """Tell whether a target means a folder here (else a file to pack the shop into)."""
    return target.suffix != bundle.SUFFIX


def move(shop: Shop, target: Path, open_it: Opener, *, keep: bool = True) -> Moved:
    """Move the shop into a new folder of this machine; the old one is retired.

    Raises `Refused` when the target holds something, `Locked` while somebody sends, `AwayFromHome`
    at a place that may not send.
    """
    shop.must_be_writable(anywhere=True)  # it says itself whether it may
    home.must_not_be_away(shop)
    database = _inside(shop)
    target = target.resolve()
    _must_be_free(shop, target)
    with sender.alone(shop):
        if keep:
            last_chance(shop)
        files = list(_files(shop.config))
        done = Moved(str(target), figures_of(shop), len(files) + 1, False, False, keep)
        if not keep:
            return done
        _clear(shop, target)
        partial = _partial(target)
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, partial, ignore_errors=True)
            partial.mkdir(parents=True, mode=0o700)
            for name in files:
                _copy_file(shop.config.root / name, partial / name)
            _retire(shop, str(target))
            with _told_of(RETIRED):
                copying.copy_sqlite(shop.db, partial / database)
                if target.is_dir():
                    target.rmdir()
                partial.rename(target)
    with _told_of(NOT_HOME, target), open_it(configuration.load(target / FILE_NAME)) as there:
        home.settle(there, "moved")
    return done


def pack(shop: Shop, target: Path, passphrase: Secret | None, *, keep: bool = True) -> Moved:
    """Pack the shop into one sealed file for another machine; this place is retired.

    With a passphrase the master key travels too; without one it has to be there already.
    """
    shop.must_be_writable(anywhere=True)  # it says itself whether it may
    home.must_not_be_away(shop)
    database = _inside(shop)
    target = target.resolve()
    number = house.meta(shop.db, home.DATABASE_ID) or ""
    if passphrase is None and shop.config.private.resolve().is_relative_to(
        shop.config.root.resolve()
    ):
        raise Refused(
            detail="the master key lies in the shop folder and travels with it",
            mend="give a passphrase when you are asked",
        )
    with sender.alone(shop):
        if keep:
            last_chance(shop)
        if target.exists():
            raise Refused(detail="{path} is there already", path=target, mend="name another file")
        files = list(_files(shop.config))
        done = Moved(
            str(target), figures_of(shop), len(files) + 1, True, passphrase is not None, keep
        )
        salt = os.urandom(16) if passphrase is not None else b""
        key = _key_for(shop, number, passphrase, salt)
        if not keep:
            return done
        _clear(shop, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        work = shop.config.root / "shop" / f".move-{shop.now_ms()}"
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, work, ignore_errors=True)
            work.mkdir(parents=True, mode=0o700)
            _retire(shop, str(target))
            stack.enter_context(_told_of(RETIRED))
            copying.copy_sqlite(shop.db, work / "shop.db")
            members = {f"{_SHOP}/{name.as_posix()}": shop.config.root / name for name in files}
            members[f"{_SHOP}/{database.as_posix()}"] = work / "shop.db"
            for part in (*shop.journal.parts(), home.home_path(shop.journal.path)):
                if part.exists():
                    members[f"{_JOURNAL}/{part.name}"] = part
            if passphrase is not None:
                save_master(work / _MASTER, _master(shop, number))
                members[_MASTER] = work / _MASTER
            partial = _partial(target)
            bundle.seal(partial, members, number, key, salt)
            partial.rename(target)
            keep_name(target)
    return done


def unpack(
    file: Path, folder: Path, open_it: Opener, ask: Callable[[], Secret], *, keep: bool = True
) -> Moved:
    """Unpack a shop on its new machine: settings, database, journal, master key; adopt it there."""
    if not file.is_file():
        raise FileMissing(name=file)
    found = bundle.header(file)
    number = str(found["database"])
    folder = folder.resolve()
    if folder.exists() and any(folder.iterdir()):
        raise Refused(detail="{folder} holds something already", folder=folder,
                      mend="name a new folder: kmtool db move --in FILE DIR")  # fmt: skip
    key = (
        bundle.key_of_passphrase(ask(), found)
        if found["kdf"] == "scrypt"
        else bundle.key_of_master(_master_here(number).wrap, number)
    )
    partial = _partial(folder)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, mode=0o700)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, partial, ignore_errors=True)
        bundle.unpack(file, key, partial)
        if not (partial / _SHOP / FILE_NAME).is_file():
            raise InputRefused(detail="{name} holds no shop", name=file.name)
        count = sum(1 for path in (partial / _SHOP).rglob("*") if path.is_file())
        config = configuration.load(partial / _SHOP / FILE_NAME)
        _place_private(config, partial, folder, number, keep=keep)
        if not keep:
            return Moved(str(folder), Figures(0, 0, 0, 0), count, False, False, kept=False)
        if folder.exists():
            folder.rmdir()
        (partial / _SHOP).rename(folder)
    with _told_of(NOT_HOME, folder), open_it(configuration.load(folder / FILE_NAME)) as shop:
        settle(shop)
        home.settle(shop, "moved")
        done = figures_of(shop)
    return Moved(str(folder), done, count, False, found["kdf"] == "scrypt", kept=True)


def clear_unfinished(shop: Shop) -> None:
    """Remove what a journey left whose process was killed after it had retired this place."""
    row = machines.home(shop.db)
    if row is not None and row["state"] == "retired" and row["moved_to"]:
        _clear(shop, Path(row["moved_to"]))


def _clear(shop: Shop, target: Path) -> None:
    for left in (shop.config.root / "shop").glob(".move-*"):
        shutil.rmtree(left, ignore_errors=True)
    partial = _partial(target)
    if partial.is_dir():
        shutil.rmtree(partial, ignore_errors=True)
    else:
        with suppress(OSError):
            partial.unlink()


def _partial(target: Path) -> Path:
    """Return where a shop grows before it gets its name."""
    return target.with_name(target.name + ".part")


def _inside(shop: Shop) -> Path:
    """Return the database's path within the shop folder."""
    database = shop.config.database
    if isinstance(database, str):
        raise Refused(
            detail="the database is on a server and does not move with the folder",
            mend="kmtool db copy --to FILE --switch first, or copy the folder and adopt it there",
        )
    try:
        return database.resolve().relative_to(shop.config.root.resolve())
    except ValueError:
        raise Refused(
            detail="the database {path} lies outside the shop folder",
            path=database,
            mend="kmtool db copy --to shop/shop.db --switch first",
        ) from None


def _must_be_free(shop: Shop, target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Refused(detail="{path} holds something already", path=target,
                      mend="name a new folder")  # fmt: skip
    if target.is_relative_to(shop.config.root.resolve()):
        raise Refused(detail="{path} lies inside the shop folder", path=target,
                      mend="name a folder beside it")  # fmt: skip


def _files(config: Config) -> Iterator[Path]:
    """Yield what belongs to the shop, but for the database, locks, logs and passing files."""
    root = config.root.resolve()
    database = config.database
    assert isinstance(database, Path)
    own = {database.with_name(database.name + end).resolve() for end in ("", "-wal", "-shm")}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        hidden = any(part.startswith((".restore-", ".move-")) for part in name.parts)
        if path.is_file() and not path.is_symlink() and path.resolve() not in own and not hidden:
            if _STAY & set(name.parts[:-1]):
                continue
            yield name


def _copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


@contextmanager
def _told_of(what: tuple[str, str], folder: Path | None = None) -> Iterator[None]:
    """Say where a journey stands that the disk stopped after the old place was retired."""
    try:
        yield
    except (OSError, Broken) as error:
        problem = error.message() if isinstance(error, Broken) else told("{e}", e=error)
        detail, mend = what
        raise Broken(detail=detail, problem=problem, folder=folder, mend=mend) from error


def _retire(shop: Shop, place: str) -> None:
    """From here on nothing is sent from the old place, whatever happens next."""
    with shop.db.tx():
        machines.retire_homes(shop.db, place, shop.now_ms())
        shop.audit("db.move", "database", place[:200])


def _key_for(shop: Shop, number: str, passphrase: Secret | None, salt: bytes) -> bytes:
    if passphrase is None:
        return bundle.key_of_master(_master(shop, number).wrap, number)
    found: dict[str, object] = {"salt": salt.hex(), **bundle.COST}
    return bundle.key_of_passphrase(passphrase, found)


def _master(shop: Shop, number: str) -> MasterKey:
    return load_master(shop.config.private / "keys" / f"{number}.key")


def _master_here(number: str) -> MasterKey:
    """The other machine must have the key already when it is not in the bundle."""
    return load_master(configuration.user_folder() / "keys" / f"{number}.key")


def _place_private(config: Config, partial: Path, folder: Path, number: str, *, keep: bool) -> None:
    """Put journal and master key where this machine keeps them; what is there is never replaced."""
    at = replace(config, path=folder / FILE_NAME).private
    if folder in at.resolve().parents:
        return  # they lay in the shop folder and came with it
    key, journal = at / "keys" / f"{number}.key", at / "journal"
    packed = partial / _MASTER
    if packed.is_file() and key.exists() and key.read_text() != packed.read_text():
        raise Refused(detail="another master key of this shop is at {path}", path=key,
                      mend="lay it aside, then repeat the command")  # fmt: skip
    if not packed.is_file() and not key.exists() and "KMTOOL_MASTER_KEY" not in os.environ:
        raise NotSetUp(
            detail=told("the master key is not in the file and not at {path}", path=key),
            mend="put it there from your recovery copy, then repeat the command",
        )
    for part in sorted((partial / _JOURNAL).glob("*")) if (partial / _JOURNAL).is_dir() else ():
        there = journal / part.name
        if part.suffix == ".log" and there.exists() and not _goes_on(there, part):
            raise Refused(detail="another send journal of this shop is at {path}", path=there,
                          mend="lay it aside if it is older, then repeat")  # fmt: skip
    if not keep:
        return
    if packed.is_file() and not key.exists():
        save_master(key, MasterKey.parse(packed.read_text(), packed.name))
    journal.mkdir(parents=True, exist_ok=True, mode=0o700)
    for part in sorted((partial / _JOURNAL).glob("*")) if (partial / _JOURNAL).is_dir() else ():
        copy_whole(part, journal / part.name, private=True)


def _goes_on(there: Path, packed: Path) -> bool:
    """Tell whether the packed journal begins with all that the one here holds."""
    size = there.stat().st_size
    if packed.stat().st_size < size:
        return False
    with packed.open("rb") as new, there.open("rb") as old:
        while block := old.read(1 << 20):
            if new.read(len(block)) != block:
                return False
    return True
