"""Orders of channels that are told by a file: written for the owner, confirmed by a later export.

Such a channel's `mark_shipped` has the route `ship_file`: nothing sends it by itself. It is done
when an export shows its order as shipped, and not before, whatever was uploaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from kmtool.domain.ids import EffectId, OrderId
from kmtool.domain.states import AttemptState, EffectKind, EffectState
from kmtool.errors import KmError, NotFound, Refused
from kmtool.operations import routes
from kmtool.shop import Shop
from kmtool.store import effects
from kmtool.store import ship_files as store

ROUTE = "ship_file"
OPEN = (EffectState.PENDING, EffectState.RETRY_AT, EffectState.HUMAN)
SHOWN_THERE = "the channel shows it as shipped"


@dataclass(frozen=True, slots=True)
class ShipFile:
    """A batch-ship file to be uploaded at the platform."""

    channel: str
    file: str
    orders: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ShipFiles:
    """The files that were written."""

    files: tuple[ShipFile, ...]


def way_to_tell(shop: Shop, channel: str) -> str:
    """Return the route by which a channel learns of a delivery, empty when it never does.

    A channel that cannot be used right now is told later: whether it can be told is asked then.
    """
    try:
        features = routes.channel(shop, channel).features
    except KmError:
        return "channel"
    if features.mark_shipped:
        return "channel"
    return ROUTE if features.ship_file else ""


def order_file(shop: Shop, channel: str, *, again: bool = False) -> ShipFiles:
    """Write the file of one channel; with `again` of all its orders that are not confirmed."""
    shop.must_be_writable()
    if channel not in shop.config.channels:
        raise NotFound(kind="channel", name=channel)
    if not routes.channel(shop, channel).features.ship_file:
        raise Refused(
            detail="{channel} is told by itself, it takes no file", channel=channel,
            mend="kmtool deliver",
        )  # fmt: skip
    made = write(shop, [channel], again=again)
    if not made and not shop.db.rehearsing:
        raise Refused(
            detail="no order of {channel} waits for a new file",
            channel=channel,
            mend="write the last one once more: kmtool channel ship-file {channel} --again",
        )
    return ShipFiles(tuple(made))


def write(shop: Shop, channels: Sequence[str], *, again: bool = False) -> list[ShipFile]:
    """Write one file per channel with orders that stand in none yet; none when there are none."""
    made: list[ShipFile] = []
    if shop.db.rehearsing:
        return made
    for name in channels:
        rows = store.waiting(shop.db, ROUTE, name, again=again)
        if not rows:
            continue
        path = routes.channel(shop, name).ship_file([row["number"] for row in rows])
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        try:
            with shop.db.tx():
                store.add(
                    shop.db, [row["id"] for row in rows], channel=name, path=str(path),
                    sha256=digest, written_ms=shop.now_ms(),
                )  # fmt: skip
                shop.audit("ship_file", f"channel:{name}", f"{len(rows)} orders, {path.name}")
        except BaseException:
            path.unlink(missing_ok=True)  # nobody would know of it, and it would be uploaded twice
            raise
        made.append(ShipFile(name, str(path), len(rows), digest))
    return made


def confirm(shop: Shop, order_id: OrderId) -> None:
    """The channel shows an order as shipped: what waited to tell it so is done (in a transaction).

    A try under way writes its own end; one whose outcome is unclear is hereby proved.
    """
    now = shop.now_ms()
    for effect in effects.effects_of(shop.db, order_id):
        if effect["kind"] != EffectKind.MARK_SHIPPED or effect["state"] not in OPEN:
            continue
        for attempt in effects.attempts_of(shop.db, [effect["id"]]):
            effects.move_attempt(
                shop.db, attempt["id"], AttemptState.UNKNOWN, AttemptState.OK, now,
                attempt["reference"], SHOWN_THERE,
            )  # fmt: skip
        if effects.move_effect(
            shop.db, EffectId(effect["id"]), OPEN, EffectState.DONE, now, reason=SHOWN_THERE
        ):
            shop.audit("mark_confirmed", f"effect:{effect['id']}", SHOWN_THERE)
