"""A day at a real WooCommerce shop: orders come, change, are refunded while we deliver.

Needs KMTOOL_LIVE_WOO_URL, KMTOOL_LIVE_WOO_CK and KMTOOL_LIVE_WOO_CS of a shop made for tests (it is
written to); skipped without them. KMTOOL_LIVE_WOO_ORDERS sets how many (100).
"""

from __future__ import annotations

import os
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from adapters import signing
from adapters.http import Client, Site, get, write_json
from kmtool.app import create_shop, open_shop
from kmtool.clock import SystemClock
from kmtool.config import load
from kmtool.domain.secret import Secret
from kmtool.operations.deliver import deliver
from kmtool.operations.doctor import doctor
from kmtool.operations.sync import sync
from kmtool.shop import Shop
from tests.operations.stock import shelf

NAMES = ("KMTOOL_LIVE_WOO_URL", "KMTOOL_LIVE_WOO_CK", "KMTOOL_LIVE_WOO_CS")
pytestmark = [
    pytest.mark.skipif(
        not all(os.environ.get(name) for name in NAMES), reason=f"needs {', '.join(NAMES)}"
    ),
    pytest.mark.timeout(900),
]
CLOCK = SystemClock()
KEY = re.compile(r"KEY-[\w-]+")

TOML = """schema = 1
[shop]
name = "测试小店"
[data]
private = ".private"
[deliver]
reread_after = "1s"
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
options = {{ url = "{url}" }}
"""


@pytest.fixture
def owner() -> Iterator[Client]:
    """The hands of buyers and administrators."""
    url, key, secret = (os.environ[name] for name in NAMES)
    sign = signing.oauth1(Secret(key), Secret(secret), CLOCK)
    made = Client(Site(who="owner", base=f"{url}/wp-json/wc/v3", clock=CLOCK, sign=sign))
    yield made
    made.close()


@pytest.fixture
def shop(tmp_path: Path, owner: Client) -> Iterator[Shop]:
    path = tmp_path / "kmtool.toml"
    text = TOML.format(url=os.environ[NAMES[0]], ck=NAMES[1], cs=NAMES[2])
    path.write_text(text, encoding="utf-8")
    config = load(path)
    create_shop(config)
    with open_shop(config) as opened:
        sync(opened, catch_up=True)
        yield opened


def call(owner: Client, method: str, url: str, data: object = None) -> Any:
    request = get(url) if method == "GET" else write_json(method, url, data)
    return owner.send(request).data


def add_order(owner: Client, item: str, quantity: int) -> str:
    data = {
        "set_paid": True, "currency": "CNY", "payment_method": "alipay",
        "line_items": [{"product_id": int(item), "quantity": quantity}],
        "billing": {"first_name": "demo", "email": "demo@example.com"},
    }  # fmt: skip
    return str(call(owner, "POST", "/orders", data)["id"])


def disturb(owner: Client, number: str, chance: random.Random) -> str:
    """Change, cancel or refund an order while it is being delivered; return what was done."""
    kind = chance.choice(["cancel", "refund_part", "refund_full", "note", "touch"])
    if kind == "cancel":
        call(owner, "PUT", f"/orders/{number}", {"status": "cancelled"})
    elif kind.startswith("refund"):
        order = call(owner, "GET", f"/orders/{number}")
        amount = order["total"] if kind == "refund_full" else "0.01"
        call(owner, "POST", f"/orders/{number}/refunds", {"amount": amount, "api_refund": False})
    else:
        call(owner, "PUT", f"/orders/{number}", {"customer_note": f"demo {kind}"})
    return kind


def test_every_deliverable_order_gets_its_keys_once(shop: Shop, owner: Client) -> None:
    total = int(os.environ.get("KMTOOL_LIVE_WOO_ORDERS", "100"))
    chance = random.Random(11)
    channel = shop.adapters.channel("shop1")
    item = next(i for i in channel.list_items() if i.price_minor).item_id
    shelf(shop, n=total * 3, item=item, cost_e5=0)
    quantities = {}
    for _ in range(total):
        quantity = chance.randint(1, 3)
        quantities[add_order(owner, item, quantity)] = quantity
    disturbed: dict[str, str] = {}
    numbers = sorted(quantities)
    victims = chance.sample(numbers, total * 3 // 10)
    with ThreadPoolExecutor(1) as pool:
        work = [pool.submit(disturb, owner, n, random.Random(int(n))) for n in victims]
        _run_until_quiet(shop, numbers)
        for number, job in zip(victims, work, strict=True):
            disturbed[number] = job.result()
    _run_until_quiet(shop, numbers)
    _check(shop, owner, quantities, disturbed)


def _run_until_quiet(shop: Shop, numbers: list[str]) -> None:
    for _ in range(120):
        sync(shop)
        deliver(shop)
        known = shop.db.value(
            "SELECT count(*) FROM orders WHERE history = 0 AND number IN ("
            + ",".join(f"'{n}'" for n in numbers)
            + ")"
        )
        moving = shop.db.value(
            "SELECT count(*) FROM effects WHERE state IN ('pending', 'inflight', 'retry_at')"
        )
        if known == len(numbers) and not moving:
            return
        time.sleep(0.5)
    raise AssertionError("the shop did not come to rest")


def where(shop: Shop, number: str) -> object:
    """Return what our books say of an order, for a failed assertion."""
    return shop.db.all(
        "SELECT o.status, o.refund, o.history, l.state, l.gate, l.reason, l.quantity, l.needed"
        " FROM orders o JOIN lines l ON l.order_id = o.id WHERE o.number = :n",
        n=number,
    )


def _check(
    shop: Shop, owner: Client, quantities: dict[str, int], disturbed: dict[str, str]
) -> None:
    holders: Counter[str] = Counter()
    delivered = 0
    for number, quantity in quantities.items():
        order = call(owner, "GET", f"/orders/{number}")
        notes = owner.send(get(f"/orders/{number}/notes", {"type": "customer"})).data
        with_keys = [n["note"] for n in notes if KEY.search(n["note"])]
        kind = disturbed.get(number, "")
        deliverable = kind in {"", "note", "touch"}
        assert len(with_keys) <= 1, (number, kind, len(with_keys))
        if deliverable:
            assert len(with_keys) == 1, str((number, kind, order["status"], where(shop, number)))
            assert order["status"] == "completed", (number, kind, order["status"])
        keys = {key for text in with_keys for key in KEY.findall(text)}
        assert not keys or len(keys) == quantity, (number, kind, keys)
        holders.update(keys)
        delivered += bool(keys)
    assert max(holders.values()) == 1, "a key at two buyers"
    assert delivered >= sum(1 for n in quantities if n not in disturbed)
    health = doctor(shop)
    broken = [c for c in health.checks if not c.ok and c.broken]
    assert not broken, broken
