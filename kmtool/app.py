"""The composition root: kmtool.toml → an open `Shop`.

Opening costs little: the vault loads at once, adapters at first use, migrations only when a plain
SQL probe says that something is pending (then after a backup).
"""

from __future__ import annotations

import getpass
import os
import secrets as randomness
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kmtool import config as configuration
from kmtool import registry
from kmtool.clock import Clock, SystemClock
from kmtool.config import Config
from kmtool.domain.secret import Secret
from kmtool.errors import ConfigError, MasterKeyMissing, MissingCredential, NotSetUp, Refused
from kmtool.journal import Journal
from kmtool.operations import audit_tail, home
from kmtool.operations.home import DATABASE_ID
from kmtool.ports import AdapterSettings, Channel, Courier, Notifier, Supplier
from kmtool.shop import Adapters, Shop, quiet
from kmtool.store import copying, house
from kmtool.store.db import Db, connect
from kmtool.store.migrations import migrate, pending
from kmtool.vault import MasterKey, Vault, load_master, save_master

if TYPE_CHECKING:
    from concurrent.futures import Executor

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Means:
    """What a shop is opened with: its connection, its journal, who works side by side.

    The simulator brings its own, so that it stands at every commit, write and call.
    """

    connect: Callable[[str | Path], Db] = connect
    journal: Callable[[Path, str, Callable[[bytes], str]], Journal] = Journal
    workers: Callable[[int], Executor] | None = None


MEANS = Means()


@contextmanager
def open_shop(
    config: Config | str | None = None,
    *,
    clock: Clock | None = None,
    progress: Callable[..., Iterable[Any]] = quiet,
    means: Means = MEANS,
) -> Iterator[Shop]:
    """Open the shop of a configuration (or of the folder we are in) and close it afterwards.

    Raises `NotSetUp`, `ConfigError`, `MasterKeyMissing`; a newer kmtool's database is left alone.
    """
    if not isinstance(config, Config):
        config = configuration.load(configuration.find(config)[0])
    clock = clock or SystemClock()
    db = means.connect(config.database)
    try:
        if pending(db):
            migrate(db, clock, before=lambda: _backup_before(db, config, clock))
        shop = _assemble(config, clock, db, progress, means)
        yield shop
        if db.has_written:
            audit_tail.note(shop)
    finally:
        db.close()


def create_shop(config: Config, clock: Clock | None = None, master: MasterKey | None = None) -> str:
    """Make the database, the master key and the folders of a new shop; return the key file's path.

    The key is drawn from the operating system; only a simulated shop is given one.
    An existing database or key is never overwritten: `Refused` says which is there.
    """
    clock = clock or SystemClock()
    _refuse_synced_folder(config)
    _make_folders(config)
    db = connect(config.database, create=True)
    try:
        migrate(db, clock)
        if house.meta(db, DATABASE_ID) is not None:
            raise Refused(detail="this database is set up already", mend="kmtool status")
        database_id = randomness.token_hex(8)
        master = _master_for_new(config, database_id, master)
        vault = Vault(master)
        wrapped = vault.new_data_key()
        with db.tx():
            house.add_data_key(db, wrapped, clock.now_ms())
            house.set_meta(db, DATABASE_ID, database_id)
            house.set_meta(db, "created_ms", str(clock.now_ms()))
            token = home.write_home(config, db, clock.now_ms())
        home.keep_home(journal_path(config, database_id), config, db, token)
    finally:
        db.close()
    return str(master_path(config, database_id))


def _make_folders(config: Config) -> None:
    for folder in ("backups", "exports", "logs"):
        config.folder(folder).mkdir(parents=True, exist_ok=True)
    for name in ("keys", "orders", "statements"):
        (config.folder("inbox") / name).mkdir(parents=True, exist_ok=True)


def master_path(config: Config, database_id: str) -> Path:
    """Return where the master key of a database lies."""
    return config.private / "keys" / f"{database_id}.key"


def journal_path(config: Config, database_id: str) -> Path:
    """Return where the send journal of a database lies."""
    return config.private / "journal" / f"{database_id}.log"


def with_actor(shop: Shop, actor: str) -> Shop:
    """Return the same shop with another actor for the audit."""
    return replace(shop, actor=actor)


def _assemble(
    config: Config,
    clock: Clock,
    db: Db,
    progress: Callable[..., Iterable[Any]],
    means: Means,
) -> Shop:
    database_id = house.meta(db, DATABASE_ID)
    if database_id is None:
        raise NotSetUp(detail="{name} holds no shop", name=db.name)
    vault = Vault(load_master(master_path(config, database_id)))
    for row in house.data_keys(db):
        vault.load(row["id"], bytes(row["wrapped"]))
    journal = means.journal(journal_path(config, database_id), database_id, vault.digest)
    return Shop(
        config=config,
        clock=clock,
        db=db,
        vault=vault,
        journal=journal,
        adapters=_adapters(config, clock, db, vault),
        actor=_user(),
        progress=progress,
        workers=means.workers,
    )


