"""What must be true: at every message, and at the end of a life.

The buyers are asked first: whatever the shop's own books say, they hold what they hold. Then the
shop's doctor is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from kmtool.domain.states import OrderStatus
from kmtool.operations import doctor
from kmtool.ports import Features, Message, Repeat
from kmtool.shop import Shop
from kmtool.sim import acts_door, drawn
from kmtool.sim.machine import Process
from kmtool.sim.stage import Stage
from kmtool.sim.world import HAND, Letter, Placed, keys_in, sku_of
from kmtool.store import machines

ONE_BUYER = "no key goes to two buyers"
ON_RECORD = "every key is on record before it leaves"
RIGHT_KEYS = "a buyer gets the keys he paid for, no others"
NOT_PAID = "nothing leaves before it is paid"
NOT_REFUNDED = "nothing leaves after a refund is known"
NOT_HELD = "nothing leaves while the owner holds it"
FENCED = "who was taken over begins nothing any more"
SAME_TEXT = "a message is the same on every try"
NOT_TWICE = "a message comes twice only where the route bears it"
SAME_ADDRESS = "a message goes to the same address on every try"
LOOKED_AT = "an order is read again before it is sent"
ONCE_EACH = "a buyer gets a shared key once"
SEEN = "every order is seen in the end"
PICTURED = "every picture that a message names goes with it, and can be read"
CARRIED = "pictures go only by who carries pictures"
DELIVERED = "every paid order is delivered in the end"
SHIPPED = "every delivered order is marked shipped in the end"
HEALTHY = "the shop's doctor finds nothing broken"
CALLED_BAD = "a key counts as bad only when the owner called it so"
SORTS = {
    ONE_BUYER: "duplicate",
    RIGHT_KEYS: "duplicate",
    NOT_TWICE: "duplicate",
    ONCE_EACH: "duplicate",
    SEEN: "lost",
    DELIVERED: "lost",
    SHIPPED: "lost",
    ON_RECORD: "unrecorded",
}
SHIPPED_WHOLE = "an order is marked shipped when all of it is delivered"
READ_MAX_MS = 900_000
"""How old the last look may be: 30 s, and what a slow slice takes."""
PROBLEMS = frozenset({"nothing_stuck", "refund_first", "stock_counter", "held_counter"})
"""Checks that are no promise to the buyer and must hold all the same once all is quiet."""
BY_CLOCK = frozenset({"refund_first", "nothing_stuck"})
"""Checks that compare times of the shop's clock: no proof where it was set back or forward."""


def at_the_door(
    stage: Stage,
    process: Process,
    placed: Placed,
    message: Message,
    fingerprint: Callable[[bytes], bytes],
) -> None:
    """Ask of a message that is about to leave what must be true whatever becomes of it."""
    text = drawn.read(message)
    name = placed.name
    parcel = int(message.marker.split("-")[1])  # CODE-PARCEL, CODE-PARCEL-GENERATION
    intent = process.intended.get((*name, parcel), 0)
    for key in keys_in(text):
        if not stage.world.expose(key, name):
            stage.fail(ONE_BUYER, f"{key}: {stage.world.holders[key]}")
        if name not in stage.sent.get(fingerprint(drawn.stored(key)), ()):
            stage.fail(ON_RECORD, f"{key} for {name}")
    if placed.fact.status is OrderStatus.UNPAID:
        stage.fail(NOT_PAID, f"{name}, parcel {parcel}")
    if placed.told_ended and intent > placed.told_ended:
        stage.fail(NOT_REFUNDED, f"{name}, parcel {parcel}")
    if placed.held and intent > placed.held:
        stage.fail(NOT_HELD, f"{name}, parcel {parcel}")
    if process.taken_over and intent > process.taken_over:
        stage.fail(FENCED, f"{name}, parcel {parcel}")
    if placed.told_changed and stage.begun.get((*name, parcel), intent) > placed.told_changed:
        _must_be_as_changed(stage, placed, message)
    _must_go_where_it_went(stage, placed, message)
    if keys_in(text):  # what tells of a charged account follows the money, whatever came since
        must_be_read(stage, placed)
    _must_be_new(stage, placed, keys_in(text))
    acts_door.look(stage, placed, keys_in(text), intent)


