"""What the buyer reads: the closest template wins, and a text without all keys is never written."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kmtool.domain.secret import Secret
from kmtool.errors import ConfigError
from kmtool.operations.messages import MessageLine, Written, write
from kmtool.shop import Shop
from kmtool.store import templates

GOOD = "{% for line in lines %}{% for key in line['keys'] %}{{ key }} {% endfor %}{% endfor %}"


def text(shop: Shop, *keys: str, title: str = "月卡", guide: str = "") -> Written:
    secrets = tuple(Secret(key) for key in keys or ("KEY-1",))
    return write(shop, "shop1", "A1", "KM123", [MessageLine(title, "S1", guide, secrets)])


def put(
    shop: Shop,
    body: str,
    channel: str = "",
    sku: str = "",
    kind: str = "message",
    language: str = "zh_CN",
) -> None:
    with shop.db.tx():
        templates.put(shop.db, kind, channel, sku, language, body, shop.now_ms())


def speaking(shop: Shop, language: str) -> Shop:
    """Return the shop with a channel whose buyers speak another language."""
    channels = dict(shop.config.channels)
    channels["shop1"] = replace(channels["shop1"], language=language)
    return replace(shop, config=replace(shop.config, channels=channels))


def test_the_shipped_template_says_all(shop: Shop) -> None:
    told = text(shop, "KEY-1", "KEY-2", guide="在官网兑换").text.text()
    for part in ("测试小店", "A1", "月卡", "KEY-1\n", "KEY-2\n", "在官网兑换", "KM123"):
        assert part in told


def test_the_closest_template_wins(shop: Shop) -> None:
    folder = shop.config.root / "templates"
    folder.mkdir()
    (folder / "message.txt.j2").write_text("\ufefffile " + GOOD, encoding="utf-8")
    assert text(shop).text.text().startswith("file KEY-1")
    for channel, sku, name in (
        ("", "", "shop"),
        ("shop1", "", "channel"),
        ("", "S1", "sku"),
        ("shop1", "S1", "both"),
    ):
        put(shop, f"{name} {GOOD}", channel, sku)
        assert text(shop).text.text().startswith(f"{name} KEY-1")
    put(shop, "{{ number }}\nlines", kind="subject")
    assert text(shop).subject == "A1 lines"


@pytest.mark.parametrize(
    "body",
    [
        "{{ no_such }}",
        "{% for x in %}",
        "{{ 1 / 0 }}",
        "{{ lines[9].title }}",
        "{{ 'a' + 1 }}",
        "{% for i in range(10000000) %}x{% endfor %}",
        "{{ ''.__class__.__mro__ }}",
        "{{ lines.append(1) }}",
        "{% include 'x' %}",
        "no key at all",
    ],
)
def test_a_template_that_fails_is_named_and_mended(shop: Shop, body: str) -> None:
    put(shop, body)
    with pytest.raises(ConfigError) as error:
        text(shop)
    assert "template" in error.value.message()
    assert "template" in error.value.next_step()


def test_a_template_in_another_encoding_is_named(shop: Shop) -> None:
    folder = shop.config.root / "templates"
    folder.mkdir()
    (folder / "message.txt.j2").write_bytes("卡密 {{ number }}".encode("gbk"))
    with pytest.raises(ConfigError, match="cannot be read"):
        text(shop)


def test_a_key_inside_a_longer_one_does_not_stand_for_itself(shop: Shop) -> None:
    put(shop, "{{ lines[0]['keys'][1] }}")
    with pytest.raises(ConfigError, match="leaves a key out"):
        text(shop, "KEY-1", "KEY-12")


def test_foreign_text_is_no_template_and_makes_no_lines(shop: Shop) -> None:
    told = text(shop, title="{{ lines }}\nKEY-999 {% raw %}").text.text()
    assert "{{ lines }} KEY-999 {% raw %}" in told
    assert "\nKEY-999" not in told


def test_an_error_about_foreign_braces_is_still_an_error_in_three_lines() -> None:
    error = ConfigError(detail="order A{", mend="kmtool order show A{ {x!z}")
    assert error.next_step() == "kmtool order show A{ {x!z}"


def test_a_guide_may_name_the_order(shop: Shop) -> None:
    line = MessageLine("t", "S1", "售后凭 {{ code }}", (Secret("KEY-1"),))
    written = write(shop, "shop1", "A1", "KMCODE", [line])
    assert "售后凭 KMCODE" in written.text.text()


def test_a_channel_speaks_its_buyers_language(shop: Shop) -> None:
    english = speaking(shop, "en")
    written = text(english, "KEY-1", "KEY-2", guide="redeem it on the site")
    for part in ("测试小店", "Your order: A1", "月卡 (2)", "KEY-1\n", "redeem it", "KM123"):
        assert part in written.text.text()
    assert written.subject == "Your order A1 at 测试小店"
    assert written.mark == "Delivery number: {marker}"
    assert text(speaking(shop, "ja")).subject.startswith("Your order"), "English for all others"
    assert text(shop).mark == "发货编号：{marker}"


def test_a_language_has_templates_of_its_own(shop: Shop) -> None:
    english = speaking(shop, "en")
    put(shop, f"中文 {GOOD}")
    folder = shop.config.root / "templates"
    folder.mkdir()
    (folder / "message.txt.j2").write_text("文件 " + GOOD, encoding="utf-8")
    assert text(english).text.text().startswith("Thank you")
    (folder / "message.en.txt.j2").write_text("file " + GOOD, encoding="utf-8")
    assert text(english).text.text().startswith("file KEY-1")
    put(shop, f"own {GOOD}", language="en")
    assert text(english).text.text().startswith("own KEY-1")
    assert text(shop).text.text().startswith("中文 KEY-1")


@pytest.mark.parametrize("language", ["../en", "e", "en_", "/etc/x", "en US"])
def test_a_language_is_no_path(shop: Shop, language: str) -> None:
    with pytest.raises(ConfigError, match="no language"):
        text(speaking(shop, language))


def test_a_part_says_which_one_it_is(shop: Shop) -> None:
    line = MessageLine("t", "S1", "", (Secret("KEY-1"),))
    written = write(shop, "shop1", "A1", "KMCODE", [line], (2, 5))
    assert written.subject.endswith("（第 2/5 条）")
    assert written.mark == "发货编号：{marker}（第 2/5 条）"
    other = write(speaking(shop, "en"), "shop1", "A1", "KMCODE", [line], (2, 5))
    assert other.mark == "Delivery number: {marker} (message 2 of 5)"
