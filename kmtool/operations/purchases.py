"""Buys from suppliers: intent, network, outcome, and asking about what is unclear or takes time.

The rules are those of sending (operations/send.py), for money instead of keys: the intent is
committed before anything is asked, with the daily limit checked under lock and what is unclear
counted as spent; a purchase has one number for all its tries and is never placed under another one
while it may have been made. Purchases from suppliers are made one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from kmtool.domain.ids import EffectId, LineId, OrderId
from kmtool.domain.states import AttemptState, LineState, PurchaseState
from kmtool.errors import (
    KmError,
    OutsideError,
    Retriable,
    Unknown,
    told,
)
from kmtool.journal import JournalEntry
from kmtool.operations import awake, bought_before, routes, topup, waited, without_journal
from kmtool.operations.permit import disk_must_have_room, lines_of, must_be_live, to_human
from kmtool.operations.purchase_outcome import (
    AGAIN,
    FIRST_ASK_MS,
    WAITING,
    accepted,
    again,
    conclude,
    due,
    progress,
    put_off,
    settle,
)
from kmtool.operations.purchase_permit import may_buy
from kmtool.operations.refunds import refund_blocks
from kmtool.operations.reread import is_old, reread
from kmtool.operations.tries import Sent
from kmtool.ports import Features, Idempotency, Progress, Purchased, PurchaseOrder, Supplier
from kmtool.shop import Shop
from kmtool.store import effects, machines, orders, route_uses, sessions
from kmtool.store import purchases as store
from kmtool.store.db import Row
from kmtool.store.purchases import Kept

ASK_MS = 15_000
BY_OURS = ("ours", "both")
LATER = 9
"""How many later numbers are asked about where the journal was lost."""


class Wait(Enum):
    """Why the intent of a purchase was not written."""

    NOT_NOW = auto()
    READ_FIRST = auto()
    """What is known of its order is too old: a refund may have come since."""


def run(shop: Shop, found: Sequence[Row], tally: Sent) -> None:
    """Buy, ask or wait for each purchase whose time has come, one after the other."""
    for effect in found:
        purchase = _purchase(shop, effect)
        if purchase is None:
            continue
        try:
            supplier = routes.supplier(shop, purchase["supplier"])
        except KmError as error:
            put_off(shop, effect, purchase, error, tally)
            continue
        if PurchaseState(purchase["state"]) is PurchaseState.ACCEPTED:
            _poll(shop, supplier, effect, purchase, tally)
        elif effect["attempt_state"] == AttemptState.UNKNOWN:
            _resolve(shop, supplier, effect, purchase, tally)
        else:
            _try(shop, supplier, purchase["supplier"], effect, tally)


def _purchase(shop: Shop, effect: Row) -> Row | None:
    lines = lines_of(shop, effect)
    return store.of_line(shop.db, lines[0]["id"]) if lines else None


def _try(shop: Shop, supplier: Supplier, name: str, effect: Row, tally: Sent) -> None:
    """Intent, network, outcome of one purchase; its order is read again first where that is due."""
    until = _until(shop, supplier)
    begun = begin(shop, effect, name, tally)
    if begun is Wait.READ_FIRST:
        if not reread(shop, [effect], tally):
            return
        until = _until(shop, supplier)
        begun = begin(shop, effect, name, tally, was_read=True)
    if isinstance(begun, Wait):
        return
    purchase, attempt_id, n = begun
    assert purchase["supplier"] == name, "who is asked is who is named"
    wish = PurchaseOrder(
        our_no=purchase["our_no"],
        product=purchase["item"],
        quantity=purchase["quantity"],
        account=purchase["account"],
        cap_minor=purchase["cap_minor"],
        currency=purchase["currency"],
    )
    answer: Purchased | OutsideError
    if shop.clock.monotonic() > until:  # others may have asked meanwhile, and bought it
        answer = Retriable(after_s=0.0, who=name, detail=awake.WHY)
    else:
        answer = routes.buy(supplier, name, wish)
    finish(shop, effect, (attempt_id, n), answer, tally)


def _until(shop: Shop, supplier: Supplier) -> float:
    """Return until when an intent that is written now may be followed by its call."""
    return shop.clock.monotonic() + supplier.features.grace_ms / 2_000


def begin(
    shop: Shop, effect: Row, name: str, tally: Sent, *, was_read: bool = False
) -> tuple[Row, int, int] | Wait:
    """Write the intent of a purchase, then the journal; or say that it may not be made now.

    `name`: the supplier that will be asked. Where the purchase is another one's by now, it is
    written down so, and its turn comes with the next round. `was_read`: the order was just read
    again, as far as its channel can be asked.

    Raises `Broken` when this session was fenced off or the disk has no room.
    """
    assert shop.session is not None, "only a session buys"
    assert not shop.db.rehearsing, "a rehearsal buys nothing"
    disk_must_have_room(shop)
    db = shop.db
    with db.tx():
        must_be_live(shop)
        orders.lock(db, [effect["order_id"]])
        order = orders.get(db, OrderId(effect["order_id"]), lock=True)
        fresh = {**effect, **effects.effect(db, EffectId(effect["id"]))}
        if fresh["state"] not in WAITING or (fresh["attempt_n"] or 0) != fresh["tries"]:
            return Wait.NOT_NOW  # another session was faster
        line = lines_of(shop, fresh)[0]
        if bought_before.asks_first(shop, order, fresh, line):
            return Wait.NOT_NOW
        product = may_buy(shop, fresh, order, line, tally)
        if product is None:
            return Wait.NOT_NOW
        if not was_read and is_old(shop, order):
            return Wait.READ_FIRST
        purchase = topup.planned(shop, order, line, product)
        if purchase["supplier"] != name:
            route = topup.ROUTE + purchase["supplier"]
            route_uses.set_route(db, EffectId(fresh["id"]), fresh["route"], route, shop.now_ms())
            return Wait.NOT_NOW
        attempt_id, n = _intend(shop, order, line, purchase, fresh)
        entry = _entry(shop, order, line, purchase, effect["parcel_n"])
    shop.journal.append([entry])
    return purchase, attempt_id, n


def _intend(shop: Shop, order: Row, line: Row, purchase: Row, effect: Row) -> tuple[int, int]:
    """Put a try on record before anything is asked; return the attempt and its count."""
    assert shop.session is not None
    db, now = shop.db, shop.now_ms()
    n = effects.begin_effect(db, EffectId(effect["id"]), WAITING)
    moved = store.move(
        db, purchase["id"], [PurchaseState.PLANNED], PurchaseState.INTENT, intent_ms=now
    )
    assert n is not None and moved, "the order's row is locked"
    for source in (LineState.RESERVED, LineState.UNKNOWN):
        orders.move_line(db, LineId(line["id"]), source, LineState.SENDING, now)
    orders.stamp_line(db, LineId(line["id"]), "sent_ms", now)
    waited.look(shop)
    attempt_id = effects.add_attempt(
        db,
        {
            "effect_id": effect["id"],
            "n": n,
            "session_id": shop.session,
            "digest": shop.vault.digest(_payload(purchase)),
            "started_ms": now,
            "route": topup.ROUTE + purchase["supplier"],
        },
    )
    shop.audit("intent", _name(order), f"purchase {purchase['our_no']}, try {n}")
    return attempt_id, n


def _entry(shop: Shop, order: Row, line: Row, purchase: Row, parcel: int) -> JournalEntry:
    """Return the journal's record of a try, counted like those of keys."""
    assert shop.session is not None
    return JournalEntry(
        kind="BUY",
        channel=order["channel"],
        order=order["number"],
        line=line["line_no"],
        fingerprint=shop.vault.digest(_payload(purchase)),
        session=int(shop.session),
        n=machines.count_journalled(shop.db, shop.session, 1) + 1,
        parcel=parcel,
        generation=purchase["generation"],
        supplier=purchase["supplier"],
        amount=purchase["cap_minor"],
        at=shop.now_ms(),
        place=store.place_in(purchase["our_no"]),
    )


