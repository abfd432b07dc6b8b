"""What it means that buyers have their keys: lines and keys delivered, their cost in the ledger.

Cost and amount of a key are fixed here, once: the cost of a line's keys of one batch is rounded
together and split over them without losing anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kmtool.domain.ids import LineId
from kmtool.domain.money import e5_to_minor, split
from kmtool.domain.settlement import account
from kmtool.domain.states import AllocationState, KeyState, LineState
from kmtool.operations.refunds import LOOK_AT
from kmtool.shop import Shop
from kmtool.store import deliveries, ledger, line_moves, orders, refunds
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
    by_state: dict[tuple[str, bool], list[int]] = {}
    lacking = _lacking(shop, lines)
    for line in lines:
        if line["id"] in lacking and line["state"] != LineState.HUMAN:
            orders.move_line(
                db, LineId(line["id"]), LineState(line["state"]), LineState.HUMAN, now,
                gate=line["gate"], reason=line["reason"],
            )  # fmt: skip
    for line in lines:
        if line["state"] in UNDER_WAY and line["id"] not in lacking:
            by_state.setdefault((line["state"], not line["reason"]), []).append(line["id"])
    for (source, silent), ids in by_state.items():
        moved = line_moves.move_lines(
            db,
            ids,
            LineState(source),
            LineState.DELIVERED,
            now,
            stamp="acknowledged_ms",
            silent=silent,
        )
        all_moved(moved, len(ids))
    others = [LineId(line["id"]) for line in lines if line["state"] not in UNDER_WAY]
    deliveries.stamp_sent(db, others, "acknowledged_ms", now)
    for line in lines:
        if line["reason"].startswith(LOOK_AT):
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


def _lacking(shop: Shop, lines: Sequence[Row]) -> set[int]:
    """Return the lines that wait for another key: old ones sent again do not make them whole."""
    mine = [line["id"] for line in lines if line["state"] in (LineState.HUMAN, LineState.UNKNOWN)]
    return {line_id for line_id in mine if refunds.wanted(shop.db, line_id)}


def book(
    shop: Shop,
    found: Sequence[tuple[Row, Row]],
    bound: Mapping[int, Sequence[Row]],
    part: str = "",
) -> None:
    """Fix the cost of keys that reached their buyers and post it: an entry per order and batch.

    What each line cost stands at its allocations; the entry is their sum. A key whose cost was
    booked when it ended (a refund that its supplier bears) is not booked again when the proof of
    its delivery comes late.
    """
    by_amount: dict[int, list[int]] = {}
    sums: dict[tuple[int, int, str], _Sum] = {}
    for order, line in found:
        by_batch: dict[int, list[Row]] = {}
        for key in bound.get(line["id"], ()):
            if key["state"] != AllocationState.EXPOSED:
                continue
            if key["amount_minor"] is not None:
                by_amount.setdefault(key["amount_minor"], []).append(key["id"])
            else:
                by_batch.setdefault(key["batch_id"], []).append(key)
        for batch_id, rows in by_batch.items():
            first = rows[0]
            costs = [row["cost_e5"] for row in rows]  # uses of shared keys differ by a cent
            amount = e5_to_minor(sum(costs), first["currency"])
            if len(rows) == 1:
                by_amount.setdefault(amount, []).append(first["id"])
            else:
                for row, each in zip(rows, split(amount, costs), strict=True):
                    by_amount.setdefault(each, []).append(row["id"])
            name = (order["id"], batch_id, first["mode"])
            if name not in sums:
                sums[name] = _Sum(order, line["line_no"])
            sums[name].add(len(rows), amount)
    for each, ids in by_amount.items():
        moved = deliveries.deliver_allocations(shop.db, ids, each, shop.now_ms())
        all_moved(moved, len(ids))
    _post(shop, sums, part)


@dataclass(slots=True)
class _Sum:
    """What the keys of one batch cost that an order got at once; the first of its lines."""

    order: Row
    line_no: str
    lines: int = 0
    keys: int = 0
    amount_minor: int = 0

    def add(self, keys: int, amount_minor: int) -> None:
        self.lines += 1
        self.keys += keys
        self.amount_minor += amount_minor

    def ref(self, batch: str, part: str) -> str:
        """Return the name of its booking: a line is booked once for each batch and part."""
        more = f"+{self.lines - 1}" if self.lines > 1 else ""
        return f"{self.order['channel']}:{self.order['number']}:{self.line_no}{more}:{batch}{part}"


def _post(shop: Shop, sums: Mapping[tuple[int, int, str], _Sum], part: str) -> None:
    batches = deliveries.batches(shop.db, [batch for _, batch, _ in sums])
    entries = []
    for (_, batch_id, mode), one in sums.items():
        batch, amount = batches[batch_id], one.amount_minor
        bought = mode == "buyout"
        credit = "asset:stock" if bought else account(batch["supplier"])
        entries.append(
            ledger.Entry(
                "delivered",
                one.ref(batch["number"], part),
                f"{one.keys} keys of {batch['number']}",
                [("cost:keys", batch["currency"], amount), (credit, batch["currency"], -amount)],
            )
        )
    ledger.post_many(shop.db, shop.now_ms(), entries)
