"""kmtool.toml → frozen dataclasses. An unknown key is an error that names the nearest known one.

Found by `--config`, `$KMTOOL_CONFIG`, `./kmtool.toml` and parents, then the user's config folder.
Durations are written as people write them (`30s`, `15m`, `2h`); paths are relative to the file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from kmtool.domain.states import Mode
from kmtool.errors import ConfigError, FileMissing, NotSetUp, marked, told
from kmtool.resources import beside
from kmtool.toml_reader import check_name, read_toml
from kmtool.toml_reader import parse_duration as parse_duration

FILE_NAME = "kmtool.toml"


@dataclass(frozen=True, slots=True)
class ShopSettings:
    """`[shop]`; `language` is for buyers and suppliers, `screens` for the operator."""

    name: str = "我的小店"
    timezone: str = "Asia/Shanghai"
    currency: str = "CNY"
    language: str = "zh_CN"
    screens: str = ""


@dataclass(frozen=True, slots=True)
class DataSettings:
    """`[data]`: where things lie; `private` holds the master key and the send journal."""

    database: str = "shop/shop.db"
    backups: str = "shop/backups"
    exports: str = "exports"
    inbox: str = "inbox"
    logs: str = "logs"
    private: str = ""
    backups_keep: int = 14
    backups_daily: int = 14
    backups_weekly: int = 8
    backups_monthly: int = 12
    disk_min_mb: int = 200


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """`[sync]`; `shelf_*` count pieces of a listing, `unlimited` is told of what never runs out."""

    every_ms: int = 60_000
    first_ms: int = 86_400_000
    push_stock: bool = True
    hold_unpaid_ms: int = 900_000
    shelf_floor: int = 0
    shelf_back: int = 1
    unlimited: int = 999


@dataclass(frozen=True, slots=True)
class DeliverSettings:
    """`[deliver]`"""

    every_ms: int = 15_000
    order_wait_ms: int = 1_800_000
    reread_after_ms: int = 30_000
    batch: int = 100
    tries_max: int = 8
    fallback_after_ms: int = 1_800_000
    clipboard: str = "auto"


@dataclass(frozen=True, slots=True)
class BrakeSettings:
    """`[brakes]`: pieces and value that may leave before a person is asked. 0 switches one off.

    `replacements`: keys replaced for a buyer within 30 days; `block`: buyers held for you.
    """

    below_cost: bool = True
    sku_pieces_per_hour: int = 200
    sku_value_per_hour_minor: int = 500_000
    buyer_pieces_per_hour: int = 10
    replacements: int = 3
    block: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """`[alerts]`; a limit of 0 is off, a `latency_…_ms` is p95 of a step over the last hour."""

    low_stock: int = 10
    reveals_per_hour: int = 20
    latency_paid_to_seen_ms: int = 600_000
    latency_seen_to_sent_ms: int = 120_000
    latency_paid_to_sent_ms: int = 900_000
    latency_sent_to_acknowledged_ms: int = 60_000
    latency_acknowledged_to_marked_ms: int = 1_800_000
    notify: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """`[channels.NAME]`; a `hold_unpaid_ms` below 0 is the one of `[sync]`."""

    name: str
    adapter: str
    mode: Mode = Mode.ASK
    couriers: tuple[str, ...] = ()
    account: str = ""
    credentials: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    currency: str = ""
    shelf: bool = False
    hold_unpaid_ms: int = -1
    language: str = ""


@dataclass(frozen=True, slots=True)
class CourierSettings:
    """`[couriers.NAME]`; a limit of 0 leaves it to the adapter."""

    name: str
    adapter: str
    per_order: int = 0
    per_hour: int = 0
    per_day: int = 0
    text_max: int = 0
    credentials: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SupplierSettings:
    """`[suppliers.NAME]`: the interface of a supplier and what may be spent there; 0 is nothing."""

    name: str
    adapter: str
    spend_per_day_minor: int = 0
    spend_per_order_minor: int = 0
    credentials: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """`[accounts.NAME]`: a wallet whose statements are reconciled."""

    name: str
    channels: tuple[str, ...] = ()
    kind: str = ""
    currency: str = "CNY"
    opening_minor: int = 0
    settle_lag_days: int = 1
    publish_lag_days: int = 1
    split_settlement: bool = False
    personal_qr: bool = False
    balance_guaranteed: bool = False


@dataclass(frozen=True, slots=True)
class NotifySettings:
    """`[notify.NAME]`"""

    name: str
    adapter: str
    credentials: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Config:
    """A shop's whole configuration and the folder it lives in."""

    path: Path
    shop: ShopSettings = field(default_factory=ShopSettings)
    data: DataSettings = field(default_factory=DataSettings)
    sync: SyncSettings = field(default_factory=SyncSettings)
    deliver: DeliverSettings = field(default_factory=DeliverSettings)
    brakes: BrakeSettings = field(default_factory=BrakeSettings)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    jobs: Mapping[str, str] = field(default_factory=dict)
    channels: Mapping[str, ChannelSettings] = field(default_factory=dict)
    couriers: Mapping[str, CourierSettings] = field(default_factory=dict)
    suppliers: Mapping[str, SupplierSettings] = field(default_factory=dict)
    accounts: Mapping[str, AccountSettings] = field(default_factory=dict)
    notify: Mapping[str, NotifySettings] = field(default_factory=dict)
    example: bool = False

    @property
    def root(self) -> Path:
        """The shop folder."""
        return self.path.parent

    def folder(self, name: str) -> Path:
        """Return a path of `[data]`, absolute."""
        return beside(self.path, str(getattr(self.data, name)))

    @property
    def database(self) -> str | Path:
        """The database: a path, or a `postgresql://` address."""
        target = self.data.database
        return target if "://" in target else beside(self.path, target)

    @property
    def private(self) -> Path:
        """The folder of master keys and journals, outside the shop folder by default."""
        return beside(self.path, self.data.private) if self.data.private else user_folder()