def _payload(purchase: Row) -> bytes:
    names = ("our_no", "item", "quantity", "account", "cap_minor", "currency")
    return "|".join(str(purchase[name]) for name in names).encode()


def finish(
    shop: Shop,
    effect: Row,
    attempt: tuple[int, int],
    answer: Purchased | OutsideError,
    tally: Sent,
) -> None:
    """Write what the supplier answered to a try, in one transaction.

    A fenced-off sender writes nothing: whoever took over asks by the number.
    """
    attempt_id, n = attempt
    with shop.db.tx():
        assert shop.session is not None
        live = sessions.is_live(shop.db, shop.session, lock=True)
        orders.lock(shop.db, [effect["order_id"]])
        if live:
            state, reference = _state_of(answer)
            moved = effects.move_attempt(
                shop.db, attempt_id, AttemptState.INTENT, state, shop.now_ms(), reference,
                "" if isinstance(answer, Purchased) else str(answer),
            )  # fmt: skip
            if moved:
                conclude(shop, effect, n, answer, tally)
    if not live:
        must_be_live(shop)


def _state_of(answer: Purchased | OutsideError) -> tuple[AttemptState, str]:
    if isinstance(answer, Purchased):
        return AttemptState.OK, answer.their_no
    return (AttemptState.UNKNOWN if isinstance(answer, Unknown) else AttemptState.REJECTED), ""


