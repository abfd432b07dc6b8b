"""May this leave now? What is asked inside the intent's transaction, right before anything goes.

Between reserve and intent the operator may have paused, held or set the channel to watch, a key may
have expired or been taken out of sale, the buyer's contact may have moved.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from kmtool.domain.ids import EffectId, LineId, ParcelId
from kmtool.domain.states import EffectKind, EffectState, KeyState, LineState, Mode
from kmtool.errors import Broken, TakenOver, marked, told
from kmtool.operations.facts import pause_of
from kmtool.operations.pack import address_digest
from kmtool.operations.refunds import CHANGED, NO_GOOD, is_first, take_back, unpack
from kmtool.operations.tries import Slice
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, orders, refunds, sessions
from kmtool.store.db import Row

CARRY = (EffectKind.HAND_OVER, EffectKind.REPLACE)
OVER = (LineState.CLOSED, LineState.CANCELLED)
MAY_LEAVE = frozenset({LineState.RESERVED, LineState.UNKNOWN})
_MAY_LEAVE_OR_GONE = MAY_LEAVE | {LineState.DELIVERED}
GOOD = frozenset({KeyState.RESERVED, KeyState.EXPOSED, KeyState.DELIVERED})

GOOD_SHARED = frozenset({KeyState.FREE, KeyState.DELIVERED, KeyState.EXPIRED})
NOT_BY_ITSELF = marked("the channel does not send by itself any more")
"""The reason of a line that was tried before its channel was set to ask, or to watch."""


def must_be_live(shop: Shop) -> None:
    """Refuse to go on when another sender took over from this one."""
    assert shop.session is not None
    if not sessions.is_live(shop.db, shop.session, lock=True):
        raise TakenOver


def disk_must_have_room(shop: Shop) -> None:
    """Refuse to send what could not be recorded."""
    database = shop.config.database
    folder = database.parent if isinstance(database, Path) else shop.config.root
    free_mb = shutil.disk_usage(folder).free // 1_000_000
    if free_mb < shop.config.data.disk_min_mb:
        raise Broken(
            detail="only {free_mb} MB are free; nothing is sent that cannot be recorded",
            free_mb=free_mb,
            mend="make room on the disk, then: kmtool deliver",
        )


def stopped_by(
    order: Row, lines: Sequence[Row], keys: Sequence[Row], paused: dict[str, Row]
) -> str:
    """Return what the operator stopped: a pause above the order or its keys, or a hold on it."""
    if order["hold_reason"] and lines:
        return "hold"
    if not paused:
        return ""
    for sku in {row["sku"] for row in (*lines, *keys)} or {""}:
        stopped = pause_of(paused, order["channel"], sku)
        if stopped:
            return stopped
    return ""


def may_leave(shop: Shop, seen: Slice, effect: Row) -> bool:
    """Lines must wait for this very hand-over, their keys be good, the buyer's contact the same."""
    order, lines, bound = seen.order(effect), seen.lines_of(effect), seen.keys_of(effect)
    if not is_first(effect):
        watched = _is_watched(shop, order)
        if watched:
            to_human(shop, effect, [], NOT_BY_ITSELF)
        return not watched and _goes_where_it_went(shop, seen, effect, [])
    if not _waits([line for line in lines if not _lacks(shop, line)]):
        to_human(shop, effect, lines, "its lines are not waiting for it any more")
        return False
    changed = [line["reason"] for line in lines if line["reason"].startswith(CHANGED)]
    if changed:
        to_human(shop, effect, lines, changed[0])
        return False
    bad = [row for row in bound if row["key_state"] not in _good(row)]
    if not effect["tries"]:
        now = shop.now_ms()
        old = any(row["expires_ms"] <= now for row in bound)
        undo = take_back if effect["kind"] == EffectKind.REPLACE else unpack
        off = bool(seen.off) and any(line["sku"] in seen.off for line in lines)
        shut = bad or old or off or _mode_shut(shop, order, effect)
        if shut and undo(shop, effect, marked("looked at again")):
            return False
    elif _mode_shut(shop, order, effect):
        to_human(shop, effect, lines, NOT_BY_ITSELF)
        return False
    if bad:
        _needs_another_key(shop, effect, lines, bad)
        return False
    return _goes_where_it_went(shop, seen, effect, lines)


def _goes_where_it_went(shop: Shop, seen: Slice, effect: Row, lines: Sequence[Row]) -> bool:
    """A message that was tried goes nowhere else without a person's word."""
    parcel = seen.parcels[effect["parcel_id"]]
    if not effect["tries"] or parcel["address_digest"] == address_digest(shop, seen.order(effect)):
        return True
    to_human(shop, effect, lines, "the buyer's contact changed between two tries")
    return False


