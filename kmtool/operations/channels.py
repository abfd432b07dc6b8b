"""Sales channels in kmtool.toml: list them, add one, change one, try whether they work."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from kmtool import registry
from kmtool.config import ChannelSettings
from kmtool.domain.states import Mode
from kmtool.errors import Broken, KmError, NotFound, Refused, UsageError, told
from kmtool.operations import config_text
from kmtool.operations.channel_preview import BY_FILE, FilePreview
from kmtool.operations.config_text import Value
from kmtool.ports import Features
from kmtool.shop import Shop
from kmtool.store import channels as store
from kmtool.store import house, orders

NAME = re.compile(r"[\w-]{1,40}")
REFERENCE = re.compile(r"(?:env|file|secret):\S+")
BY_HAND = "by_hand"
NOTE = "channel_note"
SKEW_MAX_MS = 60_000


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    """A channel as `channel list` shows it. `unmapped` counts order lines that wait."""

    channel: str
    adapter: str
    title: str
    mode: str
    couriers: tuple[str, ...]
    account: str
    cursor_ms: int | None
    unmapped: int
    paused: bool


@dataclass(frozen=True, slots=True)
class ChannelList:
    """All channels of the shop."""

    channels: tuple[ChannelInfo, ...]


@dataclass(frozen=True, slots=True)
class NewChannel:
    """What a person wants: values of `[channels.NAME]`; empty ones get what fits the adapter."""

    name: str
    adapter: str
    mode: str = ""
    couriers: tuple[str, ...] = ()
    account: str = ""
    currency: str = ""
    credentials: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Value | Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChannelChange:
    """A channel that was added or changed; `missing_secrets` still have to be stored."""

    channel: str
    adapter: str
    mode: str
    couriers: tuple[str, ...]
    text: str
    backup: str
    missing_secrets: tuple[str, ...] = ()
    folder: str = ""
    preview: FilePreview | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that `channel test` tried. `mend` is what to do when it is not ok."""

    channel: str
    name: str
    ok: bool
    detail: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class ChannelTest:
    """The checks of one or more channels."""

    checks: tuple[Check, ...]

    @property
    def failed(self) -> int:
        """How many did not pass."""
        return sum(1 for check in self.checks if not check.ok)


def every(shop: Shop) -> ChannelList:
    """Return all channels with how far they are pulled and what waits for a mapping."""
    waiting = store.unmapped(shop.db)
    paused = house.pauses(shop.db)
    return ChannelList(
        tuple(
            ChannelInfo(
                channel=name,
                adapter=one.adapter,
                title=_title(one.adapter),
                mode=one.mode,
                couriers=one.couriers,
                account=one.account,
                cursor_ms=orders.cursor(shop.db, name),
                unmapped=waiting.get(name, 0),
                paused="all" in paused or f"channel:{name}" in paused,
            )
            for name, one in shop.config.channels.items()
        )
    )


def add(shop: Shop, wanted: NewChannel, seen: FilePreview | None = None) -> ChannelChange:
    """Write a `[channels.NAME]` section at the end of kmtool.toml.

    Raises `Refused` for a name that is there, `UsageError` for a value that cannot be used. In a
    rehearsal nothing is written.
    """
    shop.must_be_writable()
    if not NAME.fullmatch(wanted.name):
        raise UsageError(
            detail="{name} is no name for a channel",
            name=wanted.name,
            mend="letters, digits, - and _",
        )
    if wanted.name in shop.config.channels:
        raise Refused(
            detail="there is a channel {name} already",
            name=wanted.name,
            mend="kmtool channel set {name} …, or choose another name",
        )
    if "." not in wanted.adapter and wanted.adapter not in registry.names("channel"):
        known = ", ".join(registry.names("channel"))
        raise UsageError(
            detail="there is no channel adapter {adapter}",
            adapter=wanted.adapter,
            mend="--adapter with one of: {known}",
            known=known,
        )
    features = registry.features("channel", wanted.adapter)
    wanted = _completed(wanted, features)
    _check(shop, wanted, features)
    old = config_text.read(shop.config.path)
    block = _block(wanted)
    text = _with_account(shop, config_text.append(old, block), wanted)
    change = _written(shop, text, wanted, "channel.add")
    folder = ""
    if features.kind == BY_FILE:
        inbox = shop.config.folder("inbox") / "orders" / wanted.name
        folder = str(inbox)
        if change.backup:
            inbox.mkdir(parents=True, exist_ok=True)
    return replace(change, text=block, folder=folder, preview=seen)


