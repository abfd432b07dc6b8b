"""Delivers all that is due: reserve, send, resolve what is unclear, tell the channel.

Beside a running sender (SQLite) a command only writes effects, nudges and follows the outcome; it
sends itself when nobody holds the lock.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kmtool.domain.ids import EffectId, LineId, OrderId, ParcelId
from kmtool.domain.states import AttemptState, EffectKind, EffectState, LineState
from kmtool.errors import Broken, Locked, NotFound, OutsideError, Refused
from kmtool.operations import routes
from kmtool.operations.ingest import ingest
from kmtool.operations.reserve import SCREEN, reserve_due
from kmtool.operations.routes import Outcome
from kmtool.operations.send import (
    WAITING,
    Begun,
    Sent,
    begin,
    finish,
    must_be_live,
    parcel_of,
    succeed,
    to_human,
)
from kmtool.operations.sender import sending
from kmtool.ports import OrderFact, Repeat, Verdict
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, house, orders
from kmtool.store.db import Row

ROUNDS_MAX = 10_000
FOLLOW_S = 60
NUDGE = "nudge_ms"
RETRY_SOON_MS = 30_000


@dataclass(frozen=True, slots=True)
class DeliverResult:
    """What a run of deliver did, in lines. `waiting` is what a daemon was asked to send."""

    delivered: int
    held: dict[str, int]
    unmapped: int
    unknown: int
    needs_you: int
    failed: int
    shipped: int = 0
    waiting: int = 0
    notes: tuple[str, ...] = field(default=())


def deliver(shop: Shop, numbers: Sequence[str] = ()) -> DeliverResult:
    """Reserve and send all that is due, or only the named orders."""
    shop.must_be_writable()
    chosen = [named(shop, number) for number in numbers]
    if shop.db.rehearsing:
        return _rehearse(shop, chosen)
    try:
        with sending(shop, "deliver") as mine:
            return deliver_all(mine, chosen)
    except Locked:
        return _follow(shop, chosen)


def deliver_all(
    shop: Shop, chosen: Sequence[Row] = (), stopping: Callable[[], bool] = lambda: False
) -> DeliverResult:
    """Reserve and send, as the sender of this shop; `stopping` is asked after every round."""
    reserved = reserve_due(shop, chosen or None)
    only = [row["id"] for row in chosen]
    tally = Sent()
    for part in send_due(shop, only):
        _add(tally, part)
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
    """Send rounds of at most `deliver.batch` effects until nothing is due; yields each round."""
    disk_must_have_room(shop)
    skipped = by_hand_routes(shop)
    for _ in range(ROUNDS_MAX):
        due = effects.due_effects(shop.db, shop.now_ms(), shop.config.deliver.batch, skipped, only)
        if not due:
            return
        tally = Sent()
        resolve(shop, [row for row in due if row["attempt_state"] == AttemptState.UNKNOWN], tally)
        fresh = [row for row in due if row["attempt_state"] != AttemptState.UNKNOWN]
        send(shop, reread(shop, fresh), tally)
        yield tally


def send(shop: Shop, due: Sequence[Row], tally: Sent) -> None:
    """Intent, journal, network, outcome for some effects."""
    if not due:
        return
    begun = begin(shop, due)
    for group in _by_route(begun):
        features = routes.features_of(
            shop, group[0].parcel.kind, group[0].parcel.route, group[0].parcel.channel
        )

        def work(one: Begun) -> Outcome:
            return routes.attempt(shop, one.parcel)

        outcomes = routes.side_by_side(work, group, features.parallel)
        finish(shop, list(zip(group, outcomes, strict=True)), tally)


def resolve(shop: Shop, due: Sequence[Row], tally: Sent) -> None:
    """Find out about attempts whose outcome is unclear: by evidence, by asking, by safe repeats."""
    again: list[Row] = []
    for effect in due:
        rule, tries, grace = routes.repeat_rule(
            shop, effect["kind"], effect["route"], effect["channel"]
        )
        if str(effect["attempt_reference"]).startswith("late ok"):
            _settle(shop, effect, Verdict.DONE, tally)
        elif rule is Repeat.QUERYABLE:
            order = orders.get(shop.db, OrderId(effect["order_id"]))
            verdict = routes.probe(shop, parcel_of(shop, effect, order))
            _conclude(shop, effect, verdict, grace, tally)
        elif rule in {Repeat.IDEMPOTENT, Repeat.REPEAT_SAFE} and effect["tries"] < tries:
            again.append(effect)
        else:
            _give_up(shop, effect, "the outcome is unclear and this route cannot be asked", tally)
    send(shop, again, tally)


def reread(shop: Shop, due: Sequence[Row]) -> list[Row]:
    """Read orders again at the channel when the facts are old; what cannot be read waits."""
    limit = shop.now_ms() - shop.config.deliver.reread_after_ms
    ready: list[Row] = []
    stale: list[tuple[Row, Row]] = []
    for effect in due:
        order = orders.get(shop.db, OrderId(effect["order_id"]))
        channel = order["channel"]
        if (
            order["facts_ms"] >= limit
            or channel not in shop.config.channels
            or effect["kind"] != EffectKind.HAND_OVER
            or not shop.adapters.channel(channel).features.reread
        ):
            ready.append(effect)
        else:
            stale.append((effect, order))
    for group in _by_channel(stale):
        ready += _reread_group(shop, group)
    return ready


def _reread_group(shop: Shop, group: list[tuple[Row, Row]]) -> list[Row]:
    channel = shop.adapters.channel(group[0][1]["channel"])

    def read(pair: tuple[Row, Row]) -> OrderFact | OutsideError | None:
        try:
            return channel.get_order(pair[1]["number"])
        except OutsideError as error:
            return error

    facts = routes.side_by_side(read, group, channel.features.parallel)
    ready: list[Row] = []
    with shop.db.tx():
        for (effect, order), fact in zip(group, facts, strict=True):
            if fact is None or isinstance(fact, OutsideError):
                reason = str(fact) if fact else "the channel does not know this order any more"
                effects.move_effect(
                    shop.db,
                    EffectId(effect["id"]),
                    WAITING,
                    EffectState.RETRY_AT,
                    shop.now_ms(),
                    due_ms=shop.now_ms() + RETRY_SOON_MS,
                    reason=reason,
                )
                continue
            ingest(shop, order["channel"], fact, account=order["account"])
            ready.append(effect)
    return ready


def _conclude(shop: Shop, effect: Row, verdict: Verdict, grace_ms: int, tally: Sent) -> None:
    now = shop.now_ms()
    final_at = effect["attempt_ms"] + grace_ms
    if verdict is Verdict.DONE or (verdict is Verdict.NOT_DONE and now >= final_at):
        _settle(shop, effect, verdict, tally)
        return
    if verdict is Verdict.UNCLEAR and now >= final_at + 10 * grace_ms:
        _give_up(shop, effect, "the other side cannot tell whether it happened", tally)
        return
    wait = min(15_000, max(2_000, final_at - now)) if verdict is Verdict.NOT_DONE else 15_000
    with shop.db.tx():
        effects.move_effect(
            shop.db,
            EffectId(effect["id"]),
            WAITING,
            EffectState.RETRY_AT,
            now,
            due_ms=now + wait,
            reason="outcome unclear; asking again",
        )
    tally.unknown += 1


def _settle(shop: Shop, effect: Row, verdict: Verdict, tally: Sent) -> None:
    """Write what asking told us: it happened, or it certainly did not."""
    db, now = shop.db, shop.now_ms()
    with shop.db.tx():
        must_be_live(shop)
        orders.get(db, OrderId(effect["order_id"]), lock=True)
        done = verdict is Verdict.DONE
        moved = effects.move_attempt(
            db,
            effect["attempt_id"],
            AttemptState.UNKNOWN,
            AttemptState.OK if done else AttemptState.REJECTED,
            now,
            effect["attempt_reference"] or "asked",
            "found there" if done else "not there after the grace period",
        )
        if not moved:
            return
        if done:
            succeed(shop, effect, tally)
            return
        effects.move_effect(
            db, EffectId(effect["id"]), WAITING, EffectState.RETRY_AT, now, due_ms=now
        )
        if effect["parcel_id"] is not None:
            for line in deliveries.parcel_lines(db, ParcelId(effect["parcel_id"])):
                orders.move_line(db, LineId(line["id"]), LineState.UNKNOWN, LineState.RESERVED, now)


def _give_up(shop: Shop, effect: Row, reason: str, tally: Sent) -> None:
    with shop.db.tx():
        orders.get(shop.db, OrderId(effect["order_id"]), lock=True)
        lines = (
            deliveries.parcel_lines(shop.db, ParcelId(effect["parcel_id"]))
            if effect["parcel_id"] is not None
            else []
        )
        to_human(shop, effect, lines, reason)
    tally.needs_you += len(lines) or 1


def by_hand_routes(shop: Shop) -> list[str]:
    """Return the routes that only a person can take."""
    names = {SCREEN, "by_hand"}
    names |= {name for name, c in shop.config.couriers.items() if c.adapter == "by_hand"}
    return sorted(names)


def disk_must_have_room(shop: Shop) -> None:
    """Refuse to send what could not be recorded."""
    database = shop.config.database
    folder = database.parent if isinstance(database, Path) else shop.config.root
    free_mb = shutil.disk_usage(folder).free // 1_000_000
    if free_mb < shop.config.data.disk_min_mb:
        raise Broken(
            detail=f"only {free_mb} MB are free; nothing is sent that cannot be recorded",
            mend="make room on the disk, then: kmtool deliver",
        )


def named(shop: Shop, number: str) -> Row:
    """Return the order of a number or redemption code; `Refused` when two channels have it."""
    found = orders.by_number(shop.db, number)
    channel, _, rest = number.partition(":")
    if not found and rest:
        row = orders.find(shop.db, channel, rest)
        found = [row] if row else []
    if not found:
        row = orders.by_code(shop.db, number.strip().upper())
        found = [row] if row else []
    if not found:
        raise NotFound(kind="order", name=number)
    if len(found) > 1:
        names = ", ".join(f"{row['channel']}:{number}" for row in found)
        raise Refused(
            detail=f"order {number} exists on several channels", mend=f"name one: {names}"
        )
    return found[0]


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


def _follow(shop: Shop, chosen: Sequence[Row]) -> DeliverResult:
    """Another process sends: write effects, nudge it, and watch them for a minute."""
    reserved = reserve_due(shop, chosen or None)
    ids = reserved.order_ids or [row["id"] for row in chosen]
    with shop.db.tx():
        house.set_meta(shop.db, NUDGE, str(shop.now_ms()))
    end = shop.clock.monotonic() + FOLLOW_S
    while ids and shop.clock.monotonic() < end:
        if not any(effects.is_waiting(shop.db, OrderId(i)) for i in ids):
            break
        shop.clock.sleep(0.2)
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


def _by_route(begun: Sequence[Begun]) -> list[list[Begun]]:
    groups: dict[tuple[str, str, str], list[Begun]] = {}
    for one in begun:
        key = (one.parcel.kind, one.parcel.route, one.parcel.channel)
        groups.setdefault(key, []).append(one)
    return list(groups.values())


def _by_channel(stale: Sequence[tuple[Row, Row]]) -> list[list[tuple[Row, Row]]]:
    groups: dict[str, list[tuple[Row, Row]]] = {}
    for pair in stale:
        groups.setdefault(pair[1]["channel"], []).append(pair)
    return list(groups.values())


def _add(tally: Sent, part: Sent) -> None:
    tally.delivered += part.delivered
    tally.unknown += part.unknown
    tally.needs_you += part.needs_you
    tally.failed += part.failed
    tally.shipped += part.shipped
    tally.notes += part.notes
