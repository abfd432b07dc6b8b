"""What the tests of lent keys share: lending, a pool's export, reading it back."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from kmtool.operations import doctor, lending, lending_back
from kmtool.operations.lending import LendWish
from kmtool.operations.lending_back import ReadBack
from kmtool.shop import Shop
from tests.operations.delivery_kit import broken

FORM = "91kaquan"


def lend(shop: Shop, folder: Path, count: int = 3, pool: str = "kq", **more: str) -> Path:
    path = folder / f"lent-{count}.csv"
    wish = LendWish("S1", pool, count, FORM, more.get("channel", ""))
    lending.lend(shop, wish, path)
    return path


def cards(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [row["CardNo"] for row in csv.DictReader(file)]


def export(
    shop: Shop, folder: Path, rows: Sequence[Sequence[str]], head: str = "卡号,状态,订单号"
) -> Path:
    """Write what a pool's export says, as of now."""
    path = folder / f"pool-{len(list(folder.glob('pool-*')))}.csv"
    path.write_text("\n".join([head, *(",".join(row) for row in rows)]), encoding="utf-8")
    at_s = shop.now_ms() / 1000
    os.utime(path, (at_s, at_s))
    return path


def read(shop: Shop, path: Path, *, take_back: bool = False, assume: str = "") -> ReadBack:
    return lending_back.settle(
        shop, lending_back.look(shop, "kq", path, assume), take_back=take_back
    )


def sound(shop: Shop) -> bool:
    return not broken(shop) and doctor.journal_check(shop).ok
