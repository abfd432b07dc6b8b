"""How the usual ways to hand out keys do under load, repeated calls and kill -9, beside kmtool.

    python -m bench.peers --orders 400 --kills 20

Three techniques that shops use, each in a few lines of SQL on the same machine, with the same load:
eight processes, one free key for each paid order, every payment told twice (payment services repeat
their calls), and a process that dies by SIGKILL now and then between two steps (`--deaths` per
hundred calls; whoever was killed is told again by the second call).

- look, then take: SELECT a free key, UPDATE it, mark the order; no transaction.
- in a transaction: the same between BEGIN and COMMIT, as the database isolates by default.
- one statement: UPDATE … WHERE id = (SELECT …) AND it is free RETURNING it; then send; then mark.

Counted at the buyers: keys with two buyers, paid orders without a key, orders with two keys. Then
kmtool serves as many orders of a simulated shop that loses replies, while its processes are killed:
`sync`, `deliver`, `run`, one or two at a time, on SQLite (`bench.crash`); four daemons at once on
PostgreSQL (`bench.crash_workers`). Its orders are of one to eight keys, and an order with another
number of them counts in the third column. Its seconds are those of all processes from the making of
the shop until the last order is marked as shipped there and `doctor` has looked.
No technique is a product; what a product does on top of it may mend some of this.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.crash import Crash
from bench.crash_workers import Workers

WORKERS = 8
WAIT_S = 120
Run = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Found:
    """What the buyers say."""

    doubled: int
    without: int
    twice: int
    seconds: float


class Store:
    """One connection; statements with `?`, autocommit until `begin`."""

    def __init__(self, target: str) -> None:
        self.postgresql = "://" in target or "host=" in target
        if self.postgresql:
            import psycopg

            self.raw: Any = psycopg.connect(target, autocommit=True)
        else:
            self.raw = sqlite3.connect(target, isolation_level=None, timeout=30)

    def run(self, sql: str, *values: object) -> Any:
        return self.raw.execute(sql.replace("?", "%s") if self.postgresql else sql, values)

    def one(self, sql: str, *values: object) -> Any:
        row = self.run(sql, *values).fetchone()
        return None if row is None else row[0]

    def close(self) -> None:
        self.raw.close()


def look_then_take(db: Store, order: str, step: Run, send: Run) -> None:
    if db.one("SELECT state FROM orders WHERE number = ?", order) == "delivered":
        return
    step()
    key = db.one("SELECT id FROM keys WHERE sold = 0 ORDER BY id LIMIT 1")
    if key is None:
        return
    step()
    db.run("UPDATE keys SET sold = 1 WHERE id = ?", key)
    step()
    send(order, key)
    step()
    db.run("UPDATE orders SET state = 'delivered' WHERE number = ?", order)


def in_a_transaction(db: Store, order: str, step: Run, send: Run) -> None:
    db.run("BEGIN")
    try:
        if db.one("SELECT state FROM orders WHERE number = ?", order) == "delivered":
            db.run("ROLLBACK")
            return
        key = db.one("SELECT id FROM keys WHERE sold = 0 ORDER BY id LIMIT 1")
        step()
        if key is None:
            db.run("ROLLBACK")
            return
        db.run("UPDATE keys SET sold = 1 WHERE id = ?", key)
        step()
        db.run("UPDATE orders SET state = 'delivered' WHERE number = ?", order)
        db.run("COMMIT")
    except BaseException:
        with suppress(Exception):
            db.run("ROLLBACK")
        raise
    step()
    send(order, key)


def one_statement(db: Store, order: str, step: Run, send: Run) -> None:
    if db.one("SELECT state FROM orders WHERE number = ?", order) == "delivered":
        return
    step()
    key = db.one(
        "UPDATE keys SET sold = 1 WHERE id = (SELECT id FROM keys WHERE sold = 0"
        " ORDER BY id LIMIT 1) AND sold = 0 RETURNING id"
    )
    if key is None:
        return
    step()
    send(order, key)
    step()
    db.run("UPDATE orders SET state = 'delivered' WHERE number = ?", order)


TECHNIQUES = {
    "look, then take": look_then_take,
    "in a transaction": in_a_transaction,
    "one statement": one_statement,
}


def serve(target: str, name: str, calls: list[str], buyers: str, deaths: float, seed: int) -> None:
    """Answer calls one after the other; die at a random step now and then."""
    draw = random.Random(seed)
    handle = os.open(buyers, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def step() -> None:
        if draw.random() < deaths / 4:
            os.kill(os.getpid(), signal.SIGKILL)

    def send(order: str, key: int) -> None:
        time.sleep(0.002)  # the network
        os.write(handle, f"{order} {key}\n".encode())

    with closing(Store(target)) as db:
        while calls:
            order = calls.pop()
            with suppress(Exception):  # an error page: the payment service calls once more
                TECHNIQUES[name](db, order, step, send)


def measure(target: str, name: str, orders: int, deaths: float, seed: int, folder: Path) -> Found:
    """Run one technique; return what the buyers hold."""
    draw = random.Random(seed)
    numbers = [f"A{i}" for i in range(orders)]
    with closing(Store(target)) as db:
        for table in ("keys", "orders"):
            db.run(f"DROP TABLE IF EXISTS {table}")
        db.run("CREATE TABLE keys (id INTEGER PRIMARY KEY, sold INTEGER NOT NULL)")
        db.run("CREATE TABLE orders (number TEXT PRIMARY KEY, state TEXT NOT NULL)")
        db.run("BEGIN")
        for i, number in enumerate(numbers):
            db.run("INSERT INTO keys VALUES (?, 0)", i)
            db.run("INSERT INTO orders VALUES (?, 'paid')", number)
        db.run("COMMIT")
    buyers = folder / f"{name}.txt"
    buyers.write_text("")
    calls = [number for number in numbers for _ in range(2)]
    draw.shuffle(calls)
    began = time.monotonic()
    shares = [calls[i::WORKERS] for i in range(WORKERS)]
    for round_ in range(40):  # whoever died is started again with the calls it had not answered
        if not any(shares):
            break
        shares = _round(target, name, shares, str(buyers), deaths, seed + 100 * round_)
    seconds = time.monotonic() - began
    return _asked(buyers, numbers, seconds)


def _round(
    target: str, name: str, shares: list[list[str]], buyers: str, deaths: float, seed: int
) -> list[list[str]]:
    with multiprocessing.get_context("spawn").Manager() as manager:
        lists = [manager.list(share) for share in shares]
        started = []
        for i, share in enumerate(lists):
            process = multiprocessing.get_context("spawn").Process(
                target=serve, args=(target, name, share, buyers, deaths, seed + i)
            )
            process.start()
            started.append(process)
        for process in started:
            process.join(WAIT_S)
            if process.is_alive():
                process.kill()
        return [list(share) for share in lists]


def _asked(buyers: Path, numbers: list[str], seconds: float) -> Found:
    holders: dict[str, set[str]] = defaultdict(set)
    keys: dict[str, set[str]] = defaultdict(set)
    for line in buyers.read_text().splitlines():
        order, key = line.split()
        holders[key].add(order)
        keys[order].add(key)
    return Found(
        doubled=sum(len(found) > 1 for found in holders.values()),
        without=sum(number not in keys for number in numbers),
        twice=sum(len(found) > 1 for found in keys.values()),
        seconds=seconds,
    )


def main(argv: list[str] | None = None) -> int:
    """Run, print one screen; the exit code is kmtool's."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--orders", type=int, default=400)
    parser.add_argument("--deaths", type=float, default=2.0, help="per hundred calls")
    parser.add_argument("--kills", type=int, default=20, help="of kmtool's processes")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="kmtool-peers-"))
    print(f"{given.orders} paid orders, as many keys, 8 processes, every call twice,"
          f" {given.deaths} % of calls die")  # fmt: skip
    print(f"{'':34}{'keys with':>12}{'paid without':>14}{'orders with':>13}")
    print(f"{'':34}{'two buyers':>12}{'a key':>14}{'two keys':>13}{'seconds':>10}")
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        places = {"SQLite": str(folder / "peers.db")}
        with suppress(ImportError):
            import pgserver

            server = pgserver.get_server(folder / "pg", cleanup_mode="delete")
            stack.callback(server.cleanup)
            places["PostgreSQL"] = server.get_uri()
        for place, target in places.items():
            for name in TECHNIQUES:
                found = measure(target, name, given.orders, given.deaths / 100, given.seed, folder)
                print(_line(f"{name}, {place}", found), flush=True)
            with closing(Store(target)) as db:  # kmtool has tables of these names
                for table in ("keys", "orders"):
                    db.run(f"DROP TABLE IF EXISTS {table}")
        wrong: list[str] = []
        for place, target in places.items():
            own = folder / f"kmtool-{place}"
            own.mkdir()
            crash = (
                Crash(own, given.kills, given.seed, given.orders)
                if place == "SQLite"
                else Workers(own, given.kills, given.seed, target, 4, given.orders)
            )
            found, more = _served(crash)
            wrong += more
            kills = sum(crash.figures.kills.values())
            print(f"{_line(f'kmtool, {place}', found)}  ({kills} × kill -9)", flush=True)
        for told in wrong:
            print(f"  WRONG: {told}")
    return 1 if wrong else 0


def _line(name: str, found: Found) -> str:
    return f"{name:34}{found.doubled:12}{found.without:14}{found.twice:13}{found.seconds:10.1f}"


def _served(crash: Crash) -> tuple[Found, list[str]]:
    """Let kmtool serve; return what the buyers say, and what is wrong."""
    began = time.monotonic()
    figures = crash.run()
    lines = dict(figures.lines)
    found = Found(
        doubled=int(str(lines["keys with two buyers"])),
        without=int(str(lines["paid orders forgotten"])),
        twice=int(str(lines["orders without exactly their keys"])),
        seconds=time.monotonic() - began,
    )
    return found, figures.wrong


if __name__ == "__main__":
    sys.exit(main())
