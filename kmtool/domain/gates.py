"""The gates before a key is reserved: pure functions in order; the first that is shut decides.

`order why` prints the walk. A `Shut` names the gate, says why in words, and gives the command that
opens it. `released` is the operator's answer to a gate that asks (amount, shipped elsewhere, price,
burst, risk, mode); nothing releases an unpaid, refunded, closed or unmapped line.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from kmtool.domain.money import e5_to_minor, format_minor
from kmtool.domain.situation import Limits as Limits
from kmtool.domain.situation import Shut as Shut
from kmtool.domain.situation import Situation as Situation
from kmtool.domain.states import Gate, Mode, OrderStatus, RefundState
from kmtool.errors import told

_LIMIT = re.compile(r"one purchase from (?P<one>.+) at most |are spent at (?P<day>.+) today, ")
"""Which limit of spending a reason names (`topup.too_much` writes them)."""


def paid(s: Situation) -> Shut | None:
    """Only a paid order goes out; history brought in at the start never does."""
    if s.history:
        return Shut(
            Gate.PAID,
            told("it was there before kmtool and counts as done"),
            f"kmtool order show {s.number}",
        )
    if s.status is OrderStatus.UNPAID:
        return Shut(Gate.PAID, told("it is not paid"), "kmtool sync")
    return None


def closed(s: Situation) -> Shut | None:
    """A closed order gets nothing."""
    if s.status is OrderStatus.CLOSED:
        return Shut(Gate.CLOSED, told("the channel closed it"), f"kmtool order show {s.number}")
    return None


def refund(s: Situation) -> Shut | None:
    """Any refund that is open or done stops the delivery; a partial one until it is released."""
    if s.refund is RefundState.NONE or (s.refund is RefundState.PARTIAL and s.released):
        return None
    words = {
        RefundState.OPEN: told("the buyer asks for a refund"),
        RefundState.PARTIAL: told("part of it was refunded"),
        RefundState.FULL: told("it was refunded"),
    }
    command = f"kmtool order refund {s.number}"
    if s.refund is RefundState.PARTIAL:
        command = f"kmtool order release {s.number} --quantity N"
    return Shut(Gate.REFUND, words[s.refund], command)


def currency(s: Situation) -> Shut | None:
    """The money must be of the currency we sell in."""
    if s.currency == s.shop_currency:
        return None
    return Shut(
        Gate.AMOUNT,
        told(
            "it was paid in {currency}, the channel is set to {shop_currency}",
            currency=s.currency,
            shop_currency=s.shop_currency,
        ),
        f"kmtool order release {s.number}",
    )


def pieces(s: Situation) -> Shut | None:
    """A line is for one piece at least; nothing else is a number of keys."""
    if s.quantity >= 1 and (s.sku is None or s.needed >= 1):
        return None
    return Shut(
        Gate.AMOUNT,
        told("the line is for {quantity} pieces", quantity=s.quantity),
        f"kmtool order close {s.number}",
    )


def amount(s: Situation) -> Shut | None:
    """What was paid must reach the price agreed for the listing, when one is set."""
    if s.listing_price_minor is None:
        return None
    wanted = s.listing_price_minor * s.quantity
    if s.amount_minor >= wanted:
        return None
    paid_text = format_minor(s.amount_minor, s.currency)
    return Shut(
        Gate.AMOUNT,
        told(
            "{paid_text} was paid, the listing says {wanted}",
            paid_text=paid_text,
            wanted=format_minor(wanted, s.currency),
        ),
        f"kmtool order release {s.number}",
    )


def shipped(s: Situation) -> Shut | None:
    """An order that the channel calls shipped was delivered by somebody else, or by hand."""
    if s.status in {OrderStatus.SHIPPED, OrderStatus.DONE}:
        return Shut(
            Gate.SHIPPED,
            told("the channel says it is shipped, but not by kmtool"),
            f"kmtool order release {s.number}",
        )
    return None


def mapped(s: Situation) -> Shut | None:
    """The listing must be mapped to a product."""
    if s.sku is None:
        return Shut(
            Gate.MAPPED,
            told("「{title}」 is not mapped to a product", title=s.title),
            "kmtool product unmapped",
        )
    return None


def product(s: Situation) -> Shut | None:
    """The product and its listing must be on, and a top-up know where it is bought."""
    if s.sku is None:
        return None
    if not s.product_on:
        return Shut(
            Gate.PRODUCT,
            told("product {sku} is off", sku=s.sku),
            f"kmtool product set {s.sku} --state on",
        )
    if not s.listing_on:
        return Shut(Gate.PRODUCT, told("this listing is off"), f"kmtool product show {s.sku}")
    if s.terms_refusal:
        return Shut(
            Gate.PRODUCT,
            told("top-up {sku}: {reason}", sku=s.sku, reason=s.terms_refusal),
            f"kmtool product set {s.sku} --supplier NAME --item ID --cap 9.80 --account RULE",
        )
    return None


def account(s: Situation) -> Shut | None:
    """The account of a top-up must fit the product's rule."""
    if not s.account_refusal:
        return None
    command = f"kmtool order account {s.number} VALUE --line {s.line_no}"
    return Shut(Gate.ADDRESS, s.account_refusal, command)


