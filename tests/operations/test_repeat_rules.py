"""What becomes of an unclear try: every repeat rule, against every answer, before and after grace.

Rules: idempotent, queryable, repeat_safe N, none. Answers: done, not done, unclear, nobody answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.operations.deliver import deliver
from kmtool.operations.resolve import UNCLEAR_GRACES
from kmtool.ports import Message, Repeat, Verdict
from kmtool.shop import Shop
from tests.fakes import order
from tests.operations.delivery_kit import broken, line, pull
from tests.operations.route_kit import ADAPTER, ROUTES, Route, chained, route
from tests.operations.stock import shelf

GRACE = 60_000
BEFORE, AFTER, LONG_AFTER = 10_000, GRACE + 15_000, GRACE * (UNCLEAR_GRACES + 2)
AWAY = "away"


@pytest.fixture
def shop(make_config: Any, clock: ManualClock) -> Iterator[Shop]:
    ROUTES.clear()
    config = make_config(chained("one", deliver="tries_max = 4"), courier="one")
    create_shop(config, clock)
    with open_shop(config, clock=clock) as opened:
        shelf(opened)
        yield opened


def unclear(shop: Shop, rule: Repeat, *, repeat_max: int = 1, fault: str = "lost") -> Route:
    """Send once, with an answer that is lost; return the world behind the route."""
    world = route("one")
    world.declare(repeat=rule, repeat_max=repeat_max, grace_ms=GRACE)
    world.faults = [fault]
    pull(shop, order("A1"))
    assert deliver(shop).unknown == 1
    assert line(shop)["state"] == "unknown"
    return world


def later(shop: Shop, ms: int) -> str:
    """Return the state of the line after some time and another run."""
    assert isinstance(shop.clock, ManualClock)
    shop.clock.advance(ms)
    deliver(shop)
    assert broken(shop) == []
    return str(line(shop)["state"])


def answers(world: Route, verdict: Verdict | str | None) -> None:
    world.away = verdict == AWAY
    world.verdict = verdict if isinstance(verdict, Verdict) else None


@pytest.mark.parametrize(
    ("verdict", "wait", "state", "sent"),
    [
        (Verdict.DONE, BEFORE, "delivered", 1),
        (Verdict.DONE, AFTER, "delivered", 1),
        (Verdict.DONE, LONG_AFTER, "delivered", 1),
        (Verdict.NOT_DONE, BEFORE, "unknown", 1),
        (Verdict.NOT_DONE, AFTER, "delivered", 2),
        (Verdict.NOT_DONE, LONG_AFTER, "delivered", 2),
        (Verdict.UNCLEAR, BEFORE, "unknown", 1),
        (Verdict.UNCLEAR, AFTER, "unknown", 1),
        (Verdict.UNCLEAR, LONG_AFTER, "human", 1),
        (AWAY, BEFORE, "unknown", 1),
        (AWAY, AFTER, "unknown", 1),
        (AWAY, LONG_AFTER, "unknown", 1),
    ],
)
def test_a_route_that_can_be_asked_is_asked(
    shop: Shop, verdict: Verdict | str, wait: int, state: str, sent: int
) -> None:
    world = unclear(shop, Repeat.QUERYABLE)
    answers(world, verdict)
    assert later(shop, wait) == state
    assert len(world.sent) == sent
    assert world.asked >= 1
    assert len(set(world.texts())) == 1, "whatever is repeated is the same text"


@pytest.mark.parametrize("verdict", [Verdict.DONE, Verdict.NOT_DONE, Verdict.UNCLEAR, AWAY])
@pytest.mark.parametrize("wait", [BEFORE, AFTER, LONG_AFTER])
@pytest.mark.parametrize(
    ("rule", "repeat_max", "state", "sent"),
    [
        (Repeat.IDEMPOTENT, 1, "delivered", 2),
        (Repeat.REPEAT_SAFE, 3, "delivered", 2),
        (Repeat.REPEAT_SAFE, 1, "human", 1),
        (Repeat.NONE, 5, "human", 1),
    ],
)
def test_a_route_that_cannot_be_asked_never_is(
    shop: Shop,
    rule: Repeat,
    repeat_max: int,
    state: str,
    sent: int,
    wait: int,
    verdict: Verdict | str,
) -> None:
    world = unclear(shop, rule, repeat_max=repeat_max)
    answers(world, verdict)
    assert later(shop, wait) == state
    assert len(world.sent) == sent
    assert world.asked == 0
    assert len({message.effect_id for message in world.sent}) == 1


@pytest.mark.parametrize(
    ("rule", "repeat_max", "sent"),
    [(Repeat.IDEMPOTENT, 1, 4), (Repeat.REPEAT_SAFE, 3, 3), (Repeat.REPEAT_SAFE, 2, 2)],
)
def test_what_stays_unclear_is_repeated_so_often_and_then_a_persons(
    shop: Shop, rule: Repeat, repeat_max: int, sent: int
) -> None:
    world = unclear(shop, rule, repeat_max=repeat_max)
    world.faults = ["lost"] * 9
    for _ in range(9):
        later(shop, AFTER)
    assert line(shop)["state"] == "human"
    assert len(world.sent) == sent
    assert len(set(world.texts())) == 1


def test_what_never_arrives_is_a_persons_after_so_many_tries(shop: Shop) -> None:
    world = unclear(shop, Repeat.QUERYABLE, fault="unknown")
    world.faults = ["unknown"] * 9
    for _ in range(12):
        later(shop, AFTER)
    assert line(shop)["state"] == "human"
    assert world.sent == []
    assert "never arrives" in line(shop)["reason"]


def test_an_answer_that_changes_is_believed_when_it_says_done(shop: Shop) -> None:
    world = unclear(shop, Repeat.QUERYABLE)
    answers(world, Verdict.NOT_DONE)
    assert later(shop, BEFORE) == "unknown"
    answers(world, AWAY)
    assert later(shop, AFTER) == "unknown"
    answers(world, Verdict.DONE)
    assert later(shop, 15_000) == "delivered"
    assert len(world.sent) == 1


def test_an_answer_is_of_the_moment_it_was_asked_for(shop: Shop) -> None:
    """Seed 1000287: asked before the grace period was over, answered after it; the message
    arrived in between, and went out once more."""
    begun: list[Message] = []
    route("one").during_send = begun.append
    world = unclear(shop, Repeat.QUERYABLE, fault="unknown")

    def slow() -> None:
        assert isinstance(shop.clock, ManualClock)
        world.during_query = None
        shop.clock.advance(GRACE)
        world.sent.append(begun[0])

    world.during_query = slow
    assert later(shop, BEFORE) == "unknown"
    assert later(shop, AFTER) == "delivered"
    assert len(world.sent) == 1 and world.asked == 2


@pytest.mark.parametrize("rule", list(Repeat))
def test_a_certain_refusal_is_no_unclear_outcome(shop: Shop, rule: Repeat) -> None:
    world = route("one")
    world.declare(repeat=rule, grace_ms=GRACE)
    world.faults = ["rejected"]
    pull(shop, order("A1"))
    assert deliver(shop).needs_you == 1
    assert later(shop, LONG_AFTER) == "human"
    assert (world.sent, world.asked) == ([], 0)


def test_every_rule_has_its_row() -> None:
    assert set(Repeat) == {
        Repeat.IDEMPOTENT,
        Repeat.QUERYABLE,
        Repeat.REPEAT_SAFE,
        Repeat.NONE,
    }
    assert Route.__module__ == ADAPTER
