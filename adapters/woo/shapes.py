"""WooCommerce REST v3 shapes → the records of `kmtool.ports`, and texts → order notes.

Pure functions. A shape that cannot be read raises `ValueError` with the reason and no value of it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from kmtool.clock import utc_ms
from kmtool.domain.money import e5_to_minor, parse_minor
from kmtool.domain.states import OrderStatus, RefundState
from kmtool.ports import Buyer, LineFact, OrderFact, RefundFact

DELIVERY_META = "_km_delivery_id"
"""The order field in which our own 「shipped」 leaves the id of its effect."""

STATUSES = {
    "auto-draft": OrderStatus.UNPAID,
    "checkout-draft": OrderStatus.UNPAID,
    "pending": OrderStatus.UNPAID,
    "on-hold": OrderStatus.UNPAID,
    "failed": OrderStatus.UNPAID,
    "processing": OrderStatus.PAID,
    "completed": OrderStatus.SHIPPED,
    "cancelled": OrderStatus.CLOSED,
    "refunded": OrderStatus.CLOSED,
    "trash": OrderStatus.CLOSED,
}
NEVER_SHIPPED = frozenset({"cancelled", "refunded", "trash"})

NOTE_BYTES_MAX = 60_000
"""Notes lie in a column of 65,535 bytes; the server answers a longer one with an error 500."""

Raw = Mapping[str, Any]


def order_fact(raw: Raw, *, completed_is_paid: bool = False, account_field: str = "") -> OrderFact:
    """Return the facts of one order as the list and `GET /orders/{id}` give it."""
    currency = _text(raw.get("currency"))
    if not currency:
        raise ValueError("it has no currency")
    word = _text(raw.get("status"))
    status = STATUSES.get(word, OrderStatus.REVIEW)
    risk = "" if word in STATUSES else f"status {word}"
    if completed_is_paid and word == "completed" and not delivery_id(raw):
        status = OrderStatus.PAID
    created_ms = _time_ms(raw, "date_created_gmt")
    modified_ms = _time_ms(raw, "date_modified_gmt") or created_ms
    if created_ms is None or modified_ms is None:
        raise ValueError("it has no date")
    paid_ms = _time_ms(raw, "date_paid_gmt")
    if paid_ms is None and word in ("processing", "completed"):
        paid_ms = _time_ms(raw, "date_completed_gmt") or modified_ms
        if word == "processing" and raw.get("payment_method") == "cod":
            # Cash on delivery is 「processing」 from the start; the money is still outside.
            status, paid_ms, risk = OrderStatus.REVIEW, None, "cash on delivery, not paid"
    total_minor = _exact(raw.get("total"), currency, "its total")
    refunds = tuple(_refund(part, currency) for part in _list(raw, "refunds"))
    return OrderFact(
        number=_id(raw.get("id")),
        revision_ms=modified_ms,
        status=status,
        refund=_refund_state(word, refunds, total_minor),
        currency=currency,
        total_minor=total_minor,
        lines=tuple(_line(part, raw, account_field) for part in _list(raw, "line_items")),
        created_ms=created_ms,
        paid_ms=paid_ms,
        refunds=refunds,
        buyer=_buyer(raw),
        expected_gross_minor=total_minor,
        ext_txn_id=_text(raw.get("transaction_id")),
        risk=risk,
        note=html.unescape(_text(raw.get("customer_note"))),
        stock_lowered=word == "on-hold",  # a pending order's stock is kept apart by the shop
    )


def with_refunds(fact: OrderFact, refunds: list[Raw]) -> OrderFact:
    """Return the facts with what `GET /orders/{id}/refunds` adds: when each refund was made.

    Lines stay as they were sold, as in the list: what still goes out is the operator's answer.
    """
    facts = tuple(_dated_refund(raw, fact.currency) for raw in refunds)
    state = fact.refund
    if facts and state is RefundState.NONE:
        state = _refund_state("", facts, fact.total_minor)
    return replace(fact, refunds=facts, refund=state)


def delivery_id(raw: Raw) -> str:
    """Return the id our own 「shipped」 left in the order, empty when there is none."""
    found = [part.get("value") for part in _list(raw, "meta_data") if _is(part, DELIVERY_META)]
    return _text(found[-1]) if found else ""


def gmt_text(at_ms: int) -> str:
    """Return a time as the date filters want it with `dates_are_gmt`: no Z and no offset.

    With a Z the server shifts the time by the site's zone and orders are silently left out.
    """
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")


# A note is stored through a filter that removes tags, and shown through one that makes text pretty:
# `--`, quotes, `...` and `3x5` turn into other characters, which would spoil a key. Inside <code>
# and <pre> nothing is made pretty; a plain-text mail drops the tags again.
_PRETTIED = re.compile(r"""--|['"`]|\.\.|\dx\d|\(tm\)|(?<!\S)-(?!\S)|[<>&@\[\]\\]""", re.IGNORECASE)
_SPACED = re.compile(r"^[ ]|[ ]$|[ ]{2}|\t")
_ADDRESS = re.compile(r"""(https?://[^\s<>"'，。；、）】」]+)""")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def note_text(text: str) -> str:
    """Return a text as it has to be sent so that the buyer reads exactly `text` in the note."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(_note_line(line) for line in lines).replace("\\", "\\\\")


def note_refusal(text: str) -> str:
    """Return why a note cannot carry `text` unchanged, empty when it can."""
    if _CONTROLS.search(text.replace("\r\n", "\n")):
        return "the text holds control characters, which a note does not keep"
    try:
        size = len(note_text(text).encode())
    except UnicodeEncodeError:
        return "the text is not UTF-8"
    return "the text is too long for a note" if size > NOTE_BYTES_MAX else ""


def _note_line(line: str) -> str:
    if _SPACED.search(line):
        return f"<pre>{html.escape(line, quote=False)}</pre>"
    return "".join(_note_part(part) for part in _ADDRESS.split(line))


def _note_part(part: str) -> str:
    safe = html.escape(part, quote=False)
    if _ADDRESS.fullmatch(part):
        return f'<a href="{safe}"><code>{safe}</code></a>'
    return f"<code>{safe}</code>" if _PRETTIED.search(part) else safe


def has_marker(note: object, marker: str) -> bool:
    """Return whether a note as the server gives it holds the marker as a word of its own."""
    letters = "[A-Za-z0-9:_-]"
    pattern = rf"(?<!{letters}){re.escape(marker)}(?!{letters})"
    return re.search(pattern, html.unescape(_text(note))) is not None


def price_minor(value: object, currency: str) -> int | None:
    """Return a price, None when there is none or it is no amount."""
    try:
        return _rounded(value, currency, "")
    except ValueError:
        return None


def _line(raw: Raw, order: Raw, account_field: str) -> LineFact:
    number = _id(raw.get("id"))
    currency = _text(order.get("currency"))
    name = f"line {number}"
    quantity = raw.get("quantity")
    if not isinstance(quantity, (int, Decimal)) or quantity != int(quantity) or quantity < 0:
        raise ValueError(f"{name}: its quantity is no whole number")
    amount = _sum(raw, name)
    variant = raw.get("variation_id") or ""
    return LineFact(
        line_no=number,
        item_id=_text(raw.get("product_id")),
        variant_id=_text(variant),
        title=html.unescape(_text(raw.get("name"))),
        quantity=int(quantity),
        amount_minor=_minor(amount, currency),
        account=_account(raw, order, account_field),
    )


def _account(raw: Raw, order: Raw, field: str) -> str:
    if not field:
        return ""
    for owner in (raw, order):
        for part in _list(owner, "meta_data"):
            if field in (part.get("key"), part.get("display_key")):
                return _text(part.get("value")).strip()
    return ""


def _refund(raw: Raw, currency: str) -> RefundFact:
    amount = abs(_exact(raw.get("total"), currency, "a refund"))
    return RefundFact(number=_id(raw.get("id")), amount_minor=amount, state="done")


def _dated_refund(raw: Raw, currency: str) -> RefundFact:
    amount = abs(_exact(raw.get("amount"), currency, "a refund"))
    at_ms = _time_ms(raw, "date_created_gmt")
    return RefundFact(number=_id(raw.get("id")), amount_minor=amount, state="done", at_ms=at_ms)


def _refund_state(word: str, refunds: tuple[RefundFact, ...], total_minor: int) -> RefundState:
    back = sum(refund.amount_minor for refund in refunds)
    if word == "refunded" or (back and back >= total_minor):
        return RefundState.FULL
    return RefundState.PARTIAL if refunds else RefundState.NONE


def _buyer(raw: Raw) -> Buyer:
    billing = raw.get("billing")
    if not isinstance(billing, Mapping):
        billing = {}
    customer = _text(raw.get("customer_id"))
    names = (_text(billing.get("first_name")), _text(billing.get("last_name")))
    return Buyer(
        ref="" if customer == "0" else customer,
        name=" ".join(name for name in names if name),
        email=_text(billing.get("email")).strip(),
        phone=_text(billing.get("phone")).strip(),
    )


def _time_ms(raw: Raw, name: str) -> int | None:
    text = raw.get(name)
    if not text:
        return None
    try:
        return utc_ms(datetime.fromisoformat(str(text)).replace(tzinfo=UTC))
    except ValueError:
        raise ValueError(f"{name} is no time") from None


def _exact(value: object, currency: str, name: str) -> int:
    try:
        return parse_minor(_text(value), currency)
    except ValueError:
        raise ValueError(f"{name} is no amount in {currency}") from None


def _rounded(value: object, currency: str, name: str) -> int:
    return _minor(_decimal(value, name), currency)


def _minor(amount: Decimal, currency: str) -> int:
    e5 = (amount * 100_000).to_integral_value(ROUND_HALF_UP)
    return e5_to_minor(int(e5), currency)


def _sum(raw: Raw, name: str) -> Decimal:
    return _decimal(raw.get("total"), name) + _decimal(raw.get("total_tax") or "0", name)


def _decimal(value: object, name: str) -> Decimal:
    try:
        number = Decimal(_text(value))
    except InvalidOperation:
        raise ValueError(f"{name}: no amount") from None
    if not number.is_finite() or abs(number) > 10**13:
        raise ValueError(f"{name}: no amount")
    return number


def _id(value: object) -> str:
    text = _text(value)
    if not text.isascii() or not text.isdigit() or text == "0":
        raise ValueError("it has no id")
    return text


def _text(value: object) -> str:
    return "" if value is None else str(value).replace("\0", "")


def _list(raw: Raw, name: str) -> list[Raw]:
    parts = raw.get(name)
    if not isinstance(parts, list):
        return []
    return [part for part in parts if isinstance(part, Mapping)]


def _is(meta: Raw, key: str) -> bool:
    return meta.get("key") == key
