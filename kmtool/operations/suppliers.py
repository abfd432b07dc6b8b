"""Suppliers: who keys come from, and on which terms they are paid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from kmtool.domain.money import format_plain
from kmtool.domain.settlement import OWN as OWN
from kmtool.domain.settlement import OWN_MODE as OWN_MODE
from kmtool.errors import Broken, NotFound, Refused, UsageError, told
from kmtool.operations import config_text, deposits
from kmtool.operations.products import check_code
from kmtool.operations.topup import day_began_ms
from kmtool.shop import Shop
from kmtool.store import purchases
from kmtool.store import suppliers as store
from kmtool.store.db import Row

MODES = ("consignment", "buyout")
"""Paid when a key was sold, or bought when the batch came in."""
SETTLE_DAYS = 3
"""T+3 unless agreed otherwise."""


@dataclass(frozen=True, slots=True)
class Supplier:
    """A supplier and its terms; `settle_days` is T+N in natural days.

    `adapter` is empty for one without an interface; what follows it speaks of purchases there.
    """

    code: str
    name: str
    mode: str
    settle_days: int
    currency: str
    payee: str
    batches: int
    keys: int
    adapter: str = ""
    spend_per_day_minor: int | None = None
    spend_per_order_minor: int | None = None
    spent_today_minor: int | None = None
    purchases: int = 0
    unclear: int = 0
    prepaid_minor: int = 0


@dataclass(frozen=True, slots=True)
class Suppliers:
    """All suppliers."""

    suppliers: tuple[Supplier, ...]


def add(
    shop: Shop,
    code: str,
    *,
    name: str = "",
    mode: str = "",
    settle_days: int = SETTLE_DAYS,
    payee: str = "",
) -> Supplier:
    """Add a supplier; `Refused` when the code is taken."""
    shop.must_be_writable()
    check_code(code, "supplier code")
    _check(mode, settle_days, code)
    with shop.db.tx():
        if not _insert(shop, code, name, mode, settle_days, payee):
            raise Refused(
                detail="there is a supplier {code} already",
                mend="kmtool supplier set {code} …",
                code=code,
            )
    return show(shop, code)


def ensure(shop: Shop, code: str, mode: str = "") -> None:
    """Add a supplier of that code inside the open transaction unless there is one."""
    _insert(shop, code, "", mode, SETTLE_DAYS, "")


def change(
    shop: Shop,
    code: str,
    *,
    name: str | None = None,
    mode: str | None = None,
    settle_days: int | None = None,
    payee: str | None = None,
) -> Supplier:
    """Change what is given; terms of batches that are here stay. Raises `NotFound`."""
    shop.must_be_writable()
    _check(mode or "", settle_days or 0, code)
    given = {"name": name, "mode": mode, "settle_days": settle_days, "payee": payee}
    changes = {column: value for column, value in given.items() if value is not None}
    if not changes:
        raise UsageError(detail="nothing to change", mend="kmtool supplier set --help")
    with shop.db.tx():
        if not store.set_supplier(shop.db, code, **changes):
            raise NotFound(kind="supplier", name=code)
        told = ", ".join(f"{k}={v}" for k, v in changes.items() if k != "payee")
        shop.audit("supplier.set", f"supplier:{code}", told)
    return show(shop, code)


def limit(
    shop: Shop, code: str, *, per_day_minor: int | None = None, per_order_minor: int | None = None
) -> Supplier:
    """Write what may be spent at a supplier with an interface into kmtool.toml; 0 buys nothing.

    Raises `NotFound` for an unknown supplier, `Refused` when it has no section there.
    """
    shop.must_be_writable()
    config = shop.config
    if code not in config.suppliers:
        if store.supplier(shop.db, code) is None:
            raise NotFound(kind="supplier", name=code)
        raise Refused(
            detail="supplier {code} has no interface: nothing is bought there by itself",
            where=told("[suppliers.{code}] in kmtool.toml", code=code),
            mend="write [suppliers.{code}] with its adapter first",
            code=code,
        )
    given = {"spend_per_day": per_day_minor, "spend_per_order": per_order_minor}
    values: dict[str, config_text.Value] = {
        name: format_plain(minor, config.shop.currency)
        for name, minor in given.items()
        if minor is not None
    }
    text = config_text.set_values(config_text.read(config.path), ("suppliers", code), values)
    named = config_text.Named(supplier=code)
    write = partial(config_text.write, config, text, named, shop.now_ms())
    changed = write(keep=False)
    try:
        with shop.db.tx():
            said = ", ".join(f"{name}={value}" for name, value in values.items())
            shop.audit("supplier.limit", f"supplier:{code}", said)
            changed = write(keep=not shop.db.rehearsing)
    except Broken:
        if changed.backup:  # it would stand in kmtool.toml and be on record nowhere
            Path(changed.backup).replace(config.path)
        raise
    return show(replace(shop, config=changed.config), code)


def show(shop: Shop, code: str) -> Supplier:
    """Return one supplier; raises `NotFound`."""
    row = store.supplier(shop.db, code)
    if row is None and code not in shop.config.suppliers:
        raise NotFound(kind="supplier", name=code)
    return _supplier(shop, row or _only_interface(shop, code))


def every(shop: Shop) -> Suppliers:
    """Return all suppliers, by code; one that has only an interface is among them."""
    found = [_supplier(shop, row) for row in store.suppliers(shop.db)]
    known = {one.code for one in found}
    found += [
        _supplier(shop, _only_interface(shop, name))
        for name in shop.config.suppliers
        if name not in known
    ]
    return Suppliers(tuple(sorted(found, key=lambda one: one.code)))


def _only_interface(shop: Shop, name: str) -> Row:
    """A [suppliers.NAME] without terms of its own: top-ups are bought there, nothing is settled."""
    return {
        "code": name,
        "name": name,
        "mode": MODES[1],
        "settle_days": 0,
        "currency": shop.config.shop.currency,
        "payee": "",
    }


def _insert(shop: Shop, code: str, name: str, mode: str, settle_days: int, payee: str) -> bool:
    added = store.add_supplier(
        shop.db,
        code=code,
        name=name or code,
        mode=mode_of(code, mode),
        settle_days=settle_days,
        currency=shop.config.shop.currency,
        payee=payee,
        now_ms=shop.now_ms(),
    )
    if added:
        shop.audit("supplier.add", f"supplier:{code}", mode_of(code, mode))
    return added


def mode_of(code: str, mode: str = "") -> str:
    """Return how keys of a supplier are paid; what the shop had already is paid."""
    return OWN_MODE if code == OWN else mode or MODES[0]


def check_own(code: str, mode: str) -> None:
    """Raise `UsageError` when keys the shop had already are to be paid when they are sold."""
    if code == OWN and mode not in {"", OWN_MODE}:
        raise UsageError(
            detail="what you had already ({code}) is owed to nobody: it has no mode {mode}",
            code=code,
            mode=mode,
            mend="kmtool supplier add CODE, for whom the keys are from",
        )


def _check(mode: str, settle_days: int, code: str) -> None:
    check_own(code, mode)
    if mode and mode not in MODES:
        raise UsageError(
            detail="there is no mode {mode}", mode=mode, mend="--mode consignment|buyout"
        )
    if not 0 <= settle_days <= 365:
        raise UsageError(detail="settle days must lie between 0 and 365", mend="--settle-days 7")


def _supplier(shop: Shop, row: Row) -> Supplier:
    totals = store.batch_totals(shop.db, row["code"])
    return Supplier(
        code=row["code"],
        name=row["name"],
        mode=mode_of(row["code"], row["mode"]),
        settle_days=row["settle_days"],
        currency=row["currency"],
        payee=row["payee"],
        batches=totals["batches"],
        keys=totals["keys"],
        prepaid_minor=deposits.prepaid(shop, row["code"], row["currency"]),
        **_interface(shop, row["code"]),
    )


def _interface(shop: Shop, code: str) -> dict[str, Any]:
    settings = shop.config.suppliers.get(code)
    if settings is None:
        return {}
    made = purchases.tally(shop.db, code)
    return {
        "adapter": settings.adapter,
        "spend_per_day_minor": settings.spend_per_day_minor,
        "spend_per_order_minor": settings.spend_per_order_minor,
        "spent_today_minor": purchases.spent(shop.db, code, day_began_ms(shop)),
        "purchases": made["done"],
        "unclear": made["unclear"],
    }
