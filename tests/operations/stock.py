"""Puts products, suppliers and keys on the shelf of a test shop, through the store's own doors."""

from __future__ import annotations

from kmtool.clock import NEVER_MS
from kmtool.domain.secret import Secret, tail_of
from kmtool.shop import Shop
from kmtool.store import keys, products, suppliers


def shelf(
    shop: Shop,
    sku: str = "S1",
    n: int = 5,
    *,
    cost_e5: int = 500_000,
    mode: str = "consignment",
    supplier: str = "sup1",
    expires_ms: int = NEVER_MS,
    item: str | None = "i1",
    channel: str = "shop1",
    units: int = 1,
    prefix: str = "KEY",
) -> list[str]:
    """Add a product with n free keys and its listing; return the keys."""
    db, now = shop.db, shop.now_ms()
    texts = [f"{prefix}-{sku}-{i:05d}" for i in range(n)]
    with db.tx():
        products.add_product(
            db, sku=sku, title=f"product {sku}", kind="key", currency="CNY", price_minor=None,
            floor_minor=None, low_stock=None, buffer=0, guide="", now_ms=now,
        )  # fmt: skip
        suppliers.add_supplier(
            db, code=supplier, name=supplier, mode=mode, settle_days=3, currency="CNY", payee="",
            now_ms=now,
        )  # fmt: skip
        keys.lock_imports(db)
        batch = keys.add_batch(
            db, number=keys.next_batch_number(db, "20261122"), sku=sku, supplier=supplier,
            mode=mode, kind="stock", cost_e5=cost_e5, currency="CNY", file_name="t.txt",
            file_sha256=f"{sku}{prefix}", rows=n, accepted=n, duplicates=0, rejected=0,
            expires_ms=expires_ms, imported_ms=now,
        )  # fmt: skip
        rows = []
        for i, text in enumerate(texts):
            fingerprint = shop.vault.fingerprint(text.encode())
            sealed, number = shop.vault.seal(Secret(text), fingerprint)
            rows.append(
                {
                    "fingerprint": fingerprint, "sealed": sealed, "data_key_id": number,
                    "tail": tail_of(text), "sku": sku, "batch_id": batch, "line_no": i + 1,
                    "state": "free", "uses_left": 1, "expires_ms": expires_ms, "state_ms": now,
                }
            )  # fmt: skip
        keys.insert_keys(db, rows)
        keys.add_stock(db, sku, n)
        if item is not None:
            products.put_listing(
                db, channel=channel, item_id=item, variant_id="", title="", sku=sku, units=units,
                price_minor=None,
            )  # fmt: skip
    return texts
