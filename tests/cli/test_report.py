"""report latency, through the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kmtool.errors import UsageError


def test_latency_is_told_to_people_and_programs(cli: Any, shop_folder: Path) -> None:
    assert "Nothing was delivered" in cli("report", "latency").out
    (shop_folder / "keys.txt").write_text("AAAA-BBBB-7QX2\nAAAA-BBBB-7QX3\n", encoding="utf-8")
    cli("import", "keys.txt", "--sku", "S1", "--supplier", "z", "--cost", "1", "--new", "--yes")
    told = cli("sell", "S1", "--price", "9")
    assert told.code == 0, told.err
    told = cli("report", "latency", "--days", "1")
    assert "paid → seen" in told.out
    assert "[alerts]" in told.err
    rows = cli("report", "latency", "--by", "hour", "--json").json()["rows"]
    sent = next(row for row in rows if row["step"] == "paid_sent")
    assert (sent["channel"], sent["hour"], sent["waited"], sent["count"]) == ("counter", 8, True, 1)
    assert "paid → seen,counter,,,1,0.0,0.0,0.0" in cli("report", "latency", "--csv").lines()
    for words in (("--days", "0"), ("--by", "moon"), ("--days", "x")):
        assert cli("report", "latency", *words).code == UsageError.exit_code
