"""Lent keys when the send journal is replayed on a database that is older than it.

A key's place in the journal is its lending as long as it is lent, and stays so after the pool used
it (its order was learned from a file, nothing was sent by us). A lending this database does not
know is written again, so that the pool can still be read back, and so that a journal which loses
that a key came back can be told so again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence, Set

from kmtool.domain.ids import Place
from kmtool.domain.states import AllocationState
from kmtool.operations import lending_numbers
from kmtool.operations.rebind import unreserve
from kmtool.shop import Shop
from kmtool.store import lending as store
from kmtool.store import seen_keys
from kmtool.store.db import Row


def stands(shop: Shop, key: Row, bonds: Sequence[Row], place: Place) -> bool:
    """Tell whether a key is where its lending says; lend it again here if that is not known.

    False for a place that is no lending, or a key that went to a buyer by other proof.
    """
    channel, number, _n = place
    if not _is_pool(shop, channel):
        return False
    if store.of_key(shop.db, number, key["id"]) is not None:
        return True
    if any(bond["state"] != AllocationState.RESERVED for bond in bonds):
        return False
    for bond in bonds:
        unreserve(shop, bond)
    if not store.lend_again(shop.db, key["id"], shop.now_ms()):
        return False
    store.add_keys(shop.db, [_row(shop, key, place)])
    return True


def keep_returned(
    shop: Shop, sent: Mapping[bytes, Collection[Place]], released: Mapping[bytes, Set[Place]]
) -> None:
    """Write down which keys pools had and gave back unused, where that is not known here.

    A key that is not here may come in again: the journal may have lost by then that it came back.
    """
    gone = sorted(
        (place, fingerprint)
        for fingerprint, places in released.items()
        for place in places
        if _is_pool(shop, place[0]) and place not in sent.get(fingerprint, ())
    )
    keys = seen_keys.keys_of(shop.db, list({fingerprint for _place, fingerprint in gone}))
    absent = []
    for place, fingerprint in gone:
        key = keys.get(fingerprint)
        if key is None:
            channel, number, n = place
            absent.append({"fingerprint": fingerprint, "channel": channel, "number": number,
                           "line_no": n, "now": shop.now_ms()})  # fmt: skip
        elif store.of_key(shop.db, place[1], key["id"]) is None:
            store.add_returned(shop.db, [_row(shop, key, place)])
    seen_keys.remember_returned(shop.db, absent)


def keep_numbers(shop: Shop, places: Iterable[Place]) -> None:
    """Give out no number again that a lending has in the journal, though all its keys came back."""
    pools = {place for place in places if _is_pool(shop, place[0])}
    lending_numbers.remember(shop, (number for _channel, number, _n in pools))


def came_back(shop: Shop, key: Row, sent: Set[Place], released: Set[Place]) -> None:
    """A key that is lent here came back since, and was sent elsewhere.

    The journal says so, or does not know the lending: all are on record until it is lost, and what
    is made of it anew says only where the keys were sent that were not lent any more.
    """
    for row in store.lent_rows(shop.db, key["id"]):
        place = (store.POOL + row["pool"], row["number"], str(row["n"]))
        if place in released or place not in sent:
            store.move(shop.db, row, "returned", shop.now_ms(), read_id=None)


def _row(shop: Shop, key: Row, place: Place) -> Row:
    """Return a key's row in its lending, which is written again where it is not known."""
    channel, number, n = place
    pool, now = channel.removeprefix(store.POOL), shop.now_ms()
    lending = store.lending(shop.db, number)
    lending_id = lending["id"] if lending else store.add(
        shop.db, number=number, pool=pool, channel="", sku=key["sku"],
        form=store.last_form(shop.db, pool), lent_ms=now,
    )  # fmt: skip
    return {"lending_id": lending_id, "key_id": key["id"], "n": int(n), "now": now}


def _is_pool(shop: Shop, channel: str) -> bool:
    return channel.startswith(store.POOL) and channel not in shop.config.channels
