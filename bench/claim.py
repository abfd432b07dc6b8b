"""Claim and record: gates, keys, parcels, intents with the journal, outcomes. No network.

    python -m bench.claim --keys 10000,10000000 --lines 10000

A shop with N free keys of one product delivers orders of one line each, and of ten lines each. What
is timed is all that stands in the database and the journal: reserve, intent, outcome; each is done
several times and the middle one counts. The peer is the plain path on the same disk: one
transaction for each order, by hand in SQL, that does less.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import sys
import tempfile
import time
from operator import itemgetter
from pathlib import Path

from bench.shops import opened, place, stock
from kmtool.operations import flow
from kmtool.operations.reserve import reserve_due
from kmtool.operations.routes import Outcome, Result
from kmtool.operations.send import Sent, begin, finish
from kmtool.operations.sender import sending
from kmtool.shop import Shop
from kmtool.store import effects

BAR = 10_000
FLAT = 1.3


def run(shop: Shop, orders: int, lines: int, prefix: str) -> dict[str, float]:
    """Deliver waiting orders without a network; return seconds by step and lines per second."""
    place(shop, orders, lines, prefix=prefix)
    took = {"reserve": 0.0, "intent": 0.0, "outcome": 0.0}
    size = flow.SLICE_MAX
    with sending(shop, "deliver") as mine:
        start, cpu_start = time.perf_counter(), time.process_time()
        reserved = reserve_due(mine)
        took["reserve"] = time.perf_counter() - start
        cpu = time.process_time() - cpu_start
        assert reserved.reserved == orders * lines, reserved
        due = [
            row
            for row in effects.due_effects(mine.db, mine.now_ms(), 1_000_000)
            if row["kind"] == "hand_over"
        ]
        assert len(due) == orders
        for first in range(0, len(due), size):
            start, cpu_start = time.perf_counter(), time.process_time()
            begun = begin(mine, due[first : first + size])
            between = time.perf_counter()
            finish(mine, [(one, Outcome(Result.OK, "bench")) for one in begun], Sent())
            took["intent"] += between - start
            took["outcome"] += time.perf_counter() - between
            cpu += time.process_time() - cpu_start
    whole = sum(took.values())
    return {**took, "rate": orders * lines / whole, "cpu_us": cpu / (orders * lines) * 1e6}


def _known(shop: Shop) -> int:
    """Return how many keys the shop ever had: none of them is made twice."""
    return int(shop.db.value("SELECT coalesce(max(id), 0) FROM keys"))


def naive(folder: Path, orders: int) -> float:
    """Return lines per second of the plain path: one commit for each order, no guarantees."""
    db = sqlite3.connect(folder / "naive.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE keys (id INTEGER PRIMARY KEY, sku, secret, state)")
    db.execute("CREATE INDEX free ON keys (sku, id) WHERE state = 'free'")
    db.execute("CREATE TABLE sold (order_no PRIMARY KEY, key_id UNIQUE)")
    db.executemany(
        "INSERT INTO keys (sku, secret, state) VALUES ('S', ?, 'free')",
        ((f"K{i:08d}",) for i in range(orders)),
    )
    start = time.perf_counter()
    for i in range(orders):
        db.execute("BEGIN IMMEDIATE")
        found = db.execute(
            "UPDATE keys SET state = 'sold' WHERE id = (SELECT id FROM keys WHERE sku = 'S'"
            " AND state = 'free' ORDER BY id LIMIT 1) RETURNING id"
        ).fetchone()
        db.execute("INSERT INTO sold VALUES (?, ?)", (f"O{i}", found[0]))
        db.execute("COMMIT")
    took = time.perf_counter() - start
    db.close()
    return orders / took


def main() -> int:
    """Print the rows; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", default="10000,1000000")
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default="")
    given = parser.parse_args()
    base = Path(given.folder or tempfile.mkdtemp(prefix="kmtool-bench-"))
    rates: dict[int, list[float]] = {1: [], 10: []}
    try:
        base.mkdir(parents=True, exist_ok=True)
        print(f"{'plain path, a commit per order':34} {naive(base, 2_000):9,.0f} lines/s")
        (base / "naive.db").unlink()
        for count in (int(word) for word in given.keys.split(",")):
            with opened(base / f"k{count}") as shop:
                kept = shop.db.value("SELECT coalesce(sum(free), 0) FROM stock")
                wanted = count + 2 * given.rounds * given.lines
                if kept < wanted:
                    stock(shop, "S1", wanted - kept, start=_known(shop))
                for lines in (1, 10):
                    found = sorted(
                        (
                            run(shop, given.lines // lines, lines, f"L{lines}-{time.time_ns()}-")
                            for _ in range(given.rounds)
                        ),
                        key=itemgetter("rate"),
                    )
                    got = found[len(found) // 2]
                    rates[lines].append(got["rate"])
                    steps = "  ".join(
                        f"{k} {got[k]:.2f} s" for k in ("reserve", "intent", "outcome")
                    )
                    print(
                        f"{count:>10,} keys, {lines:>2} lines an order "
                        f"{got['rate']:9,.0f} lines/s  {steps}  {got['cpu_us']:.0f} µs CPU a line"
                    )
    finally:
        if not given.folder:
            shutil.rmtree(base, ignore_errors=True)
    missed = 0
    for lines, each in rates.items():
        flat = max(each) / min(each)
        print(
            f"{lines:>2} lines an order: least {min(each):,.0f} (bar {BAR:,}),"
            f" spread {flat:.2f} (bar {FLAT})"
        )
        missed += min(each) < BAR or flat > FLAT
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
