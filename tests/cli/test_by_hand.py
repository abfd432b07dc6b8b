"""`kmtool deliver --by-hand` as a person at a terminal meets it: a shop that has only files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
HEAD = "订单编号,买家会员名,买家实际支付金额,订单状态,订单创建时间,订单付款时间,宝贝标题,宝贝总数量"
ROW = "2261122000000000{:03d},demo_{},48.00,{},2026-11-22 07:0{}:00,2026-11-22 07:0{}:30,月卡,1"


@pytest.fixture
def waiting(cli: Cli, shop_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two orders of a file channel are mapped, released and wait to be pasted."""
    monkeypatch.setattr("kmtool.cli.clipboard.find", lambda *_seen: None)
    (shop_folder / "k.txt").write_text("HAND-1111\nHAND-2222\nHAND-3333\n", encoding="utf-8")
    assert cli("import", "k.txt", "--sku", "S1", "--new", "--yes").code == 0
    rows = [
        ROW.format(n, name, "买家已付款，等待卖家发货", n, n) for n, name in ((1, "ada"), (2, "bo"))
    ]
    export = "\n".join([HEAD, *rows]).encode("gb18030")
    (shop_folder / "orders.csv").write_bytes(export)
    assert cli("channel", "add", "tb", "--by-file", "orders.csv", "--mode", "auto").code == 0
    (shop_folder / "inbox/orders/tb/orders.csv").write_bytes(export)
    pulled = cli("sync", "tb", "--json").json()["channels"][0]
    assert (pulled["orders_new"], pulled["unmapped"]) == (2, 2)
    assert cli("product", "unmapped", "--count").out == "1\n"
    mapped = cli("product", "map", "tb", "月卡", "S1")
    assert "2 waiting order lines were set going" in mapped.out
    assert cli("product", "unmapped", "--count").out == "0\n"
    return shop_folder


def test_enter_is_sent_and_a_ship_file_lies_ready(cli: Cli, waiting: Path) -> None:
    told = cli("deliver", "--by-hand", input="\ns\n", tty=True)
    assert told.code == 0, told.err
    assert "1 of 2: tb order 2261122000000000001 for demo_ada" in told.err
    assert "HAND-" in told.out
    shown = [line.split() for line in told.lines() if line.startswith(("sent", "skipped", "left"))]
    assert shown == [["sent", "1"], ["skipped", "1"], ["left", "1"]]
    assert "￥48.00, paid" in told.err and "1 × 月卡" in told.err
    assert any("you skipped it → kmtool deliver --by-hand" in line for line in told.lines())
    file = next(line for line in told.lines() if line.startswith("upload this")).split(": ")[1]
    assert "2261122000000000001" in Path(file).read_text(encoding="utf-8-sig")
    states = {
        row["number"]: row["state"] for row in cli("order", "list", "--json").json()["orders"]
    }
    assert states["2261122000000000001"] == "delivered"
    assert states["2261122000000000002"] != "delivered"


def test_what_was_skipped_is_shown_again_with_the_same_key(cli: Cli, waiting: Path) -> None:
    first = cli("deliver", "--by-hand", input="s\ns\n", tty=True)
    second = cli("deliver", "--by-hand", input="\n\n", tty=True)
    keys = [{line for line in told.lines() if line.startswith("HAND-")} for told in (first, second)]
    assert keys[0] == keys[1] and len(keys[0]) == 2
    assert cli("deliver", "--by-hand", tty=True).lines()[0].split() == ["sent", "0"]


def test_a_closed_terminal_in_the_middle_loses_nothing(cli: Cli, waiting: Path) -> None:
    told = cli("deliver", "--by-hand", input="\n", tty=True)  # the second question gets no answer
    assert told.code == 6
    assert "Traceback" not in told.err
    again = cli("deliver", "--by-hand", input="\n", tty=True)
    assert again.code == 0, again.err
    assert cli("key", "stock", "S1", "--json").json()["products"][0]["free"] == 1


def test_without_a_terminal_no_key_is_shown(cli: Any, shop_folder: Path) -> None:
    told = cli("deliver", "--by-hand")
    assert told.code == 6
    assert "terminal" in told.err
    assert told.out == ""


def test_b_shows_the_one_before_again_as_perhaps_sent(cli: Cli, waiting: Path) -> None:
    told = cli("deliver", "--by-hand", input="\nb\n\n\n", tty=True)
    assert told.code == 0, told.err
    assert told.lines()[told.lines().index("sent  2")] == "sent  2"
    assert told.err.count("perhaps sent before") == 1
    assert "b = back" not in told.err.split("q = stop")[0]
    shown = [line for line in told.lines() if line.startswith("HAND-")]
    assert shown[0] == shown[2] and shown[1] == shown[3] and shown[0] != shown[1]
    assert cli("doctor", "--json").json()["checks"][0]["ok"]


