"""What the buyer reads: the closest template wins, and a text without all keys is never written."""

from __future__ import annotations

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


def put(shop: Shop, body: str, channel: str = "", sku: str = "", kind: str = "message") -> None:
    with shop.db.tx():
        templates.put(shop.db, kind, channel, sku, "zh_CN", body, shop.now_ms())


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