def alter(shop: Shop, wanted: NewChannel) -> ChannelChange:
    """Change values of a channel in kmtool.toml; what is empty in `wanted` stays as it is."""
    shop.must_be_writable()
    known = channel(shop, wanted.name)
    wanted = replace(wanted, adapter=wanted.adapter or known.adapter)
    _check(shop, wanted, registry.features("channel", wanted.adapter))
    old = text = config_text.read(shop.config.path)
    path = ("channels", wanted.name)
    values = _values(wanted)
    if wanted.adapter == known.adapter:
        values.pop("adapter")
    if values:
        text = config_text.set_values(text, path, values)
    if wanted.credentials:
        text = config_text.set_values(text, (*path, "credentials"), dict(wanted.credentials))
    for part, given in _option_tables(wanted.options):
        text = config_text.set_values(text, (*path, "options", *part), given)
    text = _with_account(shop, text, wanted)
    if text == old and not (values or wanted.credentials or wanted.options or wanted.account):
        raise UsageError(
            detail="nothing was named to change in {name}",
            name=wanted.name,
            mend="kmtool channel set {name} --mode ask",
        )
    return _written(shop, text, wanted, "channel.set")


def channel(shop: Shop, name: str) -> ChannelSettings:
    """Return the settings of a channel; raises `NotFound` that names the ones there are."""
    found = shop.config.channels.get(name)
    if found is None:
        known = ", ".join(shop.config.channels) or "none yet"
        raise NotFound(
            kind="channel", name=name, mend="kmtool channel list (there are: {known})", known=known
        )
    return found


def test(shop: Shop, names: Sequence[str] = ()) -> ChannelTest:
    """Try the named channels (all when none is named): credentials, clock, couriers.

    Nothing is changed over there. A failure is a check that is not ok, never an exception.
    """
    checks: list[Check] = []
    for name in names or list(shop.config.channels):
        channel(shop, name)
        checks += _checks(shop, name)
    return ChannelTest(tuple(checks))


def _checks(shop: Shop, name: str) -> list[Check]:
    settings = shop.config.channels[name]
    try:
        report = shop.adapters.channel(name).auth_check()
    except KmError as error:
        return [Check(name, "access", False, error.message(), error.next_step())]
    mend = "" if report.ok else "mend that, then repeat"
    checks = [Check(name, "access", report.ok, report.detail, mend)]
    if report.skew_ms is not None:
        seconds = f"{report.skew_ms / 1000:+.1f} s"
        ok = abs(report.skew_ms) <= SKEW_MAX_MS
        mend = "" if ok else "set this machine's clock by the network"
        checks.append(Check(name, "clock", ok, seconds, mend))
    if not settings.couriers:
        detail = "no route: nothing can be handed over"
        mend = f"kmtool channel set {name} --courier {BY_HAND}"
        checks.append(Check(name, "courier", False, detail, mend))
    for courier in settings.couriers:
        try:
            title = shop.adapters.courier(courier, name).features.title
            checks.append(
                Check(
                    name, "courier", True, told("{courier}: {title}", courier=courier, title=title)
                )
            )
        except KmError as error:
            checks.append(Check(name, "courier", False, error.message(), error.next_step()))
    return checks


def _title(adapter: str) -> str:
    try:
        return registry.features("channel", adapter).title
    except KmError:
        return ""


def _completed(wanted: NewChannel, features: Features) -> NewChannel:
    """Fill in what fits the adapter: how keys are handed over, where credentials are sealed."""
    couriers = wanted.couriers
    if not couriers:
        own = wanted.adapter in registry.names("courier")
        couriers = ((wanted.adapter if own else NOTE) if features.notes else BY_HAND,)
    credentials = {name: f"secret:{wanted.name}-{name}" for name in features.credentials}
    return replace(
        wanted,
        mode=wanted.mode or Mode.ASK,
        couriers=couriers,
        credentials=credentials | dict(wanted.credentials),
    )


