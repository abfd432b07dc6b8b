"""Another key for one that was bad: bound to the same line, and sent like the first.

The bad key becomes `defective`, its bond `replaced`, its supplier may be charged for it. The new
key is taken from stock in the same transaction; without stock the line waits and says so, and the
next delivery that finds stock goes on. Nothing is replaced while a refund is open, nor with the
same text again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kmtool.domain.ids import LineId, OrderId
from kmtool.domain.settlement import OWN
from kmtool.domain.states import (
    AllocationState,
    EffectKind,
    EffectState,
    Gate,
    LineState,
    Mode,
)
from kmtool.errors import KmError, Locked, NeedsAnswer, NotSetUp, Refused, StateMoved, marked, told
from kmtool.operations.debits import Charge, add_debit, amount_of, book_own_loss
from kmtool.operations.find_order import named
from kmtool.operations.pack_replacement import bind_and_pack, shut_out
from kmtool.operations.refunds import CHANGED, STILL, all_delivered, refund_blocks
from kmtool.operations.take import available, take
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, orders, seen_keys
from kmtool.store import refunds as store
from kmtool.store.db import Row

DAY_MS = 86_400_000
WINDOW_MS = 30 * DAY_MS
LINES_MAX = 500


@dataclass(frozen=True, slots=True)
class ReplaceWish:
    """What is to be replaced: the key with that ending, or all keys of the line."""

    reason: str
    line: str = ""
    key: str = ""
    all_keys: bool = False


@dataclass(frozen=True, slots=True)
class ReplacePlan:
    """What a replacement would do, to be asked about: `often` is past the shop's limit."""

    channel: str
    number: str
    line: str
    keys: tuple[str, ...]
    free: int
    cost_minor: int
    currency: str
    so_far: int
    limit: int
    often: bool


@dataclass(frozen=True, slots=True)
class Replaced:
    """What was replaced by what; `waiting` keys wait for stock."""

    channel: str
    number: str
    line: str
    bad_keys: tuple[str, ...]
    new_keys: tuple[str, ...]
    waiting: int
    debits: int


def plan(shop: Shop, number: str, wish: ReplaceWish) -> ReplacePlan:
    """Return what `replace` would do. Raises as it does, but for the limit."""
    order = named(shop, number)
    line, chosen = _chosen(shop, order, wish)
    so_far, limit = _count(shop, order), shop.config.brakes.replacements
    wanted = len(chosen) or len(store.wanted(shop.db, line["id"]))
    skus = [row["sku"] for row in chosen] or [line["sku"]]
    return ReplacePlan(
        channel=order["channel"],
        number=order["number"],
        line=line["line_no"],
        keys=tuple(f"…{row['tail']}" for row in chosen),
        free=min(available(shop, skus).get(sku, 0) for sku in skus),
        cost_minor=sum(amount_of(row) for row in chosen),
        currency=order["currency"],
        so_far=so_far,
        limit=limit,
        often=bool(chosen) and limit > 0 and so_far + wanted > limit,
    )


def replace(shop: Shop, number: str, wish: ReplaceWish, *, sure: bool = False) -> Replaced:
    """Replace keys of a line; the next delivery sends the new ones.

    Called again for a line that waits for stock it goes on with that. Raises `NotFound`, `Refused`,
    `StateMoved` while something is on its way, `NeedsAnswer` past the limit of replacements.
    """
    shop.must_be_writable()
    found = named(shop, number)
    db, order_id = shop.db, OrderId(found["id"])
    with db.tx():
        order = orders.get(db, order_id, lock=True)
        line, chosen = _chosen(shop, order, wish)
        chosen = _without_surplus(shop, line, chosen)
        deliveries.lock_stock(db, [order_id])
        planned = _count(shop, order) + len(chosen)
        if chosen and 0 < shop.config.brakes.replacements < planned and not sure:
            raise NeedsAnswer(
                question=told(
                    "{n} keys replaced for this buyer within 30 days, the limit is {limit}",
                    n=planned,
                    limit=shop.config.brakes.replacements,
                ),
                flag="--yes",
            )
        charged = sum(_end(shop, order, line, row, wish.reason) for row in chosen)
        if chosen:
            _open_line(shop, order_id, line)
        new = fill(shop, order, line)
        waiting = store.wanted(db, line["id"])
        tails = ", ".join(f"…{row['tail']}" for row in chosen)
        shop.audit(
            "replace", _name(order), f"{tails} → {', '.join(new) or '-'}: {wish.reason}"[:300]
        )
    return Replaced(
        channel=order["channel"],
        number=order["number"],
        line=line["line_no"],
        bad_keys=tuple(f"…{row['tail']}" for row in chosen),
        new_keys=tuple(new),
        waiting=len(waiting),
        debits=charged,
    )


