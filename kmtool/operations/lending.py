"""Lends keys to a platform's own pool: the platform hands them out, we learn of it afterwards.

From the lending on a key may be seen, so it is on record and in the send journal before its file is
written, and it is never ours to sell until an export of the pool proves that nobody has it
(lending_back.py). A lent key has no order line yet; the pool is its place in the journal.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kmtool.domain.money import e5_to_minor
from kmtool.domain.states import LineKind
from kmtool.errors import Broken, NotFound, Refused, TakenOver, UsageError, told
from kmtool.journal import JournalEntry
from kmtool.operations import lending_numbers, pool_forms
from kmtool.operations.audit import opened
from kmtool.operations.facts import pause_of
from kmtool.operations.pack import open_key
from kmtool.operations.permit import disk_must_have_room, must_be_live
from kmtool.operations.pool_forms import PoolForm
from kmtool.operations.sender import sending
from kmtool.shop import Shop
from kmtool.store import deliveries, house, machines, products
from kmtool.store import lending as store
from kmtool.store.db import Row

COUNT_MAX = 10_000
_POOL = re.compile(r"[\w-]{1,40}")


@dataclass(frozen=True, slots=True)
class LendWish:
    """What is to be lent where; `channel` is where the pool's orders come from, if we know it."""

    sku: str
    pool: str
    count: int
    form: str
    channel: str = ""


@dataclass(frozen=True, slots=True)
class Lent:
    """A lending and the file that was written; `check`: no real file has confirmed its columns."""

    number: str
    pool: str
    channel: str
    sku: str
    keys: int
    cost_minor: int
    currency: str
    form: str
    check: bool
    file: str
    sha256: str
    left: int


@dataclass(frozen=True, slots=True)
class Lending:
    """One lending and what became of its keys."""

    number: str
    pool: str
    channel: str
    sku: str
    keys: int
    lent: int
    used: int
    returned: int
    lost: int
    cost_minor: int
    currency: str
    since_ms: int
    file: str


@dataclass(frozen=True, slots=True)
class Lendings:
    """All lendings (or those of one pool), oldest first."""

    at_ms: int
    lendings: tuple[Lending, ...]


def pseudo_channel(pool: str) -> str:
    """Return the channel that stands for a pool in orders and in the journal."""
    return store.POOL + pool


def lend(shop: Shop, wish: LendWish, path: Path) -> Lent:
    """Take free keys for a pool and write the platform's file; nothing is taken when it is short.

    Raises `NotFound`, `Refused`, `ConfigError` (an unknown form) before anything is taken.
    """
    shop.must_be_writable()
    form = pool_forms.load(shop.config.root, wish.form)
    wish = _checked(shop, wish)
    _must_fit(path, form)
    if shop.db.rehearsing:
        number = _take(shop, wish)
        return _lent(shop, number, form, None)
    with sending(shop, "lend", by_hand=True) as mine:
        disk_must_have_room(mine)
        number = _take(mine, wish)
        try:
            return _hand(mine, number, form, path)
        except (OSError, Broken) as error:
            if isinstance(error, TakenOver):
                raise
            raise Broken(
                detail="the keys are set aside as {number}, their file is not finished: {problem}",
                number=number,
                problem=error.message() if isinstance(error, Broken) else error,
                mend="make room, then write it: kmtool key lend --again {number} -o OTHER.csv",
            ) from error


def again(shop: Shop, number: str, path: Path) -> Lent:
    """Write the file of a lending again, with the keys of it that are still lent."""
    shop.must_be_writable()
    row = _named(shop, number)
    form = pool_forms.load(shop.config.root, row["form"])
    _must_fit(path, form)
    if not store.keys_of(shop.db, row["id"]):
        raise Refused(
            detail="no key of {number} is lent any more", number=number, mend="kmtool key lent"
        )
    if shop.db.rehearsing:
        return _lent(shop, number, form, None)
    with sending(shop, "lend", by_hand=True) as mine:
        return _hand(mine, number, form, path)


def lent(shop: Shop, pool: str = "") -> Lendings:
    """Return what is lent where, and what came of it."""
    if pool and pool not in store.pools(shop.db):
        raise NotFound(kind="pool", name=pool, mend="kmtool key lent")
    return Lendings(shop.now_ms(), tuple(_lending(row) for row in store.every(shop.db, pool)))


def _checked(shop: Shop, wish: LendWish) -> LendWish:
    product = products.product(shop.db, wish.sku)
    if product is None:
        raise NotFound(kind="product", name=wish.sku)
    if product["kind"] != LineKind.KEY:
        raise Refused(
            detail="{sku} is a {kind}: only keys are lent",
            sku=wish.sku,
            kind=told(product["kind"]),
            mend="kmtool product show {sku}",
        )  # fmt: skip
    if not _POOL.fullmatch(wish.pool):
        raise UsageError(
            detail="a pool's name is letters, digits and dashes: {name}", name=wish.pool,
            mend="--pool NAME",
        )  # fmt: skip
    if not 0 < wish.count <= COUNT_MAX:
        raise UsageError(
            detail="{n} keys cannot be lent at once (1 to {most})", n=wish.count,
            most=f"{COUNT_MAX:,}", mend="--keys N",
        )  # fmt: skip
    channel = wish.channel or (wish.pool if wish.pool in shop.config.channels else "")
    if channel and channel not in shop.config.channels:
        raise NotFound(kind="channel", name=channel)
    if pseudo_channel(wish.pool) in shop.config.channels:
        raise Refused(
            detail="there is a channel {name}: call the pool otherwise",
            name=pseudo_channel(wish.pool),
            mend="--pool NAME",
        )
    return LendWish(wish.sku, wish.pool, wish.count, wish.form, channel)


