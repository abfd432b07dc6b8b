"""How long deliveries take: nearest-rank percentiles per step, channel, hour; slow ones alert."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmtool.clock import ManualClock
from kmtool.errors import UsageError
from kmtool.operations import alerts, latency
from kmtool.operations.deliver import deliver
from kmtool.shop import Shop
from kmtool.store.db import Db
from tests.fakes import order
from tests.operations.delivery_kit import pull
from tests.operations.stock import shelf

HOUR_MS = 3_600_000
PAID = 1_795_305_600_000


class Seeder:
    """Writes orders of one line with the stamps wanted."""

    def __init__(self, db: Db) -> None:
        self.db = db
        self.n = 0

    def order(self, paid: int, *steps: int | None, channel: str = "shop1", **more: Any) -> None:
        """`steps` are the milliseconds to seen, reserved, sent, acknowledged, marked."""
        self.n += 1
        stamps: list[int | None] = [paid]
        for step in steps:
            last = stamps[-1]
            stamps.append(None if step is None or last is None else last + step)
        stamps += [None] * (6 - len(stamps))
        seen, reserved, sent, acknowledged, marked = stamps[1:]
        order = {
            "id": self.n, "channel": channel, "number": f"A{self.n}", "account": "",
            "status": "paid", "refund": "none", "refunded_minor": 0, "revision_ms": paid,
            "created_ms": paid, "paid_ms": paid, "currency": "CNY", "total_minor": 1,
            "expected_gross_minor": 1, "ext_txn_id": "", "risk": "", "note": "", "buyer_ref": "",
            "buyer_name": "", "buyer_email": "", "buyer_phone": "", "fact_hash": "",
            "facts_ms": paid, "seen_ms": seen if seen is not None else paid,
            "code": f"KM{self.n}", "history": more.get("history", 0),
            "released_ms": more.get("released_ms"), "marked_ms": marked,
        }  # fmt: skip
        line = {
            "order_id": self.n, "line_no": "1", "item_id": "", "variant_id": "", "title": "",
            "quantity": 1, "amount_minor": 1, "account": "", "kind": "key", "needed": 1,
            "state": more.get("state", "delivered"), "gate": "", "reason": "", "since_ms": paid,
            "reserved_ms": reserved, "sent_ms": sent, "acknowledged_ms": acknowledged,
            "waited": more.get("waited", ""),
        }  # fmt: skip
        for table, row in (("orders", order), ("lines", line)):
            names = ", ".join(row)
            marks = ", ".join(f":{name}" for name in row)
            self.db.run(f"INSERT INTO {table} ({names}) VALUES ({marks})", **row)


@pytest.fixture
def seed(db: Db) -> Seeder:
    return Seeder(db)


def row(shop: Shop, step: str, *, by: str = "channel", **wanted: Any) -> latency.Latency:
    found = [
        r
        for r in latency.report(shop, days=7, by=by).rows
        if r.step == step and all(getattr(r, k) == v for k, v in wanted.items())
    ]
    assert len(found) == 1, found
    return found[0]


def test_every_step_of_an_order_is_told(shop: Shop, seed: Seeder) -> None:
    seed.order(PAID - HOUR_MS, 1000, 2000, 3000, 4000, 5000)
    found = {r.step: (r.count, r.p50_s) for r in latency.report(shop, days=7, by="channel").rows}
    assert found == {
        "paid_seen": (1, 1.0),
        "seen_reserved": (1, 2.0),
        "reserved_sent": (1, 3.0),
        "sent_acknowledged": (1, 4.0),
        "acknowledged_marked": (1, 5.0),
        "seen_sent": (1, 5.0),
        "paid_sent": (1, 6.0),
        "paid_acknowledged": (1, 10.0),
    }


def test_figures_are_those_of_a_sorted_list(shop: Shop, seed: Seeder) -> None:
    chance = random.Random(7)
    taken: dict[str, list[int]] = {"shop1": [], "shop2": []}
    for _ in range(237):
        channel = chance.choice(list(taken))
        ms = round(chance.lognormvariate(8, 1.5))
        taken[channel].append(ms)
        seed.order(PAID - HOUR_MS, ms, 0, 0, 0, channel=channel)
    for channel, values in taken.items():
        ordered = sorted(values)
        found = row(shop, "paid_seen", channel=channel)
        assert found.count == len(values)
        assert found.p50_s == latency.percentile(ordered, 50) / 1000
        assert found.p95_s == latency.percentile(ordered, 95) / 1000
        assert found.max_s == ordered[-1] / 1000


@given(st.lists(st.integers(0, 10**9), min_size=1), st.integers(1, 100))
def test_a_percentile_is_a_value_that_enough_do_not_pass(values: list[int], p: int) -> None:
    ordered = sorted(values)
    found = latency.percentile(ordered, p)
    assert found in values
    assert sum(v <= found for v in values) * 100 >= p * len(values)
    assert sum(v < found for v in values) * 100 < p * len(values)


def test_hours_are_those_of_the_shops_zone(shop: Shop, seed: Seeder) -> None:
    seed.order(PAID - HOUR_MS, 1000)  # 07:00 in Shanghai
    seed.order(PAID - 5 * HOUR_MS, 3000)
    assert row(shop, "paid_seen", by="hour", hour=7).p50_s == 1.0
    assert row(shop, "paid_seen", by="hour", hour=3).p50_s == 3.0


def test_what_waited_stands_apart(shop: Shop, seed: Seeder) -> None:
    for _ in range(4):
        seed.order(PAID - HOUR_MS, 1, 10, 10, 10)
    seed.order(PAID - HOUR_MS, 1, 900_000, 10, 10, waited="stock")
    seed.order(PAID - HOUR_MS, 1, 1_900_000, 10, 10, released_ms=PAID)
    seed.order(PAID - HOUR_MS, 1, 700_000, 10, 10, channel="counter")
    assert row(shop, "seen_reserved", channel="shop1", waited=False).max_s == 0.01
    apart = row(shop, "seen_reserved", channel="shop1", waited=True)
    assert (apart.count, apart.max_s) == (2, 1900.0)
    assert row(shop, "seen_reserved", channel="counter").waited


def test_history_and_old_orders_are_left_out_and_no_time_is_negative(
    shop: Shop, seed: Seeder
) -> None:
    seed.order(PAID - HOUR_MS, 1, 1, 1, history=1)
    seed.order(PAID - 8 * 24 * HOUR_MS, 5000)
    seed.order(PAID - HOUR_MS, -3000)
    assert (row(shop, "paid_seen").count, row(shop, "paid_seen").max_s) == (1, 0.0)


def test_odd_wishes_are_refused(shop: Shop) -> None:
    for days, by in ((0, "channel"), (7, "moon"), (10**6, "hour")):
        with pytest.raises(UsageError):
            latency.report(shop, days=days, by=by)


def test_a_slow_step_is_told_once_and_cleared(shop: Shop, seed: Seeder, clock: ManualClock) -> None:
    for _ in range(5):
        seed.order(PAID - HOUR_MS // 2, 1000, 1000, 1000, 1000)
    latency.check(shop)
    assert latency.slow(shop) == {}
    for _ in range(5):
        seed.order(PAID - HOUR_MS // 2, 1000, 200_000, 1000, 1000)
    for _ in range(2):
        latency.check(shop)
    told = alerts.listing(shop, None).alerts
    assert [(a.code, a.subject) for a in told] == [("latency", "shop1:seen_sent")]
    assert told[0].text == (
        "shop1: seen → sent takes 3m21s (p95 of 10 in the last hour), the limit is 2m00s:"
        " kmtool report latency"
    )
    clock.advance(2 * HOUR_MS)
    latency.check(shop)
    assert alerts.listing(shop, None).alerts == ()


def test_what_hangs_is_slow_too(shop: Shop, seed: Seeder) -> None:
    """A line that is never sent is in no figure; its age counts once it is past the limit."""
    for _ in range(3):
        seed.order(PAID - HOUR_MS // 2, 1000, state="ready")
    for _ in range(3):
        seed.order(PAID - HOUR_MS // 2, 1000, state="held", waited="stock")
    assert set(latency.slow(shop)) == {"shop1:seen_sent", "shop1:paid_sent"}
    shop.db.run("UPDATE lines SET waited = 'pause'")
    assert latency.slow(shop) == {}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0s"), (9.4, "9.4s"), (59, "59s"), (61, "1m01s"), (7500, "2h05m")],
)
def test_durations_are_spoken(seconds: float, text: str) -> None:
    assert latency.spoken(seconds) == text


def test_a_line_remembers_what_it_first_waited_for(shop: Shop) -> None:
    shelf(shop, n=0)
    pull(shop, order("A1"))
    deliver(shop)
    assert shop.db.value("SELECT waited FROM lines") == "stock"
    shelf(shop, n=5)
    pull(shop, order("A2", at_ms=PAID + 6000))
    deliver(shop)
    assert [r["waited"] for r in shop.db.all("SELECT * FROM lines ORDER BY id")] == ["stock", ""]
    assert {r["state"] for r in shop.db.all("SELECT state FROM lines")} == {"delivered"}
