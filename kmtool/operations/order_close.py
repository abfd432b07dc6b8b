"""Ends what waits without sending: the owner delivered it otherwise; and lets a channel go on."""

from __future__ import annotations

from dataclasses import dataclass

from kmtool.domain.ids import LineId, OrderId
from kmtool.domain.states import Gate, LineState, Mode
from kmtool.errors import NotFound, Refused, marked
from kmtool.operations import holds
from kmtool.operations.find_order import named
from kmtool.operations.order_changes import OrderChanged, release
from kmtool.operations.refunds import WAITING, unpack_all
from kmtool.operations.shipped import mark_after_decision
from kmtool.shop import Shop
from kmtool.store import orders
from kmtool.store import status as store

CLOSED = marked("closed by hand: {reason}")


@dataclass(frozen=True, slots=True)
class Waiting:
    """What an answer would touch: orders (or lines), and what they paid."""

    count: int
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Released:
    """The orders of a channel that were let go."""

    channel: str
    orders: tuple[str, ...]
    amount_minor: int
    currency: str


def waiting(shop: Shop, number: str) -> Waiting:
    """Return the lines of an order that a close would end; raises `NotFound`."""
    order = named(shop, number)
    states = {*WAITING, LineState.RESERVED}
    lines = [row for row in orders.lines(shop.db, OrderId(order["id"])) if row["state"] in states]
    return Waiting(len(lines), sum(row["amount_minor"] for row in lines), order["currency"])


def close(shop: Shop, number: str, reason: str) -> OrderChanged:
    """End the lines of an order that nobody has seen a key of; `Refused` when there are none.

    Keys that are bound but never left go back to the shelf; what was sent stays as it is.
    """
    shop.must_be_writable()
    order = named(shop, number)
    order_id, now = OrderId(order["id"]), shop.now_ms()
    with shop.db.tx():
        orders.get(shop.db, order_id, lock=True)
        unpack_all(shop, order_id, "closed by hand")
        count = 0
        for line in orders.lines(shop.db, order_id):
            source = LineState(line["state"])
            if source in WAITING:
                count += orders.move_line(
                    shop.db, LineId(line["id"]), source, LineState.CLOSED, now,
                    reason=CLOSED.format(reason=reason[:200]),
                )  # fmt: skip
        if not count:
            raise Refused(
                detail="nothing of order {number} is waiting",
                number=order["number"],
                mend="kmtool order show {number}",
            )
        holds.follow(shop, order_id)
        mark_after_decision(shop, order_id)
        shop.audit("close", f"order:{order['channel']}:{order['number']}", reason[:200])
    return OrderChanged(order["channel"], order["number"], marked("close"), count)


def asking(shop: Shop, channel: str) -> Waiting:
    """Return what waits for the owner's word on a channel; raises `NotFound`."""
    if channel not in shop.config.channels:
        raise NotFound(kind="channel", name=channel)
    rows = store.asking(shop.db, channel, Gate.MODE)
    currency = rows[0]["currency"] if rows else shop.config.shop.currency
    return Waiting(len(rows), sum(row["amount_minor"] for row in rows), currency)


def asking_channels(shop: Shop) -> list[str]:
    """Return the channels that have orders waiting for the owner's word."""
    asks = [name for name, one in shop.config.channels.items() if one.mode is Mode.ASK]
    return [name for name in asks if asking(shop, name).count]


def release_all(shop: Shop, channel: str) -> Released:
    """Release every order of a channel that waits for the owner's word, and nothing else."""
    shop.must_be_writable()
    found = asking(shop, channel)
    rows = store.asking(shop.db, channel, Gate.MODE)
    if not rows:
        raise Refused(
            detail="no order of {channel} waits for your word",
            channel=channel,
            mend="kmtool status",
        )
    for row in rows:
        release(shop, f"{channel}:{row['number']}")
    return Released(
        channel, tuple(row["number"] for row in rows), found.amount_minor, found.currency
    )
