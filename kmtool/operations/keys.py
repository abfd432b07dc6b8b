"""Keys and batches that are here: list, find, show, undo a batch, free stock per product.

A key is found by its exact text (by fingerprint: nothing is opened) or by its last characters.
Opening one wants a reason and is on record before the text leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kmtool.clock import NEVER_MS
from kmtool.domain.ids import KeyId
from kmtool.domain.money import e5_to_minor
from kmtool.domain.secret import Secret, tail_of
from kmtool.domain.settlement import account
from kmtool.domain.states import KeyState, is_unlimited
from kmtool.errors import NotFound, Refused, StateMoved, UsageError, told
from kmtool.shop import Shop
from kmtool.store import keys as store
from kmtool.store import ledger
from kmtool.store import products as product_store
from kmtool.store.db import Row

STAYING_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as it came in, and what its keys are doing now."""

    number: str
    sku: str
    supplier: str
    mode: str
    kind: str
    state: str
    cost_e5: int
    currency: str
    file: str
    rows: int
    accepted: int
    duplicates: int
    rejected: int
    removed: int
    expires_ms: int | None
    imported_ms: int
    keys: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Batches:
    """Batches, newest first; `more` says that there are others."""

    batches: tuple[Batch, ...]
    more: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its text: its ending, its state, where it came from."""

    id: KeyId
    key: str
    sku: str
    state: str
    batch: str
    line_no: int
    supplier: str
    file: str
    cost_e5: int
    currency: str
    expires_ms: int | None
    state_ms: int


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys and how many there are in all."""

    keys: tuple[Key, ...]
    total: int


@dataclass(frozen=True, slots=True)
class GivenTo:
    """An order line a key was given to."""

    channel: str
    order: str
    line: str
    state: str
    reserved_ms: int
    exposed_ms: int | None
    delivered_ms: int | None


@dataclass(frozen=True, slots=True)
class KeyPage:
    """A key with the order lines it was given to, oldest first."""

    key: Key
    lines: tuple[GivenTo, ...]


@dataclass(frozen=True, slots=True)
class Undoable:
    """How many keys of a batch an undo would take out, and what they cost."""

    batch: str
    removable: int
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Undone:
    """What an undo took out and what had to stay (state → how many; the first of them by name)."""

    batch: str
    removed: int
    stay: Mapping[str, int]
    staying: tuple[Key, ...]
    state: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class StockRow:
    """The free counter, `held` of it for orders; `keys` (by state), first expiry for one only."""

    sku: str
    title: str
    free: int | None
    low: bool
    held: int = 0
    keys: Mapping[str, int] | None = None
    first_expiry_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Stock:
    """Free stock per product."""

    products: tuple[StockRow, ...]


def batches(shop: Shop, limit: int | None, sku: str = "", supplier: str = "") -> Batches:
    """Return batches, newest first."""
    most = limit or 10**9
    rows = store.batches(shop.db, most + 1, sku, supplier)
    return Batches(tuple(_batch(shop, row) for row in rows[:most]), more=len(rows) > most)


def batch(shop: Shop, number: str) -> Batch:
    """Return one batch; raises `NotFound`."""
    return _batch(shop, _batch_row(shop, number))


def undoable(shop: Shop, number: str) -> Undoable:
    """Return what an undo would take out now; raises `NotFound`."""
    row = _batch_row(shop, number)
    removable = sum(store.untouched(shop.db, row["id"], _untouched_state(row)).values())
    return Undoable(number, removable, _worth(row, removable), row["currency"])


