"""Seldom acts can be played, the program comes through them, and what they look for can be seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from kmtool.domain.pictures import refusal as picture_refusal
from kmtool.operations import chain, house
from kmtool.operations import pictured as pictured_operation
from kmtool.sim import acts_orders, acts_stock, buyers, drawn, pictures, supply, topups
from kmtool.sim import acts_pools as pools
from kmtool.sim import acts_seldom as seldom
from kmtool.sim.acts import LISTS, PICTURES, RARE, SELDOM, TOPUPS
from kmtool.sim.acts_kit import DIED, REFUSED
from kmtool.sim.edges import Violation
from kmtool.sim.ground import Ground, prepared
from kmtool.sim.stage import Act, Stage
from kmtool.sim.world import Placed


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with prepared(tmp_path_factory.mktemp("sim")) as found:
        yield found


@pytest.fixture
def stage(ground: Ground) -> Iterator[Stage]:
    """A quiet shop with some orders, most of them delivered."""
    made = Stage(7, ground)
    made.edges.calm = True
    supply.open_the_shop(made)
    for n in range(1, 4):
        made.begin_step(n)
        buyers.order(made)
        made.clock.advance(5_000)
        made.rounds()
    yield made
    made.close()


@pytest.mark.parametrize(
    "act", (*SELDOM, *RARE, *LISTS, *TOPUPS, *PICTURES), ids=lambda act: act.name
)
def test_every_seldom_act_can_be_played_on_a_quiet_shop(stage: Stage, act: Act) -> None:
    stage.begin_step(11)
    act.run(stage)
    stage.clock.advance(5_000)
    stage.rounds()
    assert stage.violations == []


def test_a_list_of_yesterday_brings_nothing_back(stage: Stage) -> None:
    pools.lend(stage)
    before_ms = stage.clock.true_ms()
    pools.old_list(stage)
    assert stage.clock.true_ms() - before_ms >= pools.OLD_MS, "it was played"
    with stage.open("look") as shop:
        assert shop.db.value("SELECT count(*) FROM lent_keys WHERE state = 'returned'") == 0


def test_what_a_list_does_not_name_stays_lent(stage: Stage) -> None:
    for _ in range(4):
        pools.lend(stage)
    pools.part_of_a_list(stage)
    pool = stage.world.owner.pools[pools.NAME]
    with stage.open("look") as shop:
        lent = shop.db.value("SELECT count(*) FROM lent_keys WHERE state = 'lent'")
    assert lent >= len(pool.lying) > 0


def test_a_key_that_came_back_used_is_not_for_sale(stage: Stage) -> None:
    pools.came_back_used(stage)
    assert len(stage.world.owner.pools[pools.NAME].given) == 1
    with stage.open("look") as shop:
        assert shop.db.value("SELECT count(*) FROM keys WHERE state = 'quarantine'") == 1


@pytest.mark.parametrize(("end", "left"), [(REFUSED, 2), (DIED, 0)])
def test_keys_stay_in_a_pool_only_when_their_owner_knows_that_they_are_lent(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, end: str, left: int
) -> None:
    """Seed 1002695: a command that died may have made them free, one that was refused did not."""
    monkeypatch.setattr(stage.random, "choice", lambda some: some[0])
    pools.lend(stage)
    monkeypatch.setattr(pools, "_read", lambda *_args, **_more: end)
    pools.came_back_used(stage)
    pool = stage.world.owner.pools[pools.NAME]
    assert (len(pool.lying), len(pool.given)) == (left, 0)


def test_what_leaves_as_it_was_before_its_change_is_seen(stage: Stage) -> None:
    """The check can fail: the truth is told that the shop knew of a change to nothing."""
    buyers.order(stage)
    for placed in list(stage.world.orders.values())[-8:]:
        if not placed.letters and any(placed.wanted().values()):
            placed.told_changed = 1
            placed.quantity = {line.line_no: 0 for line in placed.fact.lines}
    stage.clock.advance(5_000)
    with pytest.raises(Violation, match="was changed to"):
        stage.rounds(4)


def test_what_a_sender_begins_that_was_taken_over_is_seen(stage: Stage) -> None:
    (daemon,) = stage.senders()
    daemon.taken_over = 1
    buyers.order(stage)
    stage.clock.advance(5_000)
    with pytest.raises(Violation, match="taken over"):
        stage.rounds(4)


def test_of_a_crowd_no_more_leaves_than_the_brake_lets_go(stage: Stage) -> None:
    seldom.crowd(stage)
    for _ in range(6):
        stage.clock.advance(20_000)
        stage.rounds()
    (burst,) = stage.world.owner.bursts
    assert 100 <= burst.pieces <= seldom.SKU_PIECES


def some_top_ups(stage: Stage) -> None:
    for n in range(20, 23):
        stage.begin_step(n)
        topups.order(stage)
        for _ in range(3):
            stage.clock.advance(120_000)
            stage.rounds()


def test_every_paid_account_is_charged_once_and_the_bill_is_booked(stage: Stage) -> None:
    some_top_ups(stage)
    charged = [one.account for mine in stage.world.bought.values() for one in mine]
    ordered = [one.fact.lines[0].account for one in stage.world.orders.values()]
    assert sorted(charged) == sorted(one for one in ordered if one) and charged
    with stage.open("look") as shop:
        topups.ask(stage, shop)


def test_a_bill_that_is_not_booked_is_seen(stage: Stage) -> None:
    some_top_ups(stage)
    mine = next(iter(stage.world.bought.values()))
    mine.append(replace(mine[-1], our_no="another"))
    with stage.open("look") as shop, pytest.raises(Violation, match="booked"):
        topups.ask(stage, shop)


def test_a_paid_account_that_nobody_charged_is_seen(stage: Stage) -> None:
    some_top_ups(stage)
    next(iter(stage.world.bought.values())).pop()
    with stage.open("look") as shop, pytest.raises(Violation, match="every paid top-up"):
        topups.ask(stage, shop)


def test_no_more_is_spent_in_a_day_than_its_limit_until_it_is_lifted(stage: Stage) -> None:
    stage.begin_step(30)
    topups.rush(stage)
    for _ in range(4):
        stage.clock.advance(120_000)
        stage.rounds()
    (mine,) = stage.world.bought.values()
    spent = sum(one.charged_minor for one in mine)
    assert topups.DAY_MINOR - 2 * topups.CAP_MINOR <= spent <= topups.DAY_MINOR
    topups.lift(stage)
    for _ in range(8):
        stage.clock.advance(900_000)
        stage.rounds()
    assert len(mine) == topups.DAY_MINOR // topups.CAP_MINOR + 4


def some_pictures(stage: Stage) -> None:
    for n in range(20, 24):
        stage.begin_step(n)
        pictures.order(stage)
        stage.clock.advance(5_000)
        stage.rounds()
    stage.clock.advance(60_000)
    stage.rounds(2)


def pictured(stage: Stage) -> list[Placed]:
    """Return the orders that got a picture, oldest first."""
    every = stage.world.orders.values()
    return [one for one in every if any(drawn.is_drawn(key) for key in one.got())]


def test_pictures_go_to_their_buyers_and_not_where_nobody_carries_them(stage: Stage) -> None:
    some_pictures(stage)
    assert len(pictured(stage)) >= 3
    assert not any(one.channel == pictures.BARE for one in pictured(stage))
    pictures.order(stage)
    pictures.lift(stage, pictures.LIFTED)
    assert pictures.BY_HAND in stage.config.channels[pictures.BARE].couriers


def test_a_picture_that_two_buyers_get_is_seen(stage: Stage) -> None:
    some_pictures(stage)
    with stage.open("hand") as shop:
        shop.db.run(
            "UPDATE keys SET state = 'free', uses_left = 1 WHERE sku = 'Q1' AND state = 'delivered'"
        )
        shop.db.run("UPDATE allocations SET state = 'withdrawn' WHERE sku = 'Q1'")
        shop.db.run("UPDATE keys SET state = 'void' WHERE sku = 'Q1' AND state = 'free' AND id NOT"
                    " IN (SELECT key_id FROM allocations)")  # fmt: skip
        shop.db.run("UPDATE stock SET free = 99 WHERE sku = 'Q1'")
    with pytest.raises(Violation, match="no key goes to two buyers: P-Q1-"):
        some_pictures(stage)


def test_a_picture_that_is_not_on_record_is_seen(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    some_pictures(stage)
    placed = next(
        one
        for one in pictured(stage)
        if one.channel != "elm" and all(drawn.is_drawn(key) for key in one.got())
    )
    stage.sent.clear()
    monkeypatch.setattr(stage, "journalled", lambda *_: None)
    acts_orders.send_again(stage, placed)
    with pytest.raises(Violation, match="on record before it leaves: P-"):
        stage.rounds(2)


def test_a_message_without_its_picture_is_seen(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictured_operation, "attachments", lambda _opened: ())
    with pytest.raises(Violation, match="every picture that a message names"):
        some_pictures(stage)


def test_a_picture_by_a_courier_that_carries_none_is_seen(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "turned_down", lambda *_: None)
    with pytest.raises(Violation, match="only by who carries pictures"):
        for _ in range(4):
            some_pictures(stage)


def test_an_order_that_does_not_say_why_its_pictures_wait_is_seen(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    some_pictures(stage)
    monkeypatch.setattr(pictures, "WHY", "another reason")
    for _ in range(3):
        some_pictures(stage)
    assert any(pictures._lacks_pictures(one) for one in stage.world.by_channel[pictures.BARE])
    with pytest.raises(Violation, match="says so"):
        pictures.lift(stage, pictures.LIFTED)


def test_a_drawn_key_is_read_back_only_as_it_was_drawn() -> None:
    data = drawn.picture("P-Q1-000001")
    assert drawn.key_of(data) == "P-Q1-000001" and picture_refusal("a.png", data) == ""
    assert drawn.key_of(data[:-1]) == drawn.key_of(b"") == ""
    assert drawn.key_of(data.replace(b"000001", b"000002")) == "", "its dots are another's"


def test_a_pause_that_a_command_ended_before_it_died_is_over(stage: Stage) -> None:
    """Seed 6002735: given again, it had nothing to do; a copy from between is not paused."""
    owner = stage.world.owner
    stage.command("pause", lambda shop: house.pause(shop, "dune", "look"))
    owner.paused["channel:dune"] = stage.tick()
    stage.command("resume", lambda shop: house.resume(shop, "dune"))
    between = stage.tick()
    acts_stock.go_on(stage, "channel:dune")
    owner.back_to(between)
    assert owner.paused == {}
