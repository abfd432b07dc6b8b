"""What the owner's decisions forbid, asked of every message at the buyers' door.

An intent that was committed before a decision may still arrive after it: only what was begun later
breaks the promise. `intent` is the number of that commit.
"""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.domain.money import e5_to_minor
from kmtool.sim.sites import EVERY_E5
from kmtool.sim.stage import Stage
from kmtool.sim.world import CURRENCY, Placed, sku_of

OUT_OF_SALE = "a key that was taken out of sale is not sold"
PAUSED = "nothing leaves while the owner has paused it"
BELOW_COST = "nothing leaves below its cost unasked"
BURST = "no more leaves at once than the brakes allow unasked"
WATCHED = "nothing leaves while a channel is only watched, or asks first"


def look(stage: Stage, placed: Placed, keys: Sequence[str], intent: int) -> None:
    """Ask of a message with these keys, begun with commit `intent`, what the owner decided."""
    owner = stage.world.owner
    for key in keys:
        if intent > owner.gone.get(key, intent):
            stage.fail(OUT_OF_SALE, f"{key} to {placed.name}")
    scopes = ("all", f"channel:{placed.channel}", *(f"sku:{sku_of(key)}" for key in keys))
    for scope in scopes:
        if intent > owner.paused.get(scope, intent):
            stage.fail(PAUSED, f"{scope}: {placed.name}")
    mode, since = owner.modes.get(placed.channel, ("auto", 0))
    asked = placed.name in owner.released
    if mode == "watch" and intent > since:
        stage.fail(WATCHED, f"{placed.name} on watch")
    if asked or placed.letters:
        return
    if mode == "ask" and intent > since and not placed.doubtful:
        stage.fail(WATCHED, f"{placed.name} was not asked about")
    if is_below_cost(placed):
        stage.fail(BELOW_COST, f"{placed.name} paid {placed.fact.total_minor}")
    _bursts(stage, placed, keys)


def is_below_cost(placed: Placed) -> bool:
    """Tell whether a line of an order paid less than its keys cost."""
    for line, ware in zip(placed.fact.lines, placed.wares, strict=True):
        if ware.kind != "key":
            continue
        e5 = EVERY_E5[ware.sku] * ware.units * line.quantity
        if line.amount_minor < e5_to_minor(e5, CURRENCY):
            return True
    return False


def _bursts(stage: Stage, placed: Placed, keys: Sequence[str]) -> None:
    now = stage.clock.true_ms()
    if stage.clock.offset_ms:  # the shop's hour is another one
        stage.world.owner.bursts.clear()
    for burst in stage.world.owner.bursts:
        if placed.name not in burst.names or now >= burst.until_ms or placed.name in burst.seen:
            continue
        burst.seen.add(placed.name)
        burst.pieces += sum(1 for key in keys if burst.sku in {"", sku_of(key)})
        if burst.pieces > burst.limit:
            stage.fail(BURST, f"{burst.pieces} pieces, {burst.limit} are allowed")
