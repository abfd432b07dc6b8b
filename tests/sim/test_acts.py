"""Every act of the simulated owner can be played; what he decided is set back with the shop."""

from __future__ import annotations

from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path

import pytest

from kmtool.operations import order_changes
from kmtool.operations.deliver import deliver
from kmtool.operations.sync import sync
from kmtool.ports import Buyer
from kmtool.sim import acts_machines as machines
from kmtool.sim import acts_orders as orders
from kmtool.sim import acts_stock as stock
from kmtool.sim import buyers, supply
from kmtool.sim.acts import ACTS
from kmtool.sim.acts_kit import DONE
from kmtool.sim.edges import Crash, Violation
from kmtool.sim.ground import Ground, prepared
from kmtool.sim.machine import SimJournal
from kmtool.sim.stage import Act, Stage


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


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.name)
def test_every_act_can_be_played_on_a_quiet_shop(stage: Stage, act: Act) -> None:
    stage.begin_step(11)
    act.run(stage)
    stage.clock.advance(5_000)
    stage.rounds()
    assert stage.violations == []


def test_a_decision_is_taken_back_when_the_shop_is_set_back(stage: Stage) -> None:
    machines.keep_backup(stage)
    (point,) = stage.world.owner.points
    placed = next(one for one in stage.world.orders.values() if one.letters)
    bad = placed.got()[0]
    orders.give_another(stage, placed, bad)
    assert bad in placed.excused
    stage.stop_daemon()
    machines.restore_backup(stage, point)
    assert bad not in placed.excused
    assert stage.count["restores"] == 1


def test_what_was_let_go_and_journalled_stays_let_go_when_the_shop_is_set_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed 1002480: the process died before it forced the record; the message may have left."""
    machines.keep_backup(stage)
    (point,) = stage.world.owner.points
    stage.begin_step(4)
    site = stage.world.sites["birch"]
    one, other = (stage.world.place("birch", [(site.wares[0], 1)], Buyer()) for _ in range(2))
    stage.clock.advance(5_000)
    stage.end_daemon()
    stage.command("sync", sync)
    assert {orders.let_go(stage, placed) for placed in (one, other)} == {DONE}
    stage.command(
        "hold", lambda shop: order_changes.hold(shop, f"birch:{other.fact.number}", "odd")
    )

    def dies(journal: SimJournal, _file: RawIOBase) -> None:
        journal._process.die()
        raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(SimJournal, "_force", dies)
        stage.command("deliver", deliver)
    assert not one.letters and not any(one.name in names for names in stage.sent.values())
    machines.restore_backup(stage, point)
    released = stage.world.owner.released
    assert one.name in released and other.name not in released
    stage.rounds(3)
    assert one.letters and stage.violations == []


def test_a_key_taken_out_of_sale_that_leaves_is_seen(stage: Stage) -> None:
    """The check at the door can fail: the truth is told that all keys are gone."""
    for file in stage.world.owner.files:
        stage.world.owner.gone.update(dict.fromkeys(file.keys, 1))
    buyers.order(stage)
    stage.clock.advance(5_000)
    with pytest.raises(Violation, match="out of sale"):
        stage.rounds(4)


def test_what_is_sent_while_paused_is_seen(stage: Stage) -> None:
    stage.world.owner.paused["all"] = stage.tick()
    buyers.order(stage)
    stage.clock.advance(5_000)
    with pytest.raises(Violation, match="paused"):
        stage.rounds(4)


def test_the_same_file_brings_nothing_twice(stage: Stage) -> None:
    (file, *_rest) = stage.world.owner.files
    stock.take_in(stage, file)
    with stage.open("look") as shop:
        assert shop.db.value("SELECT count(*) FROM keys WHERE sku = :s", s=file.sku) == len(
            [key for one in stage.world.owner.files if one.sku == file.sku for key in one.keys]
        )
    assert Path(stage.config.path).exists()
