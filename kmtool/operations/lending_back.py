"""Reads what a pool did with the keys it was lent: the used get their order, the unused come back.

A used key is a delivered key: it is bound to the platform's order when that is here and waits for
just these keys, else to an order of the pseudo channel `pool-NAME` under the platform's number, so
that allocation, cost, ledger and supplier settlement hold as for any other sale.

An unused key comes back only on proof: an export newer than its lending that names it as unused.
The RELEASE stands in the journal before the key is free here. What an export does not name, or with
a word nobody knows, stays lent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kmtool import sheets
from kmtool.domain.ids import LineId
from kmtool.domain.money import e5_to_minor
from kmtool.domain.states import LineState
from kmtool.errors import Broken, InputRefused, NotFound, Refused, TakenOver, told
from kmtool.operations import pool_forms
from kmtool.operations.lending import COUNT_MAX, entries
from kmtool.operations.pack import open_key
from kmtool.operations.permit import must_be_live
from kmtool.operations.pool_forms import UNUSED, USED, PoolRow
from kmtool.operations.pool_orders import bind
from kmtool.operations.refunds import TWICE
from kmtool.operations.sender import sending
from kmtool.shop import Shop
from kmtool.store import lending as store
from kmtool.store import orders
from kmtool.store.db import Row

FRESH_MS = 24 * 3_600_000
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Seen:
    """What an export says, matched with what was lent. Rows of the store; nothing is changed yet.

    `clashes`: taken back before, but given out there; `strange`: never lent to this pool.
    """

    pool: str
    file: str
    sha256: str
    file_ms: int
    used: tuple[tuple[Row, str], ...]
    unused: tuple[Row, ...]
    known: int
    clashes: tuple[Row, ...]
    unclear: tuple[str, ...]
    strange: tuple[str, ...]
    missing: tuple[Row, ...]

    @property
    def unused_minor(self) -> int:
        """What the unused keys cost."""
        return _cost(self.unused)

    @property
    def currency(self) -> str:
        """The currency of that cost."""
        rows = [*self.unused, *(row for row, _ in self.used)]
        return str(rows[0]["currency"]) if rows else "CNY"


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What reading an export of a pool did, in keys; lists name at most twenty.

    `still_lent` counts what stays lent: unused ones that were not taken back, and `missing` ones
    the export does not name.
    """

    pool: str
    file: str
    sha256: str
    used: int
    cost_minor: int
    currency: str
    orders: tuple[str, ...]
    returned: int
    unused: int
    still_lent: int
    missing: int
    known: int
    clashes: tuple[str, ...]
    unclear: tuple[str, ...]
    strange: tuple[str, ...]


