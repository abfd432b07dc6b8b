"""A day at a real WooCommerce shop: orders come, change, are refunded while we pull and deliver.

A process of its own changes orders all the while, and everything we say to the shop goes through a
proxy that drops replies after the shop acted, repeats writes and answers 502. What counts at the
end is what the shop itself shows: every order has its keys once, or rightly none.

Needs KMTOOL_LIVE_WOO_URL, KMTOOL_LIVE_WOO_CK and KMTOOL_LIVE_WOO_CS of a shop made for tests (it is
written to), with at least five plain products; skipped without them. KMTOOL_LIVE_WOO_ORDERS sets
how many orders (1000). How the shop keeps its orders (HPOS or classic) is its own setting: run it
once with each.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kmtool.app import create_shop, open_shop
from kmtool.config import load
from kmtool.operations import products
from kmtool.operations.deliver import deliver
from kmtool.operations.doctor import doctor
from kmtool.operations.refunds import CHANGED
from kmtool.operations.sync import sync
from kmtool.shop import Shop
from tests.live.faulty_proxy import FaultyProxy
from tests.live.woo_hands import CLOCK, MISSING, NAMES, Owner, Seen, basket
from tests.operations.stock import shelf

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(NAMES)}"),
    pytest.mark.timeout(3600),
]
LOOK_MS = 10_000
"""How long before its keys leave an order was read, at most, on a server that is busy."""
ROOT = Path(__file__).parents[2]
UNITS = {"S2": 2}
PARTS = {"B1": {"S1": 1, "S3": 2}}
DOUBTFUL = {"quantity", "cancel", "refund_part", "refund_full", "on_hold", "on_hold_and_back",
            "completed_by_hand"}  # fmt: skip
STOPPED = {"cancelled", "refund_case", "closed"}

TOML = """schema = 1
[shop]
name = "测试小店"
[data]
private = ".private"
[sync]
first = "1m"
[deliver]
reread_after = "1s"
tries_max = 20
[brakes]
buyer_pieces_per_hour = 0
sku_pieces_per_hour = 0
sku_value_per_hour = "0"
below_cost = false
[channels.shop1]
adapter = "woocommerce"
mode = "auto"
couriers = ["channel_note"]
credentials = {{ key = "env:{ck}", secret = "env:{cs}" }}
options = {{ url = "{url}", proxy = "{proxy}", read_seconds = 8 }}
"""


@pytest.fixture
def owner() -> Iterator[Owner]:
    """The hands of buyers and administrators."""
    made = Owner()
    yield made
    made.close()


@pytest.fixture
def proxy() -> Iterator[FaultyProxy]:
    """What stands between us and the shop."""
    with FaultyProxy(seed=17) as made:
        yield made


@pytest.fixture
def shop(tmp_path: Path, owner: Owner, proxy: FaultyProxy) -> Iterator[Shop]:
    path = tmp_path / "kmtool.toml"
    text = TOML.format(url=os.environ[NAMES[0]], ck=NAMES[1], cs=NAMES[2], proxy=proxy.url)
    path.write_text(text, encoding="utf-8")
    config = load(path)
    create_shop(config)
    with open_shop(config) as opened:
        while sync(opened, catch_up=True).failed:
            CLOCK.sleep(1)
        yield opened


def test_every_order_ends_right_whatever_happens_on_the_way(
    shop: Shop, owner: Owner, proxy: FaultyProxy, tmp_path: Path
) -> None:
    total = int(os.environ.get("KMTOOL_LIVE_WOO_ORDERS", "1000"))
    chance, started = random.Random(11), CLOCK.monotonic()
    items = [p["id"] for p in owner.products()[:5]]
    _stock_up(shop, items, total)
    numbers = owner.order([basket(items, chance) for _ in range(total * 8 // 10)])
    unpaid = owner.order([basket(items, chance) for _ in range(total // 10)], paid=False)
    plan = {
        "seed": 5, "seconds": total * 0.15, "items": items, "unpaid": unpaid[: -total // 50],
        "victims": chance.sample(numbers, total * 4 // 10), "fresh": total // 10,
    }  # fmt: skip
    placed_s = CLOCK.monotonic() - started
    with _Writer(plan, tmp_path) as log:
        _run_until_quiet(shop, log, items)
    deeds, unseen = _deeds(log), _unseen(log) if owner.storage() == "classic" else {}
    delivered_s = CLOCK.monotonic() - started - placed_s
    seen = owner.look([*numbers, *unpaid, *(n for n, d in deeds.items() if "fresh" in d)])
    wrong = list(_wrong(shop, seen, deeds, unseen))
    report = {
        "storage": owner.storage(), "orders": len(seen), "placed_s": round(placed_s),
        "delivered_s": round(delivered_s), "deeds": Counter(d for ds in deeds.values() for d in ds),
        "proxy": dict(sorted(proxy.done.items())), "endings": _endings(shop),
        "keys": sum(len(one.keys) for one in seen.values()),
        "notes": sum(len(one.with_keys) for one in seen.values()), "wrong": len(wrong),
    }  # fmt: skip
    sys.stdout.write("\n" + json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    assert not wrong, "\n".join(wrong[:20])
    broken = [check for check in doctor(shop).checks if not check.ok and check.broken]
    assert not broken, broken


def _stock_up(shop: Shop, items: list[int], total: int) -> None:
    """Map four of the five items: keys, two keys a piece, a bundle, keys of which few are left."""
    names = [str(item) for item in items]
    shelf(shop, "S1", n=total * 4, item=names[0], cost_e5=0)
    shelf(shop, "S2", n=total * 4, item=names[1], cost_e5=0, units=2)
    shelf(shop, "S3", n=total * 4, item=None, cost_e5=0)
    shelf(shop, "S4", n=total * 3, item=names[3], cost_e5=0)
    shelf(shop, "S5", n=total * 3, item=None, cost_e5=0)
    products.add(shop, "B1", products.Fields(parts=tuple(PARTS["B1"].items())))
    products.map_listing(shop, products.Mapping("shop1", names[2], "", "B1"))


class _Writer:
    """The process that changes orders; its log is what it did."""

    def __init__(self, plan: dict[str, Any], folder: Path) -> None:
        self._plan, self.log = folder / "plan.json", folder / "deeds.jsonl"
        self._plan.write_text(json.dumps(plan), encoding="utf-8")
        self.log.touch()

    def __enter__(self) -> Path:
        words = [sys.executable, "-m", "tests.live.woo_writer", str(self._plan), str(self.log)]
        self._process = subprocess.Popen(words, cwd=ROOT)
        return self.log

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


def _deeds(log: Path) -> dict[str, list[str]]:
    """Return order number → what was done to it."""
    found: dict[str, list[str]] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if "number" in row:
            found.setdefault(row["number"], []).append(row["deed"])
    return found


def _unseen(log: Path) -> dict[str, int]:
    """Return order number → when its quantity was changed.

    With classic storage such a change does not count as one: the order keeps its modified date and
    is in no pull. Read again right before its keys leave it is seen, later by nobody.
    """
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return {row["number"]: row["at_ms"] for row in rows if row.get("deed") == "quantity"}


def _run_until_quiet(shop: Shop, log: Path, items: list[int]) -> None:
    """Sync and deliver in turn until the writer is done and nothing moves any more."""
    quiet = 0
    for round_ in range(900):
        is_over = '"end"' in log.read_text(encoding="utf-8")
        found = sync(shop)
        deliver(shop)
        if round_ == 2:
            mapping = products.Mapping("shop1", str(items[4]), "", "S5")
            products.map_listing(shop, mapping)
        moving = shop.db.value(
            "SELECT count(*) FROM effects WHERE state IN ('pending', 'inflight', 'retry_at')"
        )
        waits = shop.db.value("SELECT count(*) FROM lines WHERE state = 'ready'")
        quiet = quiet + 1 if is_over and not found.failed and not moving and not waits else 0
        if quiet == 3:
            return
        CLOCK.sleep(2.5 if is_over else 0.5)
    raise AssertionError("the shop did not come to rest")


def _books(shop: Shop) -> dict[str, list[dict[str, Any]]]:
    rows = shop.db.all(
        "SELECT o.number, o.status, o.refund, l.* FROM orders o JOIN lines l ON l.order_id = o.id"
        " WHERE o.history = 0 ORDER BY o.id, l.id"
    )
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["number"], []).append(row)
    return found


def _endings(shop: Shop) -> dict[str, int]:
    rows = shop.db.all(
        "SELECT l.state, l.gate, count(*) AS n FROM lines l JOIN orders o ON o.id = l.order_id"
        " WHERE o.history = 0 GROUP BY l.state, l.gate ORDER BY l.state, l.gate"
    )
    return {f"{row['state']} {row['gate']}".strip(): row["n"] for row in rows}


def _wrong(
    shop: Shop, seen: dict[str, Seen], deeds: dict[str, list[str]], unseen: dict[str, int]
) -> Iterator[str]:
    """Yield everything that is not as it must be."""
    books = _books(shop)
    holders: Counter[str] = Counter()
    for number, one in seen.items():
        done = deeds.get(number, [])
        lines = books.get(number)
        if lines is None:
            yield f"{number}: missed ({done})"
            continue
        holders.update(one.keys)
        told = (
            f"{number} {one.status} {done} {[(x['state'], x['gate'], x['reason']) for x in lines]}"
        )
        keys_wrong = _keys_wrong(one, lines, unseen.get(number))
        for problem in (*keys_wrong, *_ending_wrong(one, lines, done)):
            yield f"{problem}: {told}"
    yield from (f"{key} was told {n} times" for key, n in holders.items() if n > 1)


def _keys_wrong(one: Seen, lines: list[dict[str, Any]], unseen_ms: int | None) -> Iterator[str]:
    """The buyer holds exactly the keys of the lines that hold keys, in one note."""
    with_keys = [x for x in lines if x["state"] in {"delivered", "human", "refund_case"}]
    owed: Counter[str] = Counter()
    for line in with_keys:
        for sku, n in PARTS.get(line["sku"], {line["sku"]: 1}).items():
            owed[sku] += n * line["needed"]
    got = Counter(key.split("-")[1] for key in one.keys)
    # A try that was under way when a refund or a change came may never have arrived; whoever may
    # have seen keys is a case for a person all the same.
    stopped = {x["state"] for x in with_keys} <= {"refund_case", "human"}
    if got != owed and not (stopped and not got):
        yield f"owed {dict(owed)}, got {dict(got)}"
    if len(one.with_keys) > 1:
        yield f"{len(one.with_keys)} notes with keys"
    for line in with_keys:
        asked = one.quantities.get(line["line_no"], 0) * UNITS.get(line["sku"], 1)
        after = unseen_ms is not None and line["sent_ms"] and unseen_ms > line["sent_ms"] - LOOK_MS
        told = str(line["reason"]).startswith(CHANGED)
        if line["needed"] != asked and not told and not after:
            yield f"line {line['line_no']} is for {asked} keys now and nobody was told"


def _ending_wrong(one: Seen, lines: list[dict[str, Any]], done: list[str]) -> Iterator[str]:
    """The state of every line fits what the shop shows, and nothing is still on its way."""
    states = {line["state"] for line in lines if line["quantity"]}
    gates = {line["gate"] for line in lines if line["state"] in {"held", "new"}}
    if one.status in {"cancelled", "refunded"}:
        right, told = STOPPED, "cancelled there, alive here"
    elif one.refunded:
        right, told = {"refund_case", "held", "new"}, "partly refunded there, not stopped here"
        if not gates <= {"refund", "paid"}:
            yield told
    elif one.status in {"pending", "on-hold"}:
        right, told = {"new", "delivered", "human"}, "not paid there, alive here"
    elif not DOUBTFUL & set(done):
        right, told = {"delivered"}, "paid and undisturbed, but not delivered and completed"
        if one.status != "completed":
            yield told
    else:
        right, told = _right_when_disturbed(gates, done), "paid, but not delivered"
    if not states <= right:
        yield told


def _right_when_disturbed(gates: set[str], done: list[str]) -> set[str]:
    """The states that a paid order may end in after what was done to it."""
    if "completed_by_hand" in done and gates == {"shipped"}:
        return {"held"}
    if "quantity" not in done:
        return {"delivered"}
    # Undone unseen and held, or seen already: a person is asked whether it is right now.
    return {"held"} if gates == {"risk"} else {"delivered", "human"}
