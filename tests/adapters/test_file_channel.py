"""Orders from exported files: what is taken, what is refused, and what becomes of the file."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from adapters import order_presets
from adapters.channels import file
from adapters.channels.file import FileChannel
from kmtool.clock import ManualClock, utc_ms
from kmtool.domain.states import OrderStatus, RefundState
from kmtool.errors import ConfigError, FileMissing, InputRefused, Rejected
from kmtool.ports import AdapterSettings, OrderFact, OrderRef, Page, Verdict, Window

HEADER = "订单号,订单状态,商品ID,商品标题,规格,数量,实付金额,退款状态,下单时间,付款时间,买家昵称"
ROW = (
    "{},等待卖家发货,8801,星海通行证,30天,2,56.00,,2026-11-22 07:00:00,2026-11-22 07:01:00,demo_ada"
)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox" / "orders" / "leaf"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def channel(clock: ManualClock, tmp_path: Path, inbox: Path) -> FileChannel:
    return build(clock, tmp_path)


def build(clock: ManualClock, root: Path, **options: Any) -> FileChannel:
    return file.build(
        AdapterSettings(
            name="leaf",
            options=options,
            credentials={},
            clock=clock,
            zone="Asia/Shanghai",
            currency="CNY",
            inbox=root / "inbox",
            exports=root / "exports",
            templates=root / "templates",
        )
    )


def put(
    inbox: Path, clock: ManualClock, content: str | bytes, name: str = "orders.csv", age_s: int = 60
) -> Path:
    path = inbox / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    at_s = clock.now_ms() / 1000 - age_s
    os.utime(path, (at_s, at_s))
    return path


def table(*rows: str, header: str = HEADER) -> str:
    return "\n".join((header, *rows)) + "\n"


def workbook(rows: Sequence[Sequence[object]]) -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(list(row))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def pull(channel: FileChannel) -> list[Page]:
    pages = list(channel.list_changed(Window(0, 1)))
    assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]
    return pages


def orders(channel: FileChannel) -> list[OrderFact]:
    pages = pull(channel)
    assert [page.rejects for page in pages if page.rejects] == []
    return [order for page in pages for order in page.orders]


def refusal(channel: FileChannel) -> str:
    (page,) = pull(channel)
    assert page.orders == ()
    assert page.rejects
    return " | ".join(page.rejects)


def local(text: str, zone: str = "Asia/Shanghai") -> int:
    return utc_ms(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)))


# ------------------------------------------------------------------------------ reading


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


# ------------------------------------------------------------------------------ the folder


def test_a_file_is_moved_once_it_is_stored_and_never_before(
    channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    path = put(inbox, clock, table(ROW.format("A1")))
    (page,) = pull(channel)
    assert page.done == str(path)
    assert path.exists()
    channel.acknowledge(page)
    assert not path.exists()
    assert (inbox / "done" / "orders.csv").exists()
    assert pull(channel) == [Page((), last=True)]


def test_the_same_content_again_does_nothing(
    channel: FileChannel, inbox: Path, clock: ManualClock, tmp_path: Path
) -> None:
    text = table(ROW.format("A1"))
    put(inbox, clock, text)
    channel.acknowledge(pull(channel)[0])
    put(inbox, clock, text, "orders.csv", age_s=5)
    (page,) = pull(build(clock, tmp_path))
    assert (page.orders, page.rejects) == ((), ())
    channel.acknowledge(page)
    names = sorted(found.name for found in (inbox / "done").iterdir())
    assert names == ["orders (2).csv", "orders.csv"]


def test_what_was_taught_reads_the_same_content_again_with_its_first_time(
    channel: FileChannel, inbox: Path, clock: ManualClock, tmp_path: Path
) -> None:
    text = table(ROW.format("A1").replace("等待卖家发货", "冻结中"))
    put(inbox, clock, text, age_s=600)
    (first,) = pull(channel)
    channel.acknowledge(first)
    put(inbox, clock, text, age_s=5)
    taught = build(clock, tmp_path, status={"冻结中": "paid"})
    (again,) = pull(taught)
    assert [order.status for order in again.orders] == [OrderStatus.PAID]
    assert again.orders[0].revision_ms == first.orders[0].revision_ms
    taught.acknowledge(again)
    put(inbox, clock, text, age_s=4)
    assert [page.orders for page in pull(taught)] == [()]


def test_the_noise_of_binary_fractions_is_not_money(
    channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    cells: list[object] = list(ROW.format("A1").split(","))
    cells[6] = 0.1 + 0.2
    put(inbox, clock, workbook([HEADER.split(","), cells]), "a.xlsx")
    assert orders(channel)[0].total_minor == 30
    cells[6] = 0.305
    put(inbox, clock, workbook([HEADER.split(","), cells]), "a.xlsx")
    assert "row 2, total" in refusal(channel)


def test_a_bad_file_does_not_stop_the_others(
    channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    put(inbox, clock, table(ROW.format("A1")), "a.csv")
    put(inbox, clock, b"\x89PNG\r\n\x1a\n", "b.csv")
    put(inbox, clock, "x", "c.png")
    put(inbox, clock, b"PK\x03\x04broken", "d.xlsx")
    put(inbox, clock, table(ROW.format("A1"), ROW.format("A2").replace("56", "x")), "e.csv")
    put(inbox, clock, table(ROW.format("A3")), "f.csv")
    pages = pull(channel)
    assert [order.number for page in pages for order in page.orders] == ["A1", "A3"]
    for page in pages:
        channel.acknowledge(page)
    failed = sorted(path.name for path in (inbox / "failed").iterdir())
    assert failed == [
        "b.csv", "b.csv.report.txt", "c.png", "c.png.report.txt",
        "d.xlsx", "d.xlsx.report.txt", "e.csv", "e.csv.report.txt",
    ]  # fmt: skip
    report = (inbox / "failed" / "e.csv.report.txt").read_text(encoding="utf-8-sig")
    assert "row 3, total" in report
    assert [path.name for path in inbox.iterdir() if path.is_file()] == [".seen"]
    # Mended, the same file is taken.
    put(inbox, clock, table(ROW.format("A1"), ROW.format("A2")), "e.csv")
    assert [order.number for order in orders(channel)] == ["A1", "A2"]


@pytest.mark.parametrize("name", ["~$orders.xlsx", "a.csv.tmp", "a.csv.crdownload", ".a.csv"])
def test_what_is_not_ready_is_left_alone(
    name: str, channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    path = put(inbox, clock, table(ROW.format("A1")), name)
    assert pull(channel) == [Page((), last=True)]
    assert path.exists()


def test_a_file_that_still_grows_is_left_for_the_next_look(
    channel: FileChannel, inbox: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(inbox, clock, table(ROW.format("A1")), "still.csv", age_s=1)
    growing = put(inbox, clock, table(ROW.format("A2")), "growing.csv", age_s=1)
    waited: list[float] = []

    def grow(seconds: float) -> None:
        waited.append(seconds)
        with growing.open("a", encoding="utf-8") as more:
            more.write(ROW.format("A3") + "\n")

    monkeypatch.setattr(clock, "sleep", grow)
    assert [order.number for order in orders(channel)] == ["A1"]
    assert waited == [2.0]


def test_a_long_file_comes_in_pages_and_is_done_with_the_last(
    channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    put(inbox, clock, table(*(ROW.format(f"A{n}") for n in range(1201))))
    pages = pull(channel)
    assert [len(page.orders) for page in pages] == [500, 500, 201]
    assert [bool(page.done) for page in pages] == [False, False, True]


def test_a_file_that_vanishes_is_nobodys_fault(
    channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    put(inbox, clock, table(ROW.format("A1")))
    (page,) = pull(channel)
    (inbox / "orders.csv").unlink()
    channel.acknowledge(page)
    assert not (inbox / "done" / "orders.csv").exists()


def test_the_folder_is_looked_at(channel: FileChannel, inbox: Path, clock: ManualClock) -> None:
    put(inbox, clock, table(ROW.format("A1")))
    report = channel.auth_check()
    assert report.ok
    assert "1 files waiting" in report.detail


# ------------------------------------------------------------------------------ presets


@pytest.mark.parametrize("name", order_presets.names())
def test_every_shipped_preset_can_be_loaded(name: str) -> None:
    preset = order_presets.load(name)
    header = [synonyms[0] for synonyms in preset.columns.values()]
    assert order_presets.missing(preset.match(header)) == []
    assert set(preset.status.values()) >= {
        OrderStatus.UNPAID, OrderStatus.PAID, OrderStatus.SHIPPED, OrderStatus.CLOSED
    }  # fmt: skip
    assert any("{number}" in text for _, text in preset.ship)


@pytest.mark.parametrize(
    "options",
    [
        {"preset": "none"},
        {"preset": "../generic"},
        {"map": {"订单号": "nummer"}},
        {"status": {"x": "payed"}},
        {"refund": "full"},
        {"zone": "GMT+8:00"},
        {"money": "cents"},
        {"fresh_hours": "a day"},
        {"presett": "generic"},
    ],
)
def test_wrong_options_are_named(
    options: dict[str, Any], clock: ManualClock, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError):
        build(clock, tmp_path, **options)


def test_the_shops_own_preset_wins(inbox: Path, clock: ManualClock, tmp_path: Path) -> None:
    own = tmp_path / "templates" / "presets"
    own.mkdir(parents=True)
    text = 'kind = "orders"\n[columns]\nnumber = ["N"]\nstatus = ["S"]\ntitle = ["T"]\n'
    text += 'quantity = ["Q"]\ntotal = ["M"]\n[status]\npaid = ["ok"]\n'
    (own / "mine.toml").write_text(text, encoding="utf-8")
    put(inbox, clock, table("A1,OK,x,1,1", header="n,s,t,q,m"))
    assert orders(build(clock, tmp_path, preset="mine"))[0].status is OrderStatus.PAID
    assert "mine" in order_presets.names(tmp_path / "templates")


# ------------------------------------------------------------------------------ preview, shipping


def test_a_preview_finds_the_preset_and_shows_what_it_read(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    header = "商品,订单号,订单状态,商品总价(元),商家实收金额(元),商品数量(件),商品id,商品规格"
    header += ",售后状态,支付时间,订单成交时间"
    rows = [
        "月卡,261122-001,待发货,12.5,12.50,1,778899,标准,无售后或售后取消,,2026-11-22 06:59:00",
        "月卡,261122-002,待发货，退款成功,12.5,12.50,1,778899,标准,退款成功,,2026-11-22 06:59:00",
        "月卡,261122-003,奇怪,12.5,12.50,1,778899,标准,,,2026-11-22 06:59:00",
    ]
    path.write_text(table(*rows, header=header), encoding="gb18030")
    seen = file.preview(path)
    assert (seen.preset, seen.check, seen.missing, seen.problems) == ("pinduoduo", True, (), ())
    assert seen.columns["quantity"] == "商品数量(件)"
    assert seen.ignored == ("商品总价(元)",)
    assert seen.count == 3
    assert [(o.status, o.refund) for o in seen.orders] == [
        (OrderStatus.PAID, RefundState.NONE),
        (OrderStatus.CLOSED, RefundState.FULL),
        (OrderStatus.REVIEW, RefundState.NONE),
    ]
    assert seen.unknown == ("unknown status “奇怪”",)
    assert file.preview(path, "generic").preset == "generic"


def test_a_preview_names_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_text("订单号,商品\n1,x\n", encoding="utf-8")
    seen = file.preview(path)
    assert seen.preset == "generic" or seen.missing
    assert "status" in seen.missing
    assert seen.orders == ()
    with pytest.raises(FileMissing):
        file.preview(tmp_path / "none.csv")
    picture = tmp_path / "orders.jpg"
    picture.write_bytes(b"\xff\xd8")
    with pytest.raises(InputRefused):
        file.preview(picture)


def test_plain_columns_are_read_by_the_generic_preset(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_text(table("1,paid,x,1,9.90", header="order_id,status,title,qty,total"))
    assert file.preview(path).preset == "generic"


def test_the_batch_ship_file_has_the_platforms_columns(
    inbox: Path, clock: ManualClock, tmp_path: Path
) -> None:
    channel = build(clock, tmp_path, preset="taobao")
    path = channel.ship_file(["0012", "=1+1"])
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    assert rows == [
        ["订单编号", "物流公司", "物流单号"],
        ["0012", "无需物流", "0012"],
        ["=1+1", "无需物流", "=1+1"],
    ]
    assert channel.ship_file(["0013"]) != path
    assert channel.features.ship_file


def test_a_file_ships_nothing_and_knows_nothing(channel: FileChannel) -> None:
    assert channel.get_order("A1") is None
    assert channel.query_shipped(OrderRef("A1", "e")) is Verdict.UNCLEAR
    with pytest.raises(Rejected):
        channel.mark_shipped(OrderRef("A1", "e"))
    assert not channel.features.mark_shipped
    assert not channel.features.reread
