"""Sets a shop back to random past points of a delivery day, and asks the buyers afterwards.

    python -m bench.restore --points 200

A simulated channel keeps the truth. Orders come, some replies are lost, some buyers ask their money
back, keys are imported during the day, some sales are made by hand. At random points an earlier
backup is restored, an earlier copy of the file is put back by hand, or the folder is cloned and
adopted; then the day goes on to its end. Counted at the buyers: keys with two buyers, orders
forgotten, second messages beyond what a lost reply explains; in the shop: keys out of sale without
need, promises broken. Exit 1 on any violation.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.config import Config, load
from kmtool.domain.states import OrderStatus, RefundState
from kmtool.errors import AwayFromHome, OlderThanJournal
from kmtool.operations import adopt, backup, by_hand, doctor, import_keys, restore
from kmtool.operations.deliver import deliver
from kmtool.operations.import_records import Terms
from kmtool.operations.key_sources import Source
from kmtool.operations.order_changes import redeliver, release
from kmtool.operations.sell import SaleWish, sell
from kmtool.operations.sync import sync
from kmtool.shop import Shop
from kmtool.store import copying
from tests import fakes
from tests.operations.delivery_kit import lines
from tests.operations.stock import shelf

START_MS = 1_795_305_600_000
KEY = re.compile(r"KEY-\S+")
STEPS = 60
HOWS = ("restore", "put back", "clone")
FAULTS = ("lost", "unknown", "down", "ok", "ok", "ok", "ok", "ok", "ok", "ok")
TOML = """schema = 1
[shop]
name = "Restore"
[brakes]
sku_pieces_per_hour = 0
sku_value_per_hour = "0"
buyer_pieces_per_hour = 0
[data]
backups_keep = 1000
[channels.shop1]
adapter = "tests.fakes"
mode = "auto"
couriers = ["tests.fakes"]
"""


@dataclass
class Figures:
    """What happened over all points, and what was wrong."""

    points: Counter[str] = field(default_factory=Counter)
    orders: int = 0
    keys: int = 0
    repeated: int = 0
    bound_again: int = 0
    wrong: list[str] = field(default_factory=list)


class Day:
    """One delivery day of one shop, with one point at which it is set back."""

    def __init__(self, folder: Path, seed: int, how: str) -> None:
        self.random = random.Random(seed)
        self.folder = folder
        self.how = how
        self.clock = ManualClock(START_MS)
        self.files: list[tuple[int, str]] = []
        self.points: list[Path] = []
        self.counter: list[str] = []
        self.placed = self.unsure = 0
        self.bound_again = 0
        fakes.WORLDS.clear()
        self.world = fakes.world()
        (folder / "kmtool.toml").write_text(TOML, encoding="utf-8")
        create_shop(self.config(), self.clock)

    def config(self) -> Config:
        return load(self.folder / "kmtool.toml")

    def run(self) -> list[str]:
        """Run the day; return what is wrong at its end."""
        at = self.random.randint(STEPS // 3, STEPS - 5)
        with self.opened() as shop:
            shelf(shop, n=60)
            shelf(shop, "S2", n=40, item="i2", units=2)
            for n in range(at):
                self.step(shop, n)
        self.set_back()
        with self.opened() as shop:
            for n in range(at, STEPS):
                self.step(shop, n)
            self.finish(shop)
            return list(self.look(shop))

    def opened(self) -> contextlib.AbstractContextManager[Shop]:
        return open_shop(self.config(), clock=self.clock)

    # ------------------------------------------------------------------ a day

    def step(self, shop: Shop, n: int) -> None:
        """Something happens: buyers, keys, sales, backups; then the shop works."""
        self.clock.advance(self.random.choice((5_000, 20_000, 130_000)))
        for _ in range(self.random.choice((0, 1, 1, 2, 3))):
            self.order()
        if self.random.random() < 0.06 and self.placed:
            self.refund()
        if self.random.random() < 0.08:
            self.bring(shop, n)
        if self.random.random() < 0.08:
            self.sell(shop)
        self.world.faults = [self.random.choice(FAULTS) for _ in range(4)]
        sync(shop)
        if self.random.random() < 0.2:
            self.snapshot(shop, n)
        with contextlib.suppress(KeyboardInterrupt):
            deliver(shop)
        self.world.faults.clear()
        if self.random.random() < 0.3:
            self.snapshot(shop, n)

    def order(self) -> None:
        self.placed += 1
        wanted = [(self.random.choice(("i1", "i2")), self.random.choice((1, 1, 1, 2)))]
        if self.random.random() < 0.2:
            wanted.append(("i2" if wanted[0][0] == "i1" else "i1", 1))
        fact = fakes.order(f"A{self.placed}", lines=lines(*wanted), at_ms=self.clock.now_ms())
        self.world.orders[fact.number] = fact

    def refund(self) -> None:
        number = f"A{self.random.randint(1, self.placed)}"
        old = self.world.orders[number]
        state = self.random.choice((RefundState.FULL, RefundState.OPEN, RefundState.NONE))
        self.world.orders[number] = replace(old, refund=state, revision_ms=self.clock.now_ms())

    def bring(self, shop: Shop, n: int) -> None:
        text = "\n".join(f"KEY-B{n}-{i:03d}" for i in range(12)) + "\n"
        self.files.append((n, text))
        self.take_in(shop, text)

    def take_in(self, shop: Shop, text: str) -> None:
        terms = Terms(sku="S1", supplier="sup1", cost_e5=500_000)
        import_keys.run(
            shop, [Source("more.txt", text.encode())], terms,
            agree=lambda _: True, create=lambda *_: True,
        )  # fmt: skip

    def sell(self, shop: Shop) -> None:
        told: list[str] = []
        sale = sell(shop, SaleWish("S1"), lambda message: told.append(message.text.text()))
        self.counter += [f"{sale.number}@{len(self.counter)}|{text}" for text in told]

    def snapshot(self, shop: Shop, n: int) -> None:
        """Keep this moment: a backup, a copy of the file, or of the whole folder."""
        if self.how == "restore":
            self.points.append(Path(backup.backup(shop).file))
            return
        target = self.folder.with_name(f"{self.folder.name}-{n}-{len(self.points)}")
        if self.how == "clone":
            shutil.copytree(self.folder, target, ignore=shutil.ignore_patterns("shop.db*", "locks"))
        copying.copy_sqlite(shop.db, target / "shop" / "shop.db")
        self.points.append(target)

    # ------------------------------------------------------------------ back to a past point

    def set_back(self) -> None:
        if not self.points:
            return
        point = self.random.choice(self.points)
        if self.how == "restore":
            done = restore.restore(self.config(), self.clock, point, self._open)
            self.bound_again += done.settled.replayed.bound + done.settled.replayed.waiting
        elif self.how == "put back":
            self.put_back(point)
        else:
            self.clone(point)
        with self.opened() as shop:  # the owner brings lost files in again
            for _n, text in self.files:
                self.take_in(shop, text)

    def put_back(self, point: Path) -> None:
        """Somebody copies an old file over the database; kmtool notices by itself."""
        live = self.folder / "shop" / "shop.db"
        for end in ("-wal", "-shm"):
            live.with_name(live.name + end).unlink(missing_ok=True)
        shutil.copyfile(point / "shop" / "shop.db", live)
        with self.opened() as shop:
            try:
                deliver(shop)
            except OlderThanJournal:
                done = restore.replay_here(shop)
                self.bound_again += done.replayed.bound + done.replayed.waiting

    def clone(self, point: Path) -> None:
        """The folder goes on elsewhere from an older copy; the old one must be silent then."""
        old, self.folder = self.folder, point
        with self.opened() as shop:
            try:
                deliver(shop)
            except AwayFromHome:
                done = adopt.adopt(shop).settled
                self.bound_again += done.replayed.bound + done.replayed.waiting
            else:
                raise AssertionError("a clone sent without asking")
        before = open_shop(load(old / "kmtool.toml"), clock=self.clock)
        with before as shop, contextlib.suppress(AwayFromHome):
            deliver(shop)
            raise AssertionError("both places send")

    def _open(self, config: Config) -> contextlib.AbstractContextManager[Shop]:
        return open_shop(config, clock=self.clock)

    # ------------------------------------------------------------------ the end of the day

    def finish(self, shop: Shop) -> None:
        """Faults end; the operator answers what is asked; stock comes in."""
        shelf(shop, n=300, prefix="KEY-END")
        shelf(shop, "S2", n=300, item="i2", units=2, prefix="KEY-END")
        for _ in range(10):
            self.clock.advance(3_700_000)
            for number in self.world.shipped:
                fact = self.world.orders[number]
                if fact.status is OrderStatus.PAID and fact.refund is RefundState.NONE:
                    shipped = replace(
                        fact, status=OrderStatus.SHIPPED, revision_ms=self.clock.now_ms()
                    )
                    self.world.orders[number] = shipped
            sync(shop)
            deliver(shop)
            by_hand.by_hand(shop, [], lambda _task: by_hand.Answer.SENT)
            self.answer(shop)

    def answer(self, shop: Shop) -> None:
        rows = shop.db.all(
            "SELECT DISTINCT o.number FROM lines l JOIN orders o ON o.id = l.order_id"
            " WHERE l.state IN ('held', 'human', 'refund_case')"
        )
        for row in rows:
            for act in (release, redeliver):
                with contextlib.suppress(Exception):
                    act(shop, row["number"])

    def look(self, shop: Shop) -> Iterator[str]:
        """Yield what is wrong: asked at the buyers first, then in the shop."""
        holder: dict[str, str] = {}
        sold = [(name, text) for name, texts in self.world.received.items() for text in texts]
        sold += [(sale.partition("|")[0], sale.partition("|")[2]) for sale in self.counter]
        for name, text in sold:
            for key in set(KEY.findall(text)):
                if holder.setdefault(key, name) != name:
                    yield f"key {key} went to {holder[key]} and {name}"
        yield from self.forgotten()
        self.keys = len(holder)
        self.repeated = sum(max(0, len(texts) - 1) for texts in self.world.received.values())
        for row in shop.db.all("SELECT tail FROM keys WHERE state = 'quarantine'"):
            yield f"key {row['tail']} is out of sale without need"
        for check in (*doctor.ledger_checks(shop), doctor.host_check(shop)):
            if not check.ok:
                yield f"doctor: {check.name}: {check.figure}"

    def forgotten(self) -> Iterator[str]:
        """Yield paid orders whose buyers have not exactly their keys."""
        for number, fact in self.world.orders.items():
            if fact.status is OrderStatus.UNPAID or fact.refund is not RefundState.NONE:
                continue
            got = {k for text in self.world.received.get(number, ()) for k in KEY.findall(text)}
            wanted = sum(x.quantity * (2 if x.item_id == "i2" else 1) for x in fact.lines)
            if not got:
                yield f"order {number} is forgotten"
            elif len(got) != wanted:
                yield f"order {number} has {len(got)} keys, paid for {wanted}"


def run(points: int, seed: int, hows: tuple[str, ...] = HOWS) -> Figures:
    """Run so many days, each set back once; return the figures."""
    figures = Figures()
    base = Path(tempfile.mkdtemp(prefix="kmtool-restore-"))
    home = os.environ.get("KMTOOL_HOME")
    try:
        for n in range(points):
            how = hows[n % len(hows)]
            folder = base / f"day{n}" / "shop"
            folder.mkdir(parents=True)
            os.environ["KMTOOL_HOME"] = str(base / f"day{n}" / "home")
            day = Day(folder, seed + n, how)
            wrong = day.run()
            figures.points[how] += 1
            figures.orders += day.placed
            figures.keys += day.keys
            figures.repeated += day.repeated
            figures.bound_again += day.bound_again
            figures.wrong += [f"day {n} ({how}, seed {seed + n}): {told}" for told in wrong]
            shutil.rmtree(base / f"day{n}", ignore_errors=True)
    finally:
        if home is None:
            os.environ.pop("KMTOOL_HOME", None)
        else:
            os.environ["KMTOOL_HOME"] = home
        shutil.rmtree(base, ignore_errors=True)
    return figures


def main(argv: list[str] | None = None) -> int:
    """Run, print one screen, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.restore", description=__doc__)
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args(argv)
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    began = time.monotonic()
    found = run(given.points, seed)
    points = ", ".join(f"{n} × {name}" for name, n in sorted(found.points.items()))
    print(f"set back: {sum(found.points.values())} ({points}), seed {seed},")
    print(f"  {time.monotonic() - began:.0f} s")
    for name, figure in (
        ("orders", found.orders),
        ("keys at the buyers", found.keys),
        ("keys the journal gave back to their lines", found.bound_again),
        ("second messages with the same keys", found.repeated),
        ("violations", len(found.wrong)),
    ):
        print(f"  {name:44} {figure}")
    for told in found.wrong[:20]:
        print(f"  WRONG: {told}")
    print("nothing sold twice, nothing forgotten, nothing out of sale without need"
          if not found.wrong else f"{len(found.wrong)} wrong")  # fmt: skip
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
