"""Which language the screens speak: --lang, KMTOOL_LANG, `screens` in kmtool.toml, the locale."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kmtool import words
from kmtool.cli import language
from kmtool.cli.main import main

ENGLISH, CHINESE = "There is no product NOPE.", "没有商品 NOPE。"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A shop folder whose buyers read Chinese, on a machine that speaks English."""
    made = tmp_path / "shop1"
    assert main(["init", str(made), "--defaults"]) == 0
    for word in ("sell", "doctor"):  # their help is told when they are imported, once a process
        assert main([word, "--help"]) == 0
    monkeypatch.chdir(made)
    monkeypatch.delenv("KMTOOL_LANG")
    monkeypatch.setattr("locale.getlocale", lambda: ("en_US", "UTF-8"))
    yield made
    words.use("en")


def said(capsys: pytest.CaptureFixture[str], *line: str) -> str:
    """Return the first line a command says on stderr."""
    capsys.readouterr()
    main(list(line))
    return capsys.readouterr().err.splitlines()[0]


def test_the_buyers_language_does_not_force_the_screens(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 'language = "zh_CN"' in (folder / "kmtool.toml").read_text(encoding="utf-8")
    assert ENGLISH in said(capsys, "sell", "NOPE")


def test_screens_in_the_configuration_and_what_stands_above_it(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "kmtool.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('screens = ""', 'screens = "zh_CN"'), encoding="utf-8")
    assert language.of_shop([]) == "zh_CN"
    assert CHINESE in said(capsys, "sell", "NOPE")
    assert ENGLISH in said(capsys, "--lang", "en", "sell", "NOPE")
    monkeypatch.setenv("KMTOOL_LANG", "en")
    assert ENGLISH in said(capsys, "sell", "NOPE")
    assert CHINESE in said(capsys, "sell", "NOPE", "--lang=zh")


@pytest.mark.parametrize("name", ["zh_CN", "Chinese (Simplified)_China"])
def test_a_chinese_machine_is_spoken_to_in_chinese(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("locale.getlocale", lambda: (name, "UTF-8"))
    assert CHINESE in said(capsys, "sell", "NOPE")
    assert folder.is_dir()


def test_programs_read_the_same_words_in_every_language(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folder.is_dir()
    capsys.readouterr()
    main(["doctor", "--json", "--lang", "zh"])
    assert "a key is bound to one order line" in capsys.readouterr().out
    main(["doctor", "--lang", "zh"])
    assert "一个卡密只绑定一个订单行" in capsys.readouterr().out
