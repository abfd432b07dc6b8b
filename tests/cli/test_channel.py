"""`kmtool channel` through the door: add by file, secrets, list, set, test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kmtool import config
from tests.cli.conftest import Told

Cli = Callable[..., Told]

EXPORT = "订单号,状态,商品,数量,实付金额\n0012,已付款,月卡,2,25.00\n0013,怪,月卡,1,1\n"


def test_a_shop_without_api_is_connected_with_its_export(
    cli: Cli, shop_folder: Path, tmp_path: Path
) -> None:
    export = tmp_path / "export.csv"
    export.write_text(EXPORT, encoding="gbk")
    told = cli("channel", "add", "leaf", "--by-file", export, "--status", "怪=closed")
    assert told.code == 0, told.err
    assert "0012" in told.out
    assert "￥25.00" in told.out
    assert "leaf is connected" in told.out
    assert "by hand: you export" in told.err
    leaf = config.load(shop_folder / "kmtool.toml").channels["leaf"]
    assert leaf.options == {"preset": "generic", "status": {"怪": "closed"}}
    assert (leaf.mode, leaf.couriers) == ("ask", ("by_hand",))
    listed = cli("channel", "list", "--json").json()["channels"]
    assert [(one["channel"], one["adapter"], one["unmapped"]) for one in listed] == [
        ("shop1", "tests.fakes", 0),
        ("leaf", "file", 0),
    ]


def test_a_rehearsal_shows_the_file_and_keeps_nothing(
    cli: Cli, shop_folder: Path, tmp_path: Path
) -> None:
    export = tmp_path / "export.csv"
    export.write_text(EXPORT, encoding="utf-8")
    before = (shop_folder / "kmtool.toml").read_bytes()
    told = cli("channel", "add", "leaf", "--by-file", export, "--dry-run", "--json")
    assert told.code == 0
    seen = told.json()["preview"]
    assert seen["orders"][0]["total"] == 2500
    assert seen["unknown"] == ["unknown status “怪”"]
    assert (shop_folder / "kmtool.toml").read_bytes() == before


def test_a_file_that_gives_no_orders_is_refused_in_three_lines(
    cli: Cli, shop_folder: Path, tmp_path: Path
) -> None:
    for name, content in (("keys.csv", "AAAA-1111\nBBBB-2222\n"), ("photo.jpg", "x")):
        export = tmp_path / name
        export.write_text(content, encoding="utf-8")
        told = cli("channel", "add", "leaf", "--by-file", export)
        assert told.code == 9
        assert len(told.err.splitlines()) == 3
        assert name in told.err
    assert cli("channel", "add", "leaf", "--by-file", tmp_path / "none.csv").code == 5
    assert "leaf" not in config.load(shop_folder / "kmtool.toml").channels


def test_secrets_are_asked_for_and_never_taken_from_the_line(cli: Cli, shop_folder: Path) -> None:
    told = cli("channel", "add", "maple", "--adapter", "demo", "--credential", "token=abc")
    assert told.code == 2
    assert "secret:NAME" in told.err
    told = cli("channel", "add", "maple", "--adapter", "demo", "--url", "http://127.0.0.1:9")
    assert told.code == 0
    assert "kmtool secret set maple-token" in told.err
    assert cli("secret", "set", "maple-token", input="t\n").code == 0
    told = cli("channel", "test", "maple")
    assert told.code == 4 or "maple-secret" in told.out
    assert cli("secret", "set", "maple-secret", input="s\n").code == 0
    told = cli("channel", "test", "maple", "--json")
    assert told.code == 8
    (check,) = told.json()["checks"]
    assert (check["name"], check["ok"]) == ("access", False)


def test_without_adapter_and_terminal_the_flag_is_named(cli: Cli, shop_folder: Path) -> None:
    told = cli("channel", "add", "leaf")
    assert told.code == 6
    assert "--adapter NAME or --by-file FILE" in told.err


def test_trust_grows_in_steps(cli: Cli, shop_folder: Path) -> None:
    for mode in ("watch", "ask", "auto"):
        told = cli("channel", "set", "shop1", "--mode", mode)
        assert told.code == 0, told.err
        assert config.load(shop_folder / "kmtool.toml").channels["shop1"].mode == mode
    assert cli("channel", "set", "shop1", "--mode", "full").code == 2
    assert cli("channel", "set", "nowhere", "--mode", "ask").code == 5
    assert cli("channel", "set", "shop1").code == 2
    assert cli("channel", "set", "shop1", "--option", "x").code == 2


def test_a_working_channel_passes_its_test(cli: Cli, shop_folder: Path) -> None:
    told = cli("channel", "test")
    assert told.code == 0
    assert "+0.0 s" in told.out


def test_items_show_what_is_listed_mapped_and_off_the_shelf(cli: Cli, shop_folder: Path) -> None:
    told = cli("channel", "items", "shop1")
    assert told.code == 0
    assert "not mapped" in told.out
    assert "kmtool product map" in told.err
    found = cli("channel", "items", "shop1", "--json").json()
    one = found["items"][0]
    assert (one["item"], one["price"], one["on_shelf"], one["sku"]) == ("i1", 1000, True, "")
    assert cli("channel", "items", "nowhere").code == 5


def test_a_listing_that_runs_out_is_hidden_and_shown_again(cli: Cli, shop_folder: Path) -> None:
    text = (shop_folder / "kmtool.toml").read_text(encoding="utf-8")
    (shop_folder / "kmtool.toml").write_text(text + "shelf = true\n", encoding="utf-8")
    cli("product", "add", "S1")
    cli("product", "map", "shop1", "i1", "S1")
    assert "1 listings taken off the shelf" in cli("sync").err
    assert "off: sold out" in cli("channel", "items", "shop1").out
    assert "its stock ran out" in cli("alert", "list").out
    (shop_folder / "keys.txt").write_text("AAAA-0001\nAAAA-0002\n", encoding="utf-8")
    cli("import", "keys.txt", "--sku", "S1", "--supplier", "z", "--cost", "1", "--new", "--yes")
    assert "1 brought back" in cli("sync").err
    assert "its stock ran out" not in cli("alert", "list").out


def test_what_is_kept_back_is_set_and_shown(cli: Cli, shop_folder: Path) -> None:
    cli("product", "add", "S1")
    assert cli("product", "set", "S1", "--buffer", "2", "--shelf-floor", "1").code == 0
    told = cli("product", "show", "S1").out
    assert "Kept back from channels" in told
    assert "Off the shelf at" in told
    assert cli("product", "set", "S1", "--buffer", "-1").code == 2