def fill_waiting(shop: Shop, only: Sequence[int] = ()) -> int:
    """Bind keys to replacements that wait for stock; return how many lines go on.

    One transaction per line; one that cannot be packed stays as it is, with the reason, and keeps
    nobody else waiting, nor do many that wait for a product that is sold out.
    """
    count, after = 0, 0
    while rows := store.wanted_lines(shop.db, LINES_MAX, only, after):
        after = rows[-1]["first"]
        free = available(shop, sorted({row["sku"] for row in rows}))
        count += _fill_some(shop, [row for row in rows if free.get(row["sku"], 0) > 0])
    return count


def _fill_some(shop: Shop, rows: Sequence[Row]) -> int:
    count = 0
    for row in rows:
        order_id, line_id = OrderId(row["order_id"]), LineId(row["line_id"])
        try:
            with shop.db.tx():
                count += _fill_one(shop, order_id, line_id)
        except (Locked, NotSetUp):
            raise
        except KmError as error:
            _wait_for_route(shop, line_id, error)
    return count


def _fill_one(shop: Shop, order_id: OrderId, line_id: LineId) -> bool:
    order = orders.get(shop.db, order_id, lock=True)
    line = next(x for x in orders.lines(shop.db, order_id) if x["id"] == line_id)
    sent = seen_keys.seen_of_order(shop.db, order["channel"], order["number"])
    stopped = order["hold_reason"] or any(one["line_no"] == line["line_no"] for one in sent)
    stopped = stopped or line["reason"].startswith(CHANGED) or refund_blocks(order)
    if stopped or line["state"] != LineState.HUMAN:
        return False
    if shut := shut_out(shop, order, line):  # what is packed would be taken back
        _wait(shop, line_id, *shut)
        return False
    deliveries.lock_stock(shop.db, [order_id])
    return bool(fill(shop, order, line))


def fill(shop: Shop, order: Row, line: Row) -> list[str]:
    """Bind a key to each replacement of a line that waits, all or none; return their endings."""
    db, now, line_id = shop.db, shop.now_ms(), LineId(line["id"])
    wanted = store.wanted(db, line["id"])
    if not wanted:
        return []
    pieces = [
        {"id": row["id"], "order_id": order["id"], "sku": row["sku"], "kind": "key", "needed": 1}
        for row in wanted
    ]
    found = take(shop, pieces, {})
    if found is None:
        _wait_for_stock(shop, line_id, wanted)
        return []
    taken = [found[row["id"]][0] for row in wanted]
    bind_and_pack(shop, order, line, list(zip(wanted, taken, strict=True)))
    orders.move_line(db, line_id, LineState.HUMAN, LineState.RESERVED, now)
    return [f"…{key['tail']}" for key in taken]


def _wait_for_route(shop: Shop, line_id: LineId, error: KmError) -> None:
    """Say why no route carries the replacement of a line; it is looked at again with the next
    delivery."""
    why = told("{problem}. {next_step}", problem=error, next_step=error.next_step())
    with shop.db.tx():
        _wait(shop, line_id, Gate.ROUTE, why)