def look(shop: Shop, pool: str, path: Path, assume: str = "", form: str = "") -> Seen:
    """Match an export with what was lent. `assume` is what a file without status column lists,
    `form` the pool's form if not that of its latest lending.

    Raises `NotFound` for a pool nothing was lent to, `InputRefused` for a file that does not tell.
    """
    rows = store.keys_in(shop.db, pool)
    if not rows:
        raise NotFound(kind="pool", name=pool, mend="kmtool key lent")
    latest = store.every(shop.db, pool)[-1]
    known = pool_forms.load(shop.config.root, form or latest["form"])
    data = sheets.read_bytes(path)
    export = pool_forms.read(data, path.name, known)
    if not export.by_status and not assume:
        raise InputRefused(
            detail="the file has no column that tells used from unused",
            where=path.name,
            mend="say what it lists: --used, or --unused",
        )
    found = [replace(row, state=row.state or ("" if export.by_status else assume))
             for row in export.rows]  # fmt: skip
    seen = Seen(
        pool=pool,
        file=path.name,
        sha256=hashlib.sha256(data).hexdigest(),
        file_ms=min(path.stat().st_mtime_ns // 1_000_000, shop.now_ms()),
        used=(), unused=(), known=0, clashes=(), unclear=(), strange=(), missing=(),
    )  # fmt: skip
    return _match(shop, seen, rows, found)


def settle(shop: Shop, seen: Seen, *, take_back: bool) -> ReadBack:
    """Book the used keys, and with `take_back` set the unused free on the export's proof.

    Each order is one transaction; repeating it does nothing more.
    """
    shop.must_be_writable()
    if take_back:
        _must_prove(shop, seen)
    if shop.db.rehearsing:
        return _result(seen, [], len(seen.unused) if take_back else 0)
    with sending(shop, "lend_back", by_hand=True) as mine:
        read_id = _remember(mine, seen)
        try:
            return _book(mine, seen, read_id, take_back=take_back)
        except TakenOver:
            raise
        except Broken as error:
            raise Broken(
                detail="{problem}; the list was read in part, what was booked from it stands",
                problem=error.facts.get("detail", error.message()),
                where=seen.file,
                mend="make room, then repeat the same command",
            ) from error


def _book(shop: Shop, seen: Seen, read_id: int, *, take_back: bool) -> ReadBack:
    orders = [bind(shop, seen.pool, number, keys, read_id) for number, keys in _by_order(seen.used)]
    _quarantine(shop, seen.clashes)
    returned = _take_back(shop, seen, read_id) if take_back else 0
    return _result(seen, [name for name in orders if name], returned)


def lost(shop: Shop, number: str, reason: str) -> int:
    """Give up the keys of a lending that cannot be read back: quarantine, never for sale again."""
    shop.must_be_writable()
    row = store.lending(shop.db, number)
    if row is None:
        raise NotFound(kind="lending", name=number, mend="kmtool key lent")
    with shop.db.tx():
        now, count = shop.now_ms(), 0
        for key in store.keys_of(shop.db, row["id"]):
            if store.move(shop.db, key, "lost", now, read_id=None):
                store.leave(shop.db, key["key_id"], "quarantine", now)
                count += 1
        if not count:
            raise Refused(
                detail="no key of {number} is lent any more", number=number, mend="kmtool key lent"
            )
        shop.audit("key.lend_lost", f"lending:{number}", f"{count} keys: {reason[:200]}")
    return count


def _match(shop: Shop, seen: Seen, rows: Sequence[Row], found: Iterable[PoolRow]) -> Seen:
    said, unclear, strange = _said(_index(shop, rows), found)
    used: list[tuple[Row, str]] = []
    kept: dict[str, list[Row]] = {"unused": [], "missing": [], "clashes": [], "known": []}
    for key in _latest(rows):
        state, order = said.get(key["key_id"], ("", ""))
        if key["state"] == "lent" and state == USED:
            used.append((key, order))
        elif key["state"] == "lent":
            kept["unused" if state == UNUSED else "missing"].append(key)
        elif state:
            is_clash = state == USED and key["state"] == "returned"
            kept["clashes" if is_clash else "known"].append(key)
    return replace(
        seen,
        used=tuple(used),
        unused=tuple(kept["unused"]),
        known=len(kept["known"]),
        clashes=tuple(kept["clashes"]),
        unclear=tuple(unclear),
        strange=tuple(strange),
        missing=tuple(kept["missing"]),
    )


def _said(
    index: Mapping[tuple[str, str], list[Row]], found: Iterable[PoolRow]
) -> tuple[dict[int, tuple[str, str]], list[str], list[str]]:
    """Return key → (state, order), the rows whose word nobody knows, the rows of no lent key."""
    said: dict[int, tuple[str, str]] = {}
    unclear: list[str] = []
    strange: list[str] = []
    for row in found:
        match = _find(index, row)
        if match is None:
            strange.append(told("row {n}: …{tail}", n=row.row_no, tail=row.card.tail()))
        elif not row.state:
            unclear.append(told("row {n}: {word}", n=row.row_no, word=row.word or "?"))
        elif row.state == USED or match["key_id"] not in said:
            said[match["key_id"]] = (row.state, row.order)
    return said, unclear, strange


def _latest(rows: Sequence[Row]) -> list[Row]:
    """Return each key once, with its latest lending: one from which it came back is never later
    than one it is in, though a restore may have written it down later."""
    latest: dict[int, Row] = {}
    for row in rows:
        if row["state"] != "returned" or latest.get(row["key_id"], row)["state"] == "returned":
            latest[row["key_id"]] = row
    return list(latest.values())


def _index(shop: Shop, rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """Return (card, password) → keys; with an empty password also by card, and by whole text."""
    index: dict[tuple[str, str], list[Row]] = {}
    for row in _latest(rows):
        key = open_key(shop, row)
        card, password = pool_forms.parts(key)
        for name in {(card, password), (card, ""), (key.text(), "")}:
            index.setdefault(name, []).append(row)
    return index


def _find(index: Mapping[tuple[str, str], list[Row]], row: PoolRow) -> Row | None:
    """Return the only key that a row can mean, None when there is none or more than one."""
    card, password = row.card.text(), row.password.text()
    is_single = card == password or not password.strip("*")  # a password may be masked
    single = ("",) if is_single else (password,)
    for name in (card, card.strip("\"'=\t ")):
        for second in (*single, password.strip("\"'=\t ")):
            found = index.get((name, second), [])
            if len(found) == 1:
                return found[0]
    return None


def _by_order(used: Sequence[tuple[Row, str]]) -> list[tuple[str, list[Row]]]:
    """Return (the platform's order number, its keys of one product), in the order of the file."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row, number in used:
        groups.setdefault((number, row["sku"]), []).append(row)
    return [(number, keys) for (number, _), keys in groups.items()]


def _must_prove(shop: Shop, seen: Seen) -> None:
    """An export proves that a key is unused only when it is fresh and younger than the lending."""
    newest = max((row["lent_ms"] for row in seen.unused), default=0)
    if not seen.unused or newest <= seen.file_ms >= shop.now_ms() - FRESH_MS:
        return
    raise Refused(
        detail="{file} is too old to prove that its keys are unused",
        file=seen.file,
        where=told("pool {pool}", pool=seen.pool),
        mend="take the keys out of the pool, export its list again, then repeat this",
    )


def _remember(shop: Shop, seen: Seen) -> int:
    with shop.db.tx():
        read_id = store.add_read(
            shop.db,
            pool=seen.pool,
            file_name=seen.file,
            file_sha256=seen.sha256,
            file_ms=seen.file_ms,
            at_ms=shop.now_ms(),
        )
        shop.audit("key.lend_read", f"pool:{seen.pool}", f"{seen.file} sha256 {seen.sha256}")
    return read_id


def _take_back(shop: Shop, seen: Seen, read_id: int) -> int:
    """RELEASE into the journal first: a key that is free here never lacks it."""
    count = 0
    for start in range(0, min(len(seen.unused), COUNT_MAX), 500):
        rows = seen.unused[start : start + 500]
        with shop.db.tx():
            must_be_live(shop)
            released = entries(shop, "RELEASE", rows)
        shop.journal.append(released)
        with shop.db.tx():
            must_be_live(shop)  # who took over has put them on record as lent again
            now = shop.now_ms()
            for row in rows:
                if store.move(shop.db, row, "returned", now, read_id=read_id):
                    count += store.back(shop.db, row["key_id"], now)
            shop.audit("key.release", f"pool:{seen.pool}",
                       f"{count} keys unused by {seen.file} sha256 {seen.sha256}")  # fmt: skip
    return count


def _quarantine(shop: Shop, rows: Sequence[Row]) -> None:
    """A key that came back and was given out there all the same is not sold a second time.

    If a buyer of ours has it already, a person is told to replace it.
    """
    if not rows:
        return
    with shop.db.tx():
        now = shop.now_ms()
        for row in rows:
            key_id = row["key_id"]
            if store.stop_selling(shop.db, key_id, now) or store.stop_sending(shop.db, key_id, now):
                shop.audit("key.quarantine", f"key:{key_id}", f"used in {row['pool']}")
                continue
            line = store.delivered_line(shop.db, key_id)
            if line is None:
                continue
            reason = told(
                "{twice}: key …{tail}, pool {pool}",
                twice=told(TWICE),
                tail=line["tail"],
                pool=row["pool"],
            )
            line_id, state = LineId(line["id"]), LineState(line["state"])
            if state in {LineState.DELIVERED, LineState.UNKNOWN, LineState.RESERVED}:
                orders.move_line(shop.db, line_id, state, LineState.HUMAN, now, reason=reason)
            elif state in {LineState.SENDING, LineState.HUMAN}:
                orders.set_line_reason(shop.db, line_id, reason)
            shop.audit("key.twice", f"order:{line['channel']}:{line['number']}", reason)


def _cost(rows: Iterable[Row]) -> int:
    found = list(rows)
    if not found:
        return 0
    return e5_to_minor(sum(row["cost_e5"] for row in found), found[0]["currency"])


def _result(seen: Seen, orders: Sequence[str], returned: int) -> ReadBack:
    return ReadBack(
        pool=seen.pool,
        file=seen.file,
        sha256=seen.sha256,
        used=len(seen.used),
        cost_minor=_cost(row for row, _ in seen.used),
        currency=seen.currency,
        orders=tuple(orders[:SHOWN]),
        returned=returned,
        unused=len(seen.unused),
        still_lent=len(seen.unused) - returned + len(seen.missing),
        missing=len(seen.missing),
        known=seen.known,
        clashes=tuple(f"…{row['tail']}" for row in seen.clashes[:SHOWN]),
        unclear=seen.unclear[:SHOWN],
        strange=seen.strange[:SHOWN],
    )
