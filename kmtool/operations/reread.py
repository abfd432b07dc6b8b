"""Reads orders again at their channel right before keys or money leave for them.

A refund, or an order that was closed, is seen although the next pull is still to come. An order
that cannot be read waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kmtool.domain.ids import EffectId
from kmtool.domain.states import COUNTER, EffectKind, EffectState
from kmtool.errors import KmError, Locked, marked
from kmtool.operations import routes
from kmtool.operations.ingest import ingest
from kmtool.operations.permit import lines_of, to_human
from kmtool.operations.resolve import put_off
from kmtool.operations.tries import WAITING, Sent
from kmtool.ports import OrderFact
from kmtool.shop import Shop
from kmtool.store import effects, orders
from kmtool.store.db import Row

TAKE_AWAY = (EffectKind.HAND_OVER, EffectKind.REPLACE, EffectKind.PURCHASE)
"""What cannot be taken back: a key that a buyer saw, money that a supplier has."""
AGAIN_MAX = 3
RETRY_SOON_MS = 30_000
FORGOTTEN_MS = 3_600_000
CLOCK_SLACK_MS = 60_000


def reread(shop: Shop, due: Sequence[Row], tally: Sent) -> list[Row]:
    """Read orders again at the channel when the facts are old; what cannot be read waits."""
    ready: list[Row] = []
    stale: dict[str, list[tuple[Row, Row]]] = {}
    known = orders.some(shop.db, sorted({effect["order_id"] for effect in due}))
    for effect in due:
        order = known[effect["order_id"]]
        if effect["kind"] in TAKE_AWAY and is_old(shop, order):
            stale.setdefault(order["channel"], []).append((effect, order))
        else:
            ready.append(effect)
    for channel, group in stale.items():
        ready += _reread_group(shop, channel, group, tally)
    return ready


def is_old(shop: Shop, order: Row) -> bool:
    """Tell whether an order must be read again before a key or money leaves for it."""
    now = shop.now_ms()
    limit = now - shop.config.deliver.reread_after_ms
    is_fresh = limit <= order["facts_ms"] <= now + CLOCK_SLACK_MS
    unknown_there = order["channel"] == COUNTER or order["by_hand"]
    return not is_fresh and not unknown_there


def _reread_group(shop: Shop, name: str, group: list[tuple[Row, Row]], tally: Sent) -> list[Row]:
    try:
        features = routes.channel(shop, name).features
    except KmError as error:
        for effect, _ in group:
            put_off(shop, effect, error, tally)
        return []
    if not features.reread:
        return [effect for effect, _ in group]
    read_ms = shop.now_ms()

    def read(pair: tuple[Row, Row]) -> OrderFact | KmError | None:
        return routes.read_order(shop, name, pair[1]["number"])

    facts = routes.side_by_side(shop, read, group, features.parallel)
    answers = list(zip(group, facts, strict=True))
    for again in range(AGAIN_MAX, -1, -1):
        part = Sent()
        try:
            ready = _take_in(shop, name, answers, read_ms, part)
        except Locked:
            if not again or shop.db.dialect != "postgresql":
                raise
            continue  # two workers quarrelled over rows; nothing was written
        tally.add(part)
        return ready
    raise AssertionError("the last quarrel was raised")


def _take_in(
    shop: Shop,
    name: str,
    answers: Sequence[tuple[tuple[Row, Row], OrderFact | KmError | None]],
    read_ms: int,
    tally: Sent,
) -> list[Row]:
    """Write what the channel said of orders in one transaction; return the effects that go on."""
    ready: list[Row] = []
    with shop.db.tx():
        orders.lock(shop.db, [order["id"] for (_, order), _ in answers])
        for (effect, order), fact in answers:
            if fact is None or isinstance(fact, KmError):
                _not_read(shop, effect, order, fact, tally)
                continue
            if fact.number != order["number"]:
                fact = replace(fact, number=order["number"])
            ingest(shop, name, fact, account=order["account"], read_ms=read_ms)
            ready.append(effect)
    return ready


def _not_read(shop: Shop, effect: Row, order: Row, error: KmError | None, tally: Sent) -> None:
    """Without a look at the order nothing leaves; one the channel forgot is a person's business."""
    now, lines = shop.now_ms(), lines_of(shop, effect)
    reason = str(error) if error else marked("the channel does not know this order any more")
    if error is None and now - effect["created_ms"] > FORGOTTEN_MS:
        to_human(shop, effect, lines, reason)
        tally.needs_you += len(lines) or 1
        return
    effects.move_effect(
        shop.db,
        EffectId(effect["id"]),
        WAITING,
        EffectState.RETRY_AT,
        now,
        due_ms=now + RETRY_SOON_MS,
        reason=reason,
    )
    tally.failed += len(lines) or 1
    tally.notes.append(f"{order['channel']}: {reason}")
