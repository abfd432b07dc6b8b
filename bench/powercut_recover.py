"""Starts a shop on what a power cut left, lets it go on to the end, and asks the buyers.

The world outside is as it was at the cut: orders, messages that arrived, orders marked as shipped.
Then the faults are over. At the end no key has two buyers, every paid order has exactly its keys,
and doctor finds every promise kept.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench.powercut_day import LIVE, PLAIN_KEY, START_MS
from bench.powercut_disk import Files
from bench.powercut_look import lay_out
from bench.powercut_tape import Recording
from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.config import Config, load
from kmtool.domain.states import OrderStatus, RefundState
from kmtool.errors import DatabaseDamaged, KmError, NotSetUp
from kmtool.operations import adopt, by_hand, doctor, home
from kmtool.operations.deliver import deliver
from kmtool.operations.order_changes import redeliver, release
from kmtool.operations.sync import sync
from kmtool.shop import Shop
from kmtool.store.db import connect
from kmtool.store.maintenance import foreign_keys, integrity
from kmtool.store.migrations import migrate, pending
from tests import fakes
from tests.operations.stock import shelf

DAY_MS = 86_400_000
UNITS = {"i1": 1, "i2": 2}


def recover(tape: Recording, cut: int, files: Files, folder: Path) -> list[str]:
    """Start the shop on the files of a state; return what is wrong at the end."""
    lay_out(files, folder)
    if "shop/kmtool.toml" in tape.files and LIVE in tape.files:
        return list(_updated(folder))
    _world(tape, cut)
    home = os.environ.get("KMTOOL_HOME")
    os.environ["KMTOOL_HOME"] = str(folder / "home")
    clock = ManualClock(START_MS + DAY_MS // 2)  # a shop never synced looks back one day
    try:
        config = load(folder / "shop" / "kmtool.toml")
        if not _was_created(tape, cut):
            _set_up_again(config, clock)
        with open_shop(config, clock=clock) as shop:
            _go_on(shop, clock)
            return list(_look(shop))
    except KmError as error:
        return [f"{type(error).__name__}: {error}"]
    finally:
        if home is None:
            os.environ.pop("KMTOOL_HOME", None)
        else:
            os.environ["KMTOOL_HOME"] = home


def _was_created(tape: Recording, cut: int) -> bool:
    """Tell whether setting up had come to its end before the first write after the cut."""
    places = [at for at, op in enumerate(tape.ops) if op[0] == "m" and op[1]["kind"] == "created"]
    return bool(places) and all(op[0] == "m" for op in tape.ops[cut + 1 : places[0]])


def _set_up_again(config: Config, clock: ManualClock) -> None:
    """Setting up was cut off: the shop opens, or can be set up anew; one without a home file is
    adopted, as it tells the owner. Then a buyer comes."""
    try:
        with open_shop(config, clock=clock):
            pass
    except (NotSetUp, DatabaseDamaged):
        create_shop(config, clock)
    with open_shop(config, clock=clock) as shop:
        if home.away(shop) is not None:
            adopt.adopt(shop)
        shelf(shop, n=5)
    fakes.world().orders["N1"] = fakes.order("N1", at_ms=clock.now_ms())


def _world(tape: Recording, cut: int) -> None:
    """Bring the world to the moment of the cut, with all that happened before the next write."""
    fakes.WORLDS.clear()
    world = fakes.world()
    for at, op in enumerate(tape.ops):
        if op[0] != "m":
            if at > cut:
                break
            continue
        what = op[1]
        if what["kind"] == "paid":
            world.orders[what["order"]] = what["fact"]
        elif what["kind"] == "received":
            world.received.setdefault(what["order"], []).append(what["text"])
        elif what["kind"] == "shipped":
            world.shipped.add(what["order"])


def _go_on(shop: Shop, clock: ManualClock) -> None:
    """Work until nothing is left; the owner answers what is asked and brings stock."""
    for n in range(5):
        clock.advance(3_700_000)
        _show_shipped(clock)
        sync(shop)
        deliver(shop)
        by_hand.by_hand(shop, [], lambda _task: by_hand.Answer.SENT)
        if n == 0 and fakes.world().orders:
            shelf(shop, n=60, prefix="KEY-END")
            shelf(shop, "S2", n=60, item="i2", units=2, prefix="KEY-END")
        _answer(shop)


def _show_shipped(clock: ManualClock) -> None:
    """The channel shows what it was told."""
    world = fakes.world()
    for number in world.shipped & set(world.orders):
        fact = world.orders[number]
        if fact.status is OrderStatus.PAID and fact.refund is RefundState.NONE:
            world.orders[number] = replace(
                fact, status=OrderStatus.SHIPPED, revision_ms=clock.now_ms()
            )


def _answer(shop: Shop) -> None:
    rows = shop.db.all(
        "SELECT DISTINCT o.number FROM lines l JOIN orders o ON o.id = l.order_id"
        " WHERE l.state IN ('held', 'human')"
    )
    for row in rows:
        for act in (release, redeliver):
            with contextlib.suppress(KmError):
                act(shop, row["number"])


def _look(shop: Shop) -> Iterator[str]:
    world = fakes.world()
    holder: dict[str, str] = {}
    for number, texts in world.received.items():
        for key in {key for text in texts for key in PLAIN_KEY.findall(text)}:
            if holder.setdefault(key, number) != number:
                yield f"key {key} went to {holder[key]} and {number}"
    for number, fact in world.orders.items():
        if fact.status is OrderStatus.UNPAID or fact.refund is not RefundState.NONE:
            continue
        got = {k for text in world.received.get(number, ()) for k in PLAIN_KEY.findall(text)}
        wanted = sum(line.quantity * UNITS[line.item_id] for line in fact.lines)
        if len(got) != wanted:
            yield f"order {number} has {len(got)} keys, paid for {wanted}"
    for check in (*doctor.ledger_checks(shop), doctor.host_check(shop)):
        if not check.ok:
            yield f"doctor: {check.name}: {check.figure}"
    yield from integrity(shop.db) + foreign_keys(shop.db)


def _updated(folder: Path) -> Iterator[str]:
    """A database alone: it is brought up to date (again), and nothing is missing."""
    with contextlib.closing(connect(folder / LIVE)) as db:
        migrate(db, ManualClock(START_MS + DAY_MS))
        yield from (f"{name} is pending" for name in pending(db))
        yield from integrity(db) + foreign_keys(db)
        found = db.value("SELECT count(*) FROM orders")
        if found != 120:
            yield f"{found} of 120 orders"