def _check(shop: Shop, wanted: NewChannel, features: Features) -> None:
    if wanted.mode and wanted.mode not in set(Mode):
        raise UsageError(
            detail="{mode} is no mode",
            mode=wanted.mode,
            mend="--mode watch, --mode ask or --mode auto",
        )
    couriers = sorted({*registry.names("courier"), *shop.config.couriers})
    for courier in wanted.couriers:
        if "." not in courier and courier not in couriers:
            raise UsageError(
                detail="there is no route {courier}",
                courier=courier,
                mend="use one of: {couriers}",
                couriers=", ".join(couriers),
            )
    if wanted.account and not NAME.fullmatch(wanted.account):
        raise UsageError(
            detail="{account} is no name for an account",
            account=wanted.account,
            mend="letters, digits, - and _",
        )
    for name, reference in wanted.credentials.items():
        if name not in features.credentials:
            known = ", ".join(features.credentials) or "none"
            raise UsageError(
                detail="{name} is no credential of this adapter (it has: {known})",
                name=name,
                known=known,
            )
        if not REFERENCE.fullmatch(reference):
            raise UsageError(
                detail="the credential {name} must say where it lies, not what it is",
                name=name,
                mend="--credential {name}=secret:NAME (or env:NAME, file:PATH)",
            )
    for name in wanted.options:
        if features.options and name not in features.options:
            known = ", ".join(features.options)
            raise UsageError(
                detail="{name} is no option of this adapter (it has: {known})",
                name=name,
                known=known,
            )


def _block(wanted: NewChannel) -> str:
    path = ("channels", wanted.name)
    parts = [config_text.section(path, _values(wanted))]
    if wanted.credentials:
        parts.append(config_text.section((*path, "credentials"), dict(wanted.credentials)))
    for part, values in _option_tables(wanted.options):
        parts.append(config_text.section((*path, "options", *part), values))
    return "\n".join(parts)


def _values(wanted: NewChannel) -> dict[str, Value]:
    values: dict[str, Value] = {
        "adapter": wanted.adapter,
        "mode": str(wanted.mode),
        "couriers": wanted.couriers,
        "account": wanted.account,
        "currency": wanted.currency,
    }
    return {name: value for name, value in values.items() if value}


def _option_tables(
    options: Mapping[str, Value | Mapping[str, str]],
) -> list[tuple[tuple[str, ...], dict[str, Value]]]:
    """Return the options as sections: plain values first, then one section per table."""
    plain: dict[str, Value] = {}
    tables: list[tuple[tuple[str, ...], dict[str, Value]]] = []
    for name, value in options.items():
        if isinstance(value, Mapping):
            tables.append(((name,), dict(value)))
        else:
            plain[name] = value
    return [((), plain)] * bool(plain) + tables


def _with_account(
    shop: Shop, text: config_text.ConfigText, wanted: NewChannel
) -> config_text.ConfigText:
    """Let the account of a channel be one that is reconciled: `[accounts.NAME]` names it."""
    if not wanted.account:
        return text
    found = shop.config.accounts.get(wanted.account)
    named = found.channels if found else ()
    if wanted.name in named:
        return text
    values: dict[str, Value] = {"channels": (*named, wanted.name)}
    return config_text.set_values(text, ("accounts", wanted.account), values)


def _written(
    shop: Shop, text: config_text.ConfigText, wanted: NewChannel, action: str
) -> ChannelChange:
    keep, name, at_ms = not shop.db.rehearsing, wanted.name, shop.now_ms()
    named = config_text.Named(name, wanted.account)
    write = partial(config_text.write, shop.config, text, named, at_ms)
    changed = write(keep=False)
    now = changed.config.channels[name]
    try:
        with shop.db.tx():
            shop.audit(action, name, f"{now.adapter} {now.mode} {','.join(now.couriers)}")
            changed = write(keep=keep)
    except Broken:
        if changed.backup:  # it would stand in kmtool.toml and be on record nowhere
            Path(changed.backup).replace(text.path)
        raise
    stored = {str(row["name"]) for row in house.secret_names(shop.db)}
    sealed = [text.removeprefix("secret:") for text in now.credentials.values()
              if text.startswith("secret:")]  # fmt: skip
    return ChannelChange(
        channel=name,
        adapter=now.adapter,
        mode=now.mode,
        couriers=now.couriers,
        text="",
        backup=changed.backup,
        missing_secrets=tuple(one for one in sealed if one not in stored),
    )