def _wait_for_stock(shop: Shop, line_id: LineId, wanted: Sequence[Row]) -> None:
    skus = sorted({row["sku"] for row in wanted})
    free = available(shop, skus)
    short = next((sku for sku in skus if free.get(sku, 0) < len(wanted)), skus[0])
    left = free.get(short, 0)
    why = told(
        "{n} keys to be replaced, {free} of {sku} in stock", n=len(wanted), free=left, sku=short
    )
    _wait(shop, line_id, Gate.STOCK, why)


def _wait(shop: Shop, line_id: LineId, gate: Gate, why: str) -> None:
    human = LineState.HUMAN
    orders.move_line(shop.db, line_id, human, human, shop.now_ms(), gate=gate, reason=why)


def _chosen(shop: Shop, order: Row, wish: ReplaceWish) -> tuple[Row, list[Row]]:
    """Return the line and the keys to be replaced; none when the line only waits for stock."""
    number = order["number"]
    if refund_blocks(order):
        raise Refused(
            detail="order {number} has a refund or is closed; nothing is sent",
            number=number,
            mend="kmtool order refund {number}",
        )
    channel = shop.config.channels.get(order["channel"])
    if channel is not None and channel.mode is Mode.WATCH:
        raise Refused(
            detail="{channel} is on watch: kmtool sends nothing there",
            channel=order["channel"],
            mend="kmtool channel set {channel} --mode ask",
        )
    lines = [row for row in orders.lines(shop.db, OrderId(order["id"])) if _may(shop, row)]
    if wish.line:
        lines = [row for row in lines if row["line_no"] == wish.line]
    if not lines:
        raise Refused(
            detail="order {number} has no key that the buyer has and that could be replaced",
            number=number,
            mend="kmtool order show {number}",
        )
    if len(lines) > 1 and wish.key:
        lines = [row for row in lines if _with_tail(_bound(shop, row), wish.key)] or lines
    if len(lines) > 1:
        raise Refused(
            detail="order {number} has several lines with keys: {lines}",
            number=number,
            lines=", ".join(row["line_no"] for row in lines),
            mend="kmtool order replace {number} --line N",
        )
    _must_stand_still(shop, order)
    if lines[0]["reason"].startswith(CHANGED) and all_delivered(shop, lines[0]):
        raise Refused(
            detail="line {line} was changed at the channel: answer that first",
            line=lines[0]["line_no"],
            number=number,
            mend="kmtool order release {number}",
        )
    return lines[0], _keys(shop, order, lines[0], wish)


def _keys(shop: Shop, order: Row, line: Row, wish: ReplaceWish) -> list[Row]:
    bound = _bound(shop, line)
    waiting = store.wanted(shop.db, line["id"])
    if waiting and not wish.key and not wish.all_keys:
        return []
    found = _with_tail(bound, wish.key) if wish.key else bound
    if not found or (len(found) > 1 and not wish.all_keys):
        raise Refused(
            detail="which key? {keys}",
            keys=", ".join(f"…{row['tail']}" for row in bound),
            where=f"order {order['number']}, line {line['line_no']}",
            mend="--key with its last characters, or --all",
        )
    if len(found) < len(bound) and not all_delivered(shop, line) and not waiting:
        raise Refused(
            detail="it is not proved that the keys of this line arrived",
            where=f"order {order['number']}, line {line['line_no']}",
            mend="kmtool order redeliver {number}, or replace --all",
            number=order["number"],
        )
    return found


def _without_surplus(shop: Shop, line: Row, chosen: list[Row]) -> list[Row]:
    """Leave out keys that others were sent in place of before a restore: the buyer paid once."""
    extra = len(chosen) - line["needed"] if line["kind"] == "key" and line["needed"] else 0
    by_age = sorted(chosen, key=lambda row: int(row["id"]))
    for row in by_age[: max(0, extra)]:
        seen_keys.replace_bond(shop.db, row["id"], row["key_id"], shop.now_ms())
    return by_age[max(0, extra) :]


