"""Orders from exported files: what is taken and what is refused."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from adapters.channels.file import FileChannel
from kmtool.clock import ManualClock
from kmtool.domain.states import OrderStatus, RefundState
from tests.adapters.file_channel.exports import (
    HEADER,
    ROW,
    build,
    local,
    orders,
    put,
    refusal,
    table,
    workbook,
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_an_order_arrives_whole(
    encoding: str, channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    put(inbox, clock, table(ROW.format("0012345678901234567")).encode(encoding))
    (order,) = orders(channel)
    assert order.number == "0012345678901234567"
    assert (order.status, order.refund, order.risk) == (OrderStatus.PAID, RefundState.NONE, "")
    assert (order.total_minor, order.expected_gross_minor, order.currency) == (5600, 5600, "CNY")
    assert (order.buyer.name, order.buyer.ref) == ("demo_ada", "")
    assert order.created_ms == local("2026-11-22 07:00:00")
    assert order.paid_ms == local("2026-11-22 07:01:00")
    assert order.revision_ms == clock.now_ms() - 60_000
    (line,) = order.lines
    assert (line.line_no, line.item_id, line.variant_id) == ("8801/30天", "8801", "30天")
    assert (line.title, line.quantity, line.amount_minor) == ("星海通行证", 2, 5600)


def test_a_workbook_says_the_same_as_a_csv(
    channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    put(inbox, clock, table(ROW.format("123456789012345678")))
    (first,) = orders(channel)
    (inbox / "orders.csv").unlink()
    rows: list[list[object]] = [
        [None],
        ["我的小店 订单导出"],
        HEADER.split(","),
        ["123456789012345678", "等待卖家发货", 8801, "星海通行证", "30天", 2, 56.0, None,
         datetime(2026, 11, 22, 7), datetime(2026, 11, 22, 7, 1), "demo_ada"],
        ["合计", None, None, None, None, 2, 56.0],
    ]  # fmt: skip
    put(inbox, clock, workbook(rows), "orders.xlsx")
    assert orders(channel) == [first]


@pytest.mark.parametrize("cell", ['"=""0099"""', "'0099", "\t0099\t\t", " 0099 ", "\ufeff0099"])
def test_what_spreadsheets_wrap_around_an_id_is_taken_off(
    cell: str, channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    put(inbox, clock, table(ROW.format(cell)))
    assert [order.number for order in orders(channel)] == ["0099"]


def test_a_number_that_lost_its_digits_is_refused(
    channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    cells: list[object] = list(ROW.format("x").split(","))
    cells[0] = 1234567890123456789
    put(inbox, clock, workbook([HEADER.split(","), cells]), "a.xlsx")
    assert "row 2, number" in refusal(channel)
    (inbox / "a.xlsx").unlink()
    put(inbox, clock, table(ROW.format("1.23457E+18")))
    assert "row 2, number: 1.23457E+18 has lost its digits" in refusal(channel)


def test_a_short_number_in_a_workbook_is_text_without_a_point(
    channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    cells: list[object] = list(ROW.format("x").split(","))
    cells[0] = 123456789.0
    put(inbox, clock, workbook([HEADER.split(","), cells]), "a.xlsx")
    assert orders(channel)[0].number == "123456789"


def test_a_status_nobody_taught_waits_for_a_person(
    channel: FileChannel, inbox: Path, clock: ManualClock, tmp_path: Path
) -> None:
    put(inbox, clock, table(ROW.format("A1").replace("等待卖家发货", "冻结中")))
    (order,) = orders(channel)
    assert (order.status, order.risk) == (OrderStatus.REVIEW, "unknown status “冻结中”")
    taught = build(clock, tmp_path, status={"冻结中": "closed"})
    assert orders(taught)[0].status is OrderStatus.CLOSED


def test_an_unknown_refund_word_holds_the_order(
    channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    put(inbox, clock, table(ROW.format("A1").replace("56.00,,", "56.00,协商中,")))
    (order,) = orders(channel)
    assert order.refund is RefundState.OPEN
    assert order.risk == "unknown refund status “协商中”"


@pytest.mark.parametrize(
    ("word", "state"),
    [("退款中", RefundState.OPEN), ("部分退款", RefundState.PARTIAL), ("-", RefundState.NONE),
     ("退款成功", RefundState.FULL)],
)  # fmt: skip
def test_refund_words_have_their_meaning(
    word: str, state: RefundState, channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    put(inbox, clock, table(ROW.format("A1").replace("56.00,,", f"56.00,{word},")))
    (order,) = orders(channel)
    assert (order.refund, order.risk) == (state, "")
    assert bool(order.refunds) == (state is not RefundState.NONE)


def test_several_rows_are_one_order_whatever_their_order(
    channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    header = "订单号,状态,商品,数量,实付金额"
    rows = ["A1,已付款,月卡,1,30.01", "A1,已付款,年卡,2,30.01", "A1,已付款,月卡,1,30.01"]
    put(inbox, clock, table(*rows, "B2,已付款,月卡,1,1", header=header), "1.csv")
    put(inbox, clock, table(*reversed(rows), header=header), "2.csv")
    first, _, again = orders(channel)
    assert first.total_minor == 3001
    assert {(x.line_no, x.quantity) for x in first.lines} == {
        ("年卡", 2), ("月卡", 1), ("月卡#2", 1)
    }  # fmt: skip
    assert sum(line.amount_minor for line in first.lines) == 3001
    assert first.lines == again.lines


def test_rows_of_an_order_add_up_or_are_refused(
    channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    header = "订单号,状态,商品,数量,{}"
    rows = ("A1,已付款,月卡,1,10.00", "A1,已付款,年卡,1,20.00")
    put(inbox, clock, table(*rows, header=header.format("小计")))
    (order,) = orders(channel)
    assert [line.amount_minor for line in order.lines] == [2000, 1000]
    assert order.total_minor == 3000
    put(inbox, clock, table(*rows, header=header.format("实付金额")))
    assert "row 2, order A1: its rows name different totals" in refusal(channel)


def test_an_order_closed_in_part_is_refunded_in_part(
    channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    rows = ("A1,已付款,月卡,1,10.00", "A1,交易关闭,年卡,1,20.00")
    put(inbox, clock, table(*rows, header="订单号,状态,商品,数量,小计"))
    (order,) = orders(channel)
    assert (order.status, order.refund) == (OrderStatus.PAID, RefundState.PARTIAL)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (",2,", ",two,", "row 3, quantity"),
        (",2,", ",0,", "row 3, quantity"),
        ("56.00", "fifty", "row 3, amount|row 3, total"),
        ("56.00", "-1", "row 3, total"),
        ("56.00", "", "order A2: a row has no amount"),
        ("2026-11-22 07:00:00", "soon", "row 3, created"),
        ("A2", "", "row 3, number"),
        ("8801,星海通行证", ",", "row 3, title"),
    ],
)
def test_one_bad_row_refuses_the_file_with_its_place(
    old: str, new: str, reason: str, channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    put(inbox, clock, table(ROW.format("A1"), ROW.format("A2").replace(old, new)))
    assert any(part in refusal(channel) for part in reason.split("|"))


def test_missing_columns_are_named(channel: FileChannel, inbox: Path, clock: ManualClock) -> None:
    put(inbox, clock, "订单号,日期\nA1,x\n")
    text = refusal(channel)
    assert "status, title or item_id, quantity, amount or total" in text


def test_columns_can_be_named_by_the_owner(inbox: Path, clock: ManualClock, tmp_path: Path) -> None:
    put(inbox, clock, table("A1,已付款,月卡,1,1250", header="Nr,状态,商品,数量,实付金额"))
    channel = build(clock, tmp_path, map={"Nr": "number"}, money="fen", currency="USD")
    (order,) = orders(channel)
    assert (order.number, order.total_minor, order.currency) == ("A1", 1250, "USD")


def test_times_are_in_the_zone_of_the_file(inbox: Path, clock: ManualClock, tmp_path: Path) -> None:
    put(inbox, clock, table(ROW.format("A1")))
    (order,) = orders(build(clock, tmp_path, zone="UTC"))
    assert order.created_ms == local("2026-11-22 07:00:00", "UTC")


def test_the_column_for_changes_is_the_revision(
    channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    row = "A1,已付款,月卡,1,10,2026-11-21 12:00:00"
    put(inbox, clock, table(row, header="订单号,状态,商品,数量,小计,修改时间"))
    assert orders(channel)[0].revision_ms == local("2026-11-21 12:00:00")


def test_an_old_export_that_tells_no_refunds_waits_for_a_person(
    channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    text = table("A1,已付款,月卡,1,10", header="订单号,状态,商品,数量,小计")
    put(inbox, clock, text, age_s=23 * 3600)
    assert orders(channel)[0].risk == ""
    put(inbox, clock, text, age_s=25 * 3600)
    assert "export again" in orders(channel)[0].risk
