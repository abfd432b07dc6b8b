"""The rules of settlement: days, rounding, holds, balance, numbers, the chain."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmtool.clock import utc_ms
from kmtool.domain import settlement as rules
from kmtool.domain.money import divide, split
from kmtool.domain.settlement import Balance, SheetLine, SheetLineKind

ZONE = "Asia/Shanghai"


def at(text: str) -> int:
    return utc_ms(datetime.fromisoformat(text))


@pytest.mark.parametrize(
    ("moment", "days", "due"),
    [
        ("2026-11-20T12:00:00+08:00", 3, date(2026, 11, 23)),  # a Friday: natural days
        ("2026-11-20T23:59:59+08:00", 3, date(2026, 11, 23)),
        ("2026-11-21T00:00:00+08:00", 3, date(2026, 11, 24)),
        ("2026-11-20T16:00:00+00:00", 0, date(2026, 11, 21)),  # the shop's day, not UTC's
        ("2026-12-30T12:00:00+08:00", 3, date(2027, 1, 2)),
        ("2028-02-27T12:00:00+08:00", 2, date(2028, 2, 29)),
    ],
)
def test_a_key_is_due_n_days_after_its_day(moment: str, days: int, due: date) -> None:
    assert rules.eligible_on(at(moment), days, ZONE) == due


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.integers(0, 10**9))
def test_a_line_is_rounded_once_and_its_keys_add_up(sizes: list[int], cost_e5: int) -> None:
    booked = exact = 0
    for size in sizes:
        amount = rules.line_amount(size, cost_e5, "CNY")
        parts = split(amount, [1] * size)
        assert sum(parts) == amount
        assert max(parts) - min(parts) <= 1
        booked += amount
        exact += size * cost_e5
    assert 2 * abs(booked * 1000 - exact) <= 1000 * len(sizes)
    assert abs(booked - divide(exact, 1000)) <= (len(sizes) + 1) // 2


@given(st.tuples(*[st.integers(-(10**12), 10**12)] * 7))
def test_the_balance_is_the_identity(f: tuple[int, ...]) -> None:
    balance = Balance(*f)
    assert balance.due_minor == f[1] - f[2] + f[3]
    assert balance.closing_minor == f[0] + balance.due_minor - f[4] - f[5] - f[6]


def test_the_balance_of_the_design() -> None:
    assert Balance(125_000, 840_000, 9_600, -2_000, 900_000, 3_400, 0).closing_minor == 50_000


@pytest.mark.parametrize(
    ("line", "key", "refund", "hold", "reason"),
    [
        ("delivered", "delivered", "none", None, ""),
        ("delivered", "delivered", "partial", None, ""),
        ("delivered", "delivered", "open", None, "退款处理中"),
        ("delivered", "delivered", "full", None, "退款处理中"),
        ("refund_case", "delivered", "full", None, "退款争议处理中"),
        ("human", "delivered", "none", None, "订单行待处理"),
        ("delivered", "quarantine", "none", None, "卡密待核实"),
        ("closed", "delivered", "full", None, ""),
        ("closed", "delivered", "full", "wait", "人工挂账：wait"),
    ],
)
def test_what_holds_a_key(line: str, key: str, refund: str, hold: str | None, reason: str) -> None:
    assert rules.hold_reason(line, key, refund, hold) == reason


@pytest.mark.parametrize(
    ("allocation", "line", "key", "bad"),
    [
        ("delivered", "closed", "defective", True),
        ("delivered", "closed", "void", True),
        ("delivered", "closed", "delivered", False),
        ("delivered", "refund_case", "defective", False),
        ("replaced", "delivered", "defective", True),
    ],
)
def test_which_keys_are_taken_back(allocation: str, line: str, key: str, bad: bool) -> None:
    assert rules.is_invalid(allocation, line, key) is bad


def test_below_zero_is_carried() -> None:
    assert [rules.payable_and_carried(total) for total in (5, 0, -5)] == [(5, 0), (0, 0), (0, -5)]


def test_numbers_count_per_supplier_and_month() -> None:
    assert rules.number_of("sup1", date(2026, 11, 22), 7) == "JS-sup1-202611-07"
    assert rules.number_of("sup1", date(2026, 11, 22), 100) == "JS-sup1-202611-100"


LINE = SheetLine(
    2, SheetLineKind.SALE, 1, 1, "B1", "ab", 12, "7Q,X", "S1", 1_795_305_600_999, 1, 350_000, 350,
    "000001",
)  # fmt: skip


def test_the_detail_is_what_the_supplier_can_write() -> None:
    back = SheetLine(
        1, SheetLineKind.CLAWBACK, 1, 1, "B1", "ab", None, "", "S1", None, 0, 350_000, -350, "1",
        "JS-1", 4, "卡密失效",
    )  # fmt: skip
    text = rules.detail_csv([rules.detail_row(LINE), rules.detail_row(back)]).decode()
    assert text == (
        f"{rules.DETAIL_HEADER}\n"
        "1,clawback,B1,ab,,,扣回,,0,-350,1,JS-1,4,卡密失效\n"
        '2,sale,B1,ab,12,"7Q,X",已售,2026-11-22T00:00:00Z,1,350,000001,,,\n'
    )


def test_a_second_is_cut_and_not_rounded() -> None:
    moment = datetime(2026, 11, 22, 23, 59, 59, 999_000, tzinfo=UTC)
    assert rules.utc_second(utc_ms(moment)) == "2026-11-22T23:59:59Z"
    assert rules.utc_second(None) == ""


def test_the_hash_covers_all_that_came_before() -> None:
    sheet: dict[str, object] = dict.fromkeys(rules.HEAD, 0)
    head, detail = rules.head_json(sheet), rules.detail_csv([rules.detail_row(LINE)])
    first = rules.sheet_hash(rules.FIRST_HASH, head, detail)
    inner = hashlib.sha256(detail).hexdigest()
    assert first == hashlib.sha256(f"{'0' * 64}\n{head}\n{inner}".encode()).hexdigest()
    other = [
        rules.sheet_hash("1" * 64, head, detail),
        rules.sheet_hash(rules.FIRST_HASH, head + " ", detail),
        rules.sheet_hash(rules.FIRST_HASH, head, detail + b" "),
    ]
    assert len({first, *other}) == 4
