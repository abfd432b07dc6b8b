"""`kmtool template`: what buyers read is looked at, tried and stored; no key is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kmtool.errors import InputRefused, NeedsAnswer, NotFound, UsageError

GOOD = '{% for line in lines %}{% for key in line["keys"] %}{{ key }} {% endfor %}{% endfor %}'
MINE = f"MINE {{{{ code }}}} {GOOD}"


def test_the_template_in_force_can_be_shown_changed_and_given_back(
    cli: Any, shop_folder: Path
) -> None:
    told = cli("template", "show")
    assert told.code == 0
    assert "{% for line in lines %}" in told.out
    assert "shipped" in told.err
    mine = shop_folder / "mine.txt"
    mine.write_text("\ufeff" + MINE.replace(" ", "\r\n", 1), encoding="utf-8", newline="")
    assert cli("template", "set", "mine.txt", "--json").json() == {
        "kind": "message",
        "channel": "",
        "sku": "",
        "language": "zh_CN",
        "action": "stored",
    }
    assert cli("template", "show", "--json").json()["origin"] == "own"
    read = cli("template", "test").out
    assert "MINE" in read
    assert "SAMPLE-KEY-0001" in read
    assert "发货编号：KM1A2B3C4D-1" in read
    assert "replaced" in cli("template", "set", "-", input=GOOD).out
    assert cli("template", "remove", "--yes").code == 0
    assert cli("template", "show", "--json").json()["origin"] == "shipped"
    assert cli("template", "remove", "--yes").code == NotFound.exit_code


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ('{{ lines[0]["keys"][0] }}', "leaves a key out"),
        ("no key at all", "leaves a key out"),
        ('{{ lines[0]["keys"]|join(" ") }}', "leaves a key out"),
        (GOOD + "{{ no_such }}", "does not render"),
        ("{% for x in %}", "does not render"),
        ("  \n ", "characters"),
        (GOOD + "x" * 20_000, "characters"),
        (GOOD + "\x1b[31m", "characters"),
    ],
)
def test_a_template_that_would_lose_a_key_is_refused(
    cli: Any, shop_folder: Path, body: str, why: str
) -> None:
    told = cli("template", "set", "-", input=body)
    assert told.code == InputRefused.exit_code
    assert why in told.err
    assert "Traceback" not in told.err
    assert cli("template", "show", "--json").json()["origin"] == "shipped"


def test_a_language_a_product_and_a_channel_have_their_own(cli: Any, shop_folder: Path) -> None:
    assert cli("product", "add", "S1", "--title", "月卡").code == 0
    for words, text in (
        (("--language", "en"), "ENGLISH"),
        (("--sku", "S1"), "PRODUCT"),
        (("--channel", "shop1"), "CHANNEL"),
    ):
        assert cli("template", "set", "-", *words, input=f"{text} {GOOD}").code == 0
        assert cli("template", "test", *words).out.count(text) == 1
    assert "PRODUCT" in cli("template", "test", "--sku", "S1", "--channel", "shop1").out
    assert "Delivery number: " in cli("template", "test", "--language", "en").out
    assert cli("template", "set", "-", "--kind", "subject", input="Nr. {{ number }}").code == 0
    assert cli("template", "test", "--json").json()["subject"] == "Nr. A-1001"
    rows = cli("template", "list", "--json").json()["templates"]
    assert [row["origin"] for row in rows].count("own") == 4
    assert [row["origin"] for row in rows].count("shipped") == 4


def test_nothing_is_kept_of_a_rehearsal(cli: Any, shop_folder: Path) -> None:
    assert cli("template", "set", "-", "--dry-run", input=MINE).code == 0
    assert cli("template", "remove", "--dry-run").code == NotFound.exit_code
    assert cli("template", "show", "--json").json()["origin"] == "shipped"


def test_a_file_of_the_shop_folder_is_listed(cli: Any, shop_folder: Path) -> None:
    (shop_folder / "templates").mkdir(exist_ok=True)
    (shop_folder / "templates" / "message.en.txt.j2").write_text(MINE, encoding="utf-8")
    rows = cli("template", "list", "--json").json()["templates"]
    assert ("en", "file") in {(row["language"], row["origin"]) for row in rows}
    assert "your folder" in cli("template", "show", "--language", "en").err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("show", "--kind", "song"), UsageError.exit_code),
        (("show", "--language", "../x"), UsageError.exit_code),
        (("show", "--channel", "nowhere"), NotFound.exit_code),
        (("test", "--sku", "nothing"), NotFound.exit_code),
        (("test", "A-9999"), NotFound.exit_code),
        (("set", "no-such-file.txt"), NotFound.exit_code),
        (("set", "."), InputRefused.exit_code),
        (("set", "gbk.txt"), InputRefused.exit_code),
        (("remove",), NeedsAnswer.exit_code),
    ],
)
def test_a_slip_has_its_answer(
    cli: Any, shop_folder: Path, words: tuple[str, ...], code: int
) -> None:
    (shop_folder / "gbk.txt").write_bytes("卡密".encode("gbk"))
    told = cli("template", *words)
    assert told.code == code
    assert "Traceback" not in told.err
