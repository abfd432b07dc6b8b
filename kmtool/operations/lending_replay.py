"""Lent keys when the send journal is replayed on a database that is older than it.

A key's place in the journal is its lending as long as it is lent, and stays so after the pool used
it (its order was learned from a file, nothing was sent by us). A lending this database does not
know is written again, so that the pool can still be read back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

from kmtool.domain.states import AllocationState
from kmtool.operations import lending_numbers
from kmtool.operations.rebind import unreserve
from kmtool.shop import Shop
from kmtool.store import lending as store
from kmtool.store.db import Row

Place = tuple[str, str, str]


def stands(shop: Shop, key: Row, bonds: Sequence[Row], place: Place) -> bool:
    """Tell whether a key is where its lending says; lend it again here if that is not known.

    False for a place that is no lending, or a key that went to a buyer by other proof.
    """
    channel, number, n = place
    if not _is_pool(shop, channel):
        return False
    if store.of_key(shop.db, number, key["id"]) is not None:
        return True
    if any(bond["state"] != AllocationState.RESERVED for bond in bonds):
        return False
    for bond in bonds:
        unreserve(shop, bond)
    now = shop.now_ms()
    if not store.lend_again(shop.db, key["id"], now):
        return False
    lending = store.lending(shop.db, number)
    lending_id = lending["id"] if lending else store.add(
        shop.db, number=number, pool=channel.removeprefix(store.POOL), channel="", sku=key["sku"],
        form=store.last_form(shop.db, channel.removeprefix(store.POOL)), lent_ms=now,
    )  # fmt: skip
    row = {"lending_id": lending_id, "key_id": key["id"], "n": int(n), "now": now}
    store.add_keys(shop.db, [row])
    return True


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


def _is_pool(shop: Shop, channel: str) -> bool:
    return channel.startswith(store.POOL) and channel not in shop.config.channels
