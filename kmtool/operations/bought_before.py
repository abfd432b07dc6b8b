"""Purchases that were tried before the shop was set back: asked about, never simply made again.

The send journal names each purchase before it is tried. What it names and this copy does not know
is kept; as soon as its line is here, the purchase stands again under the number it had, with one
try whose outcome is unclear. So it is found out as any unclear purchase is: by our number, by
placing it again where the supplier returns the old one, else by a person.

Without a journal nothing is known: then whatever was ordered before is asked about first.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from kmtool.domain import accounts
from kmtool.domain.ids import EffectId, LineId, OrderId, Place
from kmtool.domain.states import (
    AttemptState,
    EffectKind,
    EffectState,
    LineKind,
    LineState,
    OrderStatus,
    PurchaseState,
    RefundState,
)
from kmtool.errors import Stored, marked, told
from kmtool.operations import topup
from kmtool.operations.home import host_name
from kmtool.operations.permit import lines_of, must_be_live
from kmtool.operations.refunds import LOOK_AT, WAITING, apply_refund, reason_of, refund_blocks
from kmtool.operations.without_journal import (
    BOUGHT_BEFORE,
    LOOK,
    OVER,
    UNPROVED,
    is_unproved,
    look_for_all,
    was_asked,
    was_made_elsewhere,
    where_to_look,
)
from kmtool.shop import Shop
from kmtool.store import (
    deliveries,
    effects,
    house,
    machines,
    orders,
    products,
    route_uses,
    seen_keys,
)
from kmtool.store import purchases as store
from kmtool.store.db import Row
from kmtool.store.purchases import Kept

NOT_THERE = "not there after the grace period"
TOLD_BEFORE = marked("the buyer may have been told before this copy was made current; asking")
PLANNED = (
    LineState.NEW, LineState.READY, LineState.HELD, LineState.UNMAPPED, LineState.CANCELLED,
    LineState.CLOSED,
)  # fmt: skip
UNTRIED = (EffectState.PENDING, EffectState.RETRY_AT, EffectState.HUMAN)
UNSURE = frozenset({PurchaseState.PLANNED, PurchaseState.CANCELLED, PurchaseState.INTENT,
                    PurchaseState.UNKNOWN})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Buying:
    """The last purchase that the journal names for a line, and which record that is."""

    kept: Kept = topup.NEW
    session: int = 0
    n: int = 0


def ask_about_all(shop: Shop) -> None:
    """What this copy knows as unclear or under way may be done since, and its buyer told; what
    waits to tell a buyer of his top-up may have told him."""
    store.note_open(shop.db, BOUGHT_BEFORE, LOOK)
    for effect in effects.waiting_of_kind(shop.db, EffectKind.PURCHASE):
        last = store.of_line(shop.db, lines_of(shop, effect)[0]["id"])
        if last is not None and last["state"] in {PurchaseState.INTENT, PurchaseState.UNKNOWN}:
            ask_about(shop, EffectId(effect["id"]), BOUGHT_BEFORE)
    for effect in effects.waiting_of_kind(shop.db, EffectKind.NOTIFY):
        ask_about(shop, EffectId(effect["id"]), TOLD_BEFORE)


def bring_back(shop: Shop, bought: Mapping[Place, Buying], known: Mapping[int, int]) -> int:
    """Take up what the journal names and this copy does not know; return how many lines.

    `known`: how many records the copy knows of each session. What cannot be taken up yet waits.
    """
    ask_about_all(shop)
    tried = store.tried(shop.db) if bought else {}
    for place, last in bought.items():
        if not _stands(tried.get(place), last, known):
            store.keep_bought(shop.db, place, last.kept)
    return _take_up_all(shop)


def take_up_late(shop: Shop) -> None:
    """Take up what could not be when its order came: its product was mapped since, for one."""
    if store.any_bought(shop.db):
        with shop.db.tx():
            must_be_live(shop)
            _take_up_all(shop)


def _take_up_all(shop: Shop) -> int:
    count = 0
    for channel, number in dict.fromkeys(place[:2] for place in store.bought_places(shop.db)):
        order = orders.find(shop.db, channel, number, lock=True)
        if order is not None:
            count += take_up(shop, order)
    return count


def _stands(mine: Row | None, last: Buying, known: Mapping[int, int]) -> bool:
    """Tell whether the copy knows of the last try that the journal names for a line."""
    if mine is None or mine["generation"] != last.kept.generation:
        return mine is not None and mine["generation"] > last.kept.generation
    if PurchaseState(mine["state"]) not in UNSURE:
        return True
    return 0 < last.n <= known.get(last.session, 0)


def take_up(shop: Shop, order: Row) -> int:
    """Let an order's purchases of before stand again; return how many (usually none).

    Inside a transaction, with the order's row locked. A line that cannot be bought for now (no
    product yet, an account that does not fit) is asked about when it can.
    """
    is_over = order["refund"] == RefundState.FULL or order["status"] == OrderStatus.CLOSED
    unproved = is_over and order["paid_ms"] and not order["history"] and is_unproved(shop, order)
    if not unproved and not store.any_bought(shop.db):
        return 0
    count = 0
    for line in orders.lines(shop.db, OrderId(order["id"])):
        kept = store.bought_at(shop.db, _place(order, line))
        if kept is None and unproved:
            kept = _perhaps(shop, line)
        if kept is None:
            continue
        named = _with_product(shop, order, line)
        if named["kind"] == LineKind.TOPUP:
            count += _stand_again(shop, order, named, kept)
    if count and refund_blocks(orders.get(shop.db, OrderId(order["id"]))):
        apply_refund(shop, OrderId(order["id"]))
    return count


def _perhaps(shop: Shop, line: Row) -> Kept | None:
    """Return the number to ask about of a line that a refund is about to call off."""
    product = products.product(shop.db, line["sku"]) if line["sku"] else None
    if product is None or line["kind"] != LineKind.TOPUP or line["state"] not in WAITING:
        return None
    last = store.of_line(shop.db, line["id"])
    if last is None:
        return Kept(1)
    return None if was_asked(shop, product, last) else Kept(_next(last))


def _with_product(shop: Shop, order: Row, line: Row) -> Row:
    """Return a line; one that was over before its listing was mapped has its product from now."""
    if line["sku"] is not None or line["state"] not in {LineState.CANCELLED, LineState.CLOSED}:
        return line
    listed = products.listing(shop.db, order["channel"], line["item_id"], line["variant_id"])
    product = products.product(shop.db, listed["sku"]) if listed else None
    if listed is None or product is None or product["kind"] != LineKind.TOPUP:
        return line
    needed = line["quantity"] * listed["units"]
    seen_keys.set_line_keys(shop.db, line["id"], product["sku"], needed)
    return {**line, "sku": product["sku"], "needed": needed, "kind": product["kind"]}


def asks_first(shop: Shop, order: Row, effect: Row, line: Row) -> bool:
    """Tell whether a purchase that is about to be made is asked about instead; then it is due.

    The last look before the money leaves, inside the transaction of its intent.
    """
    kept = store.bought_at(shop.db, _place(order, line))
    last = store.of_line(shop.db, line["id"])
    generation = kept.generation if kept else 0
    product = products.product(shop.db, line["sku"])
    if product is None:
        return False
    if not kept and last is not None and is_unproved(shop, order):
        generation = 0 if was_asked(shop, product, last) else _next(last)
    if not generation or _knows_more(last, generation):
        return False
    _unclear(shop, order, line, product, effect, kept or Kept(generation))
    return True


def planned_now(shop: Shop, order: Row, line: Row) -> None:
    """Ask about a purchase that was just planned, where it may have been made before."""
    effect = effect_of(shop, order, line, UNTRIED) if is_unproved(shop, order) else None
    if effect is not None:
        asks_first(shop, order, effect, line)


def lose_journal(shop: Shop) -> None:
    """Nothing tells what was bought since this copy was made: inside a transaction.

    What only waits to be bought is asked about at once: a refund would call it off unasked. Who was
    to look for one number at its supplier is to look for all of them.
    """
    ask_about_all(shop)
    house.set_meta(shop.db, UNPROVED, str(shop.now_ms()))
    store.forget_answers(shop.db, LOOK)
    for effect in effects.waiting_of_kind(shop.db, EffectKind.PURCHASE):
        line = lines_of(shop, effect)[0]
        last = store.of_line(shop.db, line["id"])
        if last is not None and last["state"] == PurchaseState.PLANNED:
            asks_first(shop, orders.get(shop.db, OrderId(effect["order_id"])), effect, line)
    for effect in effects.waiting_of_kind(shop.db, EffectKind.PURCHASE, at_person=True):
        line = lines_of(shop, effect)[0]
        last = store.of_line(shop.db, line["id"])
        if last is not None and last["state"] in {PurchaseState.INTENT, PurchaseState.UNKNOWN}:
            look_for_all(shop, last)
            if line["state"] == LineState.HUMAN:
                orders.set_line_reason(shop.db, LineId(line["id"]), _and_look(shop, line, last))
        elif last is not None and last["state"] in {PurchaseState.PLANNED, *OVER}:
            asks_first(shop, orders.get(shop.db, OrderId(effect["order_id"])), effect, line)


def _and_look(shop: Shop, line: Row, last: Row) -> str:
    """Return where a person is to look, after what he was to look at before."""
    where = where_to_look(shop, last)
    if not line["reason"].startswith(LOOK_AT):
        return where
    return told("{reason}; {where}", reason=Stored(line["reason"]), where=where)


def perhaps_told(shop: Shop, effect_id: EffectId, purchase: Row) -> bool:
    """Tell whether a purchase was perhaps made, or done, before this copy was made current."""
    return was_made_elsewhere(purchase) or any(
        not attempt["digest"] and attempt["detail"] != NOT_THERE
        for attempt in effects.attempts_of(shop.db, [effect_id])
    )


def ask_later_number(shop: Shop, order: Row, effect: Row, line: Row, there: Kept) -> None:
    """Ask about a later number of a line from now on: the supplier knows that one."""
    product = products.product(shop.db, line["sku"])
    assert product is not None, "it was bought"
    _unclear(shop, order, line, product, effect, there)


def _next(last: Row) -> int:
    """Return the count of the number that would be used."""
    return int(last["generation"]) + (last["state"] in OVER)


def _knows_more(last: Row | None, generation: int) -> bool:
    """Tell whether the copy knows what became of the number that was tried, or a later one."""
    if last is None or last["generation"] != generation:
        return last is not None and (
            last["generation"] > generation or last["state"] in topup.CHARGED
        )
    return PurchaseState(last["state"]) not in UNSURE


def _stand_again(shop: Shop, order: Row, line: Row, kept: Kept) -> bool:
    if _knows_more(store.of_line(shop.db, line["id"]), kept.generation):
        store.forget_bought(shop.db, _place(order, line))
        return False
    product = products.product(shop.db, line["sku"]) if line["sku"] else None
    if product is None or not product["supplier"] or not product["account_rule"]:
        return False
    state, account = LineState(line["state"]), topup.account_of(product, line)
    is_over = state in {LineState.CLOSED, LineState.CANCELLED}
    if not is_over and accounts.refusal(product["account_rule"], account):
        return False  # of a line that is over it is only asked, by its number
    effect = effect_of(shop, order, line, UNTRIED)
    if effect is None and state not in PLANNED:
        effect = effect_of(shop, order, line, (EffectState.CANCELLED,))  # a refund stopped it
        if effect is not None:
            effects.move_effect(
                shop.db, EffectId(effect["id"]), [EffectState.CANCELLED], EffectState.HUMAN,
                shop.now_ms(),
            )  # fmt: skip
    if effect is None:
        if state not in PLANNED:
            return False
        for source, target in (
            (LineState.CANCELLED, LineState.NEW),
            (LineState.NEW, LineState.READY),
            (LineState.HELD, LineState.READY),
            (LineState.UNMAPPED, LineState.READY),
            (LineState.READY, LineState.RESERVED),
        ):
            _move(shop, line, source, target)
        deliveries.stamp_sent(shop.db, [LineId(line["id"])], "reserved_ms", shop.now_ms())
        n = 0 if seen_keys.has_parcel(shop.db, order["id"], kept.parcel) else kept.parcel
        topup.plan(shop, order, line, kept, n)
        effect = effect_of(shop, order, line, UNTRIED)
        assert effect is not None
    _unclear(shop, order, line, product, effect, kept)
    return True


def _unclear(shop: Shop, order: Row, line: Row, product: Row, effect: Row, kept: Kept) -> None:
    """Put a try on record whose outcome is unclear, under the number that is asked about."""
    db, now, effect_id = shop.db, shop.now_ms(), EffectId(effect["id"])
    last = store.of_line(db, line["id"])
    if (
        last is None
        or last["state"] not in {PurchaseState.INTENT, PurchaseState.UNKNOWN}
        or (last["generation"] < kept.generation)
    ):
        last = topup.planned(shop, order, line, product, kept)
        store.move(
            db, last["id"], [PurchaseState.PLANNED], PurchaseState.INTENT, intent_ms=kept.at or now
        )
    store.move(db, last["id"], [PurchaseState.INTENT], PurchaseState.UNKNOWN, note=BOUGHT_BEFORE)
    route_uses.set_route(db, effect_id, effect["route"], topup.ROUTE + last["supplier"], now)
    ask_about(shop, effect_id, BOUGHT_BEFORE)
    for source, target in (
        (LineState.HUMAN, LineState.RESERVED),
        (LineState.RESERVED, LineState.SENDING),
        (LineState.SENDING, LineState.UNKNOWN),
    ):
        _move(shop, line, source, target, reason_of(line, BOUGHT_BEFORE))
    deliveries.stamp_sent(db, [LineId(line["id"])], "sent_ms", now)
    store.forget_bought(db, _place(order, line))
    shop.audit(
        "asked_first",
        f"order:{order['channel']}:{order['number']}",
        f"purchase {last['our_no']} may have been made before",
    )


def ask_about(shop: Shop, effect_id: EffectId, reason: str) -> None:
    """Put a try of an effect on record whose outcome is unclear: asking settles it."""
    db, now = shop.db, shop.now_ms()
    effects.settle_unknown(db, effect_id, "tried again since", now)
    n = effects.begin_effect(db, effect_id, UNTRIED)
    if n is None:
        return
    session = shop.session or machines.last_session(db) or _first_session(shop)
    facts = {"effect_id": effect_id, "n": n, "session_id": session, "digest": ""}
    attempt = effects.add_attempt(db, {**facts, "started_ms": now})
    effects.move_attempt(
        db, attempt, AttemptState.INTENT, AttemptState.UNKNOWN, now, "", "tried before"
    )
    effects.move_effect(
        db, effect_id, [EffectState.INFLIGHT], EffectState.RETRY_AT, now, due_ms=now, reason=reason
    )


def _first_session(shop: Shop) -> int:
    """Nobody ever sent from this copy: what is asked belongs to a session of its own."""
    machines.skip_sessions(shop.db, 1, secrets.randbits(62), host_name(), shop.now_ms())
    return machines.last_session(shop.db)


def effect_of(
    shop: Shop, order: Row, line: Row, states: Collection[EffectState] = tuple(EffectState)
) -> Row | None:
    """Return the newest effect in one of some states that buys a line."""
    for effect in reversed(effects.effects_of(shop.db, OrderId(order["id"]))):
        if effect["kind"] != EffectKind.PURCHASE or EffectState(effect["state"]) not in states:
            continue
        if any(row["id"] == line["id"] for row in lines_of(shop, effect)):
            return effect
    return None


def _place(order: Row, line: Row) -> Place:
    return order["channel"], order["number"], line["line_no"]


def _move(shop: Shop, line: Row, source: LineState, target: LineState, reason: str = "") -> None:
    orders.move_line(shop.db, LineId(line["id"]), source, target, shop.now_ms(), reason=reason)
