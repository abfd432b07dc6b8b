"""Tells a channel how much it may sell: free − open demand − held − buffer, per units.

Open demand is what paid lines of all channels still need. Held is what unpaid orders keep back;
those of the channel itself count only where it lowered its own figure for them (operations/holds).
A key with several uses counts as many, a bundle is as many as its scarcest part, a text that never
runs out is `[sync] unlimited`.

Only right after a sync of that channel: an absolute figure pushed earlier would overwrite the
channel's own decrement for orders we have not pulled yet. Only what changed is pushed, and a
listing that sold since (the channel counted down by itself). What fails is pushed next time.
"""

from __future__ import annotations

from dataclasses import dataclass

from kmtool.errors import KmError, OutsideError
from kmtool.operations import home, journal_check, routes
from kmtool.operations.holds import sweep
from kmtool.operations.sync import ChannelResult
from kmtool.ports import StockPush
from kmtool.shop import Shop
from kmtool.store import holds
from kmtool.store import stock_push as store
from kmtool.store.db import Row

FRESH_MS = 60_000
DAY_MS = 86_400_000
CHUNK = 50
AWAY = "the shop is not at home here"


@dataclass(frozen=True, slots=True)
class PushResult:
    """What was told to a channel. `skipped` says why nothing could be told."""

    channel: str
    pushed: int
    failed: int = 0
    error: str = ""
    skipped: str = ""


def push_stock(shop: Shop, synced: ChannelResult) -> PushResult:
    """Push changed figures to the channel that was just pulled."""
    shop.must_be_writable()
    name = synced.channel
    if not shop.config.sync.push_stock:
        return PushResult(name, 0, skipped="sync.push_stock is off")
    if synced.error or not is_fresh(shop, name):
        return PushResult(name, 0, skipped="the channel was not read to its end just now")
    if not may_speak(shop):
        return PushResult(name, 0, skipped=AWAY)
    channel = shop.adapters.channel(name)
    if not channel.features.push_stock:
        return PushResult(name, 0, skipped="this channel takes no stock figures")
    sweep(shop)
    due = figures(shop, name)
    pushed = 0
    for start in range(0, len(due), CHUNK):
        chunk = due[start : start + CHUNK]
        try:
            told = [StockPush(r["item_id"], r["variant_id"], n) for r, n in chunk]
            routes.push_stock(name, channel, told)
        except OutsideError as error:
            return PushResult(name, pushed, len(due) - pushed, str(error))
        with shop.db.tx():
            for row, figure in chunk:
                store.note_pushed(shop.db, row["id"], figure, shop.now_ms())
        pushed += len(chunk)
    return PushResult(name, pushed)


def figures(shop: Shop, channel: str) -> list[tuple[Row, int]]:
    """Return the listings of a channel whose figure has to be told, with that figure."""
    return [
        (row, figure)
        for row, figure in listed(shop, channel)
        if row["pushed"] != figure or (row["seen_ms"] or 0) > (row["pushed_ms"] or 0)
    ]


def listed(shop: Shop, channel: str) -> list[tuple[Row, int]]:
    """Return every listing of a channel with how many pieces of it may be sold there now."""
    db, now = shop.db, shop.now_ms()
    free, demand, bundles = store.free(db), store.demand(db), store.bundles(db)
    held, empty = holds.unpaid(db, channel, now), store.empty_bundles(db)
    unlimited = shop.config.sync.unlimited

    def left(sku: str) -> int:
        return max(0, free.get(sku, 0) - demand.get(sku, 0) - held.get(sku, 0))

    found = []
    for row in store.listings(db, channel, now - DAY_MS):
        parts = bundles.get(row["sku"], []) if row["kind"] == "bundle" else [(row["sku"], 1)]
        if row["kind"] == "text" or (not parts and row["sku"] not in empty):
            if not unlimited:
                continue
            figure = unlimited
        else:
            whole = min((left(sku) // units for sku, units in parts), default=0)
            figure = max(0, whole - row["buffer"]) // row["units"]
        found.append((row, figure if row["product_state"] == "on" else 0))
    return found


def may_speak(shop: Shop) -> bool:
    """Tell whether this is the shop itself: a copy or an old state does not know what is sold.

    A sender was asked at its start.
    """
    if shop.session is not None:
        return True
    try:
        return home.away(shop) is None and not journal_check.older(shop)
    except KmError:
        return False


def is_fresh(shop: Shop, channel: str) -> bool:
    """Tell whether a channel was read to its end just now."""
    read = store.read_at(shop.db, channel)
    return read is not None and 0 <= shop.now_ms() - read <= FRESH_MS
