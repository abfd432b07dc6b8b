"""Stock held, figures pushed and the shelf kept at a real WooCommerce shop.

Needs what test_woocommerce_day.py needs; it makes a product of its own there, and removes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kmtool.app import create_shop, open_shop
from kmtool.config import load
from kmtool.operations import shelf as guard
from kmtool.operations.deliver import deliver
from kmtool.operations.doctor import doctor
from kmtool.operations.shelf import ShelfResult
from kmtool.operations.stock_push import push_stock
from kmtool.operations.sync import sync, sync_channel
from kmtool.shop import Shop
from tests.live.faulty_proxy import FaultyProxy, Trouble
from tests.live.woo_hands import CLOCK, MISSING, NAMES, Owner
from tests.operations.stock import shelf

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(NAMES)}"),
    pytest.mark.timeout(600),
]
TOML = """schema = 1
[shop]
name = "测试小店"
[data]
private = ".private"
[sync]
first = "1m"
[channels.shop1]
adapter = "woocommerce"
mode = "auto"
couriers = ["channel_note"]
shelf = true
credentials = {{ key = "env:{ck}", secret = "env:{cs}" }}
options = {{ url = "{url}", proxy = "{proxy}" }}
"""


@pytest.fixture
def owner() -> Iterator[Owner]:
    made = Owner()
    yield made
    made.close()


@pytest.fixture
def item(owner: Owner) -> Iterator[int]:
    """A product made for this test."""
    data = {"name": "demo stock", "type": "simple", "regular_price": "10.00", "virtual": True,
            "manage_stock": True, "stock_quantity": 50}  # fmt: skip
    number = owner.do("POST", "/products", data)["id"]
    yield int(number)
    owner.do("PUT", f"/products/{number}", {"status": "private"})


@pytest.fixture
def proxy() -> Iterator[FaultyProxy]:
    with FaultyProxy() as made:
        yield made


@pytest.fixture
def shop(tmp_path: Path, proxy: FaultyProxy, item: int) -> Iterator[Shop]:
    path = tmp_path / "kmtool.toml"
    text = TOML.format(url=os.environ[NAMES[0]], ck=NAMES[1], cs=NAMES[2], proxy=proxy.url)
    path.write_text(text, encoding="utf-8")
    config = load(path)
    create_shop(config)
    with open_shop(config) as opened:
        assert not sync(opened, catch_up=True).failed
        shelf(opened, "S1", n=3, item=str(item), cost_e5=0)
        yield opened


def turn(shop: Shop) -> ShelfResult:
    """Sync, deliver, and tell the shop its stock, as the daemon does it in turn."""
    CLOCK.sleep(3.0)  # the pull lags behind by two seconds
    assert not sync(shop).failed
    deliver(shop)
    synced = sync_channel(shop, "shop1")
    assert not push_stock(shop, synced).error
    return guard.guard(shop, synced)


def there(owner: Owner, item: int) -> tuple[int, str]:
    """Return (figure, shelf) as the shop shows it."""
    found: dict[str, Any] = owner.ask(f"/products/{item}")
    return found["stock_quantity"], found["status"]


def keys_at(owner: Owner, number: str) -> int:
    return len(owner.look([number])[number].keys)


def test_holds_figures_and_the_shelf(
    shop: Shop, owner: Owner, item: int, proxy: FaultyProxy
) -> None:
    turn(shop)
    assert there(owner, item) == (3, "publish")

    pending = owner.order([{item: 1}], paid=False)[0]
    on_hold = owner.order([{item: 1}], paid=False)[0]
    owner.disturb(on_hold, "on_hold")
    assert there(owner, item) == (2, "publish"), (
        "on hold lowers the shop's figure, pending does not"
    )
    turn(shop)
    assert shop.db.value("SELECT held FROM stock") == 2
    assert there(owner, item) == (2, "publish"), "what it lowered stays lowered, once"

    late = owner.order([{item: 2}])[0]
    turn(shop)
    assert keys_at(owner, late) == 0, "one is free beyond what is held"
    owner.pay(pending)
    turn(shop)
    assert (keys_at(owner, pending), keys_at(owner, late)) == (1, 0)
    owner.disturb(on_hold, "cancel")
    turn(shop)
    assert keys_at(owner, late) == 2
    assert there(owner, item) == (0, "draft")

    shelf(shop, "S1", n=2, item=None, prefix="KEY-MORE")
    synced = sync_channel(shop, "shop1")
    assert not push_stock(shop, synced).error
    proxy.script = [Trouble.DROPPED_AFTER]
    assert guard.guard(shop, synced).unclear == 1
    assert turn(shop).unclear == 0
    assert there(owner, item) == (2, "publish")
    assert shop.db.all("SELECT wanted, state FROM shelf_moves ORDER BY id") == [
        {"wanted": "off", "state": "ok"},
        {"wanted": "on", "state": "ok"},
    ]
    assert not [check for check in doctor(shop).checks if not check.ok and check.broken]
