"""Exports: each kind in each format, masked keys, disarmed texts, days, whole keys on request."""

from __future__ import annotations

import csv
import io
import json
import os
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import python_calamine

from kmtool.errors import FileNotWritten, NotFound, UsageError
from kmtool.operations import export, settle
from kmtool.operations.export import Asked
from kmtool.shop import Shop
from kmtool.store import house
from tests.operations.make_ledger import Books

NUMBER = "JS-sup1-202611-01"
EVIL = "=cmd|'/C calc'!A0"


@pytest.fixture
def books(shop: Shop) -> Books:
    """Two orders on two days, one with hostile texts; one closed sheet."""
    made = Books(shop)
    made.supplier("sup1")
    batch = made.batch("sup1", "S1", 5, title="-hostile")
    made.sell(batch, 2, number="100000000000000001", buyer=EVIL, title="+1")
    made.later(1)
    made.sell(batch, 1, number="100000000000000002")
    settle.close(shop, "sup1")
    return made


def written(shop: Shop, tmp_path: Path, kind: str, suffix: str, **more: Any) -> Path:
    target = tmp_path / f"{kind}{suffix}"
    result = export.export(shop, Asked(kind, target, **more))
    assert result.file == str(target)
    return target


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))


KINDS = ("orders", "keys", "stock", "recon", "settlement")


def test_every_kind_in_every_format_holds_the_same_rows(
    shop: Shop, books: Books, tmp_path: Path
) -> None:
    expected = {"orders": 2, "keys": 5, "stock": 1, "recon": 0, "settlement": 1}
    assert set(export.KINDS) == set(KINDS)
    for kind in KINDS:
        found = json.loads(written(shop, tmp_path, kind, ".json").read_text(encoding="utf-8"))
        assert len(found[kind]) == expected[kind]
        assert len(rows_of(written(shop, tmp_path, kind, ".csv"))) == expected[kind]
        book = python_calamine.CalamineWorkbook.from_path(
            str(written(shop, tmp_path, kind, ".xlsx"))
        )
        assert len(book.get_sheet_by_index(0).to_python()) == expected[kind] + 1


def test_no_file_holds_a_whole_key(shop: Shop, books: Books, tmp_path: Path) -> None:
    for kind in KINDS:
        for suffix in (".json", ".csv"):
            text = written(shop, tmp_path, kind, suffix).read_text(encoding="utf-8-sig")
            assert not [key for key in books.texts if key in text]
        book = openpyxl.load_workbook(written(shop, tmp_path, kind, ".xlsx"))
        shown = {str(cell.value) for row in book.active.iter_rows() for cell in row}
        assert not [key for key in books.texts if any(key in cell for cell in shown)]


def test_an_order_says_what_it_brought_and_cost(shop: Shop, books: Books, tmp_path: Path) -> None:
    path = written(shop, tmp_path, "orders", ".json")
    first = json.loads(path.read_text(encoding="utf-8"))["orders"][0]
    assert (first["number"], first["amount"], first["cost"], first["currency"]) == (
        "100000000000000001", 1000, 700, "CNY",
    )  # fmt: skip
    assert first["paid"] == "2026-11-22T08:00:00+08:00"
    assert first["keys"] == "…0000 …0001"


def test_days_are_those_of_the_shop(shop: Shop, books: Books, tmp_path: Path) -> None:
    def count(since: date | None, until: date | None) -> int:
        asked = Asked("orders", tmp_path / "o.csv", since, until)
        return export.export(shop, asked).rows

    assert count(date(2026, 11, 22), date(2026, 11, 22)) == 1
    assert count(date(2026, 11, 23), None) == 1
    assert count(None, date(2026, 11, 21)) == 0
    assert count(None, None) == 2


