"""Fills a test shop with suppliers, batches, and orders that were delivered and booked.

    books = Books(shop)
    books.supplier("sup1", days=3)
    batch = books.batch("sup1", "S1", 10, cost="3.50")
    books.sell(batch, 2)                    # one order of two keys, delivered now and booked

Every foreign text can be given, so that tests can make it hostile. Keys look like `SECRET-…`: no
output may hold one. Times are the shop's clock; move it between calls.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kmtool.clock import NEVER_MS, ManualClock
from kmtool.domain.money import e5_to_minor, parse_e5, split
from kmtool.domain.secret import Secret, tail_of
from kmtool.shop import Shop
from kmtool.store import keys, ledger, products, suppliers
from kmtool.store.db import Row

DAY_MS = 86_400_000


@dataclass
class Batch:
    """A batch that came in, with the ids of its free keys."""

    id: int
    number: str
    supplier: str
    sku: str
    mode: str
    cost_e5: int
    free: list[int]


@dataclass
class Books:
    """The books of one test shop, and every key text that went into it."""

    shop: Shop
    texts: list[str] = field(default_factory=list)
    orders: int = 0

    def supplier(
        self,
        code: str,
        *,
        days: int = 0,
        mode: str = "consignment",
        name: str = "",
        payee: str = "",
    ) -> None:
        """Add a supplier."""
        with self.shop.db.tx():
            suppliers.add_supplier(
                self.shop.db, code=code, name=name or f"供应商{code}", mode=mode,
                settle_days=days, currency="CNY", payee=payee, now_ms=self.shop.now_ms(),
            )  # fmt: skip

    def product(self, sku: str, title: str = "") -> None:
        """Add a product unless it is there."""
        products.add_product(
            self.shop.db, sku=sku, title=title or f"商品{sku}", kind="key", currency="CNY",
            price_minor=None, floor_minor=None, low_stock=None, buffer=0, guide="",
            now_ms=self.shop.now_ms(),
        )  # fmt: skip

    def batch(
        self, supplier: str, sku: str, n: int, *, cost: str = "3.50", title: str = "",
        file_name: str = "keys.txt",
    ) -> Batch:  # fmt: skip
        """Bring in a batch of n keys in the supplier's mode; bought ones are booked."""
        db, now = self.shop.db, self.shop.now_ms()
        cost_e5 = parse_e5(cost)
        with db.tx():
            self.product(sku, title)
            mode = str(db.value("SELECT mode FROM suppliers WHERE code = :c", c=supplier))
            keys.lock_imports(db)
            number = keys.next_batch_number(db, "20261122")
            batch_id = keys.add_batch(
                db, number=number, sku=sku, supplier=supplier, mode=mode, kind="stock",
                cost_e5=cost_e5, currency="CNY", file_name=file_name,
                file_sha256=f"{len(self.texts):064x}", rows=n, accepted=n, duplicates=0,
                rejected=0, expires_ms=NEVER_MS, imported_ms=now,
            )  # fmt: skip
            texts = [f"SECRET-{number}-{i:06d}" for i in range(n)]
            keys.insert_keys(
                db, [self._key(text, sku, batch_id, i) for i, text in enumerate(texts)]
            )
            keys.add_stock(db, sku, n)
            amount = e5_to_minor(n * cost_e5)
            if mode == "buyout" and amount:
                ledger.post(
                    db, now, "batch_accepted", number, "",
                    [("asset:stock", "CNY", amount), (payable(supplier), "CNY", -amount)],
                )  # fmt: skip
        self.texts += texts
        rows = db.all("SELECT id FROM keys WHERE batch_id = :b ORDER BY line_no", b=batch_id)
        return Batch(batch_id, number, supplier, sku, mode, cost_e5, [row["id"] for row in rows])

    def sell(
        self, batch: Batch, n: int = 1, *, number: str = "", buyer: str = "buyer-one",
        title: str = "一件商品", channel: str = "shop1", price_minor: int = 500,
    ) -> int:  # fmt: skip
        """Deliver n keys of a batch to one new order, booked; return the id of its line."""
        db, now = self.shop.db, self.shop.now_ms()
        self.orders += 1
        number = number or f"T2026112200{self.orders:06d}"
        taken, batch.free = batch.free[:n], batch.free[n:]
        assert len(taken) == n, "the batch has no more keys"
        with db.tx():
            line = self._order(batch, n, number, buyer, title, channel, price_minor * n)
            amount = e5_to_minor(n * batch.cost_e5)
            for key, part in zip(taken, split(amount, [1] * n), strict=True):
                db.run(
                    "INSERT INTO allocations (line_id, key_id, batch_id, sku, state, exclusive,"
                    " mode, cost_e5, amount_minor, currency, reserved_ms, exposed_ms,"
                    " delivered_ms) VALUES (:line, :key, :batch, :sku, 'delivered', 1, :mode,"
                    " :cost, :amount, 'CNY', :now, :now, :now)",
                    line=line, key=key, batch=batch.id, sku=batch.sku, mode=batch.mode,
                    cost=batch.cost_e5, amount=part, now=now,
                )  # fmt: skip
                db.run(
                    "UPDATE keys SET state = 'delivered', uses_left = 0, state_ms = :now"
                    " WHERE id = :key AND state = 'free'",
                    key=key, now=now,
                )  # fmt: skip
            db.run("UPDATE stock SET free = free - :n WHERE sku = :s", n=n, s=batch.sku)
            credit = "asset:stock" if batch.mode == "buyout" else payable(batch.supplier)
            ledger.post(
                db, now, "delivered", f"{channel}:{number}:1:{batch.number}", "",
                [("cost:keys", "CNY", amount), (credit, "CNY", -amount)],
            )  # fmt: skip
        return line

    def close_case(self, line: int, *, key_state: str = "defective") -> None:
        """Let a delivered line become a refund case that was decided."""
        with self.shop.db.tx():
            self.set_line(line, "closed")
            self.shop.db.run(
                "UPDATE keys SET state = :s WHERE id IN"
                " (SELECT key_id FROM allocations WHERE line_id = :line)",
                s=key_state, line=line,
            )  # fmt: skip

    def set_line(self, line: int, state: str) -> None:
        """Set the state of a line."""
        self.shop.db.run("UPDATE lines SET state = :s WHERE id = :line", s=state, line=line)

    def later(self, days: float) -> None:
        """Move the clock."""
        clock = self.shop.clock
        assert isinstance(clock, ManualClock)
        clock.advance(round(days * DAY_MS))

    def owed(self, supplier: str) -> int:
        """Return what the ledger says a supplier is owed."""
        return -ledger.balance(self.shop.db, payable(supplier), "CNY")

    def _key(self, text: str, sku: str, batch_id: int, at: int) -> Row:
        fingerprint = self.shop.vault.fingerprint(text.encode())
        sealed, number = self.shop.vault.seal(Secret(text), fingerprint)
        return {
            "fingerprint": fingerprint, "sealed": sealed, "data_key_id": number,
            "tail": tail_of(text), "sku": sku, "batch_id": batch_id, "line_no": at + 2,
            "state": "free", "uses_left": 1, "expires_ms": NEVER_MS,
            "state_ms": self.shop.now_ms(),
        }  # fmt: skip

    def _order(
        self, batch: Batch, n: int, number: str, buyer: str, title: str, channel: str, total: int
    ) -> int:
        db, now = self.shop.db, self.shop.now_ms()
        order = db.value(
            "INSERT INTO orders (channel, number, account, status, refund, refunded_minor,"
            " revision_ms, created_ms, paid_ms, currency, total_minor, expected_gross_minor,"
            " ext_txn_id, risk, note, buyer_ref, buyer_name, buyer_email, buyer_phone, fact_hash,"
            " facts_ms, seen_ms, code, history) VALUES (:channel, :number, '', 'paid', 'none', 0,"
            " :now, :now, :now, 'CNY', :total, :total, '', '', '', :buyer, :buyer, '', '', '',"
            " :now, :now, :code, 0) RETURNING id",
            channel=channel, number=number, now=now, total=total, buyer=buyer,
            code=f"{channel}-{number}",
        )  # fmt: skip
        return int(
            db.value(
                "INSERT INTO lines (order_id, line_no, item_id, variant_id, title, quantity,"
                " amount_minor, account, kind, sku, needed, state, gate, reason, since_ms,"
                " reserved_ms, sent_ms, acknowledged_ms) VALUES (:o, '1', 'i1', '', :title, :n,"
                " :total, '', 'key', :sku, :n, 'delivered', '', '', :now, :now, :now, :now)"
                " RETURNING id",
                o=order,
                title=title,
                n=n,
                total=total,
                sku=batch.sku,
                now=now,
            )
        )


def payable(supplier: str) -> str:
    """Return the ledger account of what a supplier is owed."""
    return f"payable:supplier:{supplier}"
