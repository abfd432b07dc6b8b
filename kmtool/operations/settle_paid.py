"""Payments on closed sheets: a voucher counts once, more than is owed is refused."""

from __future__ import annotations

from dataclasses import dataclass

from kmtool.clock import business_day
from kmtool.domain.money import format_minor
from kmtool.domain.settlement import BANK, account
from kmtool.errors import NotFound, Refused, UsageError
from kmtool.operations.settle_sheets import Payment, state_of
from kmtool.shop import Shop
from kmtool.store import ledger, settlements
from kmtool.store.db import Row


@dataclass(frozen=True, slots=True)
class Paid:
    """What a sheet stands at after a payment; `new` is False for a voucher noted before."""

    number: str
    amount_minor: int
    paid_minor: int
    payable_minor: int
    currency: str
    state: str
    new: bool


def paid(shop: Shop, number: str, payment: Payment) -> Paid:
    """Note a payment on a sheet and book it. A voucher counts once; too much is refused."""
    shop.must_be_writable()
    db = shop.db
    with db.tx():
        if settlements.sheet(db, number, lock=True) is None:
            raise NotFound(kind="settle", name=number)
        sheet = settlements.sheet(db, number)
        assert sheet is not None, "a closed sheet is never deleted"
        known = {row["voucher"]: row for row in settlements.payments(db, sheet["id"])}
        if payment.voucher in known:
            _must_be_the_same(known[payment.voucher], payment, sheet)
        else:
            _must_fit(shop, sheet, payment)
            _book_payment(shop, sheet, payment)
        after = settlements.sheet(db, number)
        assert after is not None
    return Paid(
        number=number,
        amount_minor=payment.amount_minor,
        paid_minor=after["paid_minor"],
        payable_minor=after["payable_minor"],
        currency=after["currency"],
        state=state_of(after),
        new=payment.voucher not in known,
    )


def _must_be_the_same(known: Row, payment: Payment, sheet: Row) -> None:
    if known["amount_minor"] != payment.amount_minor or known["paid_on"] != payment.paid_on:
        noted = format_minor(known["amount_minor"], sheet["currency"])
        raise Refused(
            detail="voucher {voucher} is noted on {number} already: {noted} of {paid_on}",
            voucher=payment.voucher,
            number=sheet["number"],
            noted=noted,
            paid_on=known["paid_on"],
            mend="give another --ref if this is another payment",
        )


def _must_fit(shop: Shop, sheet: Row, payment: Payment) -> None:
    left = sheet["payable_minor"] - sheet["paid_minor"]
    today = business_day(shop.now_ms(), shop.config.shop.timezone).isoformat()
    if payment.amount_minor <= 0 or not payment.voucher:
        raise UsageError(detail="a payment needs an amount above 0 and a voucher (--ref)")
    if payment.currency != sheet["currency"]:
        raise UsageError(
            detail="{number} is in {currency}", number=sheet["number"], currency=sheet["currency"]
        )
    if payment.paid_on > today:
        raise UsageError(
            detail="{paid_on} has not come yet",
            paid_on=payment.paid_on,
            mend="--date {today}",
            today=today,
        )
    if payment.amount_minor > left:
        raise Refused(
            detail="{amount} is more than the {left} still owed on {number}",
            amount=format_minor(payment.amount_minor, payment.currency),
            left=format_minor(left, payment.currency),
            number=sheet["number"],
            mend="kmtool settle show {number}",
        )


def _book_payment(shop: Shop, sheet: Row, payment: Payment) -> None:
    db, currency, number = shop.db, sheet["currency"], sheet["number"]
    added = settlements.add_payment(
        db,
        {
            "settlement_id": sheet["id"],
            "voucher": payment.voucher,
            "amount_minor": payment.amount_minor,
            "paid_on": payment.paid_on,
            "at_ms": shop.now_ms(),
            "actor": payment.actor or shop.actor,
            "note": payment.note,
        },
    )
    assert added, "the sheet is locked, and the voucher was looked up under the lock"
    ledger.post(
        db,
        shop.now_ms(),
        "supplier_paid",
        f"{number}:{payment.voucher}",
        payment.note,
        [
            (account(sheet["supplier"]), currency, payment.amount_minor),
            (BANK, currency, -payment.amount_minor),
        ],
    )
    money = format_minor(payment.amount_minor, currency)
    shop.audit("settle.paid", f"settlement:{number}", f"{money} of {payment.paid_on}")
