"""The commands import, key, product and supplier as a person meets them."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
KEYS = "AAAA-1111\nBBBB-2222\nCCCC-3333\n"
NEW = ("--sku", "S1", "--supplier", "z", "--new", "--yes")


@pytest.fixture
def stocked(cli: Cli, shop_folder: Path) -> Path:
    """A shop with three keys of S1."""
    (shop_folder / "keys.txt").write_text(KEYS, encoding="utf-8")
    assert cli("import", "keys.txt", *NEW).code == 0
    return shop_folder


def test_a_three_line_file_is_stock_after_one_command(cli: Cli, shop_folder: Path) -> None:
    (shop_folder / "keys.txt").write_text(KEYS, encoding="utf-8")
    told = cli("import", "keys.txt", *NEW, "--json")
    assert told.code == 0, told.err
    document = told.json()
    assert {k: document[k] for k in ("rows", "accepted", "duplicates", "rejected")} == {
        "rows": 3, "accepted": 3, "duplicates": 0, "rejected": 0,
    }  # fmt: skip
    assert document["files"][0]["batch"] == "B20261122-01"
    assert document["files"][0]["rejects_file"] is None
    assert "…1111" in told.err
    assert "AAAA-1111" not in told.out + told.err


def test_keys_come_through_a_pipe(cli: Cli, shop_folder: Path) -> None:
    told = cli("import", "-", *NEW, "--json", input=KEYS)
    assert told.json()["files"][0]["file"] == "stdin"
    assert told.json()["accepted"] == 3


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("in/wechat.csv", "kmtool reconcile in/wechat.csv"),
        ("in/my bill.csv", 'kmtool reconcile "in/my bill.csv"'),
        ("in/bills.zip", "kmtool reconcile in/bills.zip"),
    ],
)
def test_a_bill_is_sent_to_reconcile_by_the_path_as_typed(
    cli: Cli, shop_folder: Path, typed: str, hint: str
) -> None:
    bill = "交易时间,微信订单号\n`2026,`42\n".encode()
    file = shop_folder / typed
    file.parent.mkdir()
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("inside/wechat.csv", bill)
    else:
        file.write_bytes(bill)
    told = cli("import", typed, *NEW)
    assert told.code == 9
    assert f"  to do: {hint}" in told.err.splitlines()


def test_a_bill_in_a_pipe_has_no_path_to_name(cli: Cli, shop_folder: Path) -> None:
    told = cli("import", "-", *NEW, input="交易时间,微信订单号\n`2026,`42\n")
    assert told.code == 9
    assert "kmtool reconcile FILE" in told.err


def test_an_unknown_product_without_a_terminal_names_the_flag(cli: Cli, shop_folder: Path) -> None:
    told = cli("import", "-", "--sku", "S1", "--yes", input=KEYS)
    assert told.code == 6
    assert "--new" in told.err


def test_an_import_without_a_terminal_asks_for_yes(cli: Cli, shop_folder: Path) -> None:
    told = cli("import", "-", "--sku", "S1", "--new", input=KEYS)
    assert told.code == 6
    assert "--yes" in told.err
    assert cli("key", "list", "--count").out == "0\n"


def test_questions_are_answered_at_a_terminal(cli: Cli, shop_folder: Path) -> None:
    (shop_folder / "k.txt").write_text(KEYS, encoding="utf-8")
    told = cli("import", "k.txt", input="S1\n\ny\ny\n", tty=True)
    assert told.code == 0, told.err
    assert "product S1 · your own stock · cost" in told.err
    assert cli("key", "stock", "--json").json()["products"][0]["free"] == 3


def test_the_question_for_the_supplier_names_those_who_are_known(cli: Cli, stocked: Path) -> None:
    (stocked / "k.txt").write_text("DDDD-4444\n", encoding="utf-8")
    told = cli("import", "k.txt", "--sku", "S1", input="z\ny\n", tty=True)
    assert told.code == 0, told.err
    assert "Whom are these keys from? z (Enter: your own stock, owed to nobody)" in told.err
    (stocked / "k.txt").write_text("EEEE-5555\n", encoding="utf-8")
    told = cli("import", "k.txt", "--sku", "S1", "--yes")
    assert (told.code, "your own stock" in told.err) == (0, True), "with nobody to ask"
    suppliers = cli("supplier", "list", "--json").json()["suppliers"]
    assert [(one["code"], one["keys"]) for one in suppliers] == [("own", 1), ("z", 4)]


def test_nothing_is_settled_for_what_the_owner_had_already(cli: Cli, stocked: Path) -> None:
    (stocked / "k.txt").write_text("DDDD-4444\n", encoding="utf-8")
    assert cli("import", "k.txt", "--sku", "S1", "--cost", "5", "--yes").code == 0
    for words in (("preview", "own"), ("close", "own", "--yes")):
        told = cli("settle", *words)
        assert (told.code, "owed to nobody" in told.err) == (6, True)
    told = cli("import", "k.txt", "--sku", "S1", "--supplier", "own", "--mode", "consignment")
    assert (told.code, "owed to nobody" in told.err) == (2, True)
    assert cli("supplier", "set", "own", "--mode", "consignment").code == 2
    told = cli("supplier", "show", "own")
    assert (told.code, "settle preview" in told.err) == (0, False)


@pytest.mark.parametrize("name", ["orders.csv", "orders.zip", "orders.xlsx"])
def test_an_export_of_orders_is_recognised_before_anything_is_asked(
    cli: Cli, shop_folder: Path, name: str
) -> None:
    rows = [
        ["订单编号", "商品标题", "买家昵称", "实付金额"],
        ["2611220001", "月卡", "小明", "10.00"],
    ]
    text = "".join(",".join(row) + "\n" for row in rows)
    if name.endswith("zip"):
        with zipfile.ZipFile(shop_folder / name, "w") as archive:
            archive.writestr("orders.csv", text)
    elif name.endswith("xlsx"):
        import openpyxl

        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(row)
        book.save(shop_folder / name)
    else:
        (shop_folder / name).write_text(text, encoding="utf-8")
    for how in ({"input": "S1\n", "tty": True}, {}):
        told = cli("import", name, **how)
        assert (told.code, "looks like an export of orders" in told.err) == (9, True), told.err
        assert "Which product" not in told.err


def test_no_at_the_preview_takes_nothing_in(cli: Cli, shop_folder: Path) -> None:
    (shop_folder / "k.txt").write_text(KEYS, encoding="utf-8")
    told = cli("import", "k.txt", "--sku", "S1", "--new", input="\nn\n", tty=True)
    assert told.code == 6
    assert cli("product", "list", "--count").out == "0\n"


def test_a_dry_run_says_all_and_keeps_nothing(cli: Cli, shop_folder: Path) -> None:
    told = cli("import", "-", "--sku", "S1", "--dry-run", "--json", input=KEYS)
    assert told.code == 0, told.err
    assert told.json()["accepted"] == 3
    assert cli("key", "list", "--count").out == "0\n"


def test_refused_rows_end_in_done_in_part(cli: Cli, shop_folder: Path) -> None:
    told = cli("import", "-", *NEW, "--json", input="good-key\n1.2E+18\n")
    assert told.code == 3
    assert Path(told.json()["files"][0]["rejects_file"]).is_file()


def test_the_same_file_again_is_done(cli: Cli, stocked: Path) -> None:
    told = cli("import", "keys.txt", *NEW)
    assert told.code == 0
    assert "the same file was imported on 2026-11-22" in told.out


def test_a_picture_gets_three_lines_and_the_mend(cli: Cli, shop_folder: Path) -> None:
    (shop_folder / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 50)
    told = cli("import", "photo.jpg", *NEW)
    assert told.code == 9
    assert told.err.startswith("KM-E901 ")
    assert "picture" in told.err
    assert len(told.err.splitlines()) == 3


@pytest.mark.parametrize("name", ["none.txt", "."])
def test_a_wrong_place_gets_three_lines(cli: Cli, shop_folder: Path, name: str) -> None:
    told = cli("import", name, *NEW)
    assert told.code in {5, 9}
    assert len(told.err.splitlines()) == 3


def test_a_file_name_with_braces_is_only_a_name(cli: Cli, shop_folder: Path) -> None:
    (shop_folder / "{x!r}{.txt").write_text("订单编号,买家会员名,金额\n", encoding="utf-8")
    told = cli("import", "{x!r}{.txt", *NEW)
    assert told.code == 9
    assert "{x!r}{.txt" in told.err


@pytest.mark.parametrize(
    "words",
    [
        ("--cost", "cheap"),
        ("--expires", "soon"),
        ("--map", "key"),
        ("--mode", "gift"),
        ("--preset", "none"),
    ],
)
def test_a_bad_word_is_a_usage_error(cli: Cli, shop_folder: Path, words: tuple[str, str]) -> None:
    told = cli("import", "-", *NEW, *words, input=KEYS)
    assert told.code == 2
    assert len(told.err.splitlines()) == 3


def test_columns_are_chosen_by_name(cli: Cli, shop_folder: Path) -> None:
    (shop_folder / "k.csv").write_text("n,secret\n1,AAAA-1111\n", encoding="utf-8")
    assert cli("import", "k.csv", *NEW, "--map", "key=secret").code == 0
    assert cli("key", "list", "--json").json()["keys"][0]["key"] == "…1111"


# ------------------------------------------------------------------ key


def test_a_piped_key_is_found(cli: Cli, stocked: Path) -> None:
    told = cli("key", "find", "-", "--json", input="BBBB-2222\n")
    assert told.json()["key"]["line_no"] == 2
    assert cli("key", "find", "-", input="none-such\n").code == 5


def test_a_key_on_the_command_line_is_refused(cli: Cli, stocked: Path) -> None:
    told = cli("key", "find", "BBBB-2222")
    assert told.code == 2
    assert "shell" in told.err


def test_a_key_is_found_by_its_tail(cli: Cli, stocked: Path) -> None:
    assert cli("key", "find", "--tail", "3333", "--count").out == "1\n"


def test_a_key_is_opened_only_with_a_reason(cli: Cli, stocked: Path) -> None:
    found = cli("key", "find", "--tail", "1111", "--ids").out.strip()
    assert cli("key", "show", found, "--reveal").code == 6
    told = cli("key", "show", found, "--reveal", "--reason", "buyer asks")
    assert told.out == "AAAA-1111\n"
    told = cli("key", "show", found, "--reveal", "--reason", "for a program", "--json")
    assert told.json() == {"id": found, "key": "AAAA-1111"}
    shown = cli("key", "show", found)
    assert "AAAA" not in shown.out


def test_a_batch_is_listed_shown_and_undone(cli: Cli, stocked: Path) -> None:
    assert cli("key", "batch", "list", "--ids").out == "B20261122-01\n"
    assert "free 3" in cli("key", "batch", "show", "B20261122-01").out
    assert cli("key", "batch", "undo", "B20261122-01").code == 6
    assert cli("key", "batch", "undo", "B20261122-01", "--dry-run").code == 0
    told = cli("key", "batch", "undo", "B20261122-01", "--yes")
    assert told.code == 0
    assert "3 keys of B20261122-01 were taken out" in told.out
    assert cli("key", "stock", "S1", "--json").json()["products"][0]["free"] == 0


# ------------------------------------------------------------------ product, supplier


def test_a_product_is_added_changed_and_mapped(cli: Cli, shop_folder: Path) -> None:
    added = cli("product", "add", "S1", "--title", "百元卡", "--price", "98", "--low-stock", "3")
    assert added.code == 0, added.err
    assert cli("product", "set", "S1", "--floor", "90.50").code == 0
    assert cli("product", "map", "shop1", "i1", "S1", "--units", "2").code == 0
    found = cli("product", "show", "S1", "--json").json()
    assert (found["price"], found["floor"], found["currency"]) == (9800, 9050, "CNY")
    assert found["listings"][0]["units"] == 2
    assert "i1" in cli("product", "show", "S1").out
    assert cli("product", "unmapped").code == 0
    assert cli("product", "set", "S1", "--price", "many").code == 2


def test_products_come_from_a_file(cli: Cli, shop_folder: Path) -> None:
    (shop_folder / "p.csv").write_text("sku,title\nS1,one\nS2,two\n", encoding="utf-8")
    assert "2 products new" in cli("product", "import", "p.csv").out
    assert cli("product", "list", "--ids").out == "S1\nS2\n"
    assert cli("product", "import", "none.csv").code == 5


def test_a_supplier_is_added_and_changed(cli: Cli, shop_folder: Path) -> None:
    assert cli("supplier", "add", "zhang", "--mode", "buyout", "--settle-days", "7").code == 0
    assert cli("supplier", "set", "zhang", "--name", "张三").code == 0
    found = cli("supplier", "list", "--json").json()["suppliers"][0]
    assert (found["code"], found["name"], found["settle_days"]) == ("zhang", "张三", 7)
    assert "张三" in cli("supplier", "show", "zhang").out
    assert cli("supplier", "show", "none").code == 5


def test_an_everyday_import_loads_no_table_library(cli_process: Cli, stocked: Path) -> None:
    probe = stocked / "sitecustomize.py"
    probe.write_text(
        "import atexit, sys\n"
        "heavy = {'pandas', 'openpyxl', 'httpx', 'apscheduler', 'sqlite_utils', 'xlsxwriter',"
        " 'python_calamine', 'rich'}\n"
        "told = lambda: sys.stderr.write('HEAVY ' + ' '.join(heavy & set(sys.modules)))\n"
        "atexit.register(told)\n",
        encoding="utf-8",
    )
    path = f"{stocked}{os.pathsep}{Path(__file__).resolve().parents[2]}"
    told = cli_process("import", "-", *NEW, input="DDDD-4444\n", env={"PYTHONPATH": path})
    assert told.code == 0, told.err
    assert told.err.rstrip().endswith("HEAVY")
