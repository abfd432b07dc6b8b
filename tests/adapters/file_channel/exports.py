"""Exported files of a shop, the channel that reads them, and what it tells of them."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from adapters.channels import file
from adapters.channels.file import FileChannel
from kmtool.clock import ManualClock, utc_ms
from kmtool.ports import AdapterSettings, OrderFact, Page, Window

HEADER = "订单号,订单状态,商品ID,商品标题,规格,数量,实付金额,退款状态,下单时间,付款时间,买家昵称"
ROW = (
    "{},等待卖家发货,8801,星海通行证,30天,2,56.00,,2026-11-22 07:00:00,2026-11-22 07:01:00,demo_ada"
)


def build(clock: ManualClock, root: Path, **options: Any) -> FileChannel:
    return file.build(
        AdapterSettings(
            name="leaf",
            options=options,
            credentials={},
            clock=clock,
            zone="Asia/Shanghai",
            currency="CNY",
            inbox=root / "inbox",
            exports=root / "exports",
            templates=root / "templates",
        )
    )


def put(
    inbox: Path, clock: ManualClock, content: str | bytes, name: str = "orders.csv", age_s: int = 60
) -> Path:
    path = inbox / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    at_s = clock.now_ms() / 1000 - age_s
    os.utime(path, (at_s, at_s))
    return path


def table(*rows: str, header: str = HEADER) -> str:
    return "\n".join((header, *rows)) + "\n"


def workbook(rows: Sequence[Sequence[object]]) -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(list(row))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def pull(channel: FileChannel) -> list[Page]:
    pages = list(channel.list_changed(Window(0, 1)))
    assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]
    return pages


def orders(channel: FileChannel) -> list[OrderFact]:
    pages = pull(channel)
    assert [page.rejects for page in pages if page.rejects] == []
    return [order for page in pages for order in page.orders]


def refusal(channel: FileChannel) -> str:
    (page,) = pull(channel)
    assert page.orders == ()
    assert page.rejects
    return " | ".join(page.rejects)


def local(text: str, zone: str = "Asia/Shanghai") -> int:
    return utc_ms(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)))
