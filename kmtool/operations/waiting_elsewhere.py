"""What waits for the owner outside of the order lines.

What could not be told or answered, amounts charged otherwise, files to upload, keys lent to pools,
orders nobody ships, differences of the reconciliation.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from kmtool.domain.money import e5_to_minor, format_minor
from kmtool.domain.recon import EXCEPTIONS
from kmtool.domain.states import COUNTER, Mode
from kmtool.errors import Stored, marked, told
from kmtool.operations.needs_you import NeedsYou, quoted
from kmtool.operations.ship_files import ROUTE
from kmtool.shop import Shop
from kmtool.store import lending, orders, purchases, ship_files, watching
from kmtool.store import status as store
from kmtool.store.db import Row

COME_MS = 86_400_000
"""How long a channel may take to bring an order again that a restore took away."""
LENT_MS = 7 * 86_400_000
"""A pool that was not read back for this long is asked about."""
WATCHED_MS = 86_400_000
"""Somebody else ships what is watched; what nobody shipped for so long is asked about."""
EACH_MAX = 50
NOT_THROUGH, UPLOAD, ALONE, READ_BACK, DIFFERENCE = 1, 4, 4, 5, 5


def items(shop: Shop) -> Iterator[NeedsYou]:
    """Yield what waits elsewhere, each with the command that settles it."""
    yield from _not_through(shop)
    yield from _charged(shop)
    yield from _unclear(shop)
    yield from _not_here(shop)
    yield from _ship_files(shop)
    yield from _lent(shop)
    yield from _left_alone(shop)
    yield from _exceptions(shop)


def _not_through(shop: Shop) -> Iterator[NeedsYou]:
    """Yield what happened and could not be told: to the channel, to the buyer."""
    again, refund = "kmtool order redeliver {number}", "kmtool order refund {number}"
    for rows, what, command in (
        (store.unmarked(shop.db), marked("delivered, but not marked shipped there"), again),
        (store.untold(shop.db), marked("the buyer was not told: {reason}"), again),
        (store.unrepeated(shop.db), marked("its keys could not go again: {reason}"), again),
        (
            store.unanswered(shop.db),
            marked("the answer to a refund did not get through: {reason}"),
            refund,
        ),
    ):
        for row in rows:
            number = quoted(f"{row['channel']}:{row['number']}" if row["twice"] else row["number"])
            yield NeedsYou(
                told(what, reason=Stored(row["reason"])), row["total_minor"], row["currency"],
                row["since_ms"], command.format(number=number), 1, NOT_THROUGH,
            )  # fmt: skip


def _charged(shop: Shop) -> Iterator[NeedsYou]:
    for row in purchases.unequal(shop.db):
        agreed = format_minor(row["agreed_minor"], row["currency"])
        what = told("{supplier} charged another amount than {agreed}", supplier=row["supplier"],
                    agreed=agreed)  # fmt: skip
        command = f"kmtool order charged {quoted(row['number'])} --reason TEXT"
        yield NeedsYou(
            what, row["charged_minor"], row["currency"], row["done_ms"],
            f"{command} --line {quoted(row['line_no'])}", 1, NOT_THROUGH,
        )  # fmt: skip


def _unclear(shop: Shop) -> Iterator[NeedsYou]:
    """Yield purchases of which nobody knows more, for lines that wait for nothing any more."""
    for row in purchases.given_up(shop.db):
        command = f"kmtool order charged {quoted(row['number'])} --amount AMOUNT --reason TEXT"
        what = told("{supplier} may have charged {number}", supplier=row["supplier"],
                    number=row["our_no"])  # fmt: skip
        yield NeedsYou(
            what, row["cap_minor"], row["currency"], row["since_ms"],
            f"{command} --line {quoted(row['line_no'])}", 1, NOT_THROUGH,
        )  # fmt: skip


def _not_here(shop: Shop) -> Iterator[NeedsYou]:
    """Yield top-ups from before a restore whose orders are not here: no channel brings those of the
    counter again, and others come within a day or not at all."""
    for place in purchases.bought_places(shop.db):
        channel, number, _ = place
        kept = purchases.bought_at(shop.db, place)
        if kept is None or orders.find(shop.db, channel, number) is not None:
            continue
        if channel != COUNTER and shop.now_ms() - kept.at < COME_MS:
            continue
        what = told("{supplier} may have charged for order {number}, which is not here any more:"
                    " write it down again, with this number", supplier=kept.supplier,
                    number=number)  # fmt: skip
        where = "" if channel == COUNTER else f" --channel {quoted(channel)}"
        yield NeedsYou(
            what, kept.amount_minor, shop.config.shop.currency, kept.at or shop.now_ms(),
            f"kmtool order add{where} --number {quoted(number)} --sku SKU --amount AMOUNT", 1,
            NOT_THROUGH,
        )  # fmt: skip


def _exceptions(shop: Shop) -> Iterator[NeedsYou]:
    """Yield differences of the reconciliation: the largest each, the others per code."""
    rows = store.exceptions(shop.db)
    for row in rows[:EACH_MAX]:
        command = f"kmtool recon resolve {row['id']} --reason TEXT"
        what = told("{group} 对账: {code}", group=told(_group(row["code"])), code=row["code"])
        yield NeedsYou(
            what, row["amount_minor"], row["currency"], row["since_ms"], command, 0, DIFFERENCE
        )
    rest: dict[tuple[str, str], list[Row]] = {}
    for row in rows[EACH_MAX:]:
        rest.setdefault((row["code"], row["currency"]), []).append(row)
    for (code, currency), found in rest.items():
        what = told("{group} 对账: {n} × {code}", group=told(_group(code)), n=len(found), code=code)
        amount = sum(row["amount_minor"] for row in found)
        since = min(row["since_ms"] for row in found)
        command = f"kmtool recon list --code {code}"
        yield NeedsYou(what, amount, currency, since, command, 0, DIFFERENCE)


def _group(code: str) -> str:
    kind = EXCEPTIONS.get(code)
    return kind.group if kind else "difference"


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
        n = row["keys"]
        keys = told("{n} keys" if n > 1 else "{n} key", n=n)
        what = told("{keys} lent to {pool} and not read back", keys=keys, pool=row["pool"])
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
