"""Channels are added to kmtool.toml without touching anything else, listed, changed and tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kmtool import config
from kmtool.domain.secret import Secret
from kmtool.errors import (
    ConfigError,
    InputRefused,
    NeedsOperator,
    NotFound,
    Refused,
    StateMoved,
    UsageError,
)
from kmtool.operations import channel_preview, channels, config_text, house, sync
from kmtool.operations.channels import NewChannel
from kmtool.shop import Shop
from tests import fakes


def text_of(shop: Shop) -> str:
    return shop.config.path.read_text(encoding="utf-8")


def test_a_new_channel_stands_at_the_end_and_nothing_else_moved(shop: Shop) -> None:
    before = text_of(shop)
    done = channels.add(shop, NewChannel("leaf", "file", options={"preset": "taobao"}))
    assert text_of(shop) == before + "\n" + done.text
    now = config.load(shop.config.path)
    assert now.channels["shop1"] == shop.config.channels["shop1"]
    leaf = now.channels["leaf"]
    assert (leaf.adapter, leaf.mode, leaf.couriers) == ("file", "ask", ("by_hand",))
    assert leaf.options == {"preset": "taobao"}
    assert Path(done.backup).read_text(encoding="utf-8") == before
    assert (shop.config.folder("inbox") / "orders" / "leaf").is_dir()
    assert [row["action"] for row in house_audit(shop, "leaf")] == ["channel.add"]


def house_audit(shop: Shop, name: str) -> list[Any]:
    from kmtool.store import house as store

    return store.audit_of(shop.db, name)


def test_what_fits_the_adapter_is_filled_in(shop: Shop) -> None:
    done = channels.add(
        shop, NewChannel("maple", "demo", options={"url": "http://127.0.0.1:1"}, mode="auto")
    )
    assert done.couriers == ("demo",)
    assert done.missing_secrets == ("maple-token", "maple-secret")
    now = config.load(shop.config.path).channels["maple"]
    assert now.credentials == {"token": "secret:maple-token", "secret": "secret:maple-secret"}
    house.set_secret(shop, "maple-token", Secret("t"))
    given = {"secret": "env:MAPLE_SECRET"}
    again = channels.add(shop_now(shop), NewChannel("oak", "demo", credentials=given))
    assert again.missing_secrets == ("oak-token",)


def shop_now(shop: Shop) -> Shop:
    from dataclasses import replace

    return replace(shop, config=config.load(shop.config.path))


def test_tables_of_words_survive_the_journey(shop: Shop) -> None:
    words = {"买家已付款，等待": "paid", 'a"b\\c = [x]': "closed"}
    channels.add(shop, NewChannel("叶子", "file", options={"status": words, "money": "fen"}))
    assert config.load(shop.config.path).channels["叶子"].options == {
        "money": "fen",
        "status": words,
    }


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (NewChannel("shop1", "file"), Refused),
        (NewChannel("a b", "file"), UsageError),
        (NewChannel("x", "nothing"), UsageError),
        (NewChannel("x", "no.such.module"), ConfigError),
        (NewChannel("x", "file", mode="full"), UsageError),
        (NewChannel("x", "file", couriers=("pigeon",)), UsageError),
        (NewChannel("x", "demo", credentials={"token": "plain-text"}), UsageError),
        (NewChannel("x", "demo", credentials={"password": "env:P"}), UsageError),
        (NewChannel("x", "file", options={"presets": "taobao"}), UsageError),
    ],
)
def test_what_cannot_be_used_changes_nothing(
    wanted: NewChannel, error: type[Exception], shop: Shop
) -> None:
    before = text_of(shop)
    with pytest.raises(error):
        channels.add(shop, wanted)
    assert text_of(shop) == before
    assert not shop.config.folder("backups").joinpath("kmtool-1.toml").exists()
    assert house_audit(shop, wanted.name) == []


def test_a_rehearsal_writes_nothing(shop: Shop) -> None:
    before = text_of(shop)
    with shop.db.rehearsal():
        done = channels.add(shop, NewChannel("leaf", "file"))
    assert (done.channel, done.backup) == ("leaf", "")
    assert text_of(shop) == before
    assert not (shop.config.folder("inbox") / "orders" / "leaf").exists()
    assert house_audit(shop, "leaf") == []
    assert list(shop.config.root.glob(".*.new")) == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_encoding_and_line_ends_stay(encoding: str, newline: str, shop: Shop) -> None:
    text = text_of(shop).rstrip("\n").replace("\n", newline)
    shop.config.path.write_bytes(text.encode(encoding))
    channels.add(shop, NewChannel("leaf", "file"))
    raw = shop.config.path.read_bytes()
    assert raw.startswith(text.encode(encoding))
    assert raw.decode(encoding).count("\n") == raw.decode(encoding).count(newline)
    assert "leaf" in config.load(shop.config.path).channels


def test_a_file_that_was_saved_meanwhile_is_not_overwritten(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = config_text.read

    def then_saved(path: Path) -> config_text.ConfigText:
        found = read(path)
        path.write_text(found.text + "# mine\n", encoding="utf-8")
        return found

    monkeypatch.setattr(config_text, "read", then_saved)
    with pytest.raises(StateMoved):
        channels.add(shop, NewChannel("leaf", "file"))
    assert text_of(shop).endswith("# mine\n")
    assert "leaf" not in text_of(shop)


def test_a_value_is_changed_in_its_line_with_its_comment(shop: Shop) -> None:
    before = text_of(shop)
    marked = before.replace('mode = "auto"', 'mode   = "auto"   # trusted # since May')
    shop.config.path.write_text(marked + '[channels.shop2]\nadapter = "file"', encoding="utf-8")
    shop = shop_now(shop)
    done = channels.alter(shop, NewChannel("shop1", "", mode="watch"))
    assert done.mode == "watch"
    assert 'mode = "watch"   # trusted # since May' in text_of(shop)
    assert text_of(shop).replace(
        'mode = "watch"   # trusted # since May', 'mode = "auto"'
    ) == before + '[channels.shop2]\nadapter = "file"'  # fmt: skip
    shop = shop_now(shop)
    channels.alter(shop, NewChannel("shop2", "", mode="auto", couriers=("by_hand", "demo")))
    shop = shop_now(shop)
    channels.alter(shop, NewChannel("shop2", "", options={"status": {"好": "paid"}}))
    shop = shop_now(shop)
    channels.alter(
        shop, NewChannel("shop2", "", options={"status": {"好": "closed", "坏": "paid"}})
    )
    now = config.load(shop.config.path).channels["shop2"]
    assert (now.mode, now.couriers) == ("auto", ("by_hand", "demo"))
    assert now.options == {"status": {"好": "closed", "坏": "paid"}}


def test_the_account_of_a_channel_becomes_one_that_is_reconciled(shop: Shop) -> None:
    channels.add(shop, NewChannel("leaf", "file", account="alipay"))
    assert config.load(shop.config.path).accounts["alipay"].channels == ("leaf",)
    shop = shop_now(shop)
    channels.alter(shop, NewChannel("shop1", "", account="alipay"))
    now = config.load(shop.config.path)
    assert now.accounts["alipay"].channels == ("leaf", "shop1")
    assert now.channels["shop1"].account == "alipay"
    with pytest.raises(UsageError, match="no name"):
        channels.alter(shop_now(shop), NewChannel("shop1", "", account="ali pay"))


def test_what_cannot_be_changed_by_lines_is_left_to_an_editor(shop: Shop) -> None:
    odd = text_of(shop).replace('couriers = ["tests.fakes"]', 'couriers = [\n  "tests.fakes",\n]')
    shop.config.path.write_text(odd, encoding="utf-8")
    shop = shop_now(shop)
    with pytest.raises(Refused, match="would not load"):
        channels.alter(shop, NewChannel("shop1", "", couriers=("by_hand",)))
    assert text_of(shop) == odd


def test_a_change_must_name_something_and_somebody(shop: Shop) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        channels.alter(shop, NewChannel("nowhere", "", mode="auto"))
    with pytest.raises(UsageError, match="nothing was named"):
        channels.alter(shop, NewChannel("shop1", ""))


def test_the_list_tells_how_far_and_what_waits(shop: Shop) -> None:
    (one,) = channels.every(shop).channels
    assert (one.channel, one.mode, one.cursor_ms, one.unmapped) == ("shop1", "auto", None, 0)
    fakes.world().orders["A1"] = fakes.order(at_ms=shop.now_ms() - 60_000)
    sync.sync(shop)
    house.pause(shop, "shop1", "")
    (one,) = channels.every(shop).channels
    assert one.unmapped == 1
    assert one.cursor_ms is not None
    assert one.paused


def test_trying_a_channel_never_raises(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    done = channels.test(shop)
    assert [(check.name, check.ok) for check in done.checks] == [
        ("access", True), ("clock", True), ("courier", True)
    ]  # fmt: skip
    assert done.failed == 0

    def refuse(_self: object) -> None:
        raise NeedsOperator(who="fake", detail="wrong token")

    monkeypatch.setattr(fakes.Fake, "auth_check", refuse)
    (check,) = channels.test(shop, ["shop1"]).checks
    assert not check.ok
    assert "wrong token" in check.detail
    assert check.mend
    with pytest.raises(NotFound):
        channels.test(shop, ["nowhere"])


def test_a_wrong_clock_and_a_missing_courier_are_named(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kmtool.ports import AuthReport

    monkeypatch.setattr(
        fakes.Fake, "auth_check", lambda _self: AuthReport(ok=True, detail="", skew_ms=-90_000)
    )
    path = shop.config.path
    path.write_text(text_of(shop).replace('couriers = ["tests.fakes"]', ""), encoding="utf-8")
    checks = {check.name: check for check in channels.test(shop_now(shop)).checks}
    assert not checks["clock"].ok
    assert checks["clock"].detail == "-90.0 s"
    assert not checks["courier"].ok


def test_a_preview_shows_what_a_file_gives(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_text(
        "订单号,状态,商品,数量,实付金额\nA1,已付款,月卡,2,25.00\nA2,怪,月卡,1,1\n", encoding="gbk"
    )
    seen = channel_preview.preview(shop, path, "", {})
    assert (seen.preset, seen.count, seen.unconfirmed) == ("generic", 2, False)
    assert [(o.order, o.status, o.items, o.pieces, o.total_minor) for o in seen.orders] == [
        ("A1", "paid", "月卡", 2, 2500),
        ("A2", "review", "月卡", 1, 100),
    ]
    assert seen.unknown == ("unknown status “怪”",)
    assert channel_preview.preview(shop, path, "", {"status": {"怪": "paid"}}).unknown == ()
    path.write_text("订单号,商品\nA1,x\n", encoding="utf-8")
    with pytest.raises(InputRefused, match="status"):
        channel_preview.preview(shop, path, "", {})
    path.write_text("订单号,状态,商品,数量,实付金额\nA1,已付款,x,0,1\n", encoding="utf-8")
    with pytest.raises(InputRefused, match="row 2, quantity"):
        channel_preview.preview(shop, path, "", {})


def test_orders_of_a_new_file_channel_come_in_by_sync(shop: Shop) -> None:
    channels.add(shop, NewChannel("leaf", "file"))
    with_leaf = reopened(shop)
    folder = shop.config.folder("inbox") / "orders" / "leaf"
    (folder / "a.csv").write_text(
        "订单号,状态,商品,数量,实付金额\nA1,已付款,月卡,2,25.00\n", encoding="utf-8"
    )
    result = sync.sync(with_leaf, ["leaf"]).channels[0]
    assert (result.orders_new, result.unmapped, result.rejects) == (1, 1, ())
    assert (folder / "done" / "a.csv").exists()
    again = sync.sync(with_leaf, ["leaf"]).channels[0]
    assert (again.orders_new, again.orders_changed) == (0, 0)


def reopened(shop: Shop) -> Shop:
    from dataclasses import replace

    from kmtool import app

    settings = config.load(shop.config.path)
    return replace(
        shop,
        config=settings,
        adapters=app._adapters(settings, shop.clock, shop.db, shop.vault),
    )