def test_c_gives_only_the_key(cli: Cli, waiting: Path) -> None:
    told = cli("deliver", "--by-hand", input="c\nq\n", tty=True)
    shown = [line for line in told.lines() if line.startswith("HAND-")]
    assert len(shown) == 2 and shown[0] == shown[1]
    assert told.out.count("发货编号") == 1
    assert any("you stopped here" in line for line in told.lines())


def test_what_is_paused_is_left_with_the_reason(cli: Cli, waiting: Path) -> None:
    cli("deliver", "--by-hand", input="s\ns\n", tty=True)
    assert cli("pause", "tb").code == 0
    found = cli("deliver", "--by-hand", "--json", tty=True).json()
    assert (found["sent"], found["left"]) == (0, 2)
    assert {(one["why"], one["command"]) for one in found["waits"]} == {
        ("tb is paused", "kmtool resume tb")
    }


def test_a_later_export_confirms_what_the_file_told(cli: Cli, waiting: Path) -> None:
    told = cli("deliver", "--by-hand", "--json", input="\n\n", tty=True).json()
    assert len(told["ship_files"]) == 1
    item = only_item(cli, "upload")
    assert (item["amount"], item["orders"], item["command"]) == (9600, 2, "kmtool sync tb")
    assert Path(told["ship_files"][0]).name in item["what"]
    assert cli("channel", "ship-file", "tb").code == 6, "all of them stand in a file"
    again = cli("channel", "ship-file", "tb", "--again", "--ids").out.strip()
    assert Path(again).read_text(encoding="utf-8-sig").count("2261122") == 4
    assert "marked" not in cli("deliver").out, "nothing tells it by itself"
    rows = [ROW.format(1, "ada", "卖家已发货，等待买家确认", 1, 1),
            ROW.format(2, "bo", "买家已付款，等待卖家发货", 2, 2)]  # fmt: skip
    later(waiting, rows)
    assert cli("sync", "tb").code == 0
    assert only_item(cli, "upload")["orders"] == 1, "only what the export shows is confirmed"
    later(waiting, [ROW.format(2, "bo", "交易成功", 2, 2)])
    cli("sync", "tb")
    assert not [
        one for one in cli("status", "--json").json()["needs_you"] if "upload" in one["what"]
    ]
    shown = cli("order", "show", "2261122000000000001", "--json").json()
    assert shown["marked"] is not None
    wrong = [one for one in cli("doctor", "--json").json()["checks"] if not one["ok"]]
    assert [one["name"] for one in wrong] == ["backup"], wrong


def only_item(cli: Cli, word: str) -> dict[str, Any]:
    found = [x for x in cli("status", "--json").json()["needs_you"] if word in x["what"]]
    assert len(found) == 1, found
    return found[0]


def later(folder: Path, rows: list[str]) -> None:
    """Drop a newer export into the inbox."""
    name = f"later-{len(list((folder / 'inbox/orders/tb/done').glob('*')))}.csv"
    export = "\n".join([HEAD, *rows]).encode("gb18030")
    (folder / "inbox/orders/tb" / name).write_bytes(export)


def test_deliver_names_what_only_a_person_can_send(cli: Cli, waiting: Path) -> None:
    told = cli("deliver")
    assert told.lines()[-1].split() == ["orders", "to", "paste", "by", "hand", "待粘贴", "2"]
    assert "→ paste one after the other: kmtool deliver --by-hand" in told.err
    assert cli("deliver", "2261122000000000001", "--json").json()["to_paste"] == 1
    cli("pause")
    told = cli("deliver")
    assert "→ all is paused; go on: kmtool resume all" in told.err and "paste one" not in told.err
    cli("resume")
    cli("deliver", "--by-hand", input="\n\n", tty=True)
    assert cli("deliver", "--json").json()["to_paste"] == 0


def test_after_a_rehearsal_no_next_step_is_named(cli: Cli, waiting: Path) -> None:
    told = cli("sell", "S1", "--price", "48", "--dry-run")
    assert "nothing was kept; this is how it would be:" in told.err
    assert "→" not in told.err
    told = cli("import", "k.txt", "--sku", "S1", "--dry-run")
    assert told.code == 0


def test_keys_without_a_cost_are_spoken_of(cli: Cli, waiting: Path) -> None:
    Path("free.txt").write_text("HAND-9999\n", encoding="utf-8")
    assert "no cost was given" in cli("import", "free.txt", "--sku", "S1", "--yes").err
    Path("paid.txt").write_text("HAND-9998\n", encoding="utf-8")
    told = cli("import", "paid.txt", "--sku", "S1", "--cost", "5", "--yes")
    assert told.code == 0 and "no cost" not in told.err