def must_be_carried(stage: Stage, placed: Placed, features: Features, message: Message) -> None:
    """The pictures that a message names go with it, by a courier that takes them along."""
    if wrong := drawn.lacking(message):
        stage.fail(PICTURED, f"{placed.name} {message.marker}: {wrong}")
    if message.attachments and not features.attachments:
        stage.fail(CARRIED, f"{placed.name} {message.marker}")


def _must_go_where_it_went(stage: Stage, placed: Placed, message: Message) -> None:
    """A message that may have been seen goes nowhere else without the owner's word."""
    email, said = placed.addresses.get(message.marker, ("", 0))
    if email and email != message.buyer.email and said == placed.repeats + placed.forgotten:
        stage.fail(SAME_ADDRESS, f"{placed.name} {message.marker}: {message.buyer.email}")
    placed.addresses[message.marker] = (
        message.buyer.email, placed.repeats + placed.forgotten,
    )  # fmt: skip


def _must_be_as_changed(stage: Stage, placed: Placed, message: Message) -> None:
    """A message begun after the shop knew that an order has fewer pieces brings no more of them;
    one that was tried before may be tried again as it is."""
    if message.marker in placed.addresses:
        return
    wanted = placed.wanted()
    for sku, n in Counter(sku_of(key) for key in keys_in(drawn.read(message))).items():
        if n > wanted.get(sku, 0):
            stage.fail(RIGHT_KEYS, f"{placed.name} was changed to {wanted}, and {n} of {sku} leave")


def must_be_read(stage: Stage, placed: Placed) -> None:
    """The order was read again shortly before, where its channel can be asked for one order."""
    read_ms, jumps = placed.read
    can_be_asked = stage.world.sites[placed.channel].channel.reread
    if not read_ms or not can_be_asked or jumps != stage.count["jumps"]:
        return
    age_ms = stage.clock.true_ms() - read_ms
    if age_ms > READ_MAX_MS:
        stage.fail(LOOKED_AT, f"{placed.name} was read {age_ms // 60_000} minutes before")


def _must_be_new(stage: Stage, placed: Placed, keys: Sequence[str]) -> None:
    """A buyer gets a key that several share once, however many orders he has."""
    who = placed.fact.buyer.ref
    for key in keys:
        if key.startswith("T-") or not who or key not in stage.world.uses:
            continue
        for name in stage.world.holders[key]:
            other = stage.world.orders.get(name)
            if other is None or other is placed or (key, name) in stage.world.proved:
                continue
            if (other.channel, other.fact.buyer.ref) == (placed.channel, who):
                stage.fail(ONCE_EACH, f"{key} for {name} and {placed.name}, both of {who}")


def may_arrive(
    stage: Stage, placed: Placed, features: Features, same: Sequence[Letter], text: str
) -> None:
    """Ask whether a message may arrive that came `same` times before."""
    if placed.name in stage.world.owner.forgetful:
        return
    if same:
        if same[0].text != text and placed.name not in stage.world.owner.rewritten:
            stage.fail(SAME_TEXT, f"{placed.name} {same[0].marker}")
        most = features.repeat_max if features.repeat is Repeat.REPEAT_SAFE else 1
        stage.count["repeated"] += 1
        most += placed.repeats
        asked = features.repeat is Repeat.QUERYABLE and not stage.count["journals"]
        most += 0 if asked else placed.forgotten  # a journal made anew names a key, not each try
        if len(same) + 1 > most:
            stage.fail(NOT_TWICE, f"{placed.name} {same[0].marker} × {len(same) + 1}")
    wanted = placed.wanted()
    held = Counter(
        sku_of(key)
        for key in dict.fromkeys((*placed.got(), *keys_in(text)))
        if key not in placed.excused and key not in placed.doubtful
    )
    for sku, n in held.items():
        if n > max(wanted.get(sku, 0), placed.paid_before.get(sku, 0)):
            stage.fail(RIGHT_KEYS, f"{placed.name} gets {n} of {sku}, paid for {wanted}")