def _poll(shop: Shop, supplier: Supplier, effect: Row, purchase: Row, tally: Sent) -> None:
    """Ask how far an accepted purchase is."""
    answer = routes.bought(supplier, purchase["supplier"], purchase["our_no"])
    with shop.db.tx():
        must_be_live(shop)
        orders.lock(shop.db, [effect["order_id"]])
        now = store.get(shop.db, purchase["id"])
        if now["state"] != PurchaseState.ACCEPTED:
            return
        if isinstance(answer, Purchased):
            progress(shop, effect, now, answer, tally)
            return
        still = Purchased(purchase["their_no"], Progress.PROCESSING)
        progress(shop, effect, now, still, tally)


def _resolve(shop: Shop, supplier: Supplier, effect: Row, purchase: Row, tally: Sent) -> None:
    """Find out about a try whose outcome is unclear: by our number, or by placing it again."""
    features = supplier.features
    if features.query_by not in BY_OURS:
        _without_asking(shop, features, supplier, effect, tally)
        return
    asked_ms = shop.now_ms()  # its answer is of this moment, however late it comes
    answer = routes.bought(supplier, purchase["supplier"], purchase["our_no"])
    later_no = 0
    if answer is None:
        later_no, answer = _later_number(shop, supplier, effect, purchase)
    over_ms = waited.over_ms(shop, effect["attempt_ms"], features.grace_ms)
    with shop.db.tx():
        must_be_live(shop)
        orders.lock(shop.db, [effect["order_id"]])
        now = store.get(shop.db, purchase["id"])
        fresh = effects.effect(shop.db, EffectId(effect["id"]))
        if now["state"] not in {PurchaseState.UNKNOWN, PurchaseState.INTENT}:
            return
        if fresh["state"] not in WAITING:
            return
        if later_no:
            order = orders.get(shop.db, OrderId(effect["order_id"]))
            line = lines_of(shop, effect)[0]
            there = Kept(later_no, supplier=purchase["supplier"])
            bought_before.ask_later_number(shop, order, effect, line, there)
        elif isinstance(answer, Purchased):
            settle(shop, effect, AttemptState.OK, answer.their_no, "found there")
            accepted(shop, effect, now, answer, tally)
        elif answer is None and asked_ms >= over_ms and _ask_person(shop, effect, now):
            tally.needs_you += 1
        elif answer is None and asked_ms >= over_ms:
            settle(shop, effect, AttemptState.REJECTED, "asked", bought_before.NOT_THERE)
            store.clear_note(shop.db, now["id"])
            again(shop, effect, now)
        else:
            left = over_ms - shop.now_ms()
            wait = min(ASK_MS, max(FIRST_ASK_MS, left)) if answer is None else ASK_MS
            due(shop, effect, wait, told("outcome unclear; asking again"))
            tally.unknown += 1


