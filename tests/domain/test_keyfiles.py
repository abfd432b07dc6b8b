"""What a line or a cell becomes: the exact text, a refusal with its row, or a named oddity."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmtool.domain import keyfiles

KEY_CHARS = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="\ufeff")
KEYS = st.text(KEY_CHARS, min_size=1, max_size=40).filter(
    lambda text: text.strip() and not keyfiles._refusal(text)
)
ENDINGS = st.sampled_from(["\n", "\r\n", "\r"])


@given(st.lists(KEYS, min_size=1, max_size=30), ENDINGS, st.booleans())
def test_every_line_comes_out_as_it_went_in(keys: list[str], ending: str, last: bool) -> None:
    keys = ["first" + keys[0], *keys[1:]]
    parsed = keyfiles.from_text(ending.join(keys) + (ending if last else ""))
    assert [text for _, text in parsed.keys] == keys
    assert [number for number, _ in parsed.keys] == list(range(1, len(keys) + 1))


@given(st.text(max_size=300))
def test_no_text_makes_the_reader_stumble(text: str) -> None:
    parsed = keyfiles.from_text(text)
    assert parsed.rows <= text.count("\n") + text.count("\r") + 1
    assert all(key in text for _, key in parsed.keys)


@given(
    st.lists(st.tuples(KEYS, KEYS), min_size=1, max_size=20),
    st.sampled_from(["----", "|", "\t"]),
)
def test_chosen_columns_keep_their_exact_text(pairs: list[tuple[str, str]], separator: str) -> None:
    clean = [(a.replace(separator[0], "x"), b.replace(separator[0], "x")) for a, b in pairs]
    text = "\n".join(a + separator + b for a, b in clean)
    parsed = keyfiles.from_text(text, separator, {"key": "2"})
    assert [key for _, key in parsed.keys] == [b for _, b in clean]


@given(st.lists(st.lists(st.one_of(st.none(), st.text(), st.floats(), st.integers()))))
def test_no_sheet_makes_the_reader_stumble(cells: list[list[object]]) -> None:
    try:
        parsed = keyfiles.from_table("xlsx", list(enumerate(cells, 1)))
    except keyfiles.Unclear:
        return
    assert parsed.rows <= len(cells)


@pytest.mark.parametrize("separator", ["----", "|", "\t", ",", " "])
def test_a_separator_between_number_and_password_is_seen(separator: str) -> None:
    lines = [f"A{i:05d}{separator}p{i}" for i in range(20)]
    parsed = keyfiles.from_text("\n".join(lines))
    assert parsed.separator == separator
    assert [text for _, text in parsed.keys] == lines


def test_plain_keys_have_no_separator() -> None:
    assert keyfiles.detect_separator(["ABC-DEF-GHI", "QWE-RTY-UIO"]) == ""


def test_a_named_separator_goes_from_the_end_of_a_line() -> None:
    parsed = keyfiles.from_text("AAAA;\nBBBB;\n", ";")
    assert [text for _, text in parsed.keys] == ["AAAA", "BBBB"]


def test_a_head_line_of_known_words_is_no_key() -> None:
    parsed = keyfiles.from_text("卡号----密码\nA1----B1\nA2----B2\n")
    assert [text for _, text in parsed.keys] == ["A1----B1", "A2----B2"]
    assert parsed.columns is not None and parsed.columns.header == 1


def test_a_first_key_beside_a_known_word_stays_a_key() -> None:
    parsed = keyfiles.from_text("card 123456\ncard 123457\n")
    assert [text for _, text in parsed.keys] == ["card 123456", "card 123457"]


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (1234567890123456.0, "16 digits"),
        (1234567890123456789, "16 digits"),
        (1.2e18, "16 digits"),
        (12.5, "decimals"),
        (float("inf"), "decimals"),
        (float("nan"), "decimals"),
        (True, "truth"),
    ],
)
def test_a_number_that_lost_digits_is_refused_with_its_row(cell: object, words: str) -> None:
    parsed = keyfiles.from_table("xlsx", [(1, ["卡密"]), (2, ["good-key"]), (3, [cell])])
    assert [text for _, text in parsed.keys] == ["good-key"]
    assert parsed.refused[0].line_no == 3
    assert words in parsed.refused[0].reason


def test_a_short_number_is_taken_and_named() -> None:
    parsed = keyfiles.from_table("xlsx", [(1, ["卡密"]), (2, [123456.0])])
    assert parsed.keys == [(2, "123456")]
    assert parsed.warnings == {"number": [2]}


def test_full_width_digits_stay_and_are_named() -> None:
    parsed = keyfiles.from_text("ABC１２３\nplain\n")
    assert parsed.keys[0] == (1, "ABC１２３")
    assert parsed.warnings == {"full-width": [1]}


def test_a_space_at_an_end_stays_and_is_named() -> None:
    parsed = keyfiles.from_text("AAAA \nBBBB\n")
    assert parsed.keys[0] == (1, "AAAA ")
    assert parsed.warnings == {"space": [1]}


@pytest.mark.parametrize(
    "line", ["1.23E+18", "1E+20", '="00123"', "bad\x1b[31mkey", "x" * 4097, "a\x00b"]
)
def test_a_line_that_cannot_be_a_key_is_refused(line: str) -> None:
    parsed = keyfiles.from_text(f"good-one\n{line}\n")
    assert [text for _, text in parsed.keys] == ["good-one"]
    assert [row.line_no for row in parsed.refused] == [2]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (["卡号", "密码"], "a----b"),
        (["卡号", "卡密"], "a----b"),
        (["key", "note"], "a"),
        (["序号", "激活码"], "b"),
    ],
)
def test_header_words_choose_the_columns(header: list[str], expected: str) -> None:
    parsed = keyfiles.from_table("csv", [(1, header), (2, ["a", "b"])])
    assert [text for _, text in parsed.keys] == [expected]


def test_two_columns_without_a_header_are_unclear() -> None:
    with pytest.raises(keyfiles.Unclear, match="1, 2"):
        keyfiles.from_table("csv", [(1, ["AAAA", "1111"]), (2, ["BBBB", "2222"])])


def test_a_missing_column_is_named_with_those_there_are() -> None:
    with pytest.raises(keyfiles.Unclear, match=r"no column 卡密.*number, secret"):
        keyfiles.from_table("csv", [(1, ["number", "secret"]), (2, ["a", "b"])], {"key": "卡密"})


def test_an_empty_part_of_a_key_is_refused() -> None:
    parsed = keyfiles.from_table("csv", [(1, ["卡号", "密码"]), (2, ["a", ""]), (3, ["c", "d"])])
    assert [row.line_no for row in parsed.refused] == [2]
    assert parsed.keys == [(3, "c----d")]


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([["订单编号", "买家会员名", "实际金额"]], "orders"),
        ([["Order Number", "Total", "Buyer"]], "orders"),
        ([["#支付宝账务明细查询"]], "bill"),
        ([["交易时间", "公众账号ID", "商户号", "微信订单号"]], "bill"),
        ([["卡号", "密码", "备注"]], ""),
        ([["订单编号", "商品", "卡号", "密码"]], ""),
        ([["支付宝红包口令----A1B2"]], ""),
        ([["支付宝交易记录明细查询"]], "bill"),
        ([["AAAA-BBBB"], ["CCCC-DDDD"]], ""),
    ],
)
def test_other_exports_are_told_by_their_head(rows: list[list[object]], kind: str) -> None:
    assert keyfiles.looks_like(rows) == kind


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\xff\xd8\xff\xe0jpeg", "picture"),
        (b"\x89PNG\r\n\x1a\n", "picture"),
        (b"RIFF1234WEBP", "picture"),
        (b"%PDF-1.7", "pdf"),
        (b"BM-KEY-0001\nBM-KEY-0002", ""),
        (b"MZKEY\n", ""),
        (b"BM\x00\x00picture", "picture"),
    ],
)
def test_the_first_bytes_tell_what_a_file_is(data: bytes, kind: str) -> None:
    assert keyfiles.wrong_kind(data) == kind
