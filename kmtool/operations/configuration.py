"""Reading kmtool.toml back to its owner: every setting in force, and what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import partial

from kmtool import registry
from kmtool.config import Config
from kmtool.domain.money import format_plain
from kmtool.errors import ConfigError, KmError, NotFound
from kmtool.operations.house import credentials_of, secrets
from kmtool.shop import Shop
from kmtool.toml_reader import read_toml

_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms"))
_SEALED = ("env:", "file:", "secret:")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as it is in force; `given` tells whether kmtool.toml says it."""

    name: str
    value: str
    given: bool


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration in force."""

    path: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """Which kmtool.toml is used, and why."""

    path: str
    because: str


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """Something in kmtool.toml that will not work, or should not be so."""

    where: str
    what: str
    mend: str
    grave: bool


@dataclass(frozen=True, slots=True)
class ConfigCheck:
    """The outcome of a look over kmtool.toml."""

    path: str
    channels: int
    problems: tuple[ConfigProblem, ...]

    @property
    def ok(self) -> bool:
        """Tell whether nothing stands in the way."""
        return not any(problem.grave for problem in self.problems)


def settings(config: Config) -> Settings:
    """Return every setting in force; credentials written in the clear are masked."""
    given = set(_names(read_toml(config.path)))
    return Settings(
        str(config.path),
        tuple(Setting(name, value, name in given) for name, value in _flat(config, "")),
    )


def setting(config: Config, name: str) -> Setting:
    """Return one setting by its dotted name; raises `NotFound`."""
    found = {one.name: one for one in settings(config).settings}
    if name not in found:
        import difflib

        near = difflib.get_close_matches(name, found, 1, 0.4)
        mend = "kmtool config get {near}" if near else "kmtool config show"
        raise NotFound(kind="setting", name=name, near=(near or [""])[0], mend=mend)
    return found[name]


def check(config: Config, shop: Shop | None) -> ConfigCheck:
    """Look for adapters, credentials and names that are not there; touches no network.

    With an open shop every adapter is built too, which shows what only it knows to need.
    """
    stored = None if shop is None else _stored(shop)
    problems = [*_adapters(config), *_credentials(config, stored), *_names_used(config)]
    if shop is not None and not any(problem.grave for problem in problems):
        problems += _built(shop)
    return ConfigCheck(str(config.path), len(config.channels), tuple(problems))


def _stored(shop: Shop) -> frozenset[str]:
    return frozenset(one.name for one in secrets(shop).secrets if one.updated_ms is not None)


def _built(shop: Shop) -> Iterator[ConfigProblem]:
    attempts: list[tuple[str, Callable[[], object]]] = []
    for name, channel in shop.config.channels.items():
        attempts.append((f"[channels.{name}]", partial(shop.adapters.channel, name)))
        for courier in channel.couriers:
            place = f"[channels.{name}] couriers = {courier}"
            attempts.append((place, partial(shop.adapters.courier, courier, name)))
    for name in shop.config.notify:
        attempts.append((f"[notify.{name}]", partial(shop.adapters.notifier, name)))
    for where, build in attempts:
        try:
            build()
        except KmError as error:
            yield ConfigProblem(where, error.message(), error.next_step(), True)


def _flat(value: object, name: str) -> Iterator[tuple[str, str]]:
    if is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            if field.name in {"path", "name"} and name != "shop":
                continue
            public = field.name.removesuffix("_ms").removesuffix("_minor")
            inner = f"{name}.{public}" if name else public
            yield from _flat_field(getattr(value, field.name), field.name, inner)
        return
    yield name, _text(value, "", name)


def _flat_field(value: object, field: str, name: str) -> Iterator[tuple[str, str]]:
    if is_dataclass(value):
        yield from _flat(value, name)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flat(part, f"{name}.{key}")
    else:
        yield name, _text(value, field, name)


def _text(value: object, field: str, name: str) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and field.endswith("_ms"):
        return next(f"{value // size}{unit}" for size, unit in _UNITS if value % size == 0)
    if isinstance(value, int) and field.endswith("_minor"):
        return format_plain(value)
    if isinstance(value, tuple | list):
        return ", ".join(str(part) for part in value)
    if ".credentials." in name and not str(value).startswith(_SEALED):
        return "(written in the clear, not shown)"
    return _without_password(str(value))


def _without_password(text: str) -> str:
    scheme, there, rest = text.partition("://")
    login, at, host = rest.rpartition("@")
    if not there or not at or ":" not in login:
        return text
    return f"{scheme}://{login.partition(':')[0]}:…@{host}"


def _names(tables: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    for key, value in tables.items():
        if isinstance(value, Mapping):
            yield from _names(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _adapters(config: Config) -> Iterator[ConfigProblem]:
    groups = (
        ("channel", "channels", config.channels),
        ("courier", "couriers", config.couriers),
        ("notifier", "notify", config.notify),
    )
    for kind, group, named in groups:
        for name, one in named.items():
            where = f"[{group}.{name}]"
            try:
                features = registry.features(kind, one.adapter)
            except ConfigError as error:
                yield ConfigProblem(where, error.message(), "change adapter = …", True)
                continue
            for key in features.credentials:
                if key not in one.credentials:
                    mend = f'write {key} = "secret:{name}-{key}" under [{group}.{name}.credentials]'
                    # Not grave: a mail server of one's own may want no login, building tells.
                    yield ConfigProblem(where, f"the credential {key} is not given", mend, False)
            for key in one.options:
                if features.options and key not in features.options:
                    known = ", ".join(sorted(features.options))
                    what = f"{one.adapter} knows no option {key}"
                    yield ConfigProblem(where, what, f"the options are: {known}", False)


def _credentials(config: Config, stored: frozenset[str] | None) -> Iterator[ConfigProblem]:
    for place, text in credentials_of(config):
        kind, _colon, name = text.partition(":")
        if not text.startswith(_SEALED):
            yield ConfigProblem(
                place,
                "a credential stands in the file in the clear",
                f"kmtool secret set {place}",
                False,
            )
        elif kind == "env" and name not in os.environ:
            mend = f"set {name} in the environment"
            yield ConfigProblem(place, f"the environment has no {name}", mend, True)
        elif kind == "file" and not (config.root / name).is_file():
            yield ConfigProblem(place, f"there is no file {name}", f"put it at {name}", True)
        elif kind == "secret" and stored is not None and name not in stored:
            mend = f"kmtool secret set {name}"
            yield ConfigProblem(place, f"{name} is not stored yet", mend, True)


def _names_used(config: Config) -> Iterator[ConfigProblem]:
    shipped = set(registry.names("courier"))
    for name, channel in config.channels.items():
        for courier in channel.couriers:
            if courier not in config.couriers and courier not in shipped and "." not in courier:
                known = ", ".join(sorted(shipped | set(config.couriers)))
                what = f"there is no route {courier}"
                yield ConfigProblem(f"[channels.{name}]", what, f"there are: {known}", True)
        if channel.account and channel.account not in config.accounts:
            what = f"account = {channel.account} is no [accounts.…] section"
            mend = f"write [accounts.{channel.account}]"
            yield ConfigProblem(f"[channels.{name}]", what, mend, False)
    for name in config.alerts.notify:
        if name not in config.notify:
            mend = f"write [notify.{name}]"
            yield ConfigProblem("[alerts]", f"notify names {name}, which is not there", mend, True)
