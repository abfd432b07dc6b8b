"""The network side of an effect: try it, or ask whether it happened. Never inside a transaction.

Every outcome is one of five; whatever is not documented is `unknown`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar, cast

from kmtool.domain.states import EffectKind
from kmtool.errors import (
    ConfigError,
    KmError,
    NeedsOperator,
    OutsideError,
    Rejected,
    Retriable,
    Unknown,
    told,
)
from kmtool.ports import (
    Channel,
    Courier,
    Features,
    Item,
    Message,
    OrderFact,
    OrderRef,
    Page,
    Purchased,
    PurchaseOrder,
    Receipt,
    RefundDesk,
    Repeat,
    StockPush,
    Supplier,
    Verdict,
    Window,
)
from kmtool.shop import Shop

T = TypeVar("T")
R = TypeVar("R")


class Result(StrEnum):
    """How a try ended, as far as we know."""

    OK = "ok"
    REJECTED = "rejected"
    RETRIABLE = "retriable"
    OPERATOR = "operator"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one try with what the other side said (no secrets)."""

    result: Result
    reference: str = ""
    detail: str = ""
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RefundReply:
    """The answer to a refund that is open at a channel."""

    number: str
    agree: bool
    text: str


@dataclass(slots=True)  # one for each effect: a frozen one takes four times as long to make
class Parcel:
    """What a try of an effect needs: a message for the courier, or an order for the channel."""

    effect_id: int
    kind: EffectKind
    channel: str
    route: str
    message: Message | None
    order: OrderRef | None
    reply: RefundReply | None = None


def channel(shop: Shop, name: str) -> Channel:
    """Return a channel; whatever its adapter trips over while it is built is a `KmError`."""
    return _built(f"channels.{name}", lambda: shop.adapters.channel(name))


def courier(shop: Shop, name: str, of_channel: str) -> Courier:
    """Return a courier; whatever its adapter trips over while it is built is a `KmError`.

    Nothing is carried for a channel that is gone from kmtool.toml, even where the way still stands.
    """
    if of_channel not in shop.config.channels:
        raise ConfigError(detail="there is no [channels.{of_channel}]", of_channel=of_channel)
    return _built(f"channels.{of_channel}", lambda: shop.adapters.courier(name, of_channel))


def supplier(shop: Shop, name: str) -> Supplier:
    """Return a supplier; whatever its adapter trips over while it is built is a `KmError`."""
    return _built(f"suppliers.{name}", lambda: shop.adapters.supplier(name))


def buy(of: Supplier, name: str, wish: PurchaseOrder) -> Purchased | OutsideError:
    """Place a purchase once; after an adapter's bug the money may be gone, so it is unclear."""
    try:
        return of.place(wish)
    except OutsideError as error:
        return error
    except KmError as error:
        return Rejected(who=name, detail="{problem}", problem=error)
    except Exception as error:  # noqa: BLE001  (the edge)
        return Unknown(who=name, detail="{kind_of} in the adapter", kind_of=type(error).__name__)


def bought(of: Supplier, name: str, our_no: str) -> Purchased | OutsideError | None:
    """Ask what became of a purchase; None when the supplier says that it does not know it."""
    try:
        return of.query(our_no)
    except OutsideError as error:
        return error
    except Exception as error:  # noqa: BLE001  (the edge: asking changes nothing)
        return Retriable(who=name, detail="{kind_of} in the adapter", kind_of=type(error).__name__)


def _built(where: str, build: Callable[[], T]) -> T:
    try:
        return build()
    except KmError:
        raise
    except Exception as error:
        raise ConfigError(
            detail="its adapter cannot be used ({kind_of}: {problem})",
            kind_of=type(error).__name__,
            problem=error,
            where=where,
        ) from error


def read_order(shop: Shop, name: str, number: str) -> OrderFact | KmError | None:
    """Read one order again; trouble of any kind is returned, not raised."""
    try:
        return channel(shop, name).get_order(number)
    except KmError as error:
        return error
    except Exception as error:  # noqa: BLE001  (the edge: a bug must not stop the other orders)
        return OutsideError(
            who=name, detail="{kind_of} in the adapter", kind_of=type(error).__name__
        )


