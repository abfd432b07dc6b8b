"""A shop folder whose channel is the simulated shop on loopback, for daemons as processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters.demo_shop import DemoShop, Offer
from kmtool.app import create_shop, open_shop
from kmtool.clock import SystemClock
from kmtool.config import Config, load
from kmtool.shop import Shop
from tests.operations.stock import shelf

ROOT = Path(__file__).resolve().parents[2]
ITEM = "8801"
TOML = """schema = 1
[data]
private = ".private"
{database}
[sync]
every = "1s"
[deliver]
every = "{deliver}"
reread_after = "1h"
[brakes]
sku_pieces_per_hour = 0
sku_value_per_hour = "0"
buyer_pieces_per_hour = 0
[jobs]
doctor = "off"
backup = "off"
[channels.maple]
adapter = "demo"
mode = "auto"
couriers = ["demo"]
[channels.maple.options]
url = "{url}"
read_seconds = {read}
[channels.maple.credentials]
token = "demo-token"
secret = "demo-secret"
"""


@contextmanager
def simulated() -> Iterator[DemoShop]:
    """Run the simulated shop with one item on offer."""
    shop = DemoShop(SystemClock())
    shop.add_item(Offer(ITEM, "", "星海通行证", 2800, 99, "S1"))
    with shop:
        yield shop


def make(
    folder: Path, outside: DemoShop, *, keys: int = 20, deliver: str = "1s", read: float = 5.0,
    database: str = "",
) -> Config:  # fmt: skip
    """Set up the shop folder with keys on the shelf."""
    path = folder / "kmtool.toml"
    line = f'database = "{database}"' if database else ""
    path.write_text(
        TOML.format(url=outside.url, deliver=deliver, read=read, database=line), encoding="utf-8"
    )
    config = load(path)
    create_shop(config)
    with open_shop(config) as shop:
        shelf(shop, n=keys, item=ITEM, channel="maple")
    return config


@contextmanager
def daemon(folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `kmtool run` as its own program; it is killed at the end if it still lives."""
    with (folder / "daemon.out").open("ab") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "kmtool", "run", *words],
            cwd=folder, stdout=told, stderr=told, stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(60)


def wait_for(what: Callable[[], object], process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until something is so: at most a minute, and no longer than the process lives."""
    clock = SystemClock()
    end = clock.monotonic() + 60
    while not what():
        assert process is None or process.poll() is None, "the daemon ended by itself"
        assert clock.monotonic() < end, "it did not happen within a minute"
        clock.sleep(0.05)


def lines(shop: Shop) -> dict[str, int]:
    """Return state → how many lines are in it."""
    rows = shop.db.all("SELECT state, count(*) AS n FROM lines GROUP BY state")
    return {row["state"]: row["n"] for row in rows}
