"""Keys that come in again after a restore go to the orders they were sent for, and to no other."""

from __future__ import annotations

from kmtool.domain.states import COUNTER, OrderStatus, RefundState
from kmtool.operations.ingest import ingest
from kmtool.operations.order_records import ASSUMED
from kmtool.operations.rebind import rebind
from kmtool.ports import Buyer, LineFact, OrderFact
from kmtool.shop import Shop
from kmtool.store import orders, products, seen_keys


def claim(shop: Shop, batch_id: int) -> int:
    """Take keys of a batch that were sent before a restore out of its stock, to their lines.

    Of a shared key these are the uses that were sent; the others stay for sale.

    Call it in the transaction of the import, after the keys and their counter are written.
    """
    if not seen_keys.any_seen(shop.db):
        return 0
    found = seen_keys.seen_in_batch(shop.db, batch_id)
    for row in found:
        take = seen_keys.use_once if row["uses"] > 1 else seen_keys.take_out
        take(shop.db, row["id"], shop.now_ms())
    places = [*((row["channel"], row["number"]) for row in found), *counter_sales(shop)]
    for channel, number in dict.fromkeys(places):
        order = orders.find(shop.db, channel, number, lock=True)
        if order is not None:
            rebind(shop, order)
    return len({row["id"] for row in found})


def counter_sales(shop: Shop) -> list[tuple[str, str]]:
    """Sales by hand come from no channel: their orders are written again, at today's price.

    One whose key is not here waits until its file comes in.
    """
    written = []
    for row in seen_keys.seen_orders(shop.db, COUNTER):
        if row["here"] or row["unknown"]:
            continue
        seen = seen_keys.seen_of_order(shop.db, COUNTER, row["number"])
        keys = seen_keys.keys_of(shop.db, [bytes(one["fingerprint"]) for one in seen])
        sku = next(iter(keys.values()))["sku"]
        product = products.product(shop.db, sku)
        assert product is not None
        now, total = shop.now_ms(), (product["price_minor"] or 0) * len(keys)
        fact = OrderFact(
            number=row["number"],
            revision_ms=now,
            status=OrderStatus.PAID,
            refund=RefundState.NONE,
            currency=product["currency"],
            total_minor=total,
            lines=(LineFact(seen[0]["line_no"], sku, "", product["title"], len(keys), total),),
            created_ms=now,
            paid_ms=now,
            buyer=Buyer(),
            note=ASSUMED,
        )
        order_id = ingest(shop, COUNTER, fact).order_id
        orders.set_line_product(shop.db, order_id, sku, len(keys))
        orders.set_released(shop.db, order_id, now)
        written.append((COUNTER, str(row["number"])))
    return written