def spend(s: Situation) -> Shut | None:
    """What a top-up may cost must lie within what may be spent at its supplier."""
    if not s.spend_refusal:
        return None
    command = limit_command(s.spend_refusal) or f"kmtool product show {s.sku}"
    return Shut(Gate.PRICE, s.spend_refusal, command)


def limit_command(reason: str) -> str:
    """Return the command that raises the limit a reason names, empty when it names none."""
    found = _LIMIT.search(reason)
    if found is None:
        return ""
    which = "--spend-per-order" if found["one"] else "--spend-per-day"
    return f"kmtool supplier set {found['one'] or found['day']} {which} MONEY"


def price(s: Situation) -> Shut | None:
    """The price brake: net per key not below its cost, nor below the product's floor."""
    if not s.needed:
        return None
    each = s.amount_minor // s.needed
    if s.floor_minor is not None and each < s.floor_minor:
        return Shut(
            Gate.PRICE,
            told(
                "{each} a key is below the floor of {floor}",
                each=format_minor(each, s.currency),
                floor=format_minor(s.floor_minor, s.currency),
            ),
            f"kmtool order release {s.number}",
        )
    cost_minor = e5_to_minor(s.cost_e5 * s.needed, s.currency)
    if s.limits.below_cost and s.amount_minor < cost_minor:
        return Shut(
            Gate.PRICE,
            told(
                "{amount} paid, the keys cost {cost}",
                amount=format_minor(s.amount_minor, s.currency),
                cost=format_minor(cost_minor, s.currency),
            ),
            f"kmtool order release {s.number}",
        )
    return None


def burst(s: Situation) -> Shut | None:
    """The burst brake: pieces and value per SKU and hour, pieces per buyer and hour."""
    limits = s.limits
    command = f"kmtool order release {s.number}"
    if limits.sku_pieces and s.sku_pieces_hour + (s.burst_keys or s.needed) > limits.sku_pieces:
        return Shut(
            Gate.BURST,
            told(
                "{n} keys of {sku} left within an hour, the limit is {limit}",
                n=s.sku_pieces_hour,
                sku=s.burst_sku or s.sku,
                limit=limits.sku_pieces,
            ),
            command,
        )
    value = s.sku_value_hour_minor + s.amount_minor
    if limits.sku_value_minor and value > limits.sku_value_minor:
        return Shut(
            Gate.BURST,
            told(
                "{amount} of {sku} within an hour, the limit is {limit}",
                amount=format_minor(value, s.currency),
                sku=s.sku,
                limit=format_minor(limits.sku_value_minor, s.currency),
            ),
            command,
        )
    if limits.buyer_pieces and s.buyer_pieces_hour + s.needed > limits.buyer_pieces:
        return Shut(
            Gate.BURST,
            told(
                "this buyer would get {n} keys within an hour, the limit is {limit}",
                n=s.buyer_pieces_hour + s.needed,
                limit=limits.buyer_pieces,
            ),
            command,
        )
    return None