def user_folder() -> Path:
    """Return the user's data folder of kmtool (KMTOOL_HOME, else the platform's place)."""
    given = os.environ.get("KMTOOL_HOME")
    if given:
        return Path(given)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "kmtool"
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support/kmtool"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "kmtool"


def find(given: str | None = None, start: Path | None = None) -> tuple[Path, str]:
    """Return (path of kmtool.toml, why that one); raises `NotSetUp` when there is none."""
    if given:
        path = Path(given)
        path = path / FILE_NAME if path.is_dir() else path
        if not path.is_file():
            raise FileMissing(name=path)
        return path.resolve(), "--config"
    named = os.environ.get("KMTOOL_CONFIG")
    if named:
        return find(named)[0], "KMTOOL_CONFIG"
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME, "this folder" if folder == here else "a folder above"
    fallback = user_folder() / FILE_NAME
    if fallback.is_file():
        return fallback, "your own config folder"
    raise NotSetUp(detail="no {file_name} in {here} or above it", file_name=FILE_NAME, here=here)


def load(path: Path) -> Config:
    """Read and check a configuration; every error says the key and the mend."""
    tables = read_toml(path)
    schema = tables.pop("schema", 1)
    if schema != 1:
        raise ConfigError(
            detail="schema = {schema} is not known to this kmtool", schema=schema, where=path.name
        )
    known = {f.name for f in fields(Config)} - {"path"}
    for name in tables:
        check_name(name, known, "")
    simple: dict[str, Any] = {
        name: _section(kind, tables.pop(name, {}), name) for name, kind in _SIMPLE.items()
    }
    jobs = {str(k): str(v) for k, v in _table(tables, "jobs").items()}
    groups: dict[str, Any] = {
        name: {key: _section(kind, body, f"{name}.{key}", name=key) for key, body in group.items()}
        for name, kind in _NAMED.items()
        for group in [_table(tables, name)]
    }
    config = Config(
        path=path, jobs=jobs, example=bool(tables.pop("example", False)), **simple, **groups
    )
    _check(config)
    return config