def may_tell(shop: Shop, seen: Slice, effect: Row) -> bool:
    """What tells a buyer of something goes where its first try went, or a person decides."""
    if effect["kind"] != EffectKind.NOTIFY:
        return True
    digest = address_digest(shop, seen.order(effect))
    written = seen.parcels[effect["parcel_id"]]["address_digest"]
    if digest != written and (not effect["tries"] or not written):
        deliveries.set_address(shop.db, ParcelId(effect["parcel_id"]), digest)
    if not effect["tries"] or written in {"", digest}:
        return True
    to_human(shop, effect, [], marked("the buyer's contact changed between two tries"))
    return False


def _waits(lines: Sequence[Row]) -> bool:
    """Tell whether lines wait for their message; one of them may have got another key meanwhile."""
    states = {line["state"] for line in lines}
    return not states.isdisjoint(MAY_LEAVE) and states <= _MAY_LEAVE_OR_GONE


def _lacks(shop: Shop, line: Row) -> bool:
    """Tell whether a line waits for a key in place of a bad one: no message in hand brings it."""
    return line["state"] == LineState.HUMAN and bool(refunds.wanted(shop.db, line["id"]))


def _good(key: Row) -> frozenset[KeyState]:
    """The state of a shared key only tells whether uses are left or a newer text is in sale."""
    return GOOD if key["exclusive"] else GOOD_SHARED


def _is_watched(shop: Shop, order: Row) -> bool:
    """Tell whether nothing at all is sent on a channel, whoever ordered it."""
    found = shop.config.channels.get(order["channel"])
    return found is not None and found.mode is Mode.WATCH


def _mode_shut(shop: Shop, order: Row, effect: Row) -> bool:
    """Tell whether the channel was set to watch, or to ask, after the keys were bound.

    A replacement was ordered by a person: nobody is asked again.
    """
    found = shop.config.channels.get(order["channel"])
    if found is None:
        return False
    asks = found.mode is Mode.ASK and effect["kind"] != EffectKind.REPLACE
    return found.mode is Mode.WATCH or (asks and order["released_ms"] is None)


def waits_for_a_word(shop: Shop, channel: str, reason: str) -> bool:
    """Tell whether a line that was tried waits only for the word that its channel asks for."""
    found = shop.config.channels.get(channel)
    return found is not None and found.mode is Mode.ASK and reason == NOT_BY_ITSELF


def waits_for_the_watch(shop: Shop, channel: str, reason: str) -> bool:
    """Tell whether a line that was tried waits until its channel is no longer on watch."""
    found = shop.config.channels.get(channel)
    return found is not None and found.mode is Mode.WATCH and reason == NOT_BY_ITSELF


def lines_of(shop: Shop, effect: Row) -> list[Row]:
    """Return the lines an effect hands over (none for an effect of the whole order)."""
    if effect["parcel_id"] is None:
        return []
    return deliveries.parcel_lines(shop.db, ParcelId(effect["parcel_id"]))


def moved_by(shop: Shop, effect: Row) -> list[Row]:
    """Return the lines that an effect moves: what is sent once more moves none (`is_first`)."""
    return lines_of(shop, effect) if is_first(effect) else []


def _needs_another_key(shop: Shop, effect: Row, lines: Sequence[Row], bad: Sequence[Row]) -> None:
    """Say it of the lines whose keys they are; the others of the message wait for them."""
    to_human(shop, effect, lines, marked("another line of its message needs another key first"))
    for row in bad:
        reason = told(
            "{bad}: …{tail} ({state})", bad=told(NO_GOOD), tail=row["tail"], state=row["key_state"]
        )
        line = next(line for line in lines if line["id"] == row["line_id"])
        if line["state"] in {LineState.RESERVED, LineState.UNKNOWN, LineState.HUMAN}:
            orders.set_line_reason(shop.db, LineId(line["id"]), reason)


def to_human(shop: Shop, effect: Row, lines: Sequence[Row], reason: str) -> bool:
    """Stop trying by itself: the order goes to 「needs you」 with the reason.

    Where a person ended all its lines already, what would have sent them is over (False).
    """
    db, now = shop.db, shop.now_ms()
    sources = [EffectState.PENDING, EffectState.INFLIGHT, EffectState.RETRY_AT]
    is_over = bool(lines) and all(line["state"] in OVER for line in lines)
    is_over &= effect["kind"] in CARRY
    target = EffectState.CANCELLED if is_over else EffectState.HUMAN
    effects.move_effect(db, EffectId(effect["id"]), sources, target, now, reason=reason)
    for line in lines:
        source = LineState(line["state"])
        if source in {LineState.RESERVED, LineState.UNKNOWN}:
            orders.move_line(
                db, LineId(line["id"]), source, LineState.HUMAN, now, reason=reason[:200]
            )
    return not is_over
