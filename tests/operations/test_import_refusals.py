"""What is refused when keys come in, with its place and the next command."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from kmtool.errors import ExampleConfig, InputRefused, UsageError, WrongFile
from kmtool.operations import key_sources
from kmtool.shop import Shop
from tests.operations.import_kit import bring
from tests.test_sheets import workbook


@pytest.mark.parametrize(
    ("name", "data", "says", "mend"),
    [
        ("a.jpg", b"\xff\xd8\xff\xe0....", "picture", "txt, csv or xlsx"),
        ("a.txt", b"\x89PNG\r\n\x1a\n..", "picture", "txt"),
        ("a.pdf", b"%PDF-1.4", "PDF", ".txt"),
        ("a.rar", b"Rar!\x1a\x07", "rar", "unpack"),
        ("a.txt", b"", "empty", "save it again"),
        ("a.txt", b" \r\n \n", "empty", "save it again"),
        ("a.csv", "订单编号,买家会员名,金额\n1,x,2\n".encode("gbk"), "orders", "kmtool sync"),
        ("a.csv", "#支付宝账务明细查询\n".encode("gbk"), "bill", "kmtool reconcile a.csv"),
        ("a.txt", "交易时间,微信订单号\n`2026,`42\n".encode(), "bill", "kmtool reconcile"),
    ],
)
def test_a_wrong_file_is_named_with_the_next_command(
    shop: Shop, name: str, data: bytes, says: str, mend: str
) -> None:
    with pytest.raises(WrongFile) as caught:
        bring(shop, data, name)
    assert says in caught.value.message()
    assert mend in caught.value.next_step()
    assert caught.value.exit_code == 9
    assert shop.db.value("SELECT count(*) FROM products") == 0


def test_an_order_export_as_workbook_is_told_too(shop: Shop) -> None:
    with pytest.raises(WrongFile, match="orders"):
        bring(shop, workbook([["订单号", "商品", "数量"], ["1", "x", 2]]), "o.xlsx")


def test_two_filled_sheets_are_refused(shop: Shop) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["卡密"])
    book.create_sheet("more").append(["卡密"])
    file = io.BytesIO()
    book.save(file)
    with pytest.raises(InputRefused, match="several sheets"):
        bring(shop, file.getvalue(), "k.xlsx")


def test_a_missing_column_is_refused_with_the_mend(shop: Shop) -> None:
    with pytest.raises(InputRefused) as caught:
        bring(shop, "number,secret\nA1,B1\n", "k.csv", mapping={"key": "卡密"})
    assert "no column 卡密" in caught.value.message()
    assert "--map key=" in caught.value.next_step()


def test_a_folder_lists_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "supplies"
    folder.mkdir()
    (folder / "keys.txt").write_text("A1\n", encoding="utf-8")
    with pytest.raises(WrongFile, match=r"it holds keys\.txt"):
        key_sources.load(folder)


def test_the_lock_file_of_excel_is_no_workbook(tmp_path: Path) -> None:
    (tmp_path / "~$keys.xlsx").write_bytes(b"x")
    with pytest.raises(WrongFile) as caught:
        key_sources.load(tmp_path / "~$keys.xlsx")
    assert caught.value.next_step() == "kmtool import keys.xlsx"


def test_a_zip_inside_a_zip_is_refused(shop: Shop) -> None:
    def pack(name: str, data: bytes) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(name, data)
        return file.getvalue()

    with pytest.raises(WrongFile, match="zip inside"):
        bring(shop, pack("b.zip", pack("a.txt", b"A1")), "a.zip")


def test_too_much_from_a_pipe_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_sources.sheets, "FILE_MAX", 4)
    with pytest.raises(InputRefused):
        key_sources.from_stream(io.BytesIO(b"12345"), "stdin")


@pytest.mark.parametrize(
    "terms",
    [{"sku": ""}, {"sku": " x"}, {"sku": "-x"}, {"sku": "a\nb"}, {"sku": "x" * 65},
     {"supplier": "a\x1bb"}, {"cost_e5": -1}, {"cost_e5": 10**13}, {"mode": "gift"}],
)  # fmt: skip
def test_terms_that_make_no_sense_are_refused(shop: Shop, terms: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        bring(shop, "A1\n", **terms)


def test_the_example_is_not_written_to(make_config: object, shop: Shop) -> None:
    from dataclasses import replace

    example = replace(shop, config=replace(shop.config, example=True))
    with pytest.raises(ExampleConfig):
        bring(example, "A1\n")
