"""Money paid in advance to a supplier: what is bought there is drawn from it.

A voucher counts once, as with payments on sheets; a negative amount is money that came back.
"""

from __future__ import annotations

from dataclasses import dataclass

from kmtool.domain.money import format_minor
from kmtool.domain.settlement import BANK
from kmtool.errors import NotFound, Refused, UsageError
from kmtool.shop import Shop
from kmtool.store import ledger, suppliers

EVENT = "supplier_deposit"


@dataclass(frozen=True, slots=True)
class Deposited:
    """What a supplier holds after a deposit; `new` is False for a voucher noted before."""

    supplier: str
    amount_minor: int
    prepaid_minor: int
    currency: str
    ref: str
    new: bool


def account(code: str) -> str:
    """Return the ledger account of what a supplier holds for us."""
    return f"asset:supplier:{code}"


def prepaid(shop: Shop, code: str, currency: str) -> int:
    """Return what a supplier holds for us; below zero when purchases were not paid in yet."""
    return ledger.balance(shop.db, account(code), currency)


def deposit(shop: Shop, code: str, amount_minor: int, ref: str, note: str = "") -> Deposited:
    """Book money paid in advance to a supplier. Raises `NotFound`, `UsageError`, `Refused`."""
    shop.must_be_writable()
    known = suppliers.supplier(shop.db, code)
    if known is None and code not in shop.config.suppliers:
        raise NotFound(kind="supplier", name=code)
    ref = ref.strip()
    if not amount_minor or not ref:
        raise UsageError(
            detail="a deposit needs an amount and a voucher (--ref)",
            mend="kmtool supplier deposit {code} --amount 500.00 --ref VOUCHER",
            code=code,
        )
    currency = known["currency"] if known else shop.config.shop.currency
    with shop.db.tx():
        name = f"{code}:{ref}"
        new = ledger.post(
            shop.db,
            shop.now_ms(),
            EVENT,
            name,
            note.strip()[:300],
            [(account(code), currency, amount_minor), (BANK, currency, -amount_minor)],
        )
        noted = suppliers.posted(shop.db, EVENT, name, account(code))
        if noted != amount_minor:
            raise Refused(
                detail="voucher {ref} is noted already: {noted}",
                ref=ref,
                noted=format_minor(noted, currency),
                mend="give another --ref if this is another payment",
            )
        if new:
            money = format_minor(amount_minor, currency)
            shop.audit("supplier.deposit", f"supplier:{code}", f"{money}, {ref}"[:200])
        left = prepaid(shop, code, currency)
    return Deposited(code, amount_minor, left, currency, ref, new)
