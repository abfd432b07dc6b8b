"""Orders as sync leaves them, and invented statements, for tests of reconciliation.

Day 0 is 2026-11-02 (the clock of tests stands on 2026-11-22, long after all is due).
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from adapters.statements.synthetic import (
    AlipayMove,
    WechatTrade,
    write_alipay_flow,
    write_wechat_trade,
)
from kmtool.domain.states import LineState
from kmtool.shop import Shop
from kmtool.store import orders
from kmtool.store.db import Db

DAY = 86_400_000
FIRST = 1_793_548_800_000  # 2026-11-02 00:00 in Shanghai
NUMBER = "2088000000000156"
ACCOUNTS = """
[accounts.main]
kind = "alipay"
channels = ["shop1"]
[accounts.wx]
kind = "wechat"
"""


def day(n: int, hour: int = 12) -> int:
    """Return noon (or another hour) of day `n`, in UTC ms."""
    return FIRST + n * DAY + hour * 3_600_000


def put_order(db: Db, number: str, amount: int = 1000, **more: Any) -> int:
    """Insert an order: paid on day 0 and delivered, unless told otherwise."""
    at = more.pop("at", day(0))
    paid = more.pop("paid", True)
    delivered = more.pop("delivered", True)
    refunds = more.pop("refunds", ())
    values: dict[str, Any] = {
        "channel": "shop1", "number": number, "account": "main",
        "status": "paid" if paid else "unpaid", "refund": "none", "refunded_minor": 0,
        "revision_ms": at, "created_ms": at, "paid_ms": at if paid else None, "currency": "CNY",
        "total_minor": amount, "expected_gross_minor": amount, "ext_txn_id": "", "risk": "",
        "note": "", "buyer_ref": "b", "buyer_name": "demo_buyer", "buyer_email": "",
        "buyer_phone": "", "fact_hash": number, "facts_ms": at, "seen_ms": at, "history": 0,
        "code": f"{more.get('channel', '')}{number}",
    }  # fmt: skip
    order_id = orders.insert(db, values | more)
    assert order_id is not None
    state = LineState.DELIVERED if delivered else LineState.HELD
    db.run(
        "INSERT INTO lines (order_id, line_no, item_id, variant_id, title, quantity, amount_minor,"
        " account, kind, needed, state, gate, reason, since_ms, sent_ms) VALUES (:o, '1', 'i1', '',"
        " 't', 1, :a, '', 'key', 1, :s, '', '', :at, :sent)",
        o=order_id, a=amount, s=state.value, at=at, sent=at if delivered else None,
    )  # fmt: skip
    for n, refund in enumerate(refunds):
        orders.put_refund(db, order_id, f"R{number}-{n}", refund, "done", at, at)
    return order_id


_serial = itertools.count(1)


def sale(number: str, amount: int = 1000, **more: Any) -> AlipayMove:
    """Return money coming in for an order (or going out, with another type)."""
    n = next(_serial)
    values: dict[str, Any] = {
        "at_ms": day(0), "amount_minor": amount, "type": "在线支付", "serial": f"{n:016d}",
        "txn": f"T{number}", "order_no": number, "item": "卡密",
    }  # fmt: skip
    return AlipayMove(**values | more)


def refund(number: str, amount: int = 1000, **more: Any) -> AlipayMove:
    """Return a refund of an order."""
    return sale(number, -amount, **{"type": "交易退款"} | more)


def flow(folder: Path, *moves: AlipayMove, days: tuple[int, int] = (0, 15), **more: Any) -> Path:
    """Write a wallet statement that covers days `[from, to)`."""
    period = (FIRST + days[0] * DAY, FIRST + days[1] * DAY)
    path = folder / more.pop("name", f"flow{next(_serial)}.csv")
    write_alipay_flow(path, more.pop("number", NUMBER), period, moves, **more)
    return path


def trades(folder: Path, *rows: WechatTrade) -> Path:
    """Write a bill of trades."""
    path = folder / f"trades{next(_serial)}.csv"
    write_wechat_trade(path, rows)
    return path


def bucket(shop: Shop, number: str) -> tuple[str, str]:
    """Return the bucket of an order with its code or reason."""
    row = shop.db.one(
        "SELECT b.bucket, b.code, b.reason FROM order_buckets b JOIN orders o ON o.id = b.order_id"
        " WHERE o.number = :n",
        n=number,
    )
    assert row is not None
    return row["bucket"], row["code"] or row["reason"]


def open_codes(shop: Shop) -> list[str]:
    """Return the codes of all open exceptions."""
    rows = shop.db.all("SELECT code FROM exceptions WHERE state <> 'resolved' ORDER BY code")
    return [row["code"] for row in rows]


def counts(db: Db) -> dict[str, int]:
    """Return how many rows each table has."""
    tables = (
        "statement_files", "statement_lines", "line_versions", "file_lines", "coverage",
        "line_matches", "order_buckets", "exceptions", "exception_moves", "recon_posts",
        "recon_runs", "ledger_entries", "ledger_postings", "audit",
    )  # fmt: skip
    return {table: int(db.value(f"SELECT count(*) FROM {table}")) for table in tables}