def _may(shop: Shop, line: Row) -> bool:
    """A line whose keys the buyer has or may have seen, or that waits for a replacement."""
    if line["state"] not in {LineState.DELIVERED, LineState.HUMAN}:
        return False
    return bool(_bound(shop, line)) or bool(store.wanted(shop.db, line["id"]))


def _bound(shop: Shop, line: Row) -> list[Row]:
    seen = {AllocationState.EXPOSED, AllocationState.DELIVERED}
    return [row for row in deliveries.allocations(shop.db, [line["id"]]) if row["state"] in seen]


def _with_tail(bound: Sequence[Row], tail: str) -> list[Row]:
    plain = tail.lstrip("….")
    return [row for row in bound if plain and row["tail"].endswith(plain[-4:])]


def _must_stand_still(shop: Shop, order: Row) -> None:
    for effect in effects.effects_of(shop.db, OrderId(order["id"])):
        if effect["state"] == EffectState.INFLIGHT and effect["parcel_id"] is not None:
            raise StateMoved(
                what=told("order {number}", number=order["number"]), state="on its way"
            )


def _count(shop: Shop, order: Row) -> int:
    return max(store.replaced_of(shop.db, order, shop.now_ms() - WINDOW_MS))


def _end(shop: Shop, order: Row, line: Row, row: Row, reason: str) -> bool:
    """End a bad key and its bond, and write down what its supplier may be charged."""
    db, now = shop.db, shop.now_ms()
    _end_key(shop, row)
    if not store.set_replaced(db, row["id"]):
        raise StateMoved(what=told("key …{tail}", tail=row["tail"]), state="replaced")
    batch = deliveries.batches(db, [row["batch_id"]])[row["batch_id"]]
    charged = False
    if row["exclusive"] or amount_of(row):  # a text costs nothing
        charge = Charge("defective", "credit", "open", reason)
        charged = add_debit(shop, order, row, batch, charge)
        if batch["supplier"] == OWN:
            book_own_loss(shop, row)
    store.add_replacement(
        db,
        {
            "order_id": order["id"],
            "line_id": line["id"],
            "old_allocation_id": row["id"],
            "sku": row["sku"],
            "reason": reason.strip()[:300],
            "actor": shop.actor,
            "at_ms": now,
        },
    )
    return charged


def _end_key(shop: Shop, row: Row) -> None:
    if row["exclusive"]:
        store.end_key(shop.db, row["key_id"], "defective", shop.now_ms())
        return
    if not store.has_other_text(shop.db, row["sku"], row["key_id"], shop.now_ms()):
        raise Refused(
            detail="all buyers of {sku} get the same text: sending it again replaces nothing",
            sku=row["sku"],
            mend="kmtool import FILE --sku {sku} with the new text, then repeat this",
        )
    store.set_aside(shop.db, row["key_id"], row["sku"], shop.now_ms())


def _open_line(shop: Shop, order_id: OrderId, line: Row) -> None:
    """The line lacks a key now; what was to send the old ones is over."""
    db, now, line_id = shop.db, shop.now_ms(), LineId(line["id"])
    if line["state"] == LineState.DELIVERED:
        orders.move_line(db, line_id, LineState.DELIVERED, LineState.HUMAN, now)
    if _bound(shop, line):
        return
    for effect in effects.effects_of(db, order_id):
        if effect["parcel_id"] is None or effect["kind"] not in {
            EffectKind.HAND_OVER,
            EffectKind.REPLACE,
        }:
            continue
        carried = {row["id"] for row in deliveries.parcel_lines(db, effect["parcel_id"])}
        if carried == {line["id"]}:
            effects.move_effect(
                db, effect["id"], STILL, EffectState.CANCELLED, now, reason=marked("replaced")
            )


def _name(order: Row) -> str:
    return f"order:{order['channel']}:{order['number']}"
