"""Hostile and odd files are stopped at the door; honest ones come out as they are."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmtool import sheets
from kmtool.errors import FileMissing, InputRefused

SHEET = "xl/worksheets/sheet1.xml"


def workbook(rows: list[list[object]]) -> bytes:
    """Write an xlsx as a shop's supplier would."""
    import openpyxl

    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


SMALL = workbook([["卡密", "n"], ["A1", 1], ["A2", 2.5]])


def patched(data: bytes, name: str, replace: tuple[bytes, bytes]) -> bytes:
    """Change a member of a zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", 8) as new:
        for member in old.namelist():
            content = old.read(member)
            if member == name:
                assert replace[0] in content
                content = content.replace(*replace)
            new.writestr(member, content)
    return out.getvalue()


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_SLASH_", "/").replace("_DOT_", "."), content)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("卡密一\n".encode(), "utf-8"),
        ("卡密一\n".encode("utf-8-sig"), "utf-8-sig"),
        ("卡密一\n".encode("gb18030"), "gb18030"),
        ("卡密一\n".encode("utf-16"), "utf-16"),
    ],
)
def test_usual_encodings_come_out_as_the_same_text(data: bytes, encoding: str) -> None:
    assert sheets.decode(data) == ("卡密一\n", encoding)


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"A\x00B\x00C\x00", b"\x81\x20\x81"])
def test_what_is_no_text_is_refused_not_guessed(data: bytes) -> None:
    with pytest.raises(InputRefused):
        sheets.decode(data, "x.txt")


def test_csv_rows_keep_their_physical_line_numbers() -> None:
    table = sheets.read_csv('a,b\r\n"x\r\ny",1\r\nz,2\r\n')
    assert table.rows == [(1, ["a", "b"]), (2, ["x\r\ny", "1"]), (4, ["z", "2"])]


def test_csv_with_too_many_columns_is_refused() -> None:
    with pytest.raises(InputRefused, match="64 columns"):
        sheets.read_csv(",".join("x" * 65) + "\n")


def test_a_workbook_gives_texts_and_numbers_apart() -> None:
    (table,) = sheets.read_workbook(workbook([["卡密", "n"], ["00123", 42], [None, 1.5]]))
    assert table.rows[0] == (1, ["卡密", "n"])
    assert table.rows[1] == (2, ["00123", 42.0])
    assert table.rows[2][1][1] == 1.5


@pytest.mark.parametrize("address", ["BM1", "XFD1", "A1000001", "A1048576", "xfd9"])
def test_a_cell_far_away_is_refused_before_it_is_laid_out(address: str) -> None:
    data = patched(workbook([["a"]]), SHEET, (b'r="A1"', f'r="{address}"'.encode()))
    with pytest.raises(InputRefused, match="beyond"):
        sheets.read_workbook(data, "x.xlsx")


def test_a_far_cell_in_a_member_with_an_odd_name_is_refused_too() -> None:
    data = zipped(
        _Content="", **{"xl/other.xml": b'<worksheet><row r="1"><c r="XFD1"/></row></worksheet>'}
    )
    with pytest.raises(InputRefused, match="beyond"):
        sheets._check_workbook(data, "x.xlsx")


def test_cells_without_an_address_are_refused() -> None:
    data = patched(workbook([["a"]]), SHEET, (b'<c r="A1"', b"<c"))
    with pytest.raises(InputRefused, match="addresses"):
        sheets.read_workbook(data, "x.xlsx")


def test_a_zip_that_unpacks_to_far_more_is_refused() -> None:
    with pytest.raises(InputRefused, match="far more"):
        list(sheets.unpack(zipped(a_DOT_txt=b"0" * 30_000_000), "x.zip"))


def test_a_zip_with_too_many_files_is_refused() -> None:
    many = zipped(**{f"f{i}": b"x" for i in range(sheets.MEMBERS_MAX + 1)})
    with pytest.raises(InputRefused, match="more than"):
        list(sheets.unpack(many, "x.zip"))


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil.txt", "C:\\evil.txt", "a\\..\\..\\b"])
def test_a_zip_that_leads_outside_is_refused(name: str) -> None:
    with pytest.raises(InputRefused, match="outside"):
        list(sheets.unpack(zipped(**{name: b"x"}), "x.zip"))


def test_a_size_that_lies_is_refused() -> None:
    data = bytearray(zipped(a_DOT_txt=b"0123456789" * 100))
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = (10).to_bytes(4, "little")
    with pytest.raises(InputRefused):
        list(sheets.unpack(bytes(data), "x.zip"))


def test_a_zip_cut_short_is_refused() -> None:
    with pytest.raises(InputRefused, match="damaged"):
        list(sheets.unpack(zipped(a_DOT_txt=b"x" * 100)[:60], "x.zip"))


def test_chinese_names_from_windows_are_read() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo("KAMI.txt"), b"AAAA\n")
    data = out.getvalue().replace(b"KAMI.txt", "卡密".encode("gbk") + b".txt")
    assert [name for name, _ in sheets.unpack(data, "x.zip")] == ["卡密.txt"]


def test_a_broken_workbook_is_refused() -> None:
    data = patched(workbook([["a"]]), "xl/workbook.xml", (b"<", b"["))
    with pytest.raises(InputRefused):
        sheets.read_workbook(data, "x.xlsx")


def test_two_cells_far_apart_are_laid_out_in_a_child_first(monkeypatch: pytest.MonkeyPatch) -> None:
    probed: list[str] = []
    monkeypatch.setattr(sheets, "_probe", lambda _data, where: probed.append(where))
    sheets.read_workbook(workbook([["a"]] * 10), "small.xlsx")
    deep = patched(workbook([["a"]]), SHEET, (b'r="A1"', b'r="A60000"'))
    (table,) = sheets.read_workbook(deep, "deep.xlsx")
    assert probed == ["deep.xlsx"]
    assert len(table.rows) == 60_000


def test_a_sheet_that_needs_too_much_memory_is_refused() -> None:
    data = patched(workbook([["a", "b"]]), SHEET, (b'<c r="B1"', b'<c r="BL1000000"'))
    with pytest.raises(InputRefused):
        sheets.read_workbook(data, "x.xlsx")


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 255), st.integers(0, 10**6))
def test_a_damaged_workbook_is_read_or_refused(at: int, byte: int, cut: int) -> None:
    data = bytearray(SMALL)
    data[at % len(data)] = byte
    if cut % 3 == 0:
        del data[cut % len(data) :]
    try:
        sheets.read_tables(bytes(data), "x.xlsx")
    except InputRefused:
        return


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for start in (b"", b"PK\x03\x04"):
        try:
            sheets.read_tables(start + data, "x")
        except InputRefused:
            continue


def test_an_old_excel_file_is_read() -> None:
    data = (Path(__file__).parent / "fixtures" / "keys" / "old_excel.xls").read_bytes()
    assert sheets.form_of(data) == "xls"
    (table,) = sheets.read_workbook(data, "k.xls")
    assert [cells for _, cells in table.rows] == [
        ["卡号", "密码"], ["000123", "pw-1"], ["000124", "pw-2"], [123456.0, "pw-3"],
    ]  # fmt: skip


def test_an_old_excel_file_that_is_none_is_refused() -> None:
    with pytest.raises(InputRefused, match="cannot be read"):
        sheets.read_workbook(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "x.xls")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileMissing):
        sheets.read_bytes(tmp_path / "none.txt")


def test_a_csv_for_people_runs_no_formula_and_overwrites_nothing(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    assert sheets.write_csv_for_people(path, ("a",), [("=1+1",), (3,)]) == path
    assert path.read_text(encoding="utf-8-sig").splitlines() == ["a", "'=1+1", "3"]
    again = sheets.write_csv_for_people(path, ("a",), [])
    assert again.name == "list-2.csv"
