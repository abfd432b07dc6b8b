"""Sentences that can be told again: errors, gates, and what the database keeps of them."""

from __future__ import annotations

import copy
import gettext
from collections.abc import Iterator
from typing import ClassVar

import pytest

from kmtool import words
from kmtool.errors import NotFound, Refused, Stored, joined, told, verbatim


class _Chinese(gettext.NullTranslations):
    _catalog: ClassVar = {
        "{detail}": "{detail}",
        "nothing of order {number} is waiting": "订单 {number} 没有在等待的",
        "There is no {kind} {name}.": "没有{kind} {name}。",
        "channel": "渠道",
        "look at {number} again": "再看一下 {number}",
        "on hold: {reason}": "已暂停：{reason}",
        "it is not paid": "还没付款",
    }

    def gettext(self, message: str) -> str:
        return self._catalog.get(message, message)


@pytest.fixture
def chinese(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(words, "_active", _Chinese())
    yield
    words._patterns.cache_clear()


@pytest.mark.usefixtures("chinese")
def test_an_error_is_told_with_its_facts() -> None:
    error = Refused(
        detail="nothing of order {number} is waiting", number="A1", mend="look at {number} again"
    )
    assert str(error) == "nothing of order A1 is waiting"
    assert words.tell(error.message()) == "订单 A1 没有在等待的"
    assert words.tell(error.next_step()) == "再看一下 A1"


@pytest.mark.usefixtures("chinese")
def test_a_command_takes_its_facts_as_they_are_typed() -> None:
    error = NotFound(kind="channel", name="x")
    assert words.tell(error.message()) == "没有渠道 x。"
    assert words.tell(error.next_step()) == "kmtool channel list"


@pytest.mark.parametrize("name", ["{number}", "{0}", "{", "}{", "{x!z}", "{a.b}", "{:>99999999}"])
def test_braces_of_the_outside_mean_nothing(name: str) -> None:
    error = Refused(
        detail="nothing of order {number} is waiting", number=name, mend="look {number}"
    )
    assert str(error) == f"nothing of order {name} is waiting"
    assert words.tell(error.message()) == str(error)
    assert error.next_step() == f"look {name}"
    assert words.tell(verbatim(name)) == name


@pytest.mark.usefixtures("chinese")
def test_what_the_database_keeps_is_told_again() -> None:
    assert words.tell(Stored("it is not paid")) == "还没付款"
    assert words.tell(Stored("on hold: it is not paid")) == "已暂停：还没付款"
    assert words.tell(Stored("on hold: {reason}")) == "已暂停：{reason}"
    assert words.tell(Stored("anything else")) == "anything else"
    assert words.tell("it is not paid") == "it is not paid"


@pytest.mark.usefixtures("chinese")
def test_sentences_in_sentences_and_in_the_catalogues_texts() -> None:
    both = joined([told("it is not paid"), told("on hold: {reason}", reason="why")])
    assert both == "it is not paid; on hold: why"
    assert words.tell(both) == "还没付款; 已暂停：why"
    assert words._("({why})").format(why=told("it is not paid")) == "(还没付款)"
    assert words.tell(copy.deepcopy(both)) == words.tell(both)