def must_not_be_renamed(stage: Stage, placed: Placed, text: str) -> None:
    """Keys come again under another mark only by the owner's word: nobody else could see that
    it is the same message."""
    if placed.name in stage.world.owner.forgetful:
        return
    keys = {key for key in keys_in(text) if not key.startswith("T-")}
    before = [x.marker for x in placed.letters if x.route != HAND and keys & {*x.keys}]
    if len(set(before)) > placed.repeats + placed.forgotten:
        told = f"{placed.name} {before[-1]} came before, with the same keys"
        stage.fail(NOT_TWICE, told)


def unserved(stage: Stage) -> Iterator[tuple[str, str]]:
    """Yield (rule, what) of every order that is not as it must be in the end."""
    for placed in waiting(stage):
        left = lacks(placed)
        if left:
            yield DELIVERED, f"{placed.name} lacks {left}, holds {placed.got()}"
        elif not placed.doubtful:  # what may have been replaced may still wait for another key
            yield SHIPPED, f"{placed.name}"


def ask_what_was_seen(stage: Stage) -> None:
    """Ask whether the shop was ever told of each paid order that came while its clock was right.

    Before any long pause: after one it looks back by hours, which would cover a cursor that skips.
    """
    for placed in stage.world.orders.values():
        came_ms = max(placed.fact.created_ms, placed.visible_ms)
        if placed.is_paid and placed.fact.created_ms > stage.jumped_ms and placed.read == (0, 0):
            minutes = (stage.clock.true_ms() - came_ms) // 60_000
            stage.fail(SEEN, f"{placed.name} came {minutes} minutes ago")


def waiting(stage: Stage) -> list[Placed]:
    """Return the orders that are due and not served, or not marked shipped."""
    return [
        placed
        for placed in stage.world.orders.values()
        if placed.is_due
        and (lacks(placed) or (not placed.shipped and placed.fact.status is OrderStatus.PAID))
    ]


def missing(left: Sequence[Placed]) -> Counter[str]:
    """Return SKU → keys that some orders lack."""
    found: Counter[str] = Counter()
    for placed in left:
        found.update(lacks(placed))
    return found


def lacks(placed: Placed) -> dict[str, int]:
    """Return SKU → keys that a buyer paid for and does not hold."""
    left = placed.wanted()
    for key in placed.got():
        if key not in placed.excused and (sku := sku_of(key)) in left:
            left[sku] -= 1
    return {sku: n for sku, n in left.items() if n > 0}


def ask_doctor(stage: Stage, shop: Shop) -> None:
    """Ask the shop's own checks; the file itself is only looked at where nothing else is wrong."""
    checks = [*doctor.ledger_checks(shop), doctor.audit_check(shop), *doctor.opening_checks(shop)]
    for check in checks:
        if check.name in BY_CLOCK and stage.count["jumps"]:
            continue
        if not check.ok and (check.broken or check.name in PROBLEMS):
            stage.fail(HEALTHY, f"{check.name}: {check.figure}")


def ask_what_is_bad(stage: Stage, shop: Shop, fingerprint: Callable[[bytes], bytes]) -> None:
    """Ask of each key that another was sent in place of whether the owner ever called it bad: who
    takes another for it charges the wrong supplier."""
    for row in machines.given_up(shop.db):
        name = (row["channel"], row["number"])
        placed = stage.world.orders.get(name)
        called = sorted(placed.doubtful) if placed else []
        if bytes(row["fingerprint"]) not in {fingerprint(drawn.stored(key)) for key in called}:
            stage.fail(CALLED_BAD, f"{name}: not one of {called}")
