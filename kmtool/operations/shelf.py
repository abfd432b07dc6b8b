"""Takes a listing that ran out off a channel's shelf, and brings it back when stock came.

For channels with `shelf = true` in kmtool.toml. Right after a sync, when what may be sold of a
listing is at its floor (`product set --shelf-floor`, else `[sync] shelf_floor`), it is taken down;
`[sync] shelf_back` pieces above the floor it is brought back. Only what we took down is brought
back: a listing that the owner hid, or put back although it had run out, is left to the owner until
stock came.

A move is written down before the network. Setting a shelf says what shall be, so it may be said
again; a move whose outcome is unclear is settled by reading the listing first. It counts as not
done only when the channel's own time to act is over, so that a late write meets no newer one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kmtool.errors import OutsideError, marked
from kmtool.operations import channels, routes, stock_push
from kmtool.operations.routes import Result
from kmtool.operations.sync import ChannelResult
from kmtool.ports import Channel, Item
from kmtool.shop import Shop
from kmtool.store import shelf as store
from kmtool.store.db import Row

AGAIN_MS = 600_000
AT_ONCE = 50
OFF, OWNER, FREE = "off", "owner", ""
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ShelfResult:
    """What was done to a channel's shelf: listings taken off, brought back, not clear."""

    channel: str
    taken_off: int = 0
    brought_back: int = 0
    unclear: int = 0
    failed: int = 0
    error: str = ""
    skipped: str = ""


@dataclass(frozen=True, slots=True)
class ItemInfo:
    """Something listed at a channel and what it is here. `shelf` says who took it down."""

    item: str
    variant: str
    title: str
    price_minor: int | None
    quantity: int | None
    on_shelf: bool
    sku: str
    units: int
    shelf: str
    hint: str


@dataclass(frozen=True, slots=True)
class ItemList:
    """All that a channel lists. `unmapped` counts what has no product yet."""

    channel: str
    currency: str
    items: tuple[ItemInfo, ...]

    @property
    def unmapped(self) -> int:
        """How many have no product."""
        return sum(1 for one in self.items if not one.sku)


def guard(shop: Shop, synced: ChannelResult) -> ShelfResult:
    """Move the listings of the channel that was just pulled, where their stock asks for it."""
    shop.must_be_writable()
    name = synced.channel
    if synced.error or not stock_push.is_fresh(shop, name):
        return ShelfResult(name, skipped="the channel was not read to its end just now")
    if not stock_push.may_speak(shop):
        return ShelfResult(name, skipped=stock_push.AWAY)
    channel = routes.channel(shop, name)
    if not channel.features.shelf:
        return ShelfResult(name, skipped="this channel has no shelf to speak to")
    due = _due(shop, name)
    open_moves = store.open_moves(shop.db, name)
    if not due and not open_moves:
        return ShelfResult(name)
    asked_ms = shop.now_ms()
    try:
        items = {(one.item_id, one.variant_id): one for one in routes.items(name, channel)}
    except OutsideError as error:
        return ShelfResult(name, failed=len(due), error=str(error))
    _settle(shop, open_moves, items, asked_ms - channel.features.grace_ms)
    return _move_all(shop, channel, name, _due(shop, name), items)


def off_now(shop: Shop) -> dict[str, str]:
    """Return what the owner should hear of (subject → text): what is off, what did not move."""
    found = {
        _subject(row): f"{row['title'] or row['sku']} is off the shelf of {row['channel']}:"
        " its stock ran out"
        for row in store.off(shop.db)
    }
    for row in store.stuck(shop.db, shop.now_ms() - AGAIN_MS):
        found[_subject(row)] = (
            f"{row['title'] or row['sku']} could not be put {row['wanted']} the shelf of"
            f" {row['channel']}: {row['detail'] or row['state']}"
        )
    return found


def items(shop: Shop, name: str) -> ItemList:
    """Return what a channel lists, each with the product it is mapped to; raises `NotFound`."""
    settings = channels.channel(shop, name)
    currency = settings.currency or shop.config.shop.currency
    known = store.mapped(shop.db, name)
    found = []
    for one in routes.items(name, routes.channel(shop, name)):
        row = known.get((one.item_id, one.variant_id))
        found.append(
            ItemInfo(
                item=one.item_id,
                variant=one.variant_id,
                title=one.title,
                price_minor=one.price_minor,
                quantity=one.quantity,
                on_shelf=one.on_shelf,
                sku=row["sku"] if row else "",
                units=row["units"] if row else 0,
                shelf=row["shelf"] if row else "",
                hint=one.sku_hint,
            )
        )
    return ItemList(name, currency, tuple(found))


