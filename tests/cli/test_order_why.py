"""`kmtool order why` in every state: the gates before a key is bound, the last try after it."""

from __future__ import annotations

from typing import Any

import pytest

from kmtool.clock import ManualClock
from tests.cli import test_settles as settles
from tests.cli.test_settles import Owner
from tests.fakes import world

owner = settles.owner


def why(o: Owner, number: str = "A1") -> dict[str, Any]:
    (line,) = o.cli("order", "why", number, "--json").json()["lines"]
    return dict(line)


def screen(o: Owner) -> list[str]:
    return list(o.cli("order", "why", "A1").lines())


def test_the_gates_are_shown_in_order_up_to_the_shut_one(owner: Owner) -> None:
    settles.below_cost(owner)
    owner.run("deliver")
    shown = screen(owner)
    shut = next(n for n, line in enumerate(shown) if line.startswith("  × price: "))
    assert all(line.startswith("  √ ") for line in shown[1:shut])
    assert shown[1:4] == ["  √ paid", "  √ not closed", "  √ no refund"]
    assert "  → kmtool order release A1" in shown
    "".join(shown).encode("gbk")


def test_bound_keys_say_what_comes_next(owner: Owner) -> None:
    settles.by_hand(owner)
    owner.bought()
    owner.run("deliver")
    found = why(owner)
    assert (found["state"], found["command"]) == ("reserved", "kmtool deliver --by-hand A1")
    assert "  last: handing over (by hand), try 0: not tried yet" in screen(owner)
    assert (found["last"]["tries"], found["last"]["seen"]) == (0, None)
    owner.run("deliver", "--by-hand", typed="s\n", tty=True)
    found = why(owner)
    assert found["last"]["seen"] is not None and found["last"]["keys"] == ["…0000"]
    owner.run("pause", "shop1")
    owner.run("deliver", "--by-hand", tty=True)
    assert why(owner)["command"] == "kmtool resume shop1"


def test_a_route_that_is_down_says_when_it_is_tried_again(owner: Owner, clock: ManualClock) -> None:
    world("shop1").faults = ["down"]
    owner.bought()
    owner.run("deliver")
    found = why(owner)
    assert found["command"] == "kmtool order redeliver A1"
    assert "tried 1 times by tests.fakes (" in found["answer"]
    assert found["last"]["next"] > found["last"]["at"]
    assert any(line.startswith("  again at ") for line in screen(owner))


def test_an_unclear_outcome_says_who_is_asked(owner: Owner) -> None:
    settles.unclear(owner)
    found = why(owner)
    assert (found["state"], found["command"]) == ("unknown", "kmtool deliver")
    assert "tests.fakes is asked at" in found["answer"]
    assert (found["last"]["outcome"], found["last"]["tries"]) == ("unknown", 1)
    assert any("the send journal has them" in line for line in screen(owner))


@pytest.mark.parametrize(
    ("make", "state", "command"),
    [
        (settles.refused_by_the_route, "human", "kmtool order redeliver A1"),
        (settles.changed_after_delivery, "human", "kmtool order release A1"),
        (settles.perhaps_pasted, "unknown", "kmtool deliver --by-hand A1"),
        (settles.taken_back, "human", "kmtool deliver --by-hand A1"),
        (settles.refund_after, "refund_case", "kmtool order refund A1"),
        (settles.not_marked, "delivered", "kmtool order redeliver A1"),
        (settles.short_for_a_replacement, "human", "kmtool import FILE --sku S1"),
    ],
)
def test_every_state_beyond_the_gates_has_its_command(
    owner: Owner, make: Any, state: str, command: str
) -> None:
    make(owner)
    owner.run("deliver")
    found = why(owner)
    assert (found["state"], found["command"]) == (state, command)
    assert found["answer"] and found["last"]["tries"] >= 1


def test_what_is_done_wants_nothing(owner: Owner) -> None:
    owner.bought()
    owner.deliver()
    found = why(owner)
    assert (found["state"], found["command"]) == ("delivered", "")
    assert "the channel shows it as shipped since" in found["answer"]
    owner.bought("A2", amount=1)
    owner.run("order", "close", "A2", "--yes")
    closed = why(owner, "A2")
    assert (closed["state"], closed["command"], closed["last"]) == ("closed", "", None)
    assert "delivered otherwise" in closed["answer"]


def test_what_was_perhaps_pasted_waits_for_the_owner_on_the_morning_screen(owner: Owner) -> None:
    settles.perhaps_pasted(owner)
    assert owner.cli("status", "--json").json()["day"]["waiting"] == 1


def test_a_second_sending_that_fails_is_not_told_as_sent(owner: Owner) -> None:
    owner.bought()
    owner.deliver()
    world("shop1").faults = ["down"] * 9
    told = owner.run("order", "redeliver", "A1")
    assert told.code == 3
    assert "the same keys go again" in told.out
    assert "→ how it went: kmtool order why A1" in told.err
    found = why(owner)
    assert (found["state"], found["command"]) == ("delivered", "kmtool deliver A1")
    assert "the buyer has its keys; the same go again at" in found["answer"]


def test_an_order_without_a_top_up_has_no_account(owner: Owner) -> None:
    owner.bought()
    told = owner.cli("order", "account", "A1", "13800138000")
    assert (told.code, "no line of order A1 is a top-up" in told.err) == (6, True)


def test_the_morning_screen_keeps_to_80_columns_with_a_long_command(owner: Owner) -> None:
    from kmtool.cli.blocks import width

    owner.bought("A2", item="网盘月卡 30天 自动发货")
    owner.run("deliver")
    shown = owner.run("status").lines()
    assert any('kmtool product map shop1 "网盘月卡 30天 自动发货" SKU' in line for line in shown)
    assert max(width(line) for line in shown) <= 80


def test_resume_names_what_is_still_paused(owner: Owner) -> None:
    owner.run("pause", "S1")
    told = owner.run("resume")
    assert told.lines()[0] == "The shop as a whole was not paused; this still is:"
    assert "→ go on: kmtool resume S1" in told.err
