"""Which route carries a message: the chain of its channel, what turns a route down, the next one.

The couriers of a channel are tried in order. A route is taken when it can carry the message now. A
hand-over that certainly did not leave by its route goes on with the next one: same parcel, same
sealed text, same keys. A try whose outcome is unclear never changes the route: it is asked about,
or a person decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kmtool.clock import local_text
from kmtool.domain.ids import EffectId
from kmtool.domain.packing import Room
from kmtool.domain.states import COUNTER, AttemptState, EffectState
from kmtool.errors import KmError, Rejected, joined, told
from kmtool.operations import routes, split
from kmtool.operations.messages import Written
from kmtool.operations.quotas import Rooms
from kmtool.operations.routes import Result
from kmtool.operations.split import Line, Part, Writer
from kmtool.ports import Message
from kmtool.shop import Shop
from kmtool.store import effects, route_uses
from kmtool.store.db import Row

SCREEN = "screen"
"""The route of a sale by hand: the keys stand on the screen."""
BY_HAND = "by_hand"
_STILL = (EffectState.PENDING, EffectState.INFLIGHT, EffectState.RETRY_AT)


@dataclass(frozen=True, slots=True)
class Turned:
    """Why a route does not carry a message now. `broken`: it carries nothing for anybody; `full`:
    its quota is used up, until `opens_ms` (None: for this order it stays so); `moved`: another one
    carries it; `mend`: what the owner can do about it."""

    route: str
    reason: str
    broken: bool = False
    full: bool = False
    opens_ms: int | None = None
    moved: bool = False
    mend: str = ""


def names(shop: Shop, channel: str) -> tuple[str, ...]:
    """Return the chain of a channel; the counter hands over on the screen."""
    found = shop.config.channels.get(channel)
    if found is None:
        return (SCREEN,)
    return tuple(dict.fromkeys(found.couriers)) or (BY_HAND,)


@dataclass(slots=True)  # one for each order: a frozen one takes four times as long to make
class Chosen:
    """The route that carries some lines of an order, and what stands in its messages."""

    route: str
    parts: tuple[Part, ...]


def choose(
    rooms: Rooms,
    order: Row,
    bound: Sequence[Line],
    write: Writer,
    message: Callable[[Written, int], Message],
    *,
    may_part: bool = True,
) -> Chosen:
    """Return the first route of the chain that carries some lines now, whole or in parts.

    `write` renders a part, `message` makes what a courier is asked about of the n-th one (from 0).
    Raises `Rejected` with what turned each route down.
    """
    shop, channel, turned = rooms.shop, order["channel"], []
    for route in names(shop, channel):
        if route == SCREEN:
            return Chosen(route, (Part(tuple(bound), write(bound, (1, 1))),))
        try:
            most = rooms.limits(route, channel).text_max
        except KmError as error:
            turned.append(Turned(route, str(error), broken=True))
            continue
        parts = split.parts(bound, write, most if may_part else None)
        if parts is None:
            turned.append(
                Turned(route, told("a key is longer than a message of it: {most}", most=most))
            )
            continue
        messages = [message(part.written, n) for n, part in enumerate(parts)]
        found = turned_down(rooms, shop, route, order["id"], messages)
        if found is None:
            rooms.plan(route, channel, order["id"], len(parts))
            return Chosen(route, tuple(parts))
        turned.append(found)
    raise refused(turned)


def refused(turned: Sequence[Turned]) -> Rejected:
    """Return the error of a chain that carries a message by none of its routes."""
    who = ", ".join(one.route for one in turned)
    mend = turned[0].mend if turned and all(one.mend for one in turned) else ""
    return Rejected(who=who, detail="{reason}", reason=why(turned), mend=mend)


def refusal(shop: Shop, rooms: Rooms, message: Message, order_id: int) -> tuple[str, bool]:
    """Return (why no route carries a message of an order now, whether all of them are broken)."""
    turned = []
    for route in names(shop, message.channel):
        found = turned_down(rooms, shop, route, order_id, [message])
        if found is None:
            return "", False
        turned.append(found)
    return why(turned), all(one.broken for one in turned)


def full_routes(shop: Shop) -> dict[str, str]:
    """Return the routes whose quota is used up for everybody, with what to say of each."""
    rooms = Rooms(shop, ())
    found = {}
    for channel in shop.config.channels:
        for route in names(shop, channel):
            left = rooms.left(route, channel, 0)
            if not left.left:
                found[route] = f"{route}: {full(shop, route, left).reason}"
    return found


def turned_down(
    rooms: Rooms, shop: Shop, route: str, order_id: int, messages: Sequence[Message]
) -> Turned | None:
    """Return why a route does not carry some messages of an order now, None when it does."""
    channel = messages[0].channel
    try:
        courier = routes.courier(shop, route, channel)
        most = rooms.limits(route, channel).text_max
        for message in messages:
            if message.attachments and not courier.features.attachments:
                return Turned(route, told("it carries no pictures"), mend=_carried(channel))
            size = len(message.text.text())
            if most is not None and size > most:
                return Turned(
                    route,
                    told(
                        "the message has {size} characters, it takes {most}", size=size, most=most
                    ),
                )
            refused = courier.refusal(message)
            if refused:
                return Turned(route, refused)
        found = rooms.left(route, channel, order_id, len(messages))
    except KmError as error:
        return Turned(route, str(error), broken=True)
    if found.left >= len(messages):
        return None
    if len(messages) > 1 and found.opens_ms is None:
        reason = told(
            "it would take {n} messages, {left} are left", n=len(messages), left=found.left
        )
        return Turned(route, reason, full=True)
    return full(shop, route, found)


def _carried(channel: str) -> str:
    return told(
        'let somebody carry them: couriers = […, "by_hand"] in [channels.{channel}] of kmtool.toml',
        channel=channel,
    )


def full(shop: Shop, route: str, found: Room) -> Turned:
    """Return how a route turns a message down whose quota is used up."""
    if found.opens_ms is None:
        reason = told("it takes no more messages for this order")
    else:
        opens = local_text(found.opens_ms, shop.config.shop.timezone, "%m-%d %H:%M")
        reason = told("it has carried all it may until {opens}", opens=opens)
    return Turned(route, reason, full=True, opens_ms=found.opens_ms)


def why(turned: Sequence[Turned]) -> str:
    """Return why no route of a chain carries a message."""
    if len(turned) == 1 and not turned[0].full:
        return turned[0].reason
    return joined(told("{route}: {reason}", route=one.route, reason=one.reason) for one in turned)


def take_room(shop: Shop, rooms: Rooms, effect: Row, message: Message) -> Turned | None:
    """Count a send that is about to leave, in the transaction of its intent; None when it may.

    Without room it goes by the next route, or waits until its own opens.
    """
    left = rooms.left(effect["route"], effect["channel"], effect["order_id"])
    if left.left:
        rooms.use(effect["route"], effect["channel"], effect, effect["tries"] + 1)
        return None
    turned = full(shop, effect["route"], left)
    if fall_back(shop, effect, message, turned.reason):
        return replace(turned, moved=True)
    if turned.opens_ms is not None:
        effects.move_effect(
            shop.db,
            EffectId(effect["id"]),
            _STILL,
            EffectState.RETRY_AT,
            shop.now_ms(),
            due_ms=turned.opens_ms,
            reason=told("{route}: {reason}", route=turned.route, reason=turned.reason),
        )
    return turned


def carrier(shop: Shop, order_id: int, message: Message) -> str:
    """Return the first route that carries a message as it is; raises `Rejected`."""
    rooms, turned = Rooms(shop, [order_id]), []
    for route in names(shop, message.channel):
        if route == SCREEN:
            return route
        found = turned_down(rooms, shop, route, order_id, [message])
        if found is None:
            return route
        turned.append(found)
    raise refused(turned)


def gives_way(shop: Shop, effect: Row, message: Message | None, result: Result, detail: str) -> str:
    """Let a hand-over go by the next route after a try that certainly did not send; say how.

    A refusal or a closed door does so at once, a route that is only down after `fallback_after`.
    Returns nothing when it stays where it is.
    """
    if message is None or effect["channel"] == COUNTER or _by_hand(shop, effect):
        return ""
    tried = route_uses.tries(shop.db, EffectId(effect["id"]))
    if result is Result.RETRIABLE and not _long_down(shop, effect, tried):
        return ""
    return fall_back(shop, effect, message, detail, tried)


def fall_back(
    shop: Shop, effect: Row, message: Message, detail: str, tried: Sequence[Row] | None = None
) -> str:
    """Let a hand-over that waits, or certainly did not leave, go by the next route; say how.

    Returns nothing when there is none, when a person carries it, or when a try may have arrived.
    """
    db, effect_id = shop.db, EffectId(effect["id"])
    if tried is None:
        tried = route_uses.tries(db, effect_id)
    if any(one["state"] in {AttemptState.UNKNOWN, AttemptState.INTENT} for one in tried):
        return ""
    found = _next(shop, effect, message, tried)
    if found is None:
        return ""
    route, due_ms = found
    if not route_uses.set_route(db, effect_id, effect["route"], route, due_ms):
        return ""
    said = told(
        "{route} did not carry it ({detail}); it goes by {next}",
        route=effect["route"],
        detail=detail,
        next=route,
    )
    effects.move_effect(
        db, effect_id, _STILL, EffectState.RETRY_AT, shop.now_ms(), due_ms=due_ms, reason=said
    )
    shop.audit(
        "route", f"order:{effect['channel']}:{message.order_number}", f"{effect['route']} → {route}"
    )
    return said


def start_over(shop: Shop, effect: Row) -> None:
    """Let a hand-over that a person orders again begin at the first route of its chain."""
    first = names(shop, effect["channel"])[0]
    if effect["route"] not in {SCREEN, first}:
        route_uses.set_route(
            shop.db, EffectId(effect["id"]), effect["route"], first, effect["due_ms"]
        )


def _next(
    shop: Shop, effect: Row, message: Message, tried: Sequence[Row]
) -> tuple[str, int] | None:
    chain, here = names(shop, effect["channel"]), effect["route"]
    if here in chain:
        later = chain[chain.index(here) + 1 :]
    else:
        gone = {one["route"] for one in tried}
        later = tuple(route for route in chain if route not in gone)
    rooms = Rooms(shop, [effect["order_id"]])
    waits: tuple[str, int] | None = None
    for route in later:
        turned = turned_down(rooms, shop, route, effect["order_id"], [message])
        if turned is None:
            return route, shop.now_ms()
        if turned.opens_ms is not None and waits is None:
            waits = route, turned.opens_ms
    return waits


def waits_by_hand(shop: Shop, line: Row) -> bool:
    """Tell whether what is next of a line waits for a person to paste it."""
    return any(_by_hand(shop, effect) for effect in route_uses.of_line(shop.db, line["id"]))


def _by_hand(shop: Shop, effect: Row) -> bool:
    """Tell whether a person carries it: what they skip stays theirs."""
    try:
        return routes.courier(shop, effect["route"], effect["channel"]).features.by_hand
    except KmError:
        return False


def _long_down(shop: Shop, effect: Row, tried: Sequence[Row]) -> bool:
    mine = [one["started_ms"] for one in tried if one["route"] in {effect["route"], ""}]
    return bool(mine) and shop.now_ms() - min(mine) >= shop.config.deliver.fallback_after_ms
