"""A week of a shop that nobody touches: how many of its orders need a person?

    python -m bench.week --orders 1000

Three channels on loopback, in simulated time: a marketplace (messages), a WooCommerce shop (order
notes, then e-mail), a shop known by exported files (e-mail). The real sync, deliver and nightly
jobs run every five minutes, as the daemon runs them. What goes wrong is drawn per order and call at
the shares of `SHARES`. The owner's only deed is a delivery of keys each morning; one product runs
out on Thursday. At the end the buyers are asked. Exit 1 when an order was lost, a key went twice,
or fewer than 95 % needed nobody.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from bench.week_world import DAY_MS, HOUR_MS, KEY, WARES, Placed, World
from jobs import catalog, runner
from jobs.catalog import Given
from kmtool.app import create_shop, open_shop
from kmtool.config import load
from kmtool.domain.money import parse_e5
from kmtool.operations import doctor, import_keys, products, recovery, suppliers
from kmtool.operations.import_records import Terms
from kmtool.operations.key_sources import Source
from kmtool.operations.status import status
from kmtool.shop import Shop
from kmtool.store import orders as stored

BAR = 0.95
STEP_MS = 300_000
STEPS_A_DAY = DAY_MS // STEP_MS

TOML = """schema = 1
[shop]
name = "Week"
timezone = "Asia/Shanghai"
[data]
private = ".private"
[channels.maple]
adapter = "demo"
mode = "auto"
couriers = ["demo"]
[channels.maple.options]
url = "{maple}"
read_seconds = 5
[channels.maple.credentials]
token = "env:WEEK_TOKEN"
secret = "env:WEEK_SECRET"
[channels.woo]
adapter = "woocommerce"
mode = "auto"
couriers = ["channel_note", "mail"]
credentials = {{ key = "env:WEEK_CK", secret = "env:WEEK_CS" }}
options = {{ url = "{woo}" }}
[channels.leaf]
adapter = "file"
mode = "auto"
couriers = ["mail"]
[couriers.mail]
adapter = "email"
options = {{ host = "127.0.0.1", port = {port}, tls = "none", from = "shop@shop.example" }}
"""


class Week:
    """One shop that lives through the week."""

    def __init__(self, folder: Path, orders: int, seed: int) -> None:
        self.folder = folder
        self.world = World(folder, orders, seed)
        self.bought: Counter[str] = Counter()
        self.wrong: list[str] = []

    def run(self) -> int:
        """Live through it, then ask the buyers; return the exit code."""
        world, began = self.world, time.monotonic()
        with ExitStack() as stack:
            stack.callback(world.mail.close)
            stack.enter_context(world.maple)
            stack.enter_context(world.woo)
            shop = stack.enter_context(open_shop(self._config(), clock=world.clock))
            self._set_up(shop)
            shop = stack.enter_context(recovery.recovered(shop, "run")).shop
            due = world.moments()
            for step in range(8 * STEPS_A_DAY):
                if step == 7 * STEPS_A_DAY:
                    world.calm()
                while due and due[0] <= world.clock.now_ms():
                    due.pop(0)
                    world.place()
                world.pass_by()
                self._work(shop, step)
                world.clock.advance(STEP_MS)
            return self._look(shop, time.monotonic() - began)

    def _config(self) -> str:
        world = self.world
        os.environ |= {
            "WEEK_TOKEN": world.maple.token,
            "WEEK_SECRET": world.maple.secret,
            "WEEK_CK": world.woo.key,
            "WEEK_CS": world.woo.secret,
        }
        path = self.folder / "kmtool.toml"
        toml = TOML.format(maple=world.maple.url, woo=world.woo.url, port=world.mail.port)
        path.write_text(toml, "utf-8")
        create_shop(load(path), world.clock)
        return str(path)

    def _set_up(self, shop: Shop) -> None:
        suppliers.add(shop, "sup", name="供货商", mode="consignment")
        for sku, price, _cost in WARES:
            products.add(shop, sku, products.Fields(title=f"商品 {sku}", price_minor=price))
            pairs = (("maple", sku), ("woo", str(self.world.woo_items[sku])), ("leaf", sku))
            for channel, item in pairs:
                products.map_listing(shop, products.Mapping(channel, item, "", sku))

    def _work(self, shop: Shop, step: int) -> None:
        """Do what the daemon does in five minutes, and what the owner does in the morning."""
        day, of_day = divmod(step, STEPS_A_DAY)
        if of_day == 0 and day < 7:
            self._restock(shop, day)
        if step % (HOUR_MS // STEP_MS) == 0:
            self.world.export(step)
            if day < 7 and self.world.chance.random() < 0.5:
                self.world.woo_trouble()
        names = ["sync", "deliver", "low_stock"]
        if of_day == 4 * HOUR_MS // STEP_MS:
            names += ["doctor", "backup"]
        for name in names:
            job = catalog.find(name)
            assert job is not None
            ran = runner.run_job(shop, job, Given(then=runner.following(shop, lambda _: None)))
            if ran.state == "failed" and not ran.outside:
                self.wrong.append(f"day {day + 1}: job {name}: {ran.error}")

    def _restock(self, shop: Shop, day: int) -> None:
        """Bring in the keys of a day; on Wednesday too few of W2 come, so that it runs out."""
        for sku, _price, cost in WARES:
            count = self.world.orders // 7 + 40
            if (day, sku) == (2, "W2"):
                count = 5
            texts = []
            for _ in range(count):
                self.bought[sku] += 1
                tail = "".join(self.world.chance.choices("ABCDEFGHJKLMNPQRSTUVWXYZ", k=5))
                texts.append(f"{sku}-{self.bought[sku]:06d}-{tail}")
            file = self.folder / f"keys-{day}-{sku}.txt"
            file.write_text("\n".join(texts) + "\n", "utf-8")
            import_keys.run(
                shop,
                [Source(file.name, file.read_bytes())],
                Terms(sku, "sup", parse_e5(cost)),
                agree=lambda _: True,
                create=lambda _kind, _name: False,
            )

    def _look(self, shop: Shop, took_s: float) -> int:
        """Ask the buyers, and look whether everything else waits where the owner sees it."""
        holders: dict[str, set[str]] = {}
        ends: Counter[str] = Counter()
        waits: Counter[str] = Counter()
        repeated = 0
        for one in self.world.placed:
            texts = self.world.received(one)
            keys = {key for text in texts for key in KEY.findall(text)}
            repeated += max(0, len(texts) - 1)
            for key in keys:
                holders.setdefault(key, set()).add(one.number)
            end = self._end(one, keys, shop)
            ends[end] += 1
            if end == "waits for a person":
                waits[one.fate] += 1
        self.wrong += [f"key {k} went to {sorted(n)}" for k, n in holders.items() if len(n) > 1]
        health = doctor.doctor(shop)
        self.wrong += [f"doctor: {c.name}: {c.figure}" for c in health.broken]
        total = len(self.world.placed)
        alone = total - ends["waits for a person"] - ends["lost"]
        print(f"{total} orders in a week, {took_s:.0f} s, {len(self.world.mails())} mails")
        for name, n in ends.most_common():
            print(f"  {name:44} {n}")
        for name, n in waits.most_common():
            print(f"    {name:42} {n}")
        print(f"  {'second messages with the same keys':44} {repeated}")
        print(f"  {'items on the morning screen':44} {len(status(shop).needs_you)}")
        print(f"  {'needed nobody':44} {alone / total:.1%} (bar {BAR:.0%})")
        for told in self.wrong[:20]:
            print(f"  WRONG: {told}")
        return int(bool(self.wrong) or alone / total < BAR)

    def _end(self, one: Placed, keys: set[str], shop: Shop) -> str:
        order = stored.find(shop.db, one.channel, one.number)
        if order is None:
            self.wrong.append(f"{one.channel} {one.number} ({one.fate}) was never pulled")
            return "lost"
        lines = stored.lines(shop.db, order["id"])
        states = {line["state"] for line in lines}
        if (one.refunded or one.closed) and not keys:
            if states == {"cancelled"}:
                return "cancelled before anything left"
        elif len(keys) == one.keys and states == {"delivered"} and not one.refunded:
            if self.world.shipped(one):
                return "delivered and marked"
            self.wrong.append(f"{one.channel} {one.number} is not marked shipped")
            return "lost"
        if states & {"held", "unmapped", "human", "refund_case"}:
            return "waits for a person"
        self.wrong.append(f"{one.channel} {one.number} ({one.fate}) is {states}, {len(keys)} keys")
        return "lost"


def main(argv: list[str] | None = None) -> int:
    """Run, print one screen, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.week", description=__doc__)
    parser.add_argument("--orders", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args(argv)
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    folder = Path(tempfile.mkdtemp(prefix="kmtool-week-"))
    print(f"seed {seed}")
    logging.getLogger("kmtool").setLevel(logging.CRITICAL)  # the figures tell it
    code = Week(folder, given.orders, seed).run()
    if not code:
        shutil.rmtree(folder, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
