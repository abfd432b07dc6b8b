"""Where the shop is at home: only there anything is sent; a copy or another machine asks first.

- The home file lies beside the send journal, in the user's data folder: the newest token, the ones
  before it, the place and the machine. The database holds the same token (`homes`).
- A machine is known by an id kept in the user's data folder; names change and are cloned, so the
  name counts only together with what the operating system says of itself.
- A folder that was renamed (the old place holds no database any more) is still at home: it gets a
  new token, so that a copy that turns up at the old place is noticed.
- On PostgreSQL each machine that sends is at home; the place is the cluster and the database.
"""

from __future__ import annotations

import hashlib
import json
import platform
import secrets
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kmtool.config import Config, user_folder
from kmtool.durable import write_whole
from kmtool.errors import AwayFromHome, told
from kmtool.shop import Shop, work_there
from kmtool.store import house, machines
from kmtool.store.db import Db, Row

DATABASE_ID = "database_id"
HOST = "host"
_MACHINE_FILE = "machine.json"
_TOKENS_KEPT = 50


@dataclass(frozen=True, slots=True)
class Machine:
    """This machine: the id in the user's data folder, what the system says, its name."""

    id: str
    system: str
    host: str


@dataclass(frozen=True, slots=True)
class HomeFile:
    """What lies beside the journal: tokens (the newest last), place and machine."""

    tokens: tuple[str, ...]
    place: str
    machine: str


@dataclass(frozen=True, slots=True)
class Away:
    """Why nothing may be sent from here; `place` is where the shop is at home (if known)."""

    why: str
    place: str = ""


def here() -> Machine:
    """Return this machine; its id is made at first use.

    A data folder that came from another machine (its system id differs) gets an id of its own.
    """
    path = user_folder() / _MACHINE_FILE
    system = system_id()
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["system"] in ("", system) or not system:
            return Machine(str(known["id"]), system, host_name())
    except (OSError, ValueError, KeyError, TypeError):
        pass
    made = {"id": secrets.token_hex(16), "system": system}
    write_private(path, json.dumps(made))
    return Machine(made["id"], system, host_name())


def host_name() -> str:
    """Return the name of this machine."""
    return platform.node()


@cache
def system_id() -> str:
    """Return a digest of what the operating system says of itself, empty when it says nothing."""
    text = ""
    if sys.platform == "win32":
        import winreg

        try:
            with winreg.OpenKey(
                winreg.HKEY_LOCAL_MACHINE, r"SOFTWARE\Microsoft\Cryptography"
            ) as key:
                text = str(winreg.QueryValueEx(key, "MachineGuid")[0])
        except OSError:
            text = ""
    else:
        try:
            text = Path("/etc/machine-id").read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            text = ""
    return hashlib.sha256(b"kmtool:" + text.encode()).hexdigest()[:32] if text else ""


def home_path(journal: Path) -> Path:
    """Return where the home file of a shop lies: beside its journal."""
    return journal.with_suffix(".home")


