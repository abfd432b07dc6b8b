"""By hand: shown is exposed, Enter is delivered, unsure is unclear; every answer is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.operations.by_hand import Answer, Task, by_hand
from kmtool.operations.deliver import deliver
from kmtool.shop import Shop
from kmtool.store import house
from tests.fakes import order
from tests.operations.delivery_kit import KEY, START, broken, line, pull, states
from tests.operations.stock import shelf

AT = START + 1000


@pytest.fixture
def shop(make_config: Any, clock: ManualClock) -> Iterator[Shop]:
    config = make_config(courier="by_hand")
    create_shop(config, clock)
    with open_shop(config, clock=clock) as opened:
        shelf(opened)
        clock.advance(10_000)
        yield opened


class Person:
    """Somebody who answers; keeps what was shown."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.tasks: list[Task] = []

    def __call__(self, task: Task) -> Answer:
        self.tasks.append(task)
        return self.answers.pop(0)

    def keys(self) -> list[str]:
        return [key for task in self.tasks for key in KEY.findall(task.message.text.text())]


def test_sent_is_delivered_and_the_next_comes(shop: Shop) -> None:
    pull(shop, order("A1", at_ms=AT), order("A2", at_ms=AT))
    person = Person(Answer.SENT, Answer.SENT)
    told = by_hand(shop, [], person)
    assert (told.sent, told.left, [t.n for t in person.tasks]) == (2, 0, [1, 2])
    assert len(set(person.keys())) == 2
    assert (states(shop), broken(shop)) == ({"delivered": 2, "free": 3}, [])


def test_an_automatic_run_leaves_it_to_the_person(shop: Shop) -> None:
    pull(shop, order("A1", at_ms=AT))
    told = deliver(shop)
    assert (told.delivered, told.needs_you, line(shop)["state"]) == (0, 0, "reserved")


def test_skip_shows_the_same_key_again(shop: Shop) -> None:
    pull(shop, order("A1", at_ms=AT))
    person = Person(Answer.SKIP, Answer.SENT)
    assert by_hand(shop, [], person).skipped == 1
    assert (line(shop)["state"], states(shop)) == ("reserved", {"exposed": 1, "free": 4})
    assert by_hand(shop, [], person).sent == 1
    assert len(set(person.keys())) == 1
    assert [task.again for task in person.tasks] == [False, False]


def test_unsure_comes_up_again_with_a_warning(shop: Shop) -> None:
    pull(shop, order("A1", at_ms=AT))
    person = Person(Answer.UNSURE, Answer.SENT)
    assert by_hand(shop, [], person).unsure == 1
    assert line(shop)["state"] == "unknown"
    assert deliver(shop).delivered == 0
    assert by_hand(shop, [], person).sent == 1
    assert [task.again for task in person.tasks] == [False, True]
    assert len(set(person.keys())) == 1


def test_stop_ends_the_round_and_keeps_the_rest(shop: Shop) -> None:
    pull(shop, order("A1", at_ms=AT), order("A2", at_ms=AT))
    told = by_hand(shop, [], Person(Answer.STOP))
    assert (told.sent, told.left) == (0, 2)
    assert by_hand(shop, ["A1"], Person(Answer.SENT)).sent == 1
    assert (line(shop, "A1")["state"], line(shop, "A2")["state"]) == ("delivered", "reserved")


def test_a_crash_while_a_key_is_shown_leaves_it_unclear(shop: Shop) -> None:
    pull(shop, order("A1", at_ms=AT))

    def die(task: Task) -> Answer:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        by_hand(shop, [], die)
    assert (line(shop)["state"], states(shop)) == ("unknown", {"exposed": 1, "free": 4})
    person = Person(Answer.SENT)
    by_hand(shop, [], person)
    assert person.tasks[0].again
    assert broken(shop) == []


def test_a_pause_shows_nothing_and_a_rehearsal_neither(shop: Shop, clock: ManualClock) -> None:
    pull(shop, order("A1", at_ms=AT))
    with shop.db.rehearsal():
        assert by_hand(shop, [], Person()).left == 1
    by_hand(shop, [], Person(Answer.SKIP))
    with shop.db.tx():
        house.pause(shop.db, "all", "x", clock.now_ms())
    assert by_hand(shop, [], Person()).sent == 0
