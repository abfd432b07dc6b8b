"""What it means that buyers have their keys: lines and keys delivered, their cost in the ledger.

Cost and amount of a key are fixed here, once: the cost of a line's keys of one batch is rounded
together and split over them without losing anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kmtool.domain.ids import LineId
from kmtool.domain.money import e5_to_minor, split
from kmtool.domain.states import AllocationState, KeyState, LineState
from kmtool.operations.refunds import CHANGED
from kmtool.shop import Shop
from kmtool.store import deliveries, ledger, line_moves, orders
from kmtool.store.db import Row, all_moved

UNDER_WAY = (LineState.SENDING, LineState.UNKNOWN, LineState.HUMAN)


def deliver_lines(
    shop: Shop,
    found: Sequence[tuple[Row, Row]],
    bound: Mapping[int, Sequence[Row]],
    part: str = "",
) -> None:
    """Set lines (order, line) and their keys to delivered and book their cost, once.

    `bound` holds the live allocations by line; `part` tells bookings of one line apart. Raises
    `Moved` when one was no longer as it was read.
    """
    db, now = shop.db, shop.now_ms()
    lines = list({line["id"]: line for _, line in found}.values())
    for source in UNDER_WAY:
        ids = [line["id"] for line in lines if line["state"] == source]
        moved = line_moves.move_lines(
            db, ids, source, LineState.DELIVERED, now, stamp="acknowledged_ms"
        )
        all_moved(moved, len(ids))
    others = [LineId(line["id"]) for line in lines if line["state"] not in UNDER_WAY]
    deliveries.stamp_sent(db, others, "acknowledged_ms", now)
    for line in lines:
        if line["reason"].startswith(CHANGED):
            orders.move_line(
                db,
                LineId(line["id"]),
                LineState.DELIVERED,
                LineState.HUMAN,
                now,
                reason=line["reason"],
            )
    keys = [key for line in lines for key in bound.get(line["id"], ())]
    exposed = [key["key_id"] for key in keys if key["key_state"] == KeyState.EXPOSED]
    deliveries.deliver_keys(db, exposed, now)
    book(shop, found, bound, part)


def book(
    shop: Shop,
    found: Sequence[tuple[Row, Row]],
    bound: Mapping[int, Sequence[Row]],
    part: str = "",
) -> None:
    """Fix the cost of keys that reached their buyers and post it, per line and batch.

    A key whose cost was booked when it ended (a refund that its supplier bears) is not booked again
    when the proof of its delivery comes late.
    """
    db, now = shop.db, shop.now_ms()
    groups: list[tuple[Row, Row, list[Row]]] = []
    by_amount: dict[int, list[int]] = {}
    for order, line in found:
        by_batch: dict[int, list[Row]] = {}
        for key in bound.get(line["id"], ()):
            if key["state"] != AllocationState.EXPOSED:
                continue
            if key["amount_minor"] is not None:
                by_amount.setdefault(key["amount_minor"], []).append(key["id"])
            else:
                by_batch.setdefault(key["batch_id"], []).append(key)
        groups += [(order, line, rows) for rows in by_batch.values()]
    batches = deliveries.batches(db, [rows[0]["batch_id"] for _, _, rows in groups])
    entries = []
    for order, line, rows in groups:
        first, batch = rows[0], batches[rows[0]["batch_id"]]
        costs = [row["cost_e5"] for row in rows]  # uses of shared keys differ by a cent
        amount = e5_to_minor(sum(costs), first["currency"])
        for row, each in zip(rows, split(amount, costs), strict=True):
            by_amount.setdefault(each, []).append(row["id"])
        bought = first["mode"] == "buyout"
        credit = "asset:stock" if bought else f"payable:supplier:{batch['supplier']}"
        entries.append(
            ledger.Entry(
                "delivered",
                f"{order['channel']}:{order['number']}:{line['line_no']}:{batch['number']}{part}",
                f"{len(rows)} keys of {batch['number']}",
                [("cost:keys", batch["currency"], amount), (credit, batch["currency"], -amount)],
            )
        )
    for each, ids in by_amount.items():
        all_moved(deliveries.deliver_allocations(db, ids, each, now), len(ids))
    ledger.post_many(db, now, entries)