def read_home(journal: Path) -> HomeFile | None:
    """Return the home file, None when there is none that can be read."""
    try:
        found = json.loads(home_path(journal).read_text(encoding="utf-8"))
        return HomeFile(tuple(found["tokens"]), str(found["place"]), str(found["machine"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def place_of(config: Config, db: Db) -> str:
    """Return what tells this database from a copy of it: its path, or cluster and database."""
    if isinstance(config.database, Path):
        return str(config.database.resolve())
    return machines.server_identity(db)


def away(shop: Shop) -> Away | None:
    """Return why nothing may be sent from here, None when the shop is at home."""
    machine = here()
    row = _row(shop.db, machine)
    if row is None:
        return _never_bound(shop, machine)
    if row["state"] == "retired":
        if not row["moved_to"]:
            return Away(told("this copy was given up"))
        return Away(
            told("the shop was moved to {place}", place=row["moved_to"]), str(row["moved_to"])
        )
    if not _is_same_machine(row, machine):
        return Away(
            told(
                "the shop is at home on {home}, this is {here}", home=row["host"], here=machine.host
            )
        )
    file = read_home(shop.journal.path)
    place = place_of(shop.config, shop.db)
    if file is None or file.tokens[-1:] != (row["token"],):
        if file is not None and file.place != place:
            return Away(
                told("this is a copy; the shop is at home at {place}", place=file.place), file.place
            )
        return Away(told("the home file beside the send journal is gone or another one"))
    if file.place != place and not _was_renamed(shop.config, file):
        return Away(
            told("this is a copy; the shop is at home at {place}", place=file.place), file.place
        )
    return None


def must_be_home(shop: Shop) -> None:
    """Refuse to send from a place that is not the shop's home; bind one that has none yet."""
    must_not_be_away(shop)
    row = _row(shop.db, here())
    file = read_home(shop.journal.path)
    if row is None or (file is not None and file.place != place_of(shop.config, shop.db)):
        settle(shop, "bound" if row is None else "renamed")


def must_not_be_away(shop: Shop) -> None:
    """Refuse at a place that is not the shop's home.

    Asked too before the home is moved: only `adopt` brings a copy up to the journal.
    """
    found = away(shop)
    if found is not None:
        raise AwayFromHome(
            detail=found.why, where=str(shop.config.root), mend=work_there(found.place)
        )


def settle(shop: Shop, how: str, *, fresh: bool = False) -> None:
    """Make this the home: a new token in the database and beside the journal, on record.

    `fresh`: the journal of before is lost; copies from before do not belong to the one that begins.
    """
    with shop.db.tx():
        token = write_home(shop.config, shop.db, shop.now_ms())
        shop.audit(f"home_{how}", "host", place_of(shop.config, shop.db)[:200])
    if not shop.db.rehearsing:
        keep_home(shop.journal.path, shop.config, shop.db, token, fresh=fresh)


def write_home(config: Config, db: Db, now_ms: int) -> str:
    """Write a new home into the database, inside the open transaction; return its token."""
    machine = here()
    token = secrets.token_hex(16)
    machines.retire_homes(db, "", now_ms, machine.id if db.dialect == "postgresql" else "")
    machines.add_home(
        db,
        token=token,
        machine=machine.id,
        system=machine.system,
        host=machine.host,
        place=place_of(config, db),
        since_ms=now_ms,
    )
    house.set_meta(db, HOST, machine.host)
    return token


def keep_home(journal: Path, config: Config, db: Db, token: str, *, fresh: bool = False) -> None:
    """Write the home file, and an empty journal where nothing was ever sent."""
    old = None if fresh else read_home(journal)
    tokens = [*(old.tokens if old else ()), token][-_TOKENS_KEPT:]
    found = {"tokens": tokens, "place": place_of(config, db), "machine": here().id}
    write_private(home_path(journal), json.dumps(found, ensure_ascii=False))
    if not journal.exists() and not machines.exposed_ever(db):
        write_private(journal, "")


def owns_journal(shop: Shop) -> bool:
    """Tell whether the journal here is the one that was written while this database was at home.

    Only then is a key that it does not name known to be unsent. `shop` may be an old copy: its
    token is among those that the home file remembers.
    """
    file = read_home(shop.journal.path)
    if file is None or not shop.journal.path.exists():
        return False
    row = _row(shop.db, here())
    return row is None or row["token"] in file.tokens


def write_private(path: Path, text: str) -> None:
    """Write a small file that only its owner reads, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(path, text.encode(), private=True)


def _row(db: Db, machine: Machine) -> Row | None:
    """Return the home that counts here: on PostgreSQL the one of this machine, if it has one."""
    if db.dialect == "postgresql":
        return machines.home(db, machine.id) or machines.home(db)
    return machines.home(db)


def _never_bound(shop: Shop, machine: Machine) -> Away | None:
    """A database from before homes is at home where it was set up."""
    home = house.meta(shop.db, HOST)
    if home is None or home == machine.host:
        return None
    return Away(told("the shop was set up on {home}, this is {here}", home=home, here=machine.host))


def _is_same_machine(row: Row, machine: Machine) -> bool:
    if row["machine"] == machine.id:
        return True
    return bool(machine.system and (row["system"], row["host"]) == (machine.system, machine.host))


def _was_renamed(config: Config, file: HomeFile) -> bool:
    """Tell whether the folder itself was moved: nothing is left at the old place.

    Where journal and home file lie inside the folder they travel with every copy: then ask.
    """
    if not isinstance(config.database, Path) or file.place.startswith("postgresql:"):
        return False
    inside = config.private.resolve().is_relative_to(config.root.resolve())
    return not inside and not Path(file.place).exists()
