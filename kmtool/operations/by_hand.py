"""Handing over by hand: one message after the other, each answer committed before the next.

A key counts as exposed when it is shown, as delivered on "sent", as unclear on "unsure". An unclear
one comes up again, marked as perhaps sent before; it is never sent by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from kmtool.domain.states import AttemptState, EffectKind
from kmtool.operations.deliver import by_hand_routes, reread
from kmtool.operations.find_order import named
from kmtool.operations.pack import SCREEN
from kmtool.operations.reserve import Reserved, reserve_due
from kmtool.operations.routes import Outcome, Result
from kmtool.operations.send import Sent, begin, finish
from kmtool.operations.sender import sending
from kmtool.ports import Message
from kmtool.shop import Shop
from kmtool.store import effects
from kmtool.store.db import Row

ROUND_MAX = 1_000
LEFT_MS = 60_000


class Answer(StrEnum):
    """What the person said after a message was shown."""

    SENT = "sent"
    SKIP = "skip"
    UNSURE = "unsure"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Task:
    """One message to paste. `again` says that it was perhaps sent before."""

    n: int
    of: int
    channel: str
    number: str
    buyer: str
    again: bool
    message: Message


@dataclass(frozen=True, slots=True)
class ByHandResult:
    """What the round did, in orders, and what the gates held."""

    sent: int
    skipped: int
    unsure: int
    left: int
    held: dict[str, int] = field(default_factory=dict)
    unmapped: int = 0
    ship_files: tuple[str, ...] = ()


def by_hand(shop: Shop, numbers: Sequence[str], ask: Callable[[Task], Answer]) -> ByHandResult:
    """Bind keys to what is due, show one message after the other, write down the answers."""
    shop.must_be_writable()
    chosen = [named(shop, number) for number in numbers]
    reserved = reserve_due(shop, chosen or None)
    waiting = due(shop, [row["id"] for row in chosen])
    if shop.db.rehearsing:
        return _result(reserved, {}, len(waiting), [])
    counts: dict[Answer, int] = {}
    done: list[tuple[str, str]] = []
    with sending(shop, "by_hand", by_hand=True) as mine:
        for n, effect in enumerate(waiting, 1):
            answer = _one(mine, effect, n, len(waiting), ask, done)
            if answer is None:
                continue
            counts[answer] = counts.get(answer, 0) + 1
            if answer is Answer.STOP:
                break
    left = len(waiting) - counts.get(Answer.SENT, 0)
    return _result(reserved, counts, left, _ship_files(shop, done))


def due(shop: Shop, only: Sequence[int] = ()) -> list[Row]:
    """Return the hand-overs that wait for a person, oldest first.

    A sale on the screen counts when its process died before the answer was written down.
    """
    routes = by_hand_routes(shop)
    found = effects.waiting_on(shop.db, routes, EffectKind.HAND_OVER, ROUND_MAX, only)
    left_ms = shop.now_ms() - LEFT_MS
    return [
        row
        for row in found
        if row["route"] != SCREEN or row["tries"] or row["created_ms"] < left_ms
    ]


def _one(
    shop: Shop,
    effect: Row,
    n: int,
    of: int,
    ask: Callable[[Task], Answer],
    done: list[tuple[str, str]],
) -> Answer | None:
    begun = begin(shop, reread(shop, [effect], Sent()))
    if not begun:
        return None
    one = begun[0]
    assert one.parcel.message is not None
    message = one.parcel.message
    again = effect["attempt_state"] == AttemptState.UNKNOWN
    answer = ask(
        Task(n, of, message.channel, message.order_number, message.buyer.name, again, message)
    )
    outcome = {
        Answer.SENT: Outcome(Result.OK, "by hand"),
        Answer.UNSURE: Outcome(Result.UNKNOWN, detail="the person was not sure"),
    }.get(answer, Outcome(Result.RETRIABLE, detail="skipped by the person"))
    finish(shop, [(one, outcome)], Sent())
    if answer is Answer.SENT and message.channel in shop.config.channels:
        done.append((message.channel, message.order_number))
    return answer


def _ship_files(shop: Shop, done: Sequence[tuple[str, str]]) -> list[str]:
    """Write the platform's batch-ship form for channels that cannot be told by an interface."""
    by_channel: dict[str, list[str]] = {}
    for of_channel, number in done:
        by_channel.setdefault(of_channel, []).append(number)
    files = []
    for name, numbers in by_channel.items():
        channel = shop.adapters.channel(name)
        if channel.features.ship_file:
            files.append(str(channel.ship_file(numbers)))
    return files


def _result(
    reserved: Reserved, counts: dict[Answer, int], left: int, files: Sequence[str]
) -> ByHandResult:
    return ByHandResult(
        sent=counts.get(Answer.SENT, 0),
        skipped=counts.get(Answer.SKIP, 0),
        unsure=counts.get(Answer.UNSURE, 0),
        left=left,
        held=reserved.held,
        unmapped=reserved.unmapped,
        ship_files=tuple(files),
    )