def undo(shop: Shop, number: str) -> Undone:
    """Take out the keys of a batch that were never given to anybody; the others stay and are named.

    What was bought is booked back by the same amount. Raises `NotFound`, `Refused` when nothing can
    be taken out, `StateMoved` when a key was taken meanwhile.
    """
    shop.must_be_writable()
    db = shop.db
    with db.tx():
        row = _batch_row(shop, number)
        if row["state"] != "accepted":
            raise Refused(
                detail="batch {number} is undone already",
                number=number,
                mend="kmtool key batch list",
            )
        state = _untouched_state(row)
        store.lock_stock_of_batch(db, row["id"])
        removed = sum(store.untouched(db, row["id"], state).values())
        uses = store.untouched_uses(db, row["id"], state)
        if not removed:
            raise Refused(
                detail="no key of batch {number} can be taken out: all were given to buyers",
                number=number,
                mend="kmtool key batch show {batch}",
                batch=number,
            )
        if store.remove_untouched(db, row["id"], state) != removed:
            raise StateMoved(
                what=told("batch {number}", number=number), state="being delivered from"
            )
        stay = store.batch_states(db, row["id"])
        after = "accepted" if stay else "undone"
        if not store.note_removed(db, row["id"], removed, after):
            raise StateMoved(what=told("batch {number}", number=number), state="undone")
        if row["kind"] == "stock":
            for sku, n in uses.items():
                store.add_stock(db, sku, -n)
        amount = _book_back(shop, row, removed)
        shop.audit("key.batch.undo", f"batch:{number}", f"{removed} keys taken out, stay: {stay}")
        staying = store.keys(db, STAYING_SHOWN, batch_id=row["id"]) if stay else []
    return Undone(
        batch=number,
        removed=removed,
        stay=stay,
        staying=tuple(_key(found) for found in staying),
        state=after,
        amount_minor=amount,
        currency=row["currency"],
    )


def stock(shop: Shop, sku: str = "") -> Stock:
    """Return the free counters; for one SKU also its keys by state and the first expiry."""
    if sku and product_store.product(shop.db, sku) is None:
        raise NotFound(kind="product", name=sku)
    limit = shop.config.alerts.low_stock
    rows = []
    for row in store.stock(shop.db, sku):
        low = limit if row["low_stock"] is None else row["low_stock"]
        rows.append(
            StockRow(
                sku=row["sku"],
                title=row["title"],
                free=None if is_unlimited(row["kind"]) else row["free"],
                held=row["held"],
                low=row["kind"] == "key" and row["free"] <= low,
                keys=store.stock_states(shop.db, sku) if sku else None,
                first_expiry_ms=_moment(store.first_expiry(shop.db, sku)) if sku else None,
            )
        )
    return Stock(tuple(rows))


def find_exact(shop: Shop, secret: Secret) -> KeyPage:
    """Return the key with exactly this text; raises `NotFound`, naming only its ending."""
    row = store.find_by_fingerprint(shop.db, shop.vault.fingerprint(secret.reveal()))
    if row is None:
        raise NotFound(
            kind="key",
            name=str(secret),
            mend="look for spaces around it, or: kmtool key find --tail {tail}",
            tail=secret.tail(),
        )
    return _page(shop, row)


def find_tail(shop: Shop, tail: str, limit: int | None) -> Keys:
    """Return keys by their shown ending (four characters, two of a short key)."""
    shown = {tail, tail_of(tail), tail[-4:], tail[-2:]} - {""}
    if not shown:
        raise UsageError(detail="a tail is what is shown of a key, such as 7QX2")
    rows = [
        row
        for ending in sorted(shown, key=len, reverse=True)
        for row in store.find_by_tail(shop.db, ending, limit or 10**9)
    ]
    return Keys(tuple(_key(row) for row in rows), total=len(rows))


def every(shop: Shop, limit: int | None, sku: str = "", state: str = "") -> Keys:
    """Return keys by batch and row."""
    if state and state not in set(KeyState):
        raise UsageError(
            detail="there is no state {state}",
            state=state,
            mend="one of: {keystate}",
            keystate=", ".join(KeyState),
        )
    rows = store.keys(shop.db, limit or 10**9, sku=sku, state=state)
    total = store.count_keys(shop.db, sku=sku, state=state)
    return Keys(tuple(_key(row) for row in rows), total=total)