def _must_fit(path: Path, form: PoolForm) -> None:
    if path.suffix.lower() != f".{form.suffix}":
        raise UsageError(
            detail="{title} is a .{suffix} file",
            title=form.title,
            suffix=form.suffix,
            mend="-o {name}.{suffix}",
            name=path.stem,
        )
    if path.exists():
        raise Refused(
            detail="{path} is there already and is not overwritten", path=path, mend="-o OTHER"
        )


def _take(shop: Shop, wish: LendWish) -> str:
    """Take the keys and write the lending down, in one transaction."""
    db, now = shop.db, shop.now_ms()
    with db.tx():
        store.lock_numbers(db)
        paused = pause_of(house.pauses(db), wish.channel, wish.sku)
        if paused:
            raise Refused(
                detail="{name} is paused", name=paused, mend="kmtool resume {scope}", scope=paused
            )
        deliveries.expire(db, wish.sku, now)
        keys = store.take(db, wish.sku, wish.count, now)
        if not keys:
            free = deliveries.free_counts(db, [wish.sku]).get(wish.sku, 0)
            raise Refused(
                detail="{count} keys of {sku} are asked for, {free} are free (a key of several"
                " uses, a picture, and what is held for an order are not lent)",
                count=wish.count,
                sku=wish.sku,
                free=free,
                mend="kmtool key stock {sku}",
            )
        number = lending_numbers.following(shop, now)
        lending = store.add(
            db, number=number, pool=wish.pool, channel=wish.channel, sku=wish.sku, form=wish.form,
            lent_ms=now,
        )  # fmt: skip
        rows = [{"lending_id": lending, "key_id": key["id"], "n": n, "now": now}
                for n, key in enumerate(keys, 1)]  # fmt: skip
        store.add_keys(db, rows)
        shop.audit("key.lend", f"lending:{number}", f"{len(keys)} × {wish.sku} to {wish.pool}")
    return number


def _hand(shop: Shop, number: str, form: PoolForm, path: Path) -> Lent:
    """Journal the keys, then write the file. The order is the promise: on record before it leaves.

    A second SEND of the same place says nothing new, so writing a file again may repeat it.
    """
    row = _named(shop, number)
    with shop.db.tx():
        must_be_live(shop)
        keys = store.keys_of(shop.db, row["id"])
        journalled = entries(shop, "SEND", keys)
        shop.audit("key.lend_file", f"lending:{number}", f"{len(keys)} keys to {path.name}")
        opened(shop, (key["key_id"] for key in keys), "key.lent", f"{row['pool']}: {path.name}")
    shop.journal.append(journalled)
    written = pool_forms.write(
        path, form, [open_key(shop, key) for key in keys], shop.config.shop.name, shop.now_ms()
    )
    digest = hashlib.sha256(written.read_bytes()).hexdigest()
    with shop.db.tx():
        store.set_file(shop.db, row["id"], str(written), digest)
    return _lent(shop, number, form, written)


def entries(shop: Shop, kind: str, keys: Sequence[Row]) -> list[JournalEntry]:
    """Return the journal's records of lent keys, counted in the open transaction.

    The place of a lent key is its lending.
    """
    assert shop.session is not None
    before = machines.count_journalled(shop.db, shop.session, len(keys))
    return [
        JournalEntry(
            kind=kind,
            channel=pseudo_channel(key["pool"]),
            order=key["lending"],
            line=str(key["n"]),
            fingerprint=bytes(key["fingerprint"]).hex(),
            session=int(shop.session),
            n=before + number,
        )
        for number, key in enumerate(keys, 1)
    ]


def _named(shop: Shop, number: str) -> Row:
    row = store.lending(shop.db, number)
    if row is None:
        raise NotFound(kind="lending", name=number, mend="kmtool key lent")
    return row


def _lent(shop: Shop, number: str, form: PoolForm, written: Path | None) -> Lent:
    row = _named(shop, number)
    keys = store.keys_of(shop.db, row["id"])
    currency = keys[0]["currency"] if keys else shop.config.shop.currency
    return Lent(
        number=number,
        pool=row["pool"],
        channel=row["channel"],
        sku=row["sku"],
        keys=len(keys),
        cost_minor=e5_to_minor(sum(key["cost_e5"] for key in keys), currency),
        currency=currency,
        form=form.title,
        check=form.check,
        file=str(written or ""),
        sha256=row["file_sha256"] if written else "",
        left=deliveries.free_counts(shop.db, [row["sku"]]).get(row["sku"], 0),
    )


def _lending(row: Row) -> Lending:
    return Lending(
        number=row["number"],
        pool=row["pool"],
        channel=row["channel"],
        sku=row["sku"],
        keys=row["keys"],
        lent=row["lent"],
        used=row["used"],
        returned=row["returned"],
        lost=row["lost"],
        cost_minor=e5_to_minor(row["cost_e5"], row["currency"]),
        currency=row["currency"],
        since_ms=row["lent_ms"],
        file=row["file_name"],
    )
