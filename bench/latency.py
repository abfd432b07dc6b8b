"""Paid → sent with the real daemon: `kmtool run`, polling every 5 s, against the simulated shop.

    python -m bench.latency --seconds 60 --rate 2

Orders are paid at random moments; what counts is the time from the payment at the shop until the
shop has the message for the buyer. The shop shows a new order to a pull only after its lag of 2 s.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from adapters.demo_shop import DemoShop, Offer, Sold
from bench.shops import ITEM, opened, stock
from kmtool.clock import SystemClock

POLL_S = 5
BAR_S = POLL_S + 3
WAIT_S = 60


def place_orders(shop: DemoShop, seconds: float, rate: float) -> int:
    """Let buyers pay at random moments; return how many did."""
    chance, count, end = random.Random(7), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(chance.expovariate(rate))
        count += 1
        shop.add_order([Sold(ITEM)], buyer=f"demo_buyer_{count}")
    return count


def waits_s(shop: DemoShop) -> list[float]:
    """Return the seconds from payment to message of all orders that have one."""
    with shop.lock:
        return [
            (order.messages[0]["time_ms"] - (order.paid_ms or 0)) / 1000
            for order in shop.orders.values()
            if order.messages
        ]


def main() -> int:
    """Print p50 and p95; 1 when the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=2, help="orders a second")
    given = parser.parse_args()
    outside = DemoShop(SystemClock())
    outside.add_item(Offer(ITEM, "", "星海通行证", 2800, 99, "S1"))
    with tempfile.TemporaryDirectory() as name, outside:
        folder = Path(name)
        with opened(folder, url=outside.url) as shop:
            stock(shop, "S1", round(given.seconds * given.rate * 2) + 100)
        daemon = subprocess.Popen(
            [sys.executable, "-m", "kmtool", "run"],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
        )  # fmt: skip
        try:
            time.sleep(POLL_S)
            count = place_orders(outside, given.seconds, given.rate)
            end = time.monotonic() + WAIT_S
            while len(waits_s(outside)) < count and time.monotonic() < end:
                time.sleep(0.2)
            found = sorted(waits_s(outside))
        finally:
            daemon.terminate()
            _, told = daemon.communicate(timeout=60)
    if len(found) < count:
        print(f"{len(found)} of {count} orders were sent\n{told}")
        return 1
    p95 = statistics.quantiles(found, n=20)[-1]
    print(
        f"{count} orders, poll every {POLL_S} s: paid → sent p50 {statistics.median(found):.2f} s,"
        f" p95 {p95:.2f} s, longest {found[-1]:.2f} s (bar: p95 {BAR_S} s)"
    )
    return int(p95 > BAR_S)


if __name__ == "__main__":
    sys.exit(main())
