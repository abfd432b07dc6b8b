"""大写金额: the official examples, our own cases, and a round trip over random amounts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmtool.domain import hanzi
from kmtool.domain.money import parse_minor

OFFICIAL = {
    "1,409.50": "人民币壹仟肆佰零玖元伍角整",
    "6,007.14": "人民币陆仟零柒元壹角肆分",
    "1,680.32": "人民币壹仟陆佰捌拾元零叁角贰分",
    "107,000.53": "人民币壹拾万柒仟元零伍角叁分",
    "16,409.02": "人民币壹万陆仟肆佰零玖元零贰分",
    "325.04": "人民币叁佰贰拾伍元零肆分",
}
OURS = {
    "0.00": "零元整",
    "0.05": "伍分",
    "0.50": "伍角整",
    "0.56": "伍角陆分",
    "1.00": "壹元整",
    "10.01": "壹拾元零壹分",
    "10.10": "壹拾元零壹角整",
    "100.05": "壹佰元零伍分",
    "10,001.00": "壹万零壹元整",
    "100,500.00": "壹拾万零伍佰元整",
    "1,000,000.00": "壹佰万元整",
    "10,010,000.00": "壹仟零壹万元整",
    "20,005,000.00": "贰仟万伍仟元整",
    "100,000,000.00": "壹亿元整",
    "100,000,001.00": "壹亿零壹元整",
    "100,005,000.00": "壹亿零伍仟元整",
    "100,010,000.00": "壹亿零壹万元整",
    "1,234,567,890.12": "壹拾贰亿叁仟肆佰伍拾陆万柒仟捌佰玖拾元零壹角贰分",
    "9,999,999,999,999.99": "玖万玖仟玖佰玖拾玖亿玖仟玖佰玖拾玖万玖仟玖佰玖拾玖元玖角玖分",
    "-6,007.14": "负陆仟零柒元壹角肆分",
}


@pytest.mark.parametrize(("figure", "form"), OFFICIAL.items())
def test_the_official_examples_are_written_so(figure: str, form: str) -> None:
    assert hanzi.write(parse_minor(figure)) == form
    assert hanzi.read(form) == parse_minor(figure)


@pytest.mark.parametrize(("figure", "form"), OURS.items())
def test_our_own_cases_are_written_so(figure: str, form: str) -> None:
    assert hanzi.write(parse_minor(figure)) == f"人民币{form}"
    assert hanzi.read(form) == parse_minor(figure)


@pytest.mark.parametrize(
    ("form", "figure"),
    [
        ("人民币壹仟肆佰零玖元伍角", "1409.50"),
        ("壹仟陆佰捌拾元叁角贰分", "1680.32"),
        ("人民币壹拾万零柒仟元伍角叁分", "107000.53"),
        ("壹佰元正", "100.00"),
    ],
)
def test_other_official_forms_are_read(form: str, figure: str) -> None:
    assert hanzi.read(form) == parse_minor(figure)


@pytest.mark.parametrize(
    "form", ["", "人民币", "元", "壹", "一百元", "壹贰元", "拾元", "壹元伍", "壹元拾角"]
)
def test_what_is_no_amount_is_refused(form: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        hanzi.read(form)


def test_above_the_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="1000000000000000"):
        hanzi.write(hanzi.LIMIT_MINOR + 1)


@given(st.integers(-hanzi.LIMIT_MINOR, hanzi.LIMIT_MINOR))
def test_what_was_written_reads_back(amount_minor: int) -> None:
    text = hanzi.write(amount_minor)
    assert hanzi.read(text) == amount_minor
    assert "零零" not in text


@given(st.integers(0, 10**9), st.integers(0, 2))
def test_amounts_full_of_zeros_read_back(digits: int, zeros: int) -> None:
    amount_minor = int("".join(d + "0" * zeros for d in str(digits % 10_000)) + "00")
    assert hanzi.read(hanzi.write(amount_minor)) == amount_minor