def items(name: str, of: Channel) -> list[Item]:
    """Return what a channel lists; an adapter's bug is the trouble of its channel only."""
    try:
        return list(of.list_items())
    except KmError:
        raise
    except Exception as error:
        raise OutsideError(
            who=name, detail="{kind_of} in the adapter", kind_of=type(error).__name__
        ) from error


def push_stock(name: str, of: Channel, items: Sequence[StockPush]) -> None:
    """Tell a channel its figures; an adapter's bug is the trouble of its channel only."""
    try:
        of.push_stock(items)
    except KmError:
        raise
    except Exception as error:
        raise OutsideError(
            who=name, detail="{kind_of} in the adapter", kind_of=type(error).__name__
        ) from error


def set_shelf(of: Channel, item_id: str, variant_id: str, *, on: bool) -> Outcome:
    """Put a listing on or off the shelf; whatever is not documented is unknown."""
    try:
        of.set_shelf(item_id, variant_id, on=on)
    except Unknown as error:
        return Outcome(Result.UNKNOWN, detail=str(error))
    except KmError as error:
        return Outcome(Result.REJECTED, detail=str(error))
    except Exception as error:  # noqa: BLE001  (the edge: a bug must not stop the other listings)
        return Outcome(Result.UNKNOWN, detail=f"{type(error).__name__} in the adapter")
    return Outcome(Result.OK)


def pages(name: str, of: Channel, window: Window) -> Iterator[Page]:
    """Yield the pages of a window; an adapter's bug is the trouble of its channel only."""
    try:
        yield from of.list_changed(window)
    except KmError:
        raise
    except Exception as error:
        raise OutsideError(
            who=name, detail="{kind_of} in the adapter", kind_of=type(error).__name__
        ) from error


Rule = tuple[Repeat, int, int]
"""(repeat rule, tries allowed while unclear, grace in ms)"""


@dataclass(frozen=True, slots=True)
class Carrier:
    """Who carries a kind of effect: its features (by route and channel), how it is tried, how the
    other side is asked whether it happened, what may be done while that is unclear."""

    features: Callable[[Shop, str, str], Features]
    carry: Callable[[Shop, Parcel], Receipt]
    ask: Callable[[Shop, Parcel], Verdict]
    rule: Callable[[Features], Rule]


def repeat_rule(shop: Shop, kind: str, route: str, of_channel: str) -> Rule:
    """Return (repeat rule, tries allowed while unclear, grace in ms) of an effect's route.

    What is idempotent bears any number of repeats: as many as an effect is tried at all.
    """
    features = features_of(shop, kind, route, of_channel)
    rule, most, grace_ms = CARRIERS[EffectKind(kind)].rule(features)
    if rule is Repeat.IDEMPOTENT:
        most = max(most, shop.config.deliver.tries_max)
    return rule, most, grace_ms


def features_of(shop: Shop, kind: str, route: str, of_channel: str) -> Features:
    """Return the declared features of the adapter that carries an effect."""
    return CARRIERS[EffectKind(kind)].features(shop, route, of_channel)


def attempt(shop: Shop, parcel: Parcel) -> Outcome:
    """Try an effect once."""
    try:
        receipt = CARRIERS[parcel.kind].carry(shop, parcel)
    except Retriable as error:
        return Outcome(Result.RETRIABLE, detail=str(error), after_s=error.after_s)
    except Rejected as error:
        return Outcome(Result.REJECTED, detail=str(error))
    except NeedsOperator as error:
        return Outcome(Result.OPERATOR, detail=str(error))
    except Unknown as error:
        return Outcome(Result.UNKNOWN, detail=str(error))
    except KmError as error:
        return Outcome(Result.REJECTED, detail=str(error))
    except Exception as error:  # noqa: BLE001  (the edge: an adapter's bug must not lose the order)
        return Outcome(
            Result.UNKNOWN, detail=told("{kind_of} in the adapter", kind_of=type(error).__name__)
        )
    return Outcome(Result.OK, receipt.reference, receipt.detail)


