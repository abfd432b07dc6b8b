"""Shops for the benchmarks: a folder, a product with many sealed keys, paid orders that wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kmtool.app import create_shop, open_shop
from kmtool.clock import NEVER_MS
from kmtool.config import load
from kmtool.domain.secret import Secret, tail_of
from kmtool.domain.states import OrderStatus, RefundState
from kmtool.operations.ingest import ingest
from kmtool.ports import Buyer, LineFact, OrderFact
from kmtool.shop import Shop
from kmtool.store import keys, products, suppliers

TOML = """schema = 1
[shop]
name = "bench"
[data]
private = ".private"
{database}
[sync]
every = "5s"
[deliver]
every = "5s"
batch = {batch}
reread_after = "1h"
[brakes]
sku_pieces_per_hour = 1000000000
sku_value_per_hour = "10000000000"
buyer_pieces_per_hour = 1000000000
[channels.maple]
adapter = "{adapter}"
mode = "auto"
couriers = ["{courier}"]
[channels.maple.options]
url = "{url}"
[channels.maple.credentials]
token = "demo-token"
secret = "demo-secret"
"""
ITEM = "8801"
WINDOW = 250_000


@contextmanager
def opened(
    folder: Path,
    *,
    database: str = "",
    url: str = "http://127.0.0.1:9",
    adapter: str = "demo",
    courier: str = "demo",
    batch: int = 1000,
) -> Iterator[Shop]:
    """Make a shop in a folder (or open the one that is there) and yield it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "kmtool.toml"
    fresh = not path.exists()
    line = f'database = "{database}"' if database else ""
    path.write_text(
        TOML.format(database=line, url=url, adapter=adapter, courier=courier, batch=batch),
        encoding="utf-8",
    )
    config = load(path)
    if fresh:
        create_shop(config)
    with open_shop(config) as shop:
        yield shop


def stock(shop: Shop, sku: str, n: int, *, item: str = ITEM, start: int = 0) -> None:
    """Put a product with n free sealed keys on the shelf, in windows sorted by fingerprint."""
    db, now = shop.db, shop.now_ms()
    with db.tx():
        products.add_product(
            db, sku=sku, title=f"product {sku}", kind="key", currency="CNY", price_minor=None,
            floor_minor=None, low_stock=None, buffer=0, guide="", now_ms=now,
        )  # fmt: skip
        suppliers.add_supplier(
            db, code="sup1", name="sup1", mode="consignment", settle_days=3, currency="CNY",
            payee="", now_ms=now,
        )  # fmt: skip
        products.put_listing(
            db, channel="maple", item_id=item, variant_id="", title="", sku=sku, units=1,
            price_minor=None,
        )  # fmt: skip
        batch = keys.add_batch(
            db, number=keys.next_batch_number(db, "20261122"), sku=sku, supplier="sup1",
            mode="consignment", kind="stock", cost_e5=500_000, currency="CNY", file_name="b.txt",
            file_sha256=f"{sku}-{start}", rows=n, accepted=n, duplicates=0, rejected=0,
            expires_ms=NEVER_MS, imported_ms=now,
        )  # fmt: skip
    for first in range(start, start + n, WINDOW):
        many = range(first, min(first + WINDOW, start + n))
        rows = [{**_key(shop, sku, batch, i, now), "place": i - first} for i in many]
        with db.tx():
            if (first_id := keys.next_id(db)) is not None:
                rows.sort(key=_fingerprint)
            keys.insert_keys(db, rows, first_id=first_id)
            keys.add_stock(db, sku, len(rows))


def _fingerprint(row: dict[str, Any]) -> bytes:
    return bytes(row["fingerprint"])


def _key(shop: Shop, sku: str, batch: int, i: int, now: int) -> dict[str, object]:
    text = f"{sku}-{i:08d}-QXWZ"
    fingerprint = shop.vault.fingerprint(text.encode())
    sealed, number = shop.vault.seal(Secret(text), fingerprint)
    return {
        "fingerprint": fingerprint, "sealed": sealed, "data_key_id": number,
        "tail": tail_of(text), "sku": sku, "batch_id": batch, "line_no": i + 1, "state": "free",
        "uses_left": 1, "expires_ms": NEVER_MS, "state_ms": now,
    }  # fmt: skip


def place(shop: Shop, n: int, lines: int = 1, *, item: str = ITEM, prefix: str = "B") -> None:
    """Let n paid orders arrive, each with some lines of one piece."""
    now = shop.now_ms()
    for first in range(0, n, 1_000):
        with shop.db.tx():
            for i in range(first, min(first + 1_000, n)):
                ingest(shop, "maple", order(f"{prefix}{i:07d}", now, lines, item))


def order(number: str, at_ms: int, lines: int = 1, item: str = ITEM) -> OrderFact:
    """Return a paid order."""
    return OrderFact(
        number=number,
        revision_ms=at_ms,
        status=OrderStatus.PAID,
        refund=RefundState.NONE,
        currency="CNY",
        total_minor=1000 * lines,
        lines=tuple(LineFact(str(k), item, "", "星海通行证", 1, 1000) for k in range(1, lines + 1)),
        created_ms=at_ms,
        paid_ms=at_ms,
        buyer=Buyer(ref=f"demo_{number}", name="demo_buyer", email="buyer@example.test"),
    )
