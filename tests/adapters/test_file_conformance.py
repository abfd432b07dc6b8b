"""The file channel keeps what every channel must keep, as far as a file can."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from adapters.channels import file
from kmtool.clock import ManualClock, local_text
from kmtool.domain.money import format_plain
from kmtool.ports import AdapterSettings, Channel
from tests.adapters.channel_world import Fault
from tests.adapters.conformance_channel import *  # noqa: F403

HEADER = "订单号,订单状态,商品ID,商品标题,数量,实付金额,退款状态,退款金额,付款时间,修改时间"


class FileWorld:
    """A platform whose owner exports all orders anew before every look."""

    page_size = file.CHUNK
    missing = "404404"
    resolution_ms = 1000
    faults: frozenset[Fault] = frozenset()

    def __init__(self, clock: ManualClock, folder: Path) -> None:
        self.clock = clock
        self.inbox = folder / "inbox" / "orders" / "it"
        self.inbox.mkdir(parents=True)
        self.rows: dict[str, dict[str, object]] = {}
        self.hook: Callable[[str], None] | None = None
        self.built = file.build(
            AdapterSettings(
                name="it",
                options={},
                credentials={},
                clock=clock,
                zone="Asia/Shanghai",
                currency="CNY",
                inbox=folder / "inbox",
                exports=folder / "exports",
            )
        )

    @property
    def channel(self) -> Channel:
        if self.hook is not None:
            self.hook("orders")
        path = self.inbox / "export.csv"
        lines = [HEADER, *(self._line(number) for number in self.rows)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        os.utime(path, (self.clock.now_ms() / 1000 - 60,) * 2)
        return self.built

    def _line(self, number: str) -> str:
        row = self.rows[number]
        times = [
            ""
            if row[name] is None
            else local_text(int(str(row[name])), "Asia/Shanghai", "%Y-%m-%d %H:%M:%S")
            for name in ("paid_ms", "modified_ms")
        ]
        words = (number, row["status"], "8801", "月卡", row["quantity"], row["total"])
        return ",".join(map(str, (*words, row["refund"], row["back"], *times)))

    def add_order(self, *, quantity: int = 1, amount_minor: int = 1000, paid: bool = True) -> str:
        number = f"{len(self.rows) + 1:019d}"
        self.rows[number] = {
            "status": "待发货" if paid else "待付款",
            "quantity": quantity,
            "total": format_plain(amount_minor),
            "refund": "",
            "back": "",
            "paid_ms": self.clock.now_ms() if paid else None,
            "modified_ms": self.clock.now_ms(),
        }
        return number

    def touch(self, number: str) -> None:
        self.rows[number]["modified_ms"] = self.clock.now_ms()

    def cancel(self, number: str) -> None:
        self.rows[number]["status"] = "交易关闭"

    def refund(self, number: str, amount_minor: int | None = None) -> None:
        row = self.rows[number]
        row["refund"] = "部分退款" if amount_minor else "退款成功"
        row["back"] = format_plain(amount_minor) if amount_minor else row["total"]

    def shipped(self, number: str) -> bool:
        return False

    def received(self, number: str) -> list[str]:
        return []

    def stock(self, item_id: str, variant_id: str) -> int:
        raise AssertionError("a file has no stock")

    def fail(self, call: str, fault: Fault) -> None:
        raise AssertionError("a file has no faults")

    def before_call(self, hook: Callable[[str], None] | None) -> None:
        self.hook = hook

    def offline(self) -> AbstractContextManager[None]:
        return nullcontext()

    def stranger(self) -> Channel:
        pytest.skip("a folder has no credentials")


@pytest.fixture
def world(clock: ManualClock, tmp_path: Path) -> Iterator[FileWorld]:
    yield FileWorld(clock, tmp_path)