def probe(shop: Shop, parcel: Parcel) -> Verdict | None:
    """Ask whether an effect happened; None when the question could not be put (not reachable)."""
    try:
        return CARRIERS[parcel.kind].ask(shop, parcel)
    except OutsideError:
        return None
    except Exception:  # noqa: BLE001  (the edge: asking changes nothing, so it may be asked again)
        return Verdict.UNCLEAR


def _send(shop: Shop, parcel: Parcel) -> Receipt:
    assert parcel.message is not None
    return shop.adapters.courier(parcel.route, parcel.channel).send(parcel.message)


def _ask_message(shop: Shop, parcel: Parcel) -> Verdict:
    assert parcel.message is not None
    return shop.adapters.courier(parcel.route, parcel.channel).query(parcel.message)


def _mark_shipped(shop: Shop, parcel: Parcel) -> Receipt:
    assert parcel.order is not None
    return shop.adapters.channel(parcel.channel).mark_shipped(parcel.order)


def _ask_shipped(shop: Shop, parcel: Parcel) -> Verdict:
    assert parcel.order is not None
    return shop.adapters.channel(parcel.channel).query_shipped(parcel.order)


def _reply(shop: Shop, parcel: Parcel) -> Receipt:
    assert parcel.order is not None and parcel.reply is not None
    desk = cast(RefundDesk, shop.adapters.channel(parcel.channel))
    reply = parcel.reply
    return desk.reply_refund(parcel.order, reply.number, agree=reply.agree, text=reply.text)


def _ask_reply(shop: Shop, parcel: Parcel) -> Verdict:
    """Read the order again: an answer that arrived has ended the request."""
    assert parcel.order is not None and parcel.reply is not None
    fact = shop.adapters.channel(parcel.channel).get_order(parcel.order.number)
    states = [r.state for r in fact.refunds if r.number == parcel.reply.number] if fact else []
    if not states:
        return Verdict.UNCLEAR
    if states[0] == "open":
        return Verdict.NOT_DONE
    return Verdict.DONE if (states[0] == "done") is parcel.reply.agree else Verdict.UNCLEAR


BY_COURIER = Carrier(
    features=lambda shop, route, of_channel: courier(shop, route, of_channel).features,
    carry=_send,
    ask=_ask_message,
    rule=lambda f: (f.repeat, f.repeat_max, f.grace_ms),
)
BY_CHANNEL = Carrier(
    features=lambda shop, _route, of_channel: channel(shop, of_channel).features,
    carry=_mark_shipped,
    ask=_ask_shipped,
    rule=lambda f: (f.shipped_repeat, max(2, f.repeat_max), f.grace_ms),
)
AT_THE_DESK = Carrier(
    features=lambda shop, _route, of_channel: channel(shop, of_channel).features,
    carry=_reply,
    ask=_ask_reply,
    rule=lambda f: (Repeat.QUERYABLE, max(2, f.repeat_max), f.grace_ms),
)
CARRIERS: dict[EffectKind, Carrier] = {
    EffectKind.HAND_OVER: BY_COURIER,
    EffectKind.NOTIFY: BY_COURIER,
    EffectKind.MARK_SHIPPED: BY_CHANNEL,
    EffectKind.REPLACE: BY_COURIER,
    EffectKind.REFUND_REPLY: AT_THE_DESK,
}
"""The other half of the table in `kinds`."""


def side_by_side(shop: Shop, work: Callable[[T], R], items: Sequence[T], parallel: int) -> list[R]:
    """Do work on several items at once, results in order; Ctrl-C in one of them comes through."""
    if len(items) <= 1 or parallel <= 1:
        return [work(item) for item in items]
    with shop.side_by_side(min(parallel, len(items))) as pool:
        return list(pool.map(work, items))
