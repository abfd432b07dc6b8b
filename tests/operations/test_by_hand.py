"""By hand: shown is exposed, Enter is delivered, unsure is unclear; every answer is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.domain.states import RefundState
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


def paid(shop: Shop, *numbers: str) -> None:
    """Let orders be pulled one after the other, so that they stand in this order."""
    for number in numbers:
        pull(shop, order(number, at_ms=AT))


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


def test_back_after_a_skip_only_shows_it_again(shop: Shop) -> None:
    paid(shop, "A1", "A2")
    person = Person(Answer.SKIP, Answer.BACK, Answer.SENT, Answer.SENT)
    result = by_hand(shop, [], person)
    assert (result.sent, result.skipped, result.left) == (2, 0, 0)
    assert [task.number for task in person.tasks] == ["A1", "A2", "A1", "A2"]
    assert [task.can_go_back for task in person.tasks] == [False, True, False, True]
    assert (states(shop), broken(shop)) == ({"delivered": 2, "free": 3}, [])


def test_sent_that_is_taken_back_needs_you_and_never_frees_its_key(shop: Shop) -> None:
    paid(shop, "A1", "A2")
    person = Person(Answer.SENT, Answer.BACK, Answer.SKIP, Answer.STOP)
    result = by_hand(shop, [], person)
    assert (result.sent, result.skipped, result.left) == (0, 1, 2)
    assert person.tasks[2].again and person.tasks[2].number == "A1"
    found = line(shop, "A1")
    assert (found["state"], "took 「sent」 back" in found["reason"]) == ("human", True)
    assert states(shop) == {"delivered": 1, "exposed": 1, "free": 3}
    assert broken(shop) == []


def test_sent_again_after_back_books_the_cost_once(shop: Shop) -> None:
    paid(shop, "A1", "A2")
    person = Person(Answer.SENT, Answer.BACK, Answer.SENT, Answer.SENT)
    assert by_hand(shop, [], person).sent == 2
    entries = shop.db.value("SELECT count(*) FROM ledger_entries WHERE event = 'delivered'")
    assert (entries, line(shop, "A1")["state"], broken(shop)) == (2, "delivered", [])
    assert len(set(person.keys())) == 2


def test_a_refund_between_sent_and_back_is_not_undone(shop: Shop) -> None:
    paid(shop, "A1", "A2")

    def answers() -> Iterator[Answer]:
        yield Answer.SENT
        refunded = order("A1", at_ms=AT, refund=RefundState.FULL, revision_ms=AT + 9_000)
        pull(shop, refunded)
        yield Answer.BACK
        yield Answer.SENT

    said = answers()
    tasks: list[str] = []

    def person(task: Task) -> Answer:
        tasks.append(task.number)
        return next(said)

    assert by_hand(shop, [], person).sent == 1
    assert tasks == ["A1", "A2", "A2"]
    assert (line(shop, "A1")["state"], broken(shop)) == ("refund_case", [])


def test_a_task_tells_money_age_and_items(shop: Shop) -> None:
    pull(shop, order("A1", at_ms=AT))
    person = Person(Answer.SENT)
    by_hand(shop, [], person)
    task = person.tasks[0]
    assert (task.amount_minor, task.currency, task.since_ms) == (1000, "CNY", AT)
    assert task.items == ("1 × item i1",)
    assert task.now_ms > task.since_ms


def test_what_is_left_says_why(shop: Shop, clock: ManualClock) -> None:
    paid(shop, "A1", "A2", "A3")
    result = by_hand(shop, [], Person(Answer.UNSURE, Answer.STOP))
    assert [(one.number, str(one.why)) for one in result.waits] == [
        ("A1", "you were not sure: look at the chat"),
        ("A2", "you stopped here"),
        ("A3", "it was not shown in this round"),
    ]
    with shop.db.tx():
        house.pause(shop.db, "channel:shop1", "x", clock.now_ms())
    result = by_hand(shop, ["A3"], Person())
    assert [(str(one.why), one.command) for one in result.waits] == [
        ("shop1 is paused", "kmtool resume shop1")
    ]
