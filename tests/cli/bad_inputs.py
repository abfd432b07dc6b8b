"""What the tests of bad input share: the books before and after, three lines, awkward files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kmtool.store.db import connect

ROOT = Path(__file__).resolve().parents[2]
NEW = ("--sku", "S1", "--supplier", "z", "--new", "--yes")
BOOKS = (
    "products", "listings", "suppliers", "batches", "keys", "stock", "inbox", "cursors", "orders",
    "facts", "refunds", "lines", "allocations", "parcels", "parcel_lines", "effects", "attempts",
    "ledger_entries", "ledger_postings", "settlements", "settlement_lines", "statement_files",
    "statement_lines", "line_matches", "exceptions", "pauses", "secrets", "data_keys",
)  # fmt: skip
"""Every table in which something half-done would show; audit and sessions tell that one tried."""

ORDER_HEAD = (
    "订单号,订单状态,商品ID,商品标题,规格,数量,实付金额,退款状态,下单时间,付款时间,买家昵称"
)
ORDER_ROW = "{},等待卖家发货,8801,月卡,,{},{},,2026-11-22 07:00:00,2026-11-22 07:01:00,demo_ada"
BILL = """#支付宝账务明细查询
#账号：[20880000000000010156]
#起始日期：[2021年11月01日 00:00:00]   终止日期：[2021年12月01日 00:00:00]
#-----------------------------------------账务明细列表----------------------------------------
账务流水号,业务流水号,商户订单号,商品名称,发生时间,对方账号,{}支出金额（-元）,账户余额（元）,交易渠道,业务类型,备注
"""
"""The head of a bill; the test puts the column of what came in, or leaves it out."""


def books(folder: Path) -> dict[str, Any]:
    """Return every row that matters, so that before and after can be compared."""
    path = folder / "shop" / "shop.db"
    if not path.is_file():
        return {}
    db = connect(path)
    try:
        return {name: db.all(f"SELECT * FROM {name} ORDER BY 1") for name in BOOKS}
    finally:
        db.close()


def counts(folder: Path) -> dict[str, int]:
    return {name: len(rows) for name, rows in books(folder).items()}


def three_lines(told: Any, *codes: int) -> str:
    """Assert that stderr ends in one error of three lines; return them."""
    assert told.code in codes, (told.code, told.err)
    assert "Traceback" not in told.err + told.out
    lines = told.err.splitlines()[-3:]
    assert re.match(r"KM-E\d{3,4} \S", lines[0]), told.err
    assert not lines[0].startswith("KM-E100 "), told.err
    assert lines[1].startswith("  where: ") and len(lines[1]) > 9, told.err
    assert lines[2].startswith("  to do: ") and len(lines[2]) > 9, told.err
    return "\n".join(lines)


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a kmtool that runs as its own program."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", **more}


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start kmtool as its own program in a folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "kmtool", *words],
        cwd=folder, env=environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a write transaction in another process."""
    program = (
        "import sys; from kmtool.store.db import connect; db = connect(sys.argv[1]);"
        "tx = db.tx(); tx.__enter__(); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder / "shop" / "shop.db")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(),
    ) as holder:  # fmt: skip
        assert holder.stdout is not None and holder.stdin is not None
        assert holder.stdout.readline().strip() == b"held"
        yield
        holder.stdin.close()


@contextmanager
def tiny_disk(folder: Path, size: str = "1m") -> Iterator[bool]:
    """Mount a disk of one megabyte; False where this process may not."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = sys.platform == "linux" and not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True, check=False,
    ).returncode  # fmt: skip
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)
