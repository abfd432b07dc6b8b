"""Orders a second, end to end, against a channel on loopback that answers at once.

    python -m bench.loopback --orders 3000

kmtool reserves, writes intents and the journal, sends the message, writes the outcome, sets the
order to shipped and writes that too: two HTTP calls and six facts on the disk for each order, in
one process. The peers send the same two calls for each order in the same run: a plain loop with a
commit for each order, one `httpx.AsyncClient` at 50, eight threads of `httpx.Client`; none of them
keeps what kmtool promises. The server is a process of its own, on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx

from bench.shops import opened, place, stock
from kmtool.operations.deliver import deliver_all
from kmtool.operations.sender import sending

BAR = 500
TEXT = "您好，感谢购买！\n【星海通行证】共 1 个\nS1-00000000-QXWZ\n" * 2


@contextmanager
def server() -> Iterator[str]:
    """Run the server and yield its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.loopback_server"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stdin is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.stdin.close()
        process.wait(10)


def ours(folder: Path, url: str, orders: int) -> tuple[float, float]:
    """Return orders a second that kmtool delivers, and its CPU seconds for 1,000 orders."""
    route = "bench.loopback_route"
    with opened(folder, url=url, adapter=route, courier=route) as shop:
        stock(shop, "S1", orders + 200)
        place(shop, 100, prefix="W")
        with sending(shop, "deliver") as mine:
            deliver_all(mine)
            place(shop, orders)
            start, cpu = time.perf_counter(), time.process_time()
            result = deliver_all(mine)
            took, spent = time.perf_counter() - start, time.process_time() - cpu
    assert result.delivered == result.shipped == orders, result
    messages, buyers, shipped = httpx.get(f"{url}/counts").json()
    assert messages == buyers == shipped == orders + 100, (messages, buyers, shipped)
    return orders / took, spent / orders * 1000


def plain(folder: Path, url: str, orders: int) -> float:
    """Return orders a second of a plain loop: claim, commit, send, ship, commit."""
    db = sqlite3.connect(folder / "plain.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE keys (id INTEGER PRIMARY KEY, state, order_no)")
    db.execute("CREATE INDEX free ON keys (id) WHERE state = 'free'")
    db.execute("CREATE INDEX sold ON keys (order_no)")
    db.executemany("INSERT INTO keys (state) VALUES (?)", [("free",)] * orders)
    start = time.perf_counter()
    with httpx.Client(base_url=url) as client:
        for i in range(orders):
            db.execute(
                "UPDATE keys SET state = 'taken', order_no = ? WHERE id ="
                " (SELECT id FROM keys WHERE state = 'free' ORDER BY id LIMIT 1)",
                (f"P{i}",),
            )
            client.post(f"/orders/P{i}/messages", json={"id": i, "text": TEXT})
            client.post(f"/orders/P{i}/ship", json={"id": i})
            db.execute("UPDATE keys SET state = 'sent' WHERE order_no = ?", (f"P{i}",))
    took = time.perf_counter() - start
    db.close()
    return orders / took


def threads(url: str, orders: int) -> float:
    """Return orders a second of eight threads with a client each, without any records."""

    def work(part: range) -> None:
        with httpx.Client(base_url=url) as client:
            for i in part:
                client.post(f"/orders/T{i}/messages", json={"id": i, "text": TEXT})
                client.post(f"/orders/T{i}/ship", json={"id": i})

    start = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [range(n, orders, 8) for n in range(8)]))
    return orders / (time.perf_counter() - start)


async def _at_once(url: str, orders: int) -> None:
    gate = asyncio.Semaphore(50)
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:

        async def one(i: int) -> None:
            async with gate:
                await client.post(f"/orders/A{i}/messages", json={"id": i, "text": TEXT})
                await client.post(f"/orders/A{i}/ship", json={"id": i})

        await asyncio.gather(*(one(i) for i in range(orders)))


def at_once(url: str, orders: int) -> float:
    """Return orders a second of one AsyncClient with 50 calls at once, without any records."""
    start = time.perf_counter()
    asyncio.run(_at_once(url, orders))
    return orders / (time.perf_counter() - start)


def main() -> int:
    """Print the rows; 1 when the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=2_000)
    orders = parser.parse_args().orders
    with tempfile.TemporaryDirectory() as name, server() as url:
        rate, cpu = ours(Path(name) / "shop", url, orders)
        few = min(orders, 1_000)
        rows = [
            ("plain loop, a commit per step", plain(Path(name), url, few)),
            ("one AsyncClient at 50, no records", at_once(url, few)),
            ("8 threads of Client, no records", threads(url, few)),
            (f"kmtool, all records ({cpu:.2f} ms CPU)", rate),
        ]
    for title, figure in rows:
        print(f"{title:40} {figure:8,.0f} orders/s")
    print(f"bar {BAR}: {'held' if rate >= BAR else 'missed'}")
    return int(rate < BAR)


if __name__ == "__main__":
    sys.exit(main())
