"""The first kmtool.toml, brakes by hand, stored credentials."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from kmtool.app import credential
from kmtool.config import load
from kmtool.domain.secret import Secret
from kmtool.errors import ExampleConfig, NotFound, Refused, UsageError
from kmtool.operations import house
from kmtool.operations.house import Answers
from kmtool.shop import Shop
from kmtool.store import products
from kmtool.store.house import audit_of


def _product(shop: Shop, sku: str) -> None:
    with shop.db.tx():
        products.add_product(
            shop.db, sku=sku, title=sku, kind="key", currency="CNY", price_minor=None,
            floor_minor=None, low_stock=None, buffer=0, guide="", now_ms=shop.now_ms(),
        )  # fmt: skip


def test_answers_become_a_file_that_loads(tmp_path: Path) -> None:
    path, fresh = house.write_config(
        tmp_path / "new", Answers('小"店\\', "UTC", "USD", "en", low_stock=3)
    )
    assert fresh
    config = load(path)
    assert config.shop.name == '小"店\\'
    assert (config.shop.timezone, config.shop.currency, config.shop.language) == (
        "UTC",
        "USD",
        "en",
    )
    assert config.alerts.low_stock == 3
    assert not config.example


def test_a_file_that_is_there_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "kmtool.toml").write_text("schema = 1\n", encoding="utf-8")
    assert house.write_config(tmp_path, Answers())[1] is False
    assert (tmp_path / "kmtool.toml").read_text(encoding="utf-8") == "schema = 1\n"


@pytest.mark.parametrize(
    "wrong",
    [
        Answers(timezone="Mars/North"),
        Answers(currency="yuan"),
        Answers(language="fr"),
        Answers(low_stock=-1),
    ],
)
def test_an_answer_that_cannot_be_used_writes_nothing(tmp_path: Path, wrong: Answers) -> None:
    with pytest.raises(UsageError):
        house.write_config(tmp_path, wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(Refused):
        house.write_config(tmp_path / "file" / "shop", Answers())


def test_pause_and_resume_are_on_record_and_repeatable(shop: Shop) -> None:
    first = house.pause(shop, "all", "holiday")
    assert (first.scope, first.changed) == ("all", True)
    assert [(one.scope, one.reason) for one in first.paused] == [("all", "holiday")]
    assert not house.pause(shop, "all", "again").changed
    assert house.resume(shop, "all").changed
    again = house.resume(shop, "all")
    assert (again.changed, again.paused) == (False, ())
    assert [row["action"] for row in audit_of(shop.db, "all")] == ["pause", "resume"]


def test_a_pause_names_a_channel_or_a_sku(shop: Shop) -> None:
    _product(shop, "steam-50")
    assert house.pause(shop, "shop1", "").scope == "channel:shop1"
    assert house.pause(shop, "steam-50", "").scope == "sku:steam-50"
    assert not house.pause(shop, "channel:shop1", "").changed
    assert not house.pause(shop, "sku:steam-50", "").changed
    assert house.resume(shop, "steam-50").scope == "sku:steam-50"
    with pytest.raises(NotFound):
        house.pause(shop, "steam-500", "")
    with pytest.raises(NotFound):
        house.pause(shop, "sku:steam-500", "")


def test_a_name_that_is_channel_and_sku_wants_its_kind(shop: Shop) -> None:
    _product(shop, "shop1")
    with pytest.raises(UsageError):
        house.pause(shop, "shop1", "")
    assert house.pause(shop, "sku:shop1", "").changed
    assert house.resume(shop, "shop1").scope == "sku:shop1"


def test_a_secret_is_sealed_listed_without_value_and_removed(shop: Shop) -> None:
    assert house.set_secret(shop, "woo-key", Secret("CANARY-1")).action == "stored"
    assert house.set_secret(shop, "woo-key", Secret("CANARY-2")).action == "replaced"
    found = credential("secret:woo-key", shop.db, shop.vault, shop.config, "here")
    assert found.text() == "CANARY-2"
    assert [one.name for one in house.secrets(shop).secrets] == ["woo-key"]
    assert "CANARY" not in repr(house.secrets(shop))
    assert "CANARY" not in repr(audit_of(shop.db, "woo-key"))
    assert house.remove_secret(shop, "woo-key").action == "removed"
    with pytest.raises(NotFound):
        house.remove_secret(shop, "woo-key")
    with pytest.raises(UsageError):
        house.set_secret(shop, "../x", Secret("v"))


def test_a_wanted_secret_that_is_missing_is_listed(shop: Shop) -> None:
    channel = replace(shop.config.channels["shop1"], credentials={"key": "secret:later"})
    wanting = replace(shop, config=replace(shop.config, channels={"shop1": channel}))
    [one] = house.secrets(wanting).secrets
    assert (one.name, one.updated_ms, one.used_by) == ("later", None, ("channels.shop1.key",))


def test_the_example_is_not_written_to(shop: Shop) -> None:
    example = replace(shop, config=replace(shop.config, example=True))
    for act in (
        lambda: house.pause(example, "all", ""),
        lambda: house.resume(example, "all"),
        lambda: house.set_secret(example, "a", Secret("b")),
        lambda: house.remove_secret(example, "a"),
    ):
        with pytest.raises(ExampleConfig):
            act()


def test_the_template_is_toml_once_filled_in(tmp_path: Path) -> None:
    path, _fresh = house.write_config(tmp_path, Answers())
    text = path.read_text(encoding="utf-8")
    assert "@" not in text
    assert tomllib.loads(text)["schema"] == 1