def test_a_csv_for_people_is_disarmed_and_one_for_programs_is_not(
    shop: Shop, books: Books, tmp_path: Path
) -> None:
    people = rows_of(written(shop, tmp_path, "orders", ".csv"))[0]
    assert (people["买家"], people["商品"]) == (f"'{EVIL}", "'+1")
    path = written(shop, tmp_path, "orders", ".csv", raw=True)
    programs = rows_of(path)[0]
    assert (programs["buyer_name"], programs["title"]) == (EVIL, "+1")
    assert not path.read_bytes().startswith(b"\xef\xbb\xbf")


def test_a_negative_amount_stays_a_number(shop: Shop, books: Books, tmp_path: Path) -> None:
    shop.db.run("UPDATE orders SET refunded_minor = -150")
    assert rows_of(written(shop, tmp_path, "orders", ".csv"))[0]["已退金额"] == "-1.50"


def test_a_workbook_holds_texts_numbers_and_dates_and_no_formula(
    shop: Shop, books: Books, tmp_path: Path
) -> None:
    sheet = openpyxl.load_workbook(written(shop, tmp_path, "orders", ".xlsx")).active
    head = {str(cell.value): at for at, cell in enumerate(sheet[1])}
    row = sheet[2]
    assert [
        cell.coordinate for line in sheet.iter_rows() for cell in line if cell.data_type == "f"
    ] == []
    assert row[head["买家"]].value == EVIL
    assert (row[head["订单号"]].data_type, row[head["金额"]].value) == ("s", 10)
    assert row[head["付款时间"]].value.isoformat() == "2026-11-22T08:00:00"


def test_the_lines_of_one_sheet(shop: Shop, books: Books, tmp_path: Path) -> None:
    path = written(shop, tmp_path, "settlement", ".json", number=NUMBER)
    lines = json.loads(path.read_text(encoding="utf-8"))["settlement"]
    assert [(line["seq"], line["tail"], line["amount"]) for line in lines] == [
        (1, "…0000", 350), (2, "…0001", 350), (3, "…0002", 350),
    ]  # fmt: skip
    with pytest.raises(NotFound):
        written(shop, tmp_path, "settlement", ".json", number="JS-x")


def test_whole_keys_are_for_the_owner_and_audited(shop: Shop, books: Books, tmp_path: Path) -> None:
    for suffix in (".csv", ".json", ".xlsx"):
        path = written(shop, tmp_path, "keys", suffix, reveal=True)
        if os.name == "posix":
            assert path.stat().st_mode & 0o077 == 0
    assert {row["卡密"] for row in rows_of(tmp_path / "keys.csv")} == set(books.texts)
    told = house.audit_of(shop.db, "keys")
    assert [row["action"] for row in told] == ["export.reveal"] * 3
    assert told[0]["detail"] == "5 whole keys into keys.csv"


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        (Asked("nothing", Path("x.csv")), "no export of nothing"),
        (Asked("orders", Path("x.pdf")), "says no format"),
        (Asked("orders", Path("x.csv"), reveal=True), "only the export of keys"),
        (Asked("keys", Path("x.csv"), since=date(2026, 1, 1)), "knows no --from"),
        (Asked("keys", Path("x.csv"), number="JS-1"), "takes no number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_exported_is_said(shop: Shop, asked: Asked, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        export.export(shop, asked)


def test_a_file_that_cannot_be_written_leaves_nothing(
    shop: Shop, books: Books, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotWritten):
        export.export(shop, Asked("orders", tmp_path / "file" / "x.csv"))
    (tmp_path / "taken.csv").mkdir()
    with pytest.raises(FileNotWritten):
        export.export(shop, Asked("orders", tmp_path / "taken.csv"))
    assert not list(tmp_path.glob(".*.part"))


def test_amounts_of_several_currencies_are_text(shop: Shop, books: Books, tmp_path: Path) -> None:
    shop.db.run("UPDATE orders SET currency = 'JPY' WHERE number = '100000000000000002'")
    sheet = openpyxl.load_workbook(written(shop, tmp_path, "orders", ".xlsx")).active
    head = {str(cell.value): at for at, cell in enumerate(sheet[1])}
    assert [sheet[n][head["订单金额"]].value for n in (2, 3)] == ["10.00", "500"]
