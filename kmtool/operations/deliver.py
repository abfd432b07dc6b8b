"""Delivers all that is due: reserve, send, resolve what is unclear, tell the channel.

Beside a running sender (SQLite) a command only writes effects, nudges and follows the outcome; it
sends itself when nobody holds the lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from kmtool.domain.states import AttemptState, EffectKind, LineState
from kmtool.errors import Locked
from kmtool.operations import bought_before, purchases, ship_files, watching
from kmtool.operations.find_order import named
from kmtool.operations.flow import send
from kmtool.operations.order_replace import fill_waiting
from kmtool.operations.pack import SCREEN
from kmtool.operations.permit import disk_must_have_room
from kmtool.operations.reread import reread
from kmtool.operations.reserve import Reserved, reserve_due
from kmtool.operations.resolve import resolve, use_late_proofs
from kmtool.operations.sender import sending
from kmtool.operations.tries import Sent
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, house
from kmtool.store.db import Row

ROUNDS_MAX = 10_000
FOLLOW_S = 60
FOLLOW_MAX = 500
LOOKS = 5
LOOK_S = 0.2
NUDGE = "nudge_ms"


@dataclass(frozen=True, slots=True)
class DeliverResult:
    """What a run of deliver did, in lines. `waiting` is what a daemon was asked to send.

    `to_paste` counts orders that only a person can hand over; who shows it to one fills it in.
    """

    delivered: int
    held: dict[str, int]
    unmapped: int
    unknown: int
    needs_you: int
    failed: int
    shipped: int = 0
    waiting: int = 0
    to_paste: int = 0
    notes: tuple[str, ...] = field(default=())


def deliver(shop: Shop, numbers: Sequence[str] = ()) -> DeliverResult:
    """Reserve and send all that is due, or only the named orders.

    While another process is the sender it does the sending: this one writes effects, nudges it and
    follows the outcome for at most a minute, and sends itself as soon as the lock is free.
    """
    shop.must_be_writable()
    chosen = [named(shop, number) for number in numbers]
    if shop.db.rehearsing:
        return _rehearse(shop, chosen)
    end = shop.clock.monotonic() + FOLLOW_S
    reserved: Reserved | None = None
    while True:
        with ExitStack() as stack:
            try:
                mine = stack.enter_context(sending(shop, "deliver"))
            except Locked:
                mine = None
            if mine is not None:
                return deliver_all(mine, chosen)
        if reserved is None:
            reserved = _order_it(shop, chosen)
            ids = reserved.order_ids or [row["id"] for row in chosen] or _due_orders(shop)
        if not _is_waiting(shop, ids) or shop.clock.monotonic() >= end:
            return _seen(shop, ids, reserved)
        for _ in range(LOOKS):
            shop.clock.sleep(LOOK_S)
            if not _is_waiting(shop, ids):
                break


def deliver_all(
    shop: Shop, chosen: Sequence[Row] = (), stopping: Callable[[], bool] = lambda: False
) -> DeliverResult:
    """Reserve and send, as the sender of this shop; `stopping` is asked after every round."""
    bought_before.take_up_late(shop)
    reserved = reserve_due(shop, chosen or None)
    watching.observe(shop)
    only = [row["id"] for row in chosen]
    fill_waiting(shop, only)
    tally = Sent()
    for part in send_due(shop, only):
        tally.add(part)
        if stopping():
            break
    return DeliverResult(
        delivered=tally.delivered,
        held=reserved.held,
        unmapped=reserved.unmapped,
        unknown=tally.unknown,
        needs_you=tally.needs_you,
        failed=tally.failed,
        shipped=tally.shipped,
        notes=tuple(dict.fromkeys(tally.notes)),
    )


def send_due(shop: Shop, only: Sequence[int] = ()) -> Iterator[Sent]:
    """Send rounds of at most `deliver.batch` effects until nothing is due; yields each round.

    A round that moves nothing ends it: what is due but may not leave waits for the next run.
    """
    disk_must_have_room(shop)
    skipped = by_hand_routes(shop)
    first = Sent()
    use_late_proofs(shop, first)
    yield first
    before: list[tuple[object, ...]] = []
    for _ in range(ROUNDS_MAX):
        due = effects.due_effects(shop.db, shop.now_ms(), shop.config.deliver.batch, skipped, only)
        names = ("id", "route", "state", "tries", "due_ms")
        marks = [tuple(row[name] for name in names) for row in due]
        if not due or marks == before:
            return
        before = marks
        tally = Sent()
        purchases.run(shop, [row for row in due if row["kind"] == EffectKind.PURCHASE], tally)
        due = [row for row in due if row["kind"] != EffectKind.PURCHASE]
        unclear = [row for row in due if row["attempt_state"] == AttemptState.UNKNOWN]
        again = resolve(shop, unclear, tally)
        fresh = [row for row in due if row["attempt_state"] != AttemptState.UNKNOWN]
        send(shop, [*again, *fresh], tally, reread)
        yield tally


def by_hand_routes(shop: Shop) -> list[str]:
    """Return the routes that only a person can take."""
    names = {SCREEN, "by_hand", ship_files.ROUTE}
    names |= {name for name, c in shop.config.couriers.items() if c.adapter == "by_hand"}
    return sorted(names)


def _rehearse(shop: Shop, chosen: Sequence[Row]) -> DeliverResult:
    reserved = reserve_due(shop, chosen or None)
    return DeliverResult(
        delivered=0,
        held=reserved.held,
        unmapped=reserved.unmapped,
        unknown=0,
        needs_you=0,
        failed=0,
        waiting=reserved.reserved,
    )


def _order_it(shop: Shop, chosen: Sequence[Row]) -> Reserved:
    """Another process sends: write the effects and nudge it."""
    reserved = reserve_due(shop, chosen or None)
    nudge(shop)
    return reserved


def nudge(shop: Shop) -> None:
    """Let a running daemon deliver at once instead of at its next time."""
    with shop.db.tx():
        house.set_meta(shop.db, NUDGE, str(shop.now_ms()))


def _due_orders(shop: Shop) -> list[int]:
    found = effects.due_effects(shop.db, shop.now_ms(), FOLLOW_MAX, by_hand_routes(shop))
    return sorted({int(row["order_id"]) for row in found})


def _is_waiting(shop: Shop, ids: Sequence[int]) -> bool:
    """Tell whether the sender still has something to send for these orders now."""
    few = ids[:FOLLOW_MAX]
    if not few:
        return False
    now, skipped = shop.now_ms(), by_hand_routes(shop)
    return bool(
        effects.due_effects(shop.db, now, 1, skipped, few) or effects.count_inflight(shop.db, few)
    )


def _seen(shop: Shop, ids: Sequence[int], reserved: Reserved) -> DeliverResult:
    counts = deliveries.count_lines(shop.db, ids)
    return DeliverResult(
        delivered=counts.get(LineState.DELIVERED, 0),
        held=reserved.held,
        unmapped=reserved.unmapped,
        unknown=counts.get(LineState.UNKNOWN, 0),
        needs_you=counts.get(LineState.HUMAN, 0),
        failed=0,
        waiting=counts.get(LineState.RESERVED, 0) + counts.get(LineState.SENDING, 0),
    )