def _adapters(config: Config, clock: Clock, db: Db, vault: Vault) -> Adapters:
    channels: dict[str, Channel] = {}
    couriers: dict[tuple[str, str], Courier] = {}

    def settings(
        name: str,
        adapter: str,
        kind: str,
        options: Mapping[str, Any],
        credentials: Mapping[str, str],
        channel: Channel | None = None,
    ) -> AdapterSettings:
        wanted = registry.features(kind, adapter).credentials
        return AdapterSettings(
            name=name,
            options=options,
            credentials={
                key: credential(credentials[key], db, vault, config, f"{kind}s.{name}.{key}")
                for key in (*wanted, *credentials)
                if key in credentials
            },
            clock=clock,
            zone=config.shop.timezone,
            currency=config.shop.currency,
            inbox=config.folder("inbox"),
            exports=config.folder("exports"),
            templates=config.root / "templates",
            channel=channel,
        )

    def channel(name: str) -> Channel:
        if name not in channels:
            found = _section(config.channels, "channels", name)
            given = settings(name, found.adapter, "channel", found.options, found.credentials)
            channels[name] = registry.module("channel", found.adapter).build(given)
        return channels[name]

    def courier(name: str, of_channel: str) -> Courier:
        if (name, of_channel) not in couriers:
            found = config.couriers.get(name)
            adapter = found.adapter if found else name
            given = settings(
                name,
                adapter,
                "courier",
                found.options if found else {},
                found.credentials if found else {},
                channel(of_channel) if of_channel in config.channels else None,
            )
            couriers[name, of_channel] = registry.module("courier", adapter).build(given)
        return couriers[name, of_channel]

    def notifier(name: str) -> Notifier:
        found = _section(config.notify, "notify", name)
        given = settings(name, found.adapter, "notifier", found.options, found.credentials)
        built: Notifier = registry.module("notifier", found.adapter).build(given)
        return built

    @cache
    def supplier(name: str) -> Supplier:
        found = _section(config.suppliers, "suppliers", name)
        given = settings(name, found.adapter, "supplier", found.options, found.credentials)
        built: Supplier = registry.module("supplier", found.adapter).build(given)
        return built

    return Adapters(channel=channel, courier=courier, notifier=notifier, supplier=supplier)


def _section(sections: Mapping[str, S], kind: str, name: str) -> S:
    """Return a named section of kmtool.toml."""
    found = sections.get(name)
    if found is None:
        raise ConfigError(detail="there is no [{section}.{name}]", section=kind, name=name)
    return found


def credential(text: str, db: Db, vault: Vault, config: Config, where: str) -> Secret:
    """Open a credential written as `env:NAME`, `file:PATH` or `secret:NAME`.

    A plain value is taken too (doctor warns of it). Raises `MissingCredential`.
    """
    kind, _, name = text.partition(":")
    if kind == "env" and name:
        value = os.environ.get(name)
        if value is None:
            raise MissingCredential(
                name=name,
                detail="the environment variable is not set",
                where=where,
                mend="set {name} in the environment of kmtool",
            )
        return Secret(value)
    if kind == "file" and name:
        path = config.root / name
        try:
            return Secret(path.read_text(encoding="utf-8").strip())
        except OSError:
            raise MissingCredential(
                name=name, detail="the file is not there", where=where, mend="put it at {name}"
            ) from None
    if kind == "secret" and name:
        row = house.secret(db, name)
        if row is None:
            raise MissingCredential(name=name, detail="it is not stored yet", where=where)
        return vault.open(row["sealed"], row["data_key_id"], f"secret:{name}".encode())
    return Secret(text)


def _master_for_new(config: Config, database_id: str, given: MasterKey | None) -> MasterKey:
    path = master_path(config, database_id)
    if given is None and os.environ.get("KMTOOL_MASTER_KEY"):
        return load_master(path)
    master = given or MasterKey.new()
    try:
        save_master(path, master)
    except FileExistsError:
        raise MasterKeyMissing(detail="{path} is there already", path=path) from None
    return master


def _backup_before(db: Db, config: Config, clock: Clock) -> None:
    if db.dialect == "sqlite" and house.exists(db):
        copying.copy_sqlite(db, config.folder("backups") / f"before-update-{clock.now_ms()}.db")


def _refuse_synced_folder(config: Config) -> None:
    if isinstance(config.database, str):
        return
    lowered = [part.lower() for part in config.database.resolve().parts]
    for name in (
        "onedrive",
        "dropbox",
        "坚果云",
        "icloud drive",
        "google drive",
        "百度网盘同步空间",
    ):
        if any(part.startswith(name) for part in lowered):
            raise Refused(
                detail="{root} is kept in step by {name}: two copies of a shop's database would "
                "overwrite each other",
                root=config.root,
                name=name,
                mend="kmtool init in a folder that is not synchronised",
            )
    if str(config.database).startswith("\\\\"):
        raise Refused(
            detail="the database would lie in a network folder, where locking does not work",
            mend="kmtool init in a folder of this machine, or use PostgreSQL",
        )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "owner"