def _ask_person(shop: Shop, effect: Row, purchase: Row) -> bool:
    """Let a person look for a purchase that may be another supplier's; tell whether it may be."""
    order = orders.get(shop.db, OrderId(effect["order_id"]))
    if not without_journal.perhaps_elsewhere(shop, order, purchase):
        return False
    without_journal.look_for_all(shop, purchase)
    why = told(
        "{supplier} does not know {number}; another supplier may have charged for it before this"
        " copy: look at all of them",
        supplier=purchase["supplier"],
        number=purchase["our_no"],
    )
    to_human(shop, effect, lines_of(shop, effect), why)
    return True


def _later_number(
    shop: Shop, supplier: Supplier, effect: Row, purchase: Row
) -> tuple[int, OutsideError | None]:
    """Return the count of a later number that the supplier knows, 0 when it knows none; or that it
    could not be asked.

    Without the journal nobody else knows whether this number was refused and another one bought.
    """
    if not without_journal.is_unproved(shop, orders.get(shop.db, OrderId(effect["order_id"]))):
        return 0, None
    stem, _, nth = str(purchase["our_no"]).rpartition("-")
    for n in range(int(nth) + 1, int(nth) + 1 + LATER):
        answer = routes.bought(supplier, purchase["supplier"], f"{stem}-{n}")
        if answer is not None:
            return (n, None) if isinstance(answer, Purchased) else (0, answer)
    return 0, None


def _without_asking(
    shop: Shop, features: Features, supplier: Supplier, effect: Row, tally: Sent
) -> None:
    """A supplier that cannot be asked: placing again is safe only where it replays our number.

    Not for an order that is refunded meanwhile (what was not made would be made now), nor where the
    journal was lost (another number may have been used since), or where only the journal tells of
    it and the product has another supplier now (nobody knows which item it was).
    """
    order_id, last = OrderId(effect["order_id"]), _purchase(shop, effect)
    assert last is not None, "it was tried"
    order = orders.get(shop.db, order_id)
    lost = without_journal.is_unproved(shop, order) and without_journal.was_made_elsewhere(last)
    may_repeat = features.idempotency is Idempotency.REPLAY and not lost and last["item"]
    if may_repeat and not refund_blocks(order):
        if not reread(shop, [effect], tally):
            return
        order = orders.get(shop.db, order_id)
    if not may_repeat or refund_blocks(order):
        with shop.db.tx():
            orders.lock(shop.db, [effect["order_id"]])
            why = told("it may have been charged, and this supplier cannot be asked: look there")
            if lost:
                without_journal.look_for_all(shop, last)
                why = without_journal.where_to_look(shop, last)
            to_human(shop, effect, lines_of(shop, effect), why)
        tally.needs_you += 1
        return
    with shop.db.tx():
        must_be_live(shop)
        orders.lock(shop.db, [effect["order_id"]])
        settle(shop, effect, AttemptState.REJECTED, "asked", AGAIN)
        due(shop, effect, 0, "")  # until that is answered, it may have been made
    fresh = effects.effect(shop.db, EffectId(effect["id"]))
    tried = {**effect, **fresh, "attempt_state": "rejected"}
    _try(shop, supplier, last["supplier"], tried, tally)


def _name(order: Row) -> str:
    return f"order:{order['channel']}:{order['number']}"
