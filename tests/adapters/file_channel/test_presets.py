"""Presets that name the columns of a platform, previews, and files for batch shipping."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from adapters import order_presets
from adapters.channels import file
from adapters.channels.file import FileChannel
from kmtool.clock import ManualClock
from kmtool.domain.states import OrderStatus, RefundState
from kmtool.errors import ConfigError, FileMissing, InputRefused, Rejected
from kmtool.ports import OrderRef, Verdict
from tests.adapters.file_channel.exports import build, orders, put, table


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