def risk(s: Situation) -> Shut | None:
    """The operator's hold or block list, or the channel's own flag."""
    if s.hold_reason:
        return Shut(
            Gate.RISK,
            told("on hold: {hold_reason}", hold_reason=s.hold_reason),
            f"kmtool order release {s.number}",
        )
    if s.blocked:
        return Shut(
            Gate.RISK,
            told("the buyer is on the block list ([brakes] block)"),
            f"kmtool order release {s.number}",
        )
    if s.status is OrderStatus.REVIEW or s.risk:
        return Shut(
            Gate.RISK,
            told("the channel flags it: {risk}", risk=s.risk or told("under review")),
            f"kmtool order release {s.number}",
        )
    return None


def held(s: Situation) -> Shut | None:
    """The operator's own hold stands above an earlier release."""
    return risk(s) if s.hold_reason else None


def watch(s: Situation) -> Shut | None:
    """A channel on watch only computes; somebody else sends there, so no release opens it."""
    if s.mode is not Mode.WATCH:
        return None
    return Shut(
        Gate.MODE,
        told("the channel is on watch: this would have been sent"),
        f"kmtool channel set {s.channel} --mode ask",
    )


def mode(s: Situation) -> Shut | None:
    """A channel on trial asks before each order."""
    if s.mode is Mode.ASK:
        return Shut(
            Gate.MODE, told("the channel asks before it sends"), f"kmtool order release {s.number}"
        )
    return None


def stock(s: Situation) -> Shut | None:
    """There must be enough free keys; a text only has to be there."""
    if s.sku is None or s.free >= s.needed or s.kind == "topup":
        return None
    if s.kind == "text":
        return Shut(
            Gate.STOCK,
            told("{sku} has no text yet", sku=s.sku),
            f"kmtool product set {s.sku} --text FILE",
        )
    return Shut(
        Gate.STOCK,
        told("{needed} of {sku} needed, {free} free", needed=s.needed, sku=s.sku, free=s.free),
        f"kmtool import FILE --sku {s.sku}",
    )


def route(s: Situation) -> Shut | None:
    """The way to the buyer must be usable: login, address, quota."""
    if s.route_refusal:
        command = f"kmtool channel test {s.channel}" if s.route_broken else ""
        return Shut(Gate.ROUTE, s.route_refusal, command or f"kmtool order show {s.number}")
    return None


def pause(s: Situation) -> Shut | None:
    """The shop, the channel or the product may be paused."""
    if s.paused:
        return Shut(
            Gate.PAUSE, told("{paused} is paused", paused=s.paused), f"kmtool resume {s.paused}"
        )
    return None


GATES: tuple[tuple[Gate, Callable[[Situation], Shut | None], bool], ...] = (
    (Gate.PAID, paid, False),
    (Gate.CLOSED, closed, False),
    (Gate.REFUND, refund, False),
    (Gate.AMOUNT, pieces, False),
    (Gate.AMOUNT, currency, True),
    (Gate.AMOUNT, amount, True),
    (Gate.SHIPPED, shipped, True),
    (Gate.MAPPED, mapped, False),
    (Gate.PRODUCT, product, False),
    (Gate.ADDRESS, account, False),
    (Gate.RISK, held, False),
    (Gate.PRICE, price, True),
    (Gate.PRICE, spend, False),
    (Gate.BURST, burst, True),
    (Gate.RISK, risk, True),
    (Gate.MODE, watch, False),
    (Gate.MODE, mode, True),
    (Gate.STOCK, stock, False),
    (Gate.ROUTE, route, False),
    (Gate.PAUSE, pause, False),
)
"""(name, rule, does an operator's release open it)."""


def walk(situation: Situation) -> list[tuple[Gate, Shut | None]]:
    """Return every gate with what shuts it, in order (`order why`)."""
    result = []
    for name, rule, releasable in GATES:
        shut = None if releasable and situation.released else rule(situation)
        result.append((name, shut))
    return result


def first_shut(situation: Situation) -> Shut | None:
    """Return the first gate that is shut, None when all are open."""
    for _, rule, releasable in GATES:
        if releasable and situation.released:
            continue
        shut = rule(situation)
        if shut is not None:
            return shut
    return None
