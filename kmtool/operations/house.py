"""The house of a shop: its first kmtool.toml, brakes by hand (pause, resume), credentials."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kmtool import resources
from kmtool.config import FILE_NAME, Config
from kmtool.domain.secret import Secret
from kmtool.durable import write_whole
from kmtool.errors import NotFound, Refused, UsageError, told
from kmtool.shop import Shop
from kmtool.store import house, products

ALL = "all"
_SECRET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True, slots=True)
class Answers:
    """What `kmtool init` asks; each has a default."""

    name: str = "我的小店"
    timezone: str = "Asia/Shanghai"
    currency: str = "CNY"
    language: str = "zh_CN"
    low_stock: int = 10

    def wrong(self) -> str:
        """Return what cannot be used, in one sentence; empty when all is well."""
        from zoneinfo import ZoneInfo

        try:
            ZoneInfo(self.timezone)
        except (ValueError, OSError, KeyError):  # zoneinfo says KeyError for an unknown one
            return told("{name} is no time zone such as Asia/Shanghai", name=self.timezone)
        if not _CURRENCY.fullmatch(self.currency):
            return told("{name} is no currency code such as CNY", name=self.currency)
        if self.language not in {"zh_CN", "en"}:
            return told("{name} is not there: zh_CN or en", name=self.language)
        return "" if self.low_stock >= 0 else told("the number cannot be below 0")


@dataclass(frozen=True, slots=True)
class ShopMade:
    """A new shop: where its parts lie. `resumed` when kmtool.toml was there before."""

    folder: str
    config: str
    database: str
    master_key: str
    resumed: bool


@dataclass(frozen=True, slots=True)
class Pause:
    """What is paused, why and since when; the scope is `all`, `channel:NAME` or `sku:SKU`."""

    scope: str
    reason: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class PauseResult:
    """What a pause or resume changed, and all that is paused now."""

    scope: str
    changed: bool
    paused: tuple[Pause, ...]


@dataclass(frozen=True, slots=True)
class SecretInfo:
    """A credential, never its value. `updated_ms` is None when it is wanted but not stored."""

    name: str
    updated_ms: int | None
    used_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SecretList:
    """All stored or wanted credentials."""

    secrets: tuple[SecretInfo, ...]


@dataclass(frozen=True, slots=True)
class SecretChange:
    """A credential that was stored or removed."""

    name: str
    action: str


def write_config(folder: Path, answers: Answers) -> tuple[Path, bool]:
    """Write kmtool.toml into a folder and return (its path, whether it is new).

    One that is there is never touched. Raises `UsageError` for an answer that cannot be used.
    """
    path = folder.resolve() / FILE_NAME
    if path.exists():
        return path, False
    if answers.wrong():
        raise UsageError(
            detail="{reason}",
            reason=answers.wrong(),
            mend="kmtool init --defaults, then edit kmtool.toml",
        )
    text = resources.data_path("shop", "kmtool.toml.template").read_text(encoding="utf-8")
    for name in ("name", "timezone", "currency", "language", "low_stock"):
        text = text.replace(f"@{name}@", _toml(getattr(answers, name)))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())
    except OSError as error:
        raise Refused(
            detail="{path} cannot be written: {reason}",
            path=path,
            reason=error.strerror,
            mend="kmtool init in a folder that is yours",
        ) from None
    return path, True


def pause(shop: Shop, target: str, reason: str) -> PauseResult:
    """Stop deliveries of everything, a channel or a SKU until it is resumed."""
    shop.must_be_writable()
    scope = scope_of(shop, target)
    with shop.db.tx():
        changed = house.pause(shop.db, scope, reason, shop.now_ms())
        if changed:
            shop.audit("pause", scope, reason)
    return PauseResult(scope, changed, paused(shop))


def resume(shop: Shop, target: str) -> PauseResult:
    """End a pause; what else is paused stays so."""
    shop.must_be_writable()
    known = house.pauses(shop.db)
    named = [scope for scope in known if target in (scope, scope.partition(":")[2])]
    scope = named[0] if len(named) == 1 else scope_of(shop, target)
    with shop.db.tx():
        changed = house.resume(shop.db, scope)
        if changed:
            shop.audit("resume", scope)
    return PauseResult(scope, changed, paused(shop))


def paused(shop: Shop) -> tuple[Pause, ...]:
    """Return what is paused now."""
    rows = house.pauses(shop.db).values()
    return tuple(Pause(row["scope"], row["reason"], row["since_ms"]) for row in rows)


def scope_of(shop: Shop, target: str) -> str:
    """Return the scope a person means: all, a channel's name, a SKU, or one with its prefix."""
    kind, colon, name = target.partition(":")
    is_channel = target in shop.config.channels
    is_product = products.product(shop.db, target) is not None
    if target == ALL:
        return ALL
    if is_channel and is_product:
        raise UsageError(
            detail="{target} is a channel and a SKU",
            target=target,
            mend="write channel:{target} or sku:{target}",
        )
    if is_channel or is_product:
        return f"channel:{target}" if is_channel else f"sku:{target}"
    if colon and kind == "channel" and name in shop.config.channels:
        return target
    if colon and kind == "sku" and products.product(shop.db, name) is not None:
        return target
    raise NotFound(kind="channel", name=target, mend="kmtool config show, or kmtool product list")


def secrets(shop: Shop) -> SecretList:
    """Return the names of credentials that are stored, or wanted by kmtool.toml."""
    wanted: dict[str, list[str]] = {}
    for place, text in credentials_of(shop.config):
        kind, _colon, name = text.partition(":")
        if kind == "secret":
            wanted.setdefault(name, []).append(place)
    stored = {str(row["name"]): int(row["updated_ms"]) for row in house.secret_names(shop.db)}
    return SecretList(
        tuple(
            SecretInfo(name, stored.get(name), tuple(wanted.get(name, ())))
            for name in sorted({*stored, *wanted})
        )
    )


def set_secret(shop: Shop, name: str, value: Secret) -> SecretChange:
    """Seal a credential and store it under a name, replacing one that was there."""
    shop.must_be_writable()
    if not _SECRET_NAME.fullmatch(name):
        raise UsageError(
            detail="{name} is no name for a credential",
            name=name,
            mend="letters, digits, dot, - and _",
        )
    sealed, number = shop.vault.seal(value, f"secret:{name}".encode())
    with shop.db.tx():
        known = house.secret(shop.db, name) is not None
        house.set_secret(shop.db, name, sealed, number, shop.now_ms())
        house.count_sealed(shop.db, number, 1)
        action = "replaced" if known else "stored"
        shop.audit("secret.set", name, action)
    return SecretChange(name, action)


def remove_secret(shop: Shop, name: str) -> SecretChange:
    """Delete a credential; raises `NotFound`."""
    shop.must_be_writable()
    with shop.db.tx():
        if not house.remove_secret(shop.db, name):
            raise NotFound(kind="secret", name=name)
        shop.audit("secret.remove", name)
    return SecretChange(name, "removed")


def credentials_of(config: Config) -> Iterator[tuple[str, str]]:
    """Yield (place, text) of every credential in kmtool.toml."""
    groups = (
        ("channels", config.channels),
        ("couriers", config.couriers),
        ("suppliers", config.suppliers),
        ("notify", config.notify),
    )
    for group, named in groups:
        for name, settings in named.items():
            for key, text in settings.credentials.items():
                yield f"{group}.{name}.{key}", text


def _toml(value: str | int) -> str:
    if isinstance(value, int):
        return str(value)
    return json.dumps("".join(c for c in value if c.isprintable()), ensure_ascii=False)
