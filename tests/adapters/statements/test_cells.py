"""Cells: money cells, ids and texts under hypothesis."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.statements import cells
from adapters.statements.lines import rounded
from kmtool.domain import money

AMOUNTS = st.integers(min_value=-(10**14), max_value=10**14)


@given(AMOUNTS, st.sampled_from(["", "¥", "￥", "$"]), st.booleans(), st.booleans())
def test_money_survives_its_printed_forms(
    value: int, sign: str, grouped: bool, padded: bool
) -> None:
    whole, part = divmod(abs(value), 100_000)
    text = f"{whole:,}" if grouped else str(whole)
    text = f"{'-' if value < 0 else ''}{sign}{text}.{part:05d}"
    if padded:
        text = f"\ufeff `{text}\t\u3000"
    assert cells.read_money(text, ()) == value


@given(AMOUNTS)
def test_brackets_are_negative(value: int) -> None:
    text = money.format_e5(abs(value))
    assert cells.read_money(f"({text})", ()) == -abs(value)


@given(st.integers(min_value=-(10**11), max_value=10**11))
def test_sheet_numbers_give_their_cents(cents: int) -> None:
    assert cells.read_money(cents / 100, ()) == cents * 1000


@given(st.text(max_size=20))
def test_money_is_read_whole_or_not_at_all(text: str) -> None:
    try:
        value = cells.read_money(text, ())
    except ValueError:
        return
    bare = cells.bare(text)
    assert value is None or any(ch.isdigit() for ch in bare)
    assert value is not None or bare == ""


@pytest.mark.parametrize(
    "text", ["1.2.3", "12元", "1,2", "--1", "1e5", "131.77(已退款89.84)", "0.000001"]
)
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(ValueError, match="amount"):
        cells.read_money(text, ())


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 0.000_004])
def test_what_is_no_sheet_amount(number: float) -> None:
    with pytest.raises(ValueError, match=r"amount|digits"):
        cells.read_money(number, ())


@given(st.from_regex(r"[0-9]{16,32}", fullmatch=True))
def test_long_ids_stay_text(digits: str) -> None:
    assert cells.read_id(f"`{digits}\t", ()) == (digits, False, False)


@given(st.from_regex(r"[1-9](\.[0-9]{1,9})?E\+?[0-9]{1,2}", fullmatch=True))
def test_destroyed_ids_are_seen(text: str) -> None:
    assert cells.read_id(text, ())[1]


@given(st.text(max_size=40))
def test_text_has_no_control_characters(text: str) -> None:
    found = cells.read_text(text, ())
    assert "\n" not in found
    assert "\x1b" not in found
    assert "\0" not in found


def test_times_of_the_field() -> None:
    formats = ("%Y-%m-%d %H:%M:%S",)
    text = cells.read_time("`2014-11-10  16：33：45\t", ())
    found = cells.parse_time(text, formats)
    assert found is not None
    assert found.isoformat() == "2014-11-10T16:33:45"
    assert cells.parse_time("2014-11-10T16:33:45", formats) is None


def test_header_names_are_compared_without_width_and_space() -> None:
    assert cells.name_key(" 收入金额（＋元）") == cells.name_key("收入金额(+元)")


@pytest.mark.parametrize(
    ("rounding", "minor"), [("half_up", (1, 2, -1)), ("half_even", (0, 2, 0)), ("down", (0, 1, 0))]
)
def test_rounding_rules(rounding: str, minor: tuple[int, int, int]) -> None:
    found = tuple(rounded(e5, "CNY", rounding) for e5 in (500, 1500, -500))
    assert found == minor