def show(shop: Shop, key_id: int) -> KeyPage:
    """Return one key and where it went; raises `NotFound`."""
    row = store.key(shop.db, key_id)
    if row is None:
        raise NotFound(kind="key", name=key_id)
    return _page(shop, row)


def reveal(shop: Shop, key_id: int, reason: str) -> Secret:
    """Open a key. The audit row is on the disk before the text is returned; it wants a reason."""
    shop.must_be_writable()
    if not reason.strip():
        raise UsageError(detail="opening a key wants a reason", mend="--reason 'buyer asks again'")
    row = store.sealed(shop.db, key_id)
    if row is None:
        raise NotFound(kind="key", name=key_id)
    opened = shop.vault.open(row["sealed"], row["data_key_id"], bytes(row["fingerprint"]))
    with shop.db.tx():
        shop.audit("key.reveal", f"key:{key_id}", reason.strip()[:200])
    return opened


def _untouched_state(row: Row) -> KeyState:
    """History came in as delivered; stock that nobody touched is free."""
    return KeyState.DELIVERED if row["kind"] == "history" else KeyState.FREE


def _worth(row: Row, removed: int) -> int:
    """What `removed` keys cost: a difference of rounded totals, so that many undos sum exactly."""
    before = row["accepted"] - row["removed"]
    whole, rest = before * row["cost_e5"], (before - removed) * row["cost_e5"]
    return e5_to_minor(whole, row["currency"]) - e5_to_minor(rest, row["currency"])


def _book_back(shop: Shop, row: Row, removed: int) -> int:
    """Reverse what the batch booked, as far as its keys are taken out."""
    amount = _worth(row, removed)
    if row["mode"] != "buyout" or row["kind"] != "stock" or not amount:
        return 0
    ledger.post(
        shop.db,
        shop.now_ms(),
        "batch_undone",
        f"{row['number']}/{row['removed'] + removed}",
        f"{removed} × {row['sku']}",
        [
            (account(row["supplier"]), row["currency"], amount),
            ("asset:stock", row["currency"], -amount),
        ],
    )
    return amount


def _batch_row(shop: Shop, number: str) -> Row:
    row = store.batch(shop.db, number)
    if row is None:
        raise NotFound(kind="batch", name=number, mend="kmtool key batch list")
    return row


def _page(shop: Shop, row: Row) -> KeyPage:
    lines = tuple(
        GivenTo(
            channel=found["channel"],
            order=found["number"],
            line=found["line_no"],
            state=found["state"],
            reserved_ms=found["reserved_ms"],
            exposed_ms=found["exposed_ms"],
            delivered_ms=found["delivered_ms"],
        )
        for found in store.lines_of_key(shop.db, row["id"])
    )
    return KeyPage(_key(row), lines)


def _key(row: Row) -> Key:
    return Key(
        id=row["id"],
        key=f"…{row['tail']}",
        sku=row["sku"],
        state=row["state"],
        batch=row["batch"],
        line_no=row["line_no"],
        supplier=row["supplier"],
        file=row["file_name"],
        cost_e5=row["cost_e5"],
        currency=row["currency"],
        expires_ms=_moment(row["expires_ms"]),
        state_ms=row["state_ms"],
    )


def _batch(shop: Shop, row: Row) -> Batch:
    return Batch(
        number=row["number"],
        sku=row["sku"],
        supplier=row["supplier"],
        mode=row["mode"],
        kind=row["kind"],
        state=row["state"],
        cost_e5=row["cost_e5"],
        currency=row["currency"],
        file=row["file_name"],
        rows=row["rows"],
        accepted=row["accepted"],
        duplicates=row["duplicates"],
        rejected=row["rejected"],
        removed=row["removed"],
        expires_ms=_moment(row["expires_ms"]),
        imported_ms=row["imported_ms"],
        keys=store.batch_states(shop.db, row["id"]),
    )


def _moment(at_ms: int | None) -> int | None:
    """NEVER stands in columns that must sort last; people see nothing there."""
    return None if at_ms == NEVER_MS else at_ms
