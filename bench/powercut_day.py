"""The days whose writes are recorded: the product's own operations on a shop of its own.

    python -m bench.powercut_day SCENARIO FOLDER TAPE

Runs in a process of its own, in which kmtool's SQLite is the recording one. What the outside world
knows is marked on the tape: orders that exist, keys in a message that may have left, what a
command had answered when it returned.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pickle
import random
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import powercut_driver as driver
from bench.powercut_tape import Tape

PLAIN_KEY = re.compile(r"KEY-\S+")
START_MS = 1_795_305_600_000
LIVE = "shop/shop/shop.db"
TOML = """schema = 1
[shop]
name = "Power"
[brakes]
sku_pieces_per_hour = 0
sku_value_per_hour = "0"
buyer_pieces_per_hour = 0
[channels.shop1]
adapter = "tests.fakes"
mode = "auto"
couriers = ["tests.fakes"]
"""
FAULTS = ("lost", "unknown", "down", "rejected", "ok", "ok", "ok", "ok", "ok", "ok")


class Day:
    """One shop below a folder, and the tape that runs."""

    def __init__(self, folder: Path, seed: int = 1) -> None:
        from kmtool.clock import ManualClock

        self.folder = folder
        self.random = random.Random(seed)
        self.clock = ManualClock(START_MS)
        self.placed = 0
        (folder / "shop").mkdir(parents=True)
        (folder / "home").mkdir()
        (folder / "shop" / "kmtool.toml").write_text(TOML, encoding="utf-8")
        os.environ["KMTOOL_HOME"] = str(folder / "home")
        self.tape: Tape

    def config(self) -> Any:
        from kmtool.config import load

        return load(self.folder / "shop" / "kmtool.toml")

    @contextlib.contextmanager
    def opened(self) -> Iterator[Any]:
        """Open the shop as a command does; what it hands over is marked."""
        from kmtool.app import open_shop
        from tests import fakes

        fakes.world().during_send = lambda message: self.handed(
            message.order_number, message.text.text()
        )
        with open_shop(self.config(), clock=self.clock) as shop:
            yield shop

    def create(self) -> None:
        """Set the shop up."""
        from kmtool.app import create_shop

        create_shop(self.config(), self.clock)
        self.tape.mark("created")

    def handed(self, number: str, text: str) -> None:
        """A message begins to leave."""
        self.tape.mark("handed", order=number, keys=PLAIN_KEY.findall(text))

    def shown(self, message: Any) -> None:
        """A person has seen a message."""
        number, text = message.order_number, message.text.text()
        self.handed(number, text)
        self.tape.mark("received", order=number, text=text)

    def listen(self) -> None:
        """Note what arrives outside, in the moment in which it does."""
        from tests.fakes import Fake

        hand, ship = Fake._hand, Fake.mark_shipped

        def handing(fake: Any, message: Any) -> None:
            hand(fake, message)
            text = message.text.text()
            self.tape.mark("received", order=message.order_number, text=text)

        def shipping(fake: Any, order: Any) -> Any:
            try:
                return ship(fake, order)
            finally:
                if order.number in fake.world.shipped:
                    self.tape.mark("shipped", order=order.number)

        Fake._hand, Fake.mark_shipped = handing, shipping  # type: ignore[method-assign]

    def bring(self, shop: Any, n: int, sku: str = "S1", item: str = "i1", units: int = 1) -> None:
        """Import keys from a file and map the product."""
        from kmtool.operations import import_keys
        from kmtool.operations.import_records import Terms
        from kmtool.operations.key_sources import Source
        from kmtool.store import products

        self.clock.advance(1000)
        made = [f"KEY-{sku}-{self.random.randrange(10**9):09d}" for _ in range(n)]
        terms = Terms(sku=sku, supplier="sup1", cost_e5=500_000)
        done = import_keys.run(
            shop, [Source(f"{sku}.txt", ("\n".join(made) + "\n").encode())], terms,
            agree=lambda _: True, create=lambda *_: True,
        )  # fmt: skip
        assert done.accepted == n
        self.tape.mark("imported", keys=made)
        with shop.db.tx():
            products.put_listing(
                shop.db, channel="shop1", item_id=item, variant_id="", title="", sku=sku,
                units=units, price_minor=None,
            )  # fmt: skip

    def order(self, quantity: int = 0, item: str = "i1") -> str:
        """Let a buyer pay."""
        from tests import fakes

        self.placed += 1
        number = f"A{self.placed}"
        count = quantity or self.random.choice((1, 1, 1, 2, 3))
        fact = fakes.order(number, item=item, quantity=count, amount=1000 * count,
                           at_ms=self.clock.now_ms())  # fmt: skip
        fakes.world().orders[number] = fact
        self.tape.mark("paid", order=number, fact=fact)
        return number

    def refund(self, number: str, state: str) -> None:
        """Let a buyer ask the money back."""
        from kmtool.domain.states import RefundState
        from tests import fakes

        fact = replace(
            fakes.world().orders[number],
            refund=RefundState(state),
            revision_ms=self.clock.now_ms(),
        )
        fakes.world().orders[number] = fact
        self.tape.mark("paid", order=number, fact=fact)

    def work(self, shop: Any) -> None:
        """Sync and deliver, as the daemon does; what the commands answered is marked."""
        from kmtool.operations.deliver import deliver
        from kmtool.operations.sync import sync
        from tests import fakes

        self.clock.advance(20_000)
        sync(shop)
        self.tape.mark("synced", orders=list(fakes.world().orders))
        fakes.world().faults = [self.random.choice(FAULTS) for _ in range(6)]
        deliver(shop)
        fakes.world().faults.clear()
        rows = shop.db.all(
            "SELECT DISTINCT o.number FROM orders o JOIN lines l ON l.order_id = o.id"
            " WHERE l.state = 'delivered'"
        )
        self.tape.mark("delivered", orders=[row["number"] for row in rows])


def selling(day: Day) -> None:
    """Set-up, imports, orders, lost replies, refunds, releases, sales, in several commands."""
    from kmtool.operations import by_hand
    from kmtool.operations.order_changes import hold, release
    from kmtool.operations.sell import SaleWish, sell

    day.create()
    with day.opened() as shop:
        day.bring(shop, 60)
        day.bring(shop, 40, "S2", "i2", 2)
    for part in range(6):
        with day.opened() as shop:
            for _ in range(3):
                for _ in range(day.random.choice((1, 2, 3))):
                    day.order(item=day.random.choice(("i1", "i1", "i2")))
                day.work(shop)
            if part == 1:
                day.refund("A1", "open")
                day.refund("A2", "full")
            if part == 2:
                number = day.order()
                with contextlib.suppress(Exception):
                    hold(shop, number, "asked")
                day.work(shop)
                with contextlib.suppress(Exception):
                    release(shop, number)
            if part == 3:
                sell(shop, SaleWish("S1"), day.shown)
                by_hand.by_hand(shop, [], lambda _task: by_hand.Answer.SENT)
            if part == 4:
                day.bring(shop, 30)
            day.work(shop)


def short(day: Day) -> None:
    """A small part of all that, for a run of seconds."""
    day.create()
    with day.opened() as shop:
        day.bring(shop, 12)
    for _ in range(2):
        with day.opened() as shop:
            day.order(2)
            day.work(shop)
            day.order()
            day.work(shop)


def reading(day: Day) -> None:
    """The same log grows while somebody reads: checkpoints stop half-way and go on later."""
    from kmtool.store.db import connect

    day.create()
    with day.opened() as shop:
        day.bring(shop, 80)
        for n in range(8):
            reader = connect(day.folder / LIVE)
            if n % 2:
                reader.raw.execute("BEGIN")
                reader.value("SELECT count(*) FROM keys")
            for _ in range(2):
                day.order()
                day.work(shop)
            if n % 2:
                reader.raw.execute("ROLLBACK")
            reader.close()
            day.order()
            day.work(shop)


def backing_up(day: Day) -> None:
    """A backup, more work, the backup is restored, work goes on."""
    from kmtool.app import open_shop
    from kmtool.operations import backup, restore

    day.create()
    with day.opened() as shop:
        day.bring(shop, 40)
        day.order(2)
        day.work(shop)
        done = backup.backup(shop)
        day.tape.mark("backed_up", file=Path(done.file).relative_to(day.folder).as_posix())
        for _ in range(4):
            day.order()
            day.work(shop)
    day.tape.mark("restoring")
    restored = restore.restore(
        day.config(), day.clock, Path(done.file),
        lambda config: open_shop(config, clock=day.clock),
    )  # fmt: skip
    assert not restored.settled.broken
    day.tape.mark("restored")
    with day.opened() as shop:
        day.order()
        day.work(shop)


def an_old_shop(day: Day) -> None:
    """Make a database as an older kmtool left it, with orders of a shop."""
    from kmtool.store import migrations
    from kmtool.store.db import connect
    from kmtool.store.schema import MIGRATIONS

    migrations.MIGRATIONS = MIGRATIONS[:7]  # type: ignore[attr-defined]
    db = connect(day.folder / LIVE, create=True)
    migrations.migrate(db, day.clock)
    migrations.MIGRATIONS = MIGRATIONS  # type: ignore[attr-defined]
    with db.tx():
        db.run(
            "INSERT INTO products (sku, title, kind, state, currency, buffer, guide, created_ms)"
            " VALUES ('S1', 't', 'key', 'on', 'CNY', 0, '', 1)"
        )
        for i in range(1, 121):
            db.run(
                "INSERT INTO orders (id, channel, number, account, status, refund, refunded_minor,"
                " revision_ms, created_ms, currency, total_minor, expected_gross_minor,"
                " ext_txn_id, risk, note, buyer_ref, buyer_name, buyer_email, buyer_phone,"
                " fact_hash, facts_ms, seen_ms, code, history) VALUES (:i, 'shop1', :n, '',"
                " 'paid', 'none', 0, 1, 1, 'CNY', 900, 900, '', '', '', 'b1', 'demo_name', '', '',"
                " '', 1, 1, :n, 0)",
                i=i, n=f"A{i}",
            )  # fmt: skip
    db.close()


def updating(day: Day) -> None:
    """A database of an older kmtool is brought up to date, after a copy of it."""
    from kmtool import app
    from kmtool.store import migrations

    db = app.connect(day.folder / LIVE)
    day.tape.note_image(db.raw)
    day.tape.mark("synced", orders=[f"A{i}" for i in range(1, 121)])
    config = day.config()
    migrations.migrate(db, day.clock, before=lambda: app._backup_before(db, config, day.clock))
    day.tape.mark("updated")
    db.close()


SCENARIOS: dict[str, Callable[[Day], None]] = {
    "selling": selling,
    "short": short,
    "reading": reading,
    "backing_up": backing_up,
    "updating": updating,
}
BEFORE: dict[str, Callable[[Day], None]] = {"updating": an_old_shop}


def record(name: str, folder: Path, given: argparse.Namespace) -> Day:
    """Run a day and return it with its tape."""
    day = Day(folder, given.seed)
    BEFORE.get(name, lambda _day: None)(day)
    day.tape = Tape(folder, LIVE)
    if given.unsynced:
        day.tape.skip_sync = tuple(given.unsynced)
    day.tape.start()
    day.listen()
    SCENARIOS[name](day)
    return day


def _rewritten(given: argparse.Namespace) -> Callable[[str], str]:
    def rewrite(sql: str) -> str:
        if sql == "PRAGMA synchronous = FULL" and given.synchronous:
            return f"PRAGMA synchronous = {given.synchronous}"
        if sql == "PRAGMA temp_store = MEMORY":
            return f"{sql}; PRAGMA wal_autocheckpoint = {given.checkpoint}"
        return sql

    return rewrite


def main(argv: list[str] | None = None) -> int:
    """Record one day into a file."""
    parser = argparse.ArgumentParser(prog="python -m bench.powercut_day", description=__doc__)
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("tape", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--checkpoint", type=int, default=100, help="pages in the log before one")
    parser.add_argument("--synchronous", default="", help="loosen SQLite's own care")
    parser.add_argument("--unsynced", action="append", help="files (by ending) whose fsync is lost")
    given = parser.parse_args(argv)
    driver.take_the_place()
    driver.Hooks.rewrite = _rewritten(given)
    day = record(given.scenario, given.folder, given)
    with given.tape.open("wb") as file:
        pickle.dump(day.tape.recording(), file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