_SIMPLE: dict[str, type] = {
    "shop": ShopSettings,
    "data": DataSettings,
    "sync": SyncSettings,
    "deliver": DeliverSettings,
    "brakes": BrakeSettings,
    "alerts": AlertSettings,
}
_NAMED: dict[str, type] = {
    "channels": ChannelSettings,
    "couriers": CourierSettings,
    "suppliers": SupplierSettings,
    "accounts": AccountSettings,
    "notify": NotifySettings,
}


def _table(tables: dict[str, Any], name: str) -> dict[str, Any]:
    found = tables.pop(name, {})
    if not isinstance(found, dict):
        raise ConfigError(
            detail="{name} = {found} must be a section [{name}…]",
            name=name,
            found=repr(found),
            where=name,
        )
    return found


def _section(kind: type, body: object, where: str, **extra: str) -> Any:
    if not isinstance(body, dict):
        raise ConfigError(detail="[{place}] must be a section", place=where, where=where)
    types = {f.name: f.type for f in fields(kind)}
    public = {_public(name): name for name in types if name not in extra}
    values: dict[str, Any] = dict(extra)
    for key, value in body.items():
        check_name(key, set(public), where)
        values[public[key]] = _convert(
            value, public[key], str(types[public[key]]), f"{where}.{key}"
        )
    try:
        return kind(**values)
    except TypeError:
        needed = [_public(f.name) for f in fields(kind) if f.name not in values]
        raise ConfigError(
            detail="[{place}] lacks {needed}", place=where, needed=needed[0]
        ) from None


def _public(name: str) -> str:
    """Names of durations and money lose their unit in the file: `every_ms` is `every`."""
    return name.removesuffix("_ms").removesuffix("_minor")


def _convert(value: Any, name: str, kind: str, where: str) -> Any:
    if name.endswith("_ms"):
        try:
            return parse_duration(str(value))
        except ValueError:
            raise ConfigError(
                detail="{place} = {value} is no duration such as 15m",
                place=where,
                value=repr(value),
            ) from None
    if name.endswith("_minor"):
        from kmtool.domain.money import parse_minor

        try:
            return parse_minor(str(value))
        except ValueError:
            raise ConfigError(
                detail="{place} = {value} is no amount such as 48.00",
                place=where,
                value=repr(value),
            ) from None
    if kind == "Mode":
        if value not in set(Mode):
            raise ConfigError(
                detail="{place} = {value}: use watch, ask or auto", place=where, value=repr(value)
            )
        return Mode(value)
    if kind.startswith("Mapping") and not isinstance(value, dict):
        raise ConfigError(
            detail="{place} = {value} must be a section [{place}]", place=where, value=repr(value)
        )
    if kind.startswith("tuple"):
        return tuple(str(v) for v in (value if isinstance(value, list) else [value]))
    expected = {"str": str, "int": int, "bool": bool}.get(kind)
    if expected is not None and (
        not isinstance(value, expected) or (expected is int and isinstance(value, bool))
    ):
        raise ConfigError(
            detail="{place} = {value} must be {wanted}",
            place=where,
            value=repr(value),
            wanted=told(_KIND_WORDS[kind]),
        )
    return value


_KIND_WORDS = {
    "str": marked("text in quotes"),
    "int": marked("a whole number"),
    "bool": marked("true or false"),
}


def _check(config: Config) -> None:
    try:
        ZoneInfo(config.shop.timezone)
    except Exception as error:
        raise ConfigError(
            detail="shop.timezone = {timezone} is no zone such as Asia/Shanghai",
            timezone=repr(config.shop.timezone),
        ) from error
    for account in config.accounts.values():
        for channel in account.channels:
            if channel not in config.channels:
                raise ConfigError(
                    detail="accounts.{name}.channels: there is no channel {channel}",
                    name=account.name,
                    channel=repr(channel),
                )