def _due(shop: Shop, name: str) -> list[tuple[Row, int, str]]:
    """Return (listing, figure, wanted) of the listings that should move now."""
    settings, db, now = shop.config.channels[name], shop.db, shop.now_ms()
    busy = {row["listing_id"] for row in store.open_moves(db, name)}
    busy |= store.refused_since(db, name, now - AGAIN_MS)
    found: list[tuple[Row, int, str]] = []
    healed: list[Row] = []
    for row, figure in stock_push.listed(shop, name):
        floor = row["shelf_floor"]
        floor = shop.config.sync.shelf_floor if floor is None else floor
        if row["shelf"] == OWNER and figure > floor:
            healed.append(row)
        elif row["id"] in busy:
            continue
        elif row["shelf"] == FREE and figure <= floor and settings.shelf:
            found.append((row, figure, "off"))
        elif row["shelf"] == OFF and figure >= floor + max(1, shop.config.sync.shelf_back):
            found.append((row, figure, "on"))
    if healed:
        with db.tx():
            for row in healed:
                store.set_shelf(db, row["id"], OWNER, FREE, now)
    return found[:AT_ONCE]


def _settle(
    shop: Shop, moves: list[Row], items: Mapping[Place, Item], final_before_ms: int
) -> None:
    """Settle moves of unclear outcome by what the listing showed when it was asked for; what began
    before `final_before_ms` can come late no more."""
    now = shop.now_ms()
    with shop.db.tx():
        for move in moves:
            item = items.get((move["item_id"], move["variant_id"]))
            if item is not None and item.on_shelf == (move["wanted"] == "on"):
                _done(shop, move["id"], move, move["wanted"])
            elif item is None or move["started_ms"] <= final_before_ms:
                store.end(shop.db, move["id"], "rejected", marked("it is not so there"), now)


def _move_all(
    shop: Shop,
    channel: Channel,
    name: str,
    due: list[tuple[Row, int, str]],
    items: Mapping[Place, Item],
) -> ShelfResult:
    tally = {"ok off": 0, "ok on": 0, "unknown": 0, "rejected": 0}
    trouble = ""
    for row, figure, wanted in due:
        item = items.get((row["item_id"], row["variant_id"]))
        if item is None:
            continue
        if item.on_shelf == (wanted == "on"):
            # It is as it should be, by the owner's hand: what he hid stays his.
            target = OWNER if wanted == "off" else FREE
            with shop.db.tx():
                store.set_shelf(shop.db, row["id"], row["shelf"], target, shop.now_ms())
            continue
        ended, detail = _move(shop, channel, row, figure, wanted)
        tally[f"ok {wanted}" if ended == "ok" else ended] += 1
        trouble = trouble or detail
    return ShelfResult(
        name, tally["ok off"], tally["ok on"], tally["unknown"], tally["rejected"], trouble
    )


def _move(shop: Shop, channel: Channel, row: Row, figure: int, wanted: str) -> tuple[str, str]:
    """Write one move down, make it, write down how it ended; return (state, trouble)."""
    db = shop.db
    with db.tx():
        move = store.begin(db, row["id"], wanted, figure, shop.now_ms())
    if move is None:
        return "unknown", ""
    ended = routes.set_shelf(channel, row["item_id"], row["variant_id"], on=wanted == "on")
    with db.tx():
        if ended.result is Result.OK:
            _done(shop, move, row, wanted)
        else:
            store.end(db, move, ended.result, ended.detail, shop.now_ms())
    return ended.result, ended.detail


def _done(shop: Shop, move_id: int, row: Row, wanted: str) -> None:
    """Write down that a listing moved, once."""
    db, now = shop.db, shop.now_ms()
    if not store.end(db, move_id, "ok", "", now):
        return
    listing = int(row["listing_id"] if "listing_id" in row else row["id"])
    source, target = (FREE, OFF) if wanted == "off" else (OFF, FREE)
    store.set_shelf(db, listing, source, target, now)
    place = " ".join(part for part in (row["item_id"], row["variant_id"]) if part)
    shop.audit(f"shelf_{wanted}", f"listing:{listing}", place)


def _subject(row: Row) -> str:
    place = (row["channel"], row["item_id"], row["variant_id"])
    return "listing:" + ":".join(part for part in place if part)
