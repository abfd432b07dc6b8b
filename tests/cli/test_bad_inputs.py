"""The twelve bad inputs of every day: three lines with the mend or the right result, never half."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.demo_shop import Sold
from kmtool import app
from kmtool.clock import ManualClock, SystemClock
from kmtool.operations import doctor
from kmtool.operations.deliver import deliver
from kmtool.store.db import connect
from tests.cli.bad_inputs import (
    BILL,
    NEW,
    ORDER_HEAD,
    ORDER_ROW,
    books,
    counts,
    locked,
    start,
    three_lines,
)
from tests.jobs.shop_on_loopback import ITEM, make, simulated
from tests.test_sheets import workbook

Cli = Callable[..., Any]
KEYS = "AAAA-1111\nBBBB-2222\nCCCC-3333\n"


@pytest.fixture
def stocked(cli: Cli, shop_folder: Path) -> Path:
    """A shop with three keys of S1 and a file channel `leaf`."""
    (shop_folder / "keys.txt").write_text(KEYS, encoding="utf-8")
    assert cli("import", "keys.txt", *NEW).code == 0
    assert cli("channel", "add", "leaf", "--adapter", "file").code == 0
    return shop_folder


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


# ------------------------------------------------------------------ files that are no keys


def test_1_the_same_file_twice_is_nothing_new(cli: Cli, stocked: Path) -> None:
    before = books(stocked)
    told = cli("import", "keys.txt", *NEW, "--json")
    assert told.code == 0
    assert (told.json()["accepted"], told.json()["duplicates"]) == (0, 3)
    assert books(stocked) == before


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("photo.jpg", b"\xff\xd8\xff\xe0" + b"\0" * 500, "picture"),
        ("photo.txt", b"\x89PNG\r\n\x1a\n" + b"\0" * 500, "picture"),
        ("empty.txt", b"", "empty"),
        ("blank.csv", b"\xef\xbb\xbf \r\n\r\n", "no row with a key"),
        ("empty.xlsx", workbook([]), "empty"),
    ],
)
def test_2_3_a_picture_or_an_empty_file_is_no_batch(
    cli: Cli, stocked: Path, name: str, content: bytes, says: str
) -> None:
    before = books(stocked)
    put(stocked, name, content)
    assert says in three_lines(cli("import", name, *NEW), 9)
    assert books(stocked) == before


# ------------------------------------------------------------------ folders and settings


@pytest.mark.parametrize(
    "words",
    [
        ("import", "keys.txt"), ("import", "keys.txt", *NEW), ("sync",), ("deliver",),
        ("sell", "S1"), ("reconcile",), ("status",), ("doctor",), ("settle", "preview", "z"),
        ("run", "--once"), ("order", "list"), ("export", "orders", "-o", "o.csv"), ("pause",),
    ],
)  # fmt: skip
def test_4_a_wrong_folder_names_init(cli: Cli, tmp_path: Path, words: tuple[str, ...]) -> None:
    folder = tmp_path / "elsewhere"
    if any((above / "kmtool.toml").exists() for above in tmp_path.parents):
        pytest.skip("a kmtool.toml lies above the temporary folder: every folder there is a shop")
    put(folder, "keys.txt", KEYS)
    told = three_lines(cli(*words, cwd=folder), 10)
    assert "to do: kmtool init" in told
    assert [path.name for path in folder.iterdir()] == ["keys.txt"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[shop\nname = 1\n", "kmtool.toml:1"),
        ("[shop]\nname = “小店”\n", 'write line 2 as: name = "小店"'),
        ('[data]\ndatabase = "C:\\shop\\x.db"\n', "write line 2 as: database = 'C:\\shop\\x.db'"),
        ('[shop]\nnmae = "x"\n', "shop.name"),
        ('[channels.a]\nmode = "auto"\n', "adapter"),
        ("[shop]\nname = 7\n", "text in quotes"),
        ('[sync]\nevery = "soon"\n', "15m"),
        ("shop = 1\n", "[shop] must be a section"),
        ("channels = 1\n", "must be a section [channels…]"),
        ("jobs = 'x'\n", "must be a section [jobs…]"),
        ('[channels.a]\nadapter = "file"\noptions = 1\n', "section [channels.a.options]"),
        ('[channels.a]\nadapter = "file"\ncredentials = "x"\n', "channels.a.credentials"),
        ('[channels]\na = "file"\n', "channels.a"),
    ],
)
def test_5_a_broken_toml_says_the_line_and_its_mend(
    cli: Cli, stocked: Path, text: str, says: str
) -> None:
    before = books(stocked)
    put(stocked, "kmtool.toml", text)
    for words in (("sell", "S1"), ("import", "keys.txt", *NEW), ("config", "check"), ()):
        assert says in three_lines(cli(*words), 4)
    assert (stocked / "kmtool.toml").read_text(encoding="utf-8") == text
    assert books(stocked) == before


@pytest.mark.parametrize("encoding", ["gb18030", "utf-8-sig"])
def test_6_7_a_toml_as_notepad_saves_it_is_read(cli: Cli, stocked: Path, encoding: str) -> None:
    path = stocked / "kmtool.toml"
    text = path.read_text(encoding="utf-8").replace("\n", "\r\n")
    path.write_bytes(text.encode(encoding))
    assert cli("config", "get", "shop.name").out == "测试小店\n"
    sold = cli("sell", "S1")
    assert sold.code == 0 and "测试小店" in sold.out


def test_7_a_key_file_as_notepad_saves_it_gives_the_bare_keys(cli: Cli, shop_folder: Path) -> None:
    put(shop_folder, "keys.txt", b"\xef\xbb\xbf" + KEYS.replace("\n", "\r\n").encode())
    put(shop_folder, "wide.txt", "DDDD-4444\r\n".encode("utf-16"))
    assert cli("import", "keys.txt", "wide.txt", *NEW, "--json").json()["accepted"] == 4
    for key in ("AAAA-1111", "CCCC-3333", "DDDD-4444"):
        assert cli("key", "find", "-", input=f"{key}\n").code == 0


# ------------------------------------------------------------------ columns


def test_8_a_csv_without_a_column_of_keys_names_those_there_are(cli: Cli, stocked: Path) -> None:
    before = books(stocked)
    put(stocked, "k.csv", "批次,颜色\n1,red\n2,blue\n")
    assert "--map key=COLUMN" in three_lines(cli("import", "k.csv", *NEW), 9)
    told = three_lines(cli("import", "k.csv", *NEW, "--map", "key=卡密"), 9)
    assert "there is no column 卡密" in told and "批次, 颜色" in told
    assert books(stocked) == before


def test_8_an_order_export_without_a_column_imports_nothing(cli: Cli, stocked: Path) -> None:
    before = books(stocked)
    lame = ORDER_HEAD.replace("实付金额,", "") + "\nA1,等待卖家发货,8801,月卡,,1,,,,\n"
    put(stocked, "orders.csv", lame)
    put(stocked, "inbox/orders/leaf/orders.csv", lame)
    assert "total" in three_lines(cli("channel", "add", "two", "--by-file", "orders.csv"), 9)
    assert cli("channel", "list", "--count").out == "2\n"
    told = cli("sync", "leaf")
    assert told.code in {3, 7, 8, 9} or "total" in told.out, told
    assert "Traceback" not in told.err
    after = books(stocked)
    assert after["orders"] == before["orders"] == []
    assert list((stocked / "inbox/orders/leaf/failed").iterdir())


def test_8_a_bill_without_a_column_imports_nothing(cli: Cli, stocked: Path) -> None:
    assert cli("channel", "set", "leaf", "--account", "alipay").code == 0
    before = books(stocked)
    put(stocked, "bill.csv", BILL.format("").encode("gb18030"))
    told = cli("reconcile", "bill.csv", "--account", "alipay")
    assert told.code == 9, told
    assert "Traceback" not in told.err
    assert "收入金额" in told.out + told.err or "column" in told.out + told.err
    after = books(stocked)
    assert len(after.pop("statement_files")) == 1  # that it was refused, and why, is on record
    assert before.pop("statement_files") == [] and after == before


# ------------------------------------------------------------------ digits


def test_9_full_width_digits_stay_in_keys_and_count_in_figures(cli: Cli, shop_folder: Path) -> None:
    put(shop_folder, "keys.txt", "ＡＡＡＡ－１１１１\nBBBB-2222\n")
    told = cli("import", "keys.txt", *NEW)
    assert told.code == 0
    assert "full-width characters are kept as they are (rows 1)" in told.err
    assert cli("key", "find", "-", input="ＡＡＡＡ－１１１１\n").code == 0
    assert cli("sell", "S1", "--price", "４８．００", "--json").json()["total"] == 4800
    for words in (("--price", "四十八"), ("--price", "1,2"), ("--quantity", "两")):
        three_lines(cli("sell", "S1", *words), 2)
    assert cli("key", "stock", "S1", "--json").json()["products"][0]["free"] == 1


def test_9_full_width_digits_in_an_order_export(cli: Cli, stocked: Path) -> None:
    text = f"{ORDER_HEAD}\n{ORDER_ROW.format('A1', '２', '９６．００')}\n"
    put(stocked, "inbox/orders/leaf/o.csv", text)
    told = cli("sync", "leaf", "--json").json()["channels"][0]
    found = books(stocked)
    if told["orders_new"]:
        assert [row["quantity"] for row in found["lines"]] == [2]
        assert [row["total_minor"] for row in found["orders"]] == [9600]
    else:  # refused whole, with a report beside the file
        assert told["rejects"] and found["orders"] == []


def test_10_a_number_of_19_digits_is_refused_as_key_and_as_order(cli: Cli, stocked: Path) -> None:
    put(stocked, "k.xlsx", workbook([["卡密"], [1234567890123456789], ["GOOD-1"]]))
    told = cli("import", "k.xlsx", *NEW, "--json")
    assert (told.code, told.json()["accepted"], told.json()["rejected"]) == (3, 1, 1)
    assert "16 digits" in told.json()["files"][0]["refused"][0]
    row: list[object] = [*ORDER_ROW.format("A1", 1, "48.00").split(",")]
    row[0] = 2261122000000000123
    book = workbook([[*ORDER_HEAD.split(",")], row])
    put(stocked, "o.xlsx", book)
    put(stocked, "inbox/orders/leaf/o.xlsx", book)
    three_lines(cli("channel", "add", "two", "--by-file", "o.xlsx"), 9)
    rejects = cli("sync", "leaf", "--json").json()["channels"][0]["rejects"]
    assert rejects and "digits" in rejects[0]
    assert books(stocked)["orders"] == []


# ------------------------------------------------------------------ a busy database, Ctrl-C


def test_11_a_locked_database_is_said_and_nothing_is_half_done(
    cli: Cli, stocked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "connect", functools.partial(connect, busy_ms=100))
    put(stocked, "more.txt", "NEW-1\nNEW-2\n")
    put(stocked, "inbox/orders/leaf/o.csv", f"{ORDER_HEAD}\n{ORDER_ROW.format('A1', 1, '48.00')}\n")
    before = books(stocked)
    with locked(stocked):
        for words in (
            ("import", "more.txt", *NEW), ("sell", "S1"), ("deliver",), ("pause",),
            ("product", "add", "S2"), ("key", "batch", "undo", "B20261122-01", "--yes"),
        ):  # fmt: skip
            assert "locked by another program" in three_lines(cli(*words), 11), words
        told = cli("sync", "leaf")
        assert told.code in {7, 11} and "Traceback" not in told.err
        assert cli("order", "list").code == 0  # reading goes on
        assert cli("key", "stock").code == 0
    assert books(stocked) == before
    assert cli("import", "more.txt", *NEW).code == 0
    assert cli("sync", "leaf", "--json").json()["channels"][0]["orders_new"] == 1


def interrupt(folder: Path, after_s: float, *words: str) -> tuple[int, str]:
    """Run kmtool, press Ctrl-C after a while, return (exit code, stderr)."""
    with start(folder, *words) as process:
        try:
            SystemClock().sleep(after_s)
            process.send_signal(signal.SIGINT)
            _out, err = process.communicate(timeout=60)
        finally:
            process.kill()
        return process.returncode, err.decode()


def ends(folder: Path, *words: str) -> int:
    """Run kmtool to its end and return its exit code."""
    with start(folder, *words) as process:
        process.communicate(timeout=60)
        return process.returncode


def stopped_well(code: int, err: str) -> None:
    """Either it was done before the keys were pressed, or it says what Ctrl-C did."""
    assert "Traceback" not in err and "KM-E100" not in err, err
    # A process that Ctrl-C met within Python's own doors ends by the signal: 130 to any shell.
    assert code in {0, 3, 130, -signal.SIGINT}, (code, err)
    if code == 130:
        assert "What was done so far stays" in err


@pytest.mark.parametrize("after_s", [0.5, 1.0, 1.6, 2.4, 3.4])
def test_12_ctrl_c_in_an_import_leaves_all_of_a_batch_or_nothing(
    cli: Cli, stocked: Path, after_s: float
) -> None:
    n = 200_000
    put(stocked, "many.txt", "".join(f"MANY-{i:06d}-KEY\n" for i in range(n)))
    before = counts(stocked)
    stopped_well(*interrupt(stocked, after_s, "import", "many.txt", *NEW))
    added = {k: v - before[k] for k, v in counts(stocked).items() if v != before[k]}
    assert added in ({}, {"batches": 1, "keys": n}), added
    told = cli("import", "many.txt", *NEW, "--json")
    assert told.code == 0, told.err
    assert told.json()["accepted"] in ({n} if not added else {0})
    assert cli("key", "stock", "S1", "--json").json()["products"][0]["free"] == n + 3
    assert cli("db", "check").code in {0, 8}


@pytest.mark.parametrize("after_s", [0.3, 0.6, 1.0, 1.5])
def test_12_ctrl_c_in_a_sync_loses_no_order(cli: Cli, stocked: Path, after_s: float) -> None:
    n = 1_500
    rows = "\n".join(ORDER_ROW.format(f"N{i:05d}", 1, "48.00") for i in range(n))
    put(stocked, "inbox/orders/leaf/o.csv", f"{ORDER_HEAD}\n{rows}\n")
    SystemClock().sleep(2.1)  # a file that still grows is left alone
    stopped_well(*interrupt(stocked, after_s, "sync", "leaf"))
    found = counts(stocked)
    assert found["orders"] == found["lines"] == found["facts"]
    assert ends(stocked, "sync", "leaf") == 0
    assert counts(stocked)["orders"] == counts(stocked)["lines"] == n


@pytest.mark.parametrize("after_s", [0.4, 0.7, 1.0, 1.4])
def test_12_ctrl_c_in_a_delivery_gives_no_key_to_two_buyers(tmp_path: Path, after_s: float) -> None:
    n = 40
    with simulated() as outside:
        config = make(tmp_path, outside, keys=n)
        numbers = [outside.add_order([Sold(ITEM, 1)]) for _ in range(n)]
        for _time in range(20):  # the channel shows what is a few seconds old
            assert ends(tmp_path, "sync") == 0
            if counts(tmp_path)["orders"] == n:
                break
            SystemClock().sleep(0.5)
        stopped_well(*interrupt(tmp_path, after_s, "deliver"))
        ends(tmp_path, "deliver")
        # What was under way is asked about until the shop's own limit is over: let time pass.
        outside.clock = clock = ManualClock(SystemClock().now_ms())
        with app.open_shop(config, clock=clock) as shop:
            for _time in range(8):
                clock.advance(60_000)
                deliver(shop)
            assert [check.name for check in doctor.ledger_checks(shop) if not check.ok] == []
        told = [
            {line for m in outside.orders[number].messages for line in m["text"].split("\n")
             if line.startswith("KEY-")}
            for number in numbers
        ]  # fmt: skip
        assert [len(keys) for keys in told] == [1] * n
        assert len(set().union(*told)) == n
