"""What waits for the owner outside of the order lines: files to upload, keys lent to pools."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from kmtool.domain.money import e5_to_minor
from kmtool.domain.states import Mode
from kmtool.errors import told
from kmtool.operations.needs_you import NeedsYou, quoted
from kmtool.operations.ship_files import ROUTE
from kmtool.shop import Shop
from kmtool.store import lending, ship_files, watching

LENT_MS = 7 * 86_400_000
"""A pool that was not read back for this long is asked about."""
WATCHED_MS = 86_400_000
"""Somebody else ships what is watched; what nobody shipped for so long is asked about."""
UPLOAD, ALONE, READ_BACK = 4, 4, 5


def items(shop: Shop) -> Iterator[NeedsYou]:
    """Yield what waits at a platform, each with the command that settles it."""
    yield from _ship_files(shop)
    yield from _lent(shop)
    yield from _left_alone(shop)


def _ship_files(shop: Shop) -> Iterator[NeedsYou]:
    for row in ship_files.open_files(shop.db, ROUTE):
        name, n = row["channel"], row["orders"]
        orders = told("{n} orders" if n > 1 else "{n} order", n=n)
        if row["path"] is None:
            what = told("{channel}: {orders} wait for a ship file", channel=name, orders=orders)
            command, since = f"kmtool channel ship-file {quoted(name)}", row["since_ms"]
        else:
            file = PurePath(row["path"]).name
            what = told("upload {file}, then export: {orders}", file=file, orders=orders)
            command, since = f"kmtool sync {quoted(name)}", row["written_ms"]
        yield NeedsYou(what, row["amount_minor"], row["currency"], since, command, n, UPLOAD)


def _lent(shop: Shop) -> Iterator[NeedsYou]:
    for row in lending.old(shop.db, shop.now_ms() - LENT_MS):
        what = told("{n} keys lent to {pool} and not read back", n=row["keys"], pool=row["pool"])
        cost = e5_to_minor(row["cost_e5"], row["currency"])
        command = f"kmtool key lend-back {quoted(row['pool'])} FILE"
        yield NeedsYou(what, cost, row["currency"], row["since_ms"], command, 0, READ_BACK)


def _left_alone(shop: Shop) -> Iterator[NeedsYou]:
    for name, channel in shop.config.channels.items():
        if channel.mode is not Mode.WATCH:
            continue
        for row in watching.left_alone(shop.db, name, shop.now_ms() - WATCHED_MS):
            n = row["orders"]
            orders = told("{n} orders" if n > 1 else "{n} order", n=n)
            what = told(
                "{channel} is on watch and nobody ships: {orders}", channel=name, orders=orders
            )
            command = f"kmtool channel set {quoted(name)} --mode ask"
            yield NeedsYou(
                what, row["amount_minor"], row["currency"], row["since_ms"], command, n, ALONE
            )
