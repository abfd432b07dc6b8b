"""Handing over by hand: one message after the other, each answer committed before the next.

A key counts as exposed when it is shown, as delivered on "sent", as unclear on "unsure". An unclear
one comes up again, marked as perhaps sent before; it is never sent by itself. Going back shows the
one before again; what that means for an answer already given is in by_hand_back.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from kmtool.domain.ids import EffectId, OrderId
from kmtool.domain.states import AttemptState, EffectKind
from kmtool.errors import Stored, marked, told
from kmtool.operations import by_hand_back, ship_files
from kmtool.operations.deliver import by_hand_routes
from kmtool.operations.find_order import named
from kmtool.operations.pack import SCREEN
from kmtool.operations.permit import lines_of
from kmtool.operations.picture_files import save_all
from kmtool.operations.reread import reread
from kmtool.operations.reserve import Reserved, reserve_due
from kmtool.operations.routes import Outcome, Result
from kmtool.operations.send import Sent, begin, finish
from kmtool.operations.sender import sending
from kmtool.ports import Message
from kmtool.shop import Shop
from kmtool.store import effects, orders
from kmtool.store.db import Row

ROUND_MAX = 1_000
LEFT_MS = 60_000
WAITS_MAX = 50
SKIPPED = marked("skipped by the person")
STOPPED = "stopped: "
"""How the reason of an effect begins that a pause or a hold stopped."""


class Answer(StrEnum):
    """What the person said after a message was shown."""

    SENT = "sent"
    SKIP = "skip"
    UNSURE = "unsure"
    BACK = "back"
    STOP = "stop"


_LEFT = {
    Answer.SKIP: marked("you skipped it"),
    Answer.UNSURE: marked("you were not sure: look at the chat"),
    Answer.STOP: marked("you stopped here"),
}


@dataclass(frozen=True, slots=True)
class Task:
    """One message to paste. `again` says that it was perhaps sent before.

    `amount_minor` is what the lines of this message paid; `since_ms` when the order was paid;
    `files` are the pictures to be sent with it, where they lie.
    """

    n: int
    of: int
    channel: str
    number: str
    buyer: str
    again: bool
    message: Message
    amount_minor: int
    currency: str
    since_ms: int
    now_ms: int
    items: tuple[str, ...]
    can_go_back: bool
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Waits:
    """An order that is not sent yet: why, and the command that brings it on."""

    channel: str
    number: str
    why: str
    command: str


@dataclass(frozen=True, slots=True)
class ByHandResult:
    """What the round did, in orders, what the gates held, and why the rest is left."""

    sent: int
    skipped: int
    unsure: int
    left: int
    held: dict[str, int] = field(default_factory=dict)
    unmapped: int = 0
    ship_files: tuple[str, ...] = ()
    waits: tuple[Waits, ...] = ()


def by_hand(shop: Shop, numbers: Sequence[str], ask: Callable[[Task], Answer]) -> ByHandResult:
    """Bind keys to what is due, show one message after the other, write down the answers."""
    shop.must_be_writable()
    chosen = [named(shop, number) for number in numbers]
    reserved = reserve_due(shop, chosen or None)
    waiting = due(shop, [row["id"] for row in chosen])
    if shop.db.rehearsing:
        return _result(reserved, {}, len(waiting), [], ())
    with sending(shop, "by_hand", by_hand=True) as mine:
        answers = _round(mine, waiting, ask)
    sent = [effect for n, effect in enumerate(waiting) if answers.get(n) is Answer.SENT]
    left = [(answers.get(n), e) for n, e in enumerate(waiting) if answers.get(n) != Answer.SENT]
    waits = tuple(_waits(shop, answer, effect) for answer, effect in left[:WAITS_MAX])
    made = ship_files.write(shop, sorted({effect["channel"] for effect in sent}))
    return _result(reserved, answers, len(left), [one.file for one in made], waits)


def due(shop: Shop, only: Sequence[int] = ()) -> list[Row]:
    """Return the hand-overs that wait for a person, oldest first.

    A sale on the screen counts when its process died before the answer was written down.
    """
    routes = by_hand_routes(shop)
    found = [
        row
        for kind in (EffectKind.HAND_OVER, EffectKind.REPLACE, EffectKind.NOTIFY)
        for row in effects.waiting_on(shop.db, routes, kind, ROUND_MAX, only)
    ]
    left_ms = shop.now_ms() - LEFT_MS
    return [
        row
        for row in found
        if row["route"] != SCREEN or row["tries"] or row["created_ms"] < left_ms
    ]


def orders_due(shop: Shop, numbers: Sequence[str] = ()) -> int:
    """Count the orders (of those named, or all) whose messages wait to be pasted now."""
    only = [named(shop, number)["id"] for number in numbers]
    found = (row for row in due(shop, only) if not row["reason"].startswith(STOPPED))
    return len({row["order_id"] for row in found})


def _round(shop: Shop, waiting: list[Row], ask: Callable[[Task], Answer]) -> Mapping[int, Answer]:
    """Show what waits, one by one; return position → answer. `waiting` keeps the latest effects."""
    answers: dict[int, Answer] = {}
    behind: list[int] = []
    at = 0
    while at < len(waiting):
        answer = _one(shop, waiting[at], at + 1, len(waiting), ask, back=bool(behind))
        if answer is None:
            at += 1
            continue
        if answer is Answer.BACK:
            waiting[at] = by_hand_back.fresh(shop, waiting[at])
            if behind:
                at = behind.pop()
                del answers[at]
                waiting[at] = by_hand_back.take_back(shop, waiting[at])
            continue
        answers[at] = answer
        if answer is Answer.STOP:
            break
        behind.append(at)
        at += 1
    return answers


def _one(
    shop: Shop, effect: Row, n: int, of: int, ask: Callable[[Task], Answer], *, back: bool
) -> Answer | None:
    begun = begin(shop, reread(shop, [effect], Sent()))
    if not begun:
        return None
    one = begun[0]
    assert one.parcel.message is not None
    answer = ask(_task(shop, effect, one.parcel.message, n, of, back=back))
    outcome = {
        Answer.SENT: Outcome(Result.OK, "by hand"),
        Answer.UNSURE: Outcome(Result.UNKNOWN, detail="the person was not sure"),
    }.get(answer, Outcome(Result.RETRIABLE, detail=SKIPPED))
    finish(shop, [(one, outcome)], Sent())
    return answer


def _task(shop: Shop, effect: Row, message: Message, n: int, of: int, *, back: bool) -> Task:
    order = orders.get(shop.db, OrderId(effect["order_id"]))
    lines = lines_of(shop, effect)
    unclear = effect["attempt_state"] == AttemptState.UNKNOWN
    return Task(
        n=n,
        of=of,
        channel=message.channel,
        number=message.order_number,
        buyer=message.buyer.name,
        again=unclear or effect["generation"] > 1,
        message=message,
        amount_minor=sum(line["amount_minor"] for line in lines),
        currency=order["currency"],
        since_ms=order["paid_ms"] or order["seen_ms"],
        now_ms=shop.now_ms(),
        items=tuple(f"{line['quantity']} × {line['title'] or line['sku']}" for line in lines),
        can_go_back=back,
        files=tuple(str(p) for p in save_all(shop, message.marker, message.attachments)),
    )


def _waits(shop: Shop, answer: Answer | None, effect: Row) -> Waits:
    """Say why a hand-over is left: from the answer, else from what stopped it."""
    order = orders.get(shop.db, OrderId(effect["order_id"]))
    reason = str(effects.effect(shop.db, EffectId(effect["id"]))["reason"])
    stopped = reason.removeprefix(STOPPED) if reason.startswith(STOPPED) else ""
    why: str
    command = f"kmtool deliver --by-hand {order['number']}"
    if answer is not None:
        why = told(_LEFT[answer])
    elif stopped == "hold":
        why, command = told("you hold it"), f"kmtool order release {order['number']}"
    elif stopped:
        why, command = told("{name} is paused", name=stopped), f"kmtool resume {stopped}"
    elif reason in {"", SKIPPED}:
        why = told("it was not shown in this round")
    else:
        why, command = Stored(reason), f"kmtool order why {order['number']}"
    return Waits(order["channel"], order["number"], why, command)


def _result(
    reserved: Reserved,
    answers: Mapping[int, Answer],
    left: int,
    files: Sequence[str],
    waits: tuple[Waits, ...],
) -> ByHandResult:
    counts = list(answers.values())
    return ByHandResult(
        sent=counts.count(Answer.SENT),
        skipped=counts.count(Answer.SKIP),
        unsure=counts.count(Answer.UNSURE),
        left=left,
        held=reserved.held,
        unmapped=reserved.unmapped,
        ship_files=tuple(files),
        waits=waits,
    )
