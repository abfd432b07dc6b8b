"""What a supplier may be charged for keys that were bad or refunded, and what the shop bears.

A key on consignment is taken back on the supplier's next sheet unless the debit is dropped; a key
that was bought is taken back only when the supplier agreed (`accept`): a batch is paid whole. Until
it stands on a sheet a debit is a wish; nothing is booked for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kmtool.domain.money import e5_to_minor, split
from kmtool.domain.settlement import OWN, account
from kmtool.domain.states import AllocationState
from kmtool.errors import NotFound, Refused
from kmtool.operations.refund_records import Debit
from kmtool.shop import Shop
from kmtool.store import ledger, suppliers
from kmtool.store import refunds as store
from kmtool.store.db import Row

BUYOUT = "buyout"
BAD = ("void", "defective")
"""Keys that ended; one that serves several buyers goes on when a use of it was lost."""


@dataclass(frozen=True, slots=True)
class Charge:
    """Why a supplier may be charged, what is asked of it, and how far that is."""

    cause: str
    ask: str
    state: str
    reason: str


def add_debit(shop: Shop, order: Row, allocation: Row, batch: Row, charge: Charge) -> bool:
    """Write down that a supplier may be charged for a key; nothing where nothing is owed for it.

    A key on consignment whose delivery was never proved is not owed in the first place. Keys the
    shop had already have no supplier to be charged: it bears them. Tells whether one is charged.
    """
    is_bought = allocation["mode"] == BUYOUT
    if not is_bought and allocation["delivered_ms"] is None and charge.state != "dropped":
        return False
    amount = amount_of(allocation)
    if is_bought and allocation["amount_minor"] is None:
        store.set_amount(shop.db, allocation["id"], amount)
        ledger.post(
            shop.db,
            shop.now_ms(),
            "key_lost",
            f"allocation:{allocation['id']}",
            f"a key of {batch['number']} ended before its delivery was proved",
            [
                ("cost:keys", allocation["currency"], amount),
                ("asset:stock", allocation["currency"], -amount),
            ],
        )
    if batch["supplier"] == OWN:
        return False
    store.add_debit(
        shop.db,
        {
            "supplier": batch["supplier"],
            "allocation_id": allocation["id"],
            "order_id": order["id"],
            "cause": charge.cause,
            "ask": charge.ask,
            "state": charge.state,
            "amount_minor": amount,
            "currency": allocation["currency"],
            "reason": charge.reason.strip()[:300],
            "actor": shop.actor,
            "at_ms": shop.now_ms(),
        },
    )
    return charge.state != "dropped"


def amount_of(allocation: Row) -> int:
    """Return what a key cost: the integer fixed at its delivery, else its unit cost, rounded."""
    fixed = allocation["amount_minor"]
    if fixed is not None:
        return int(fixed)
    return e5_to_minor(allocation["cost_e5"], allocation["currency"])


def counts_as_delivered(
    shop: Shop, order: Row, line: Row, seen: Sequence[Row], batches: Mapping[int, Row]
) -> None:
    """The shop bears keys whose outcome stayed unclear: they count as delivered and are owed."""
    groups: dict[int, list[Row]] = {}
    for row in seen:
        if row["state"] == AllocationState.EXPOSED:
            groups.setdefault(row["batch_id"], []).append(row)
    for batch_id, rows in groups.items():
        currency, batch = rows[0]["currency"], batches[batch_id]
        costs = [row["cost_e5"] for row in rows]
        amount = e5_to_minor(sum(costs), currency)
        for row, part in zip(rows, split(amount, costs), strict=True):
            store.count_delivered(shop.db, row["id"], part, shop.now_ms())
            row["amount_minor"], row["delivered_ms"] = part, shop.now_ms()
        bought = rows[0]["mode"] == BUYOUT
        credit = "asset:stock" if bought else account(batch["supplier"])
        ledger.post(
            shop.db,
            shop.now_ms(),
            "borne",
            f"{order['channel']}:{order['number']}:{line['line_no']}:{batch['number']}",
            f"{len(rows)} keys of {batch['number']}, outcome unclear",
            [("cost:keys", currency, amount), (credit, currency, -amount)],
        )


def book_loss(shop: Shop, ref: str, currency: str, amount_minor: int) -> None:
    """Show what refunded keys cost the shop in an account of its own."""
    if amount_minor:
        ledger.post(
            shop.db,
            shop.now_ms(),
            "refund_cost",
            ref,
            "keys of a refunded order",
            [("cost:refunds", currency, amount_minor), ("cost:keys", currency, -amount_minor)],
        )


def book_own_loss(shop: Shop, allocation: Row) -> None:
    """Show what a bad key cost the shop that had it already: there is nobody to be charged."""
    if allocation["mode"] == BUYOUT or allocation["delivered_ms"] is not None:
        ref = f"allocation:{allocation['id']}"
        book_loss(shop, ref, allocation["currency"], amount_of(allocation))


def shown(row: Row) -> Debit:
    """Return a debit as people see it."""
    return Debit(
        id=row["id"],
        supplier=row["supplier"],
        key=f"…{row['tail']}",
        batch=row["batch"],
        mode=row["mode"],
        order=f"{row['channel']}:{row['number']}",
        cause=row["cause"],
        ask=row["ask"],
        state=row["state"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        reason=row["reason"],
        at_ms=row["at_ms"],
    )


def listing(shop: Shop, supplier: str, limit: int = 1_000_000) -> tuple[Debit, ...]:
    """Return what a supplier may be charged and is on no sheet yet. Raises `NotFound`."""
    if suppliers.supplier(shop.db, supplier) is None:
        raise NotFound(kind="supplier", name=supplier)
    return tuple(shown(row) for row in store.debits(shop.db, supplier, limit))


def accept(shop: Shop, supplier: str, debit_id: int) -> Debit:
    """The supplier agreed: the debit goes on the next sheet. Raises `NotFound`, `Refused`."""
    return _move(shop, supplier, debit_id, ("open",), "accepted")


def drop(shop: Shop, supplier: str, debit_id: int) -> Debit:
    """The shop bears it after all, before a sheet took it. Raises `NotFound`, `Refused`."""
    return _move(shop, supplier, debit_id, ("open", "accepted"), "dropped")


def _move(shop: Shop, supplier: str, debit_id: int, sources: tuple[str, ...], target: str) -> Debit:
    shop.must_be_writable()
    with shop.db.tx():
        row = store.debit(shop.db, debit_id)
        if row is None or row["supplier"] != supplier:
            raise NotFound(kind="debit", name=debit_id, mend="kmtool settle adjust SUPPLIER")
        moved = row["sheet"] is None and store.move_debit(
            shop.db, debit_id, sources, target, shop.actor, shop.now_ms()
        )
        if not moved:
            raise Refused(
                detail="debit {number} is {state} already",
                number=debit_id,
                state=row["sheet"] or row["state"],
                mend="kmtool settle adjust {supplier}",
                supplier=supplier,
            )
        if target == "dropped" and (row["key_state"] in BAD or not row["exclusive"]):
            book_loss(shop, f"debit:{debit_id}", row["currency"], row["amount_minor"])
        shop.audit("debit_" + target, f"supplier:{supplier}", f"debit {debit_id}")
        row = store.debit(shop.db, debit_id)
        assert row is not None
        return shown(row)
