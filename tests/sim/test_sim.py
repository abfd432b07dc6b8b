"""The simulator: it repeats exactly, it sees what is broken, it makes a failure small."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from kmtool.errors import Broken
from kmtool.journal import Journal
from kmtool.sim import buyers, runner, verdict
from kmtool.sim.driver import Life, play
from kmtool.sim.edges import Edges
from kmtool.sim.ground import Ground, prepared
from kmtool.sim.machine import Disk
from kmtool.sim.shrink import shrink
from kmtool.sim.stage import Stage, current
from kmtool.store import deliveries

PROGRAM = """
from pathlib import Path
from typing import Any
from kmtool.sim.driver import play
from kmtool.sim.ground import prepared
with prepared(Path({folder!r})) as ground:
    life = play(7, ground, steps=range(1, 16))
    print(life.digest, life.events, life.rule)
"""


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A ground of its own, with the user's data folder of nobody."""
    with prepared(Path(tmp_path_factory.mktemp("sim"))) as made:
        yield made


def test_a_seed_repeats_exactly_in_another_process(tmp_path: Path) -> None:
    told = []
    for n in ("1", "2"):
        folder = tmp_path / n
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(folder=str(folder))],
            env={**os.environ, "PYTHONHASHSEED": n},
            capture_output=True,
            check=True,
            text=True,
        )
        told.append(done.stdout)
    assert told[0] == told[1] and int(told[0].split()[1]) > 100


def test_a_life_has_all_kinds_of_events_and_breaks_nothing(ground: Ground) -> None:
    life = play(3, ground)
    assert life.rule == "", "\n".join((life.told, *life.trace))
    for name in ("outside", "acts", "calls", "commits", "journal", "crashes", "restarts", "orders"):
        assert life.counts[name] > 0, name
    assert life.events == sum(
        life.counts.get(name, 0)
        for name in (
            "outside",
            "acts",
            "calls",
            "commits",
            "journal",
            "crashes",
            "restarts",
            "jumps",
        )
    )


def _first_broken(ground: Ground, seeds: range) -> Life:
    for seed in seeds:
        life = play(seed, ground)
        if life.rule:
            return life
    raise AssertionError("the simulator saw nothing")


def test_a_journal_that_is_not_forced_is_seen_and_made_small(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Journal, "append", _only_remember)
    life = _first_broken(ground, range(1, 4))
    assert life.rule == verdict.ON_RECORD
    assert life.sort == "unrecorded"
    script = shrink(life, ground, lambda: True)
    assert len(script.steps) <= 3 and script.faults == ()
    assert script.life.trace[-1].endswith(life.told) or script.life.rule == life.rule


def test_what_one_life_leaves_behind_does_not_reach_the_next(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken one too; seed 5 lends keys by files beside the shop, with the same names again."""
    first = play(5, ground, steps=range(1, 11))
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", _only_remember)
        assert play(2, ground, steps=range(1, 11)).rule == verdict.ON_RECORD
    assert current == []
    assert play(5, ground, steps=range(1, 11)).digest == first.digest


def _only_remember(self: Journal, entries: object) -> None:
    """A journal that nobody writes."""


def test_a_key_that_is_free_again_after_it_was_seen_is_found_at_two_buyers(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = deliveries.take_free

    def again(db: object, sku: str, n: int, now_ms: int) -> list[object]:
        db.run(  # type: ignore[attr-defined]
            "UPDATE keys SET state = 'free' WHERE state = 'delivered' AND sku = :s", s=sku
        )
        return take(db, sku, n, now_ms)  # type: ignore[arg-type,return-value]

    monkeypatch.setattr(deliveries, "take_free", again)
    assert _first_broken(ground, range(1, 6)).rule


def test_an_order_that_is_never_shipped_is_lost(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kmtool.sim.stage.deliver_all", lambda _shop: None)
    life = play(3, ground, steps=range(1, 6))
    assert life.rule == verdict.DELIVERED and life.sort == "lost"


def test_a_traceback_is_a_violation(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(_shop: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr("kmtool.sim.stage.sync", bug)
    assert play(3, ground, steps=[1]).rule == "no command ends in a traceback"


def test_a_refusal_without_a_fault_is_a_violation(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(_shop: object) -> None:
        raise Broken(detail="x")

    monkeypatch.setattr("kmtool.sim.stage.deliver_all", breaks)
    assert play(3, ground, steps=[1], allowed=frozenset()).rule == "no round breaks by itself"


def test_a_power_cut_loses_only_what_was_not_forced(tmp_path: Path) -> None:
    disk, path = Disk(), tmp_path / "j.log"
    path.write_bytes(b"forced\n")
    disk.forced(path)
    with path.open("ab") as file:
        file.write(b"not forced\n")
    disk.lose(lambda size: 3 if size == 11 else 0)
    assert path.read_bytes() == b"forced\nnot"


def test_a_fault_that_is_not_allowed_changes_no_other_draw() -> None:
    def drawn(allowed: frozenset[tuple[int, int]] | None) -> list[str]:
        edges = Edges(5, allowed)
        edges.begin_step(1)
        return [edges.draw("write") for _ in range(400)]

    free = drawn(None)
    at = next(n for n, what in enumerate(free) if what)
    some = drawn(frozenset({(1, at + 1)}))
    assert some[at] == free[at] and [one for one in some if one] == [free[at]]


def test_a_message_after_a_known_refund_is_seen(ground: Ground) -> None:
    stage = Stage(1, ground)
    stage.edges.calm = True
    stage.begin_step(1)
    buyers.order(stage)
    placed = next(iter(stage.world.orders.values()))
    stage.rounds()
    assert placed.letters == [] or placed.got()
    stage.close()


def test_the_runner_adds_up_and_names_the_command_that_repeats_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(seed: int, _ground: Ground, **_more: object) -> Life:
        rule = verdict.ONE_BUYER if seed == 41 else ""
        return Life(seed, (1, 2), 100, {"crashes": 3}, "d", rule, "key K", 2, ("a", "b"), ())

    monkeypatch.setattr(runner, "play", broken)
    monkeypatch.setattr("kmtool.sim.shrink.play", broken)
    found = runner.run(300, 40, cores=1)
    assert (found.lives, found.events, found.crashes, found.violations) == (3, 300, 9, 1)
    assert (found.duplicate, found.lost, found.unrecorded) == (1, 0, 0)
    assert found.failures[0].command == "kmtool selftest --seed 41"


def test_lives_are_played_side_by_side_and_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "memory", lambda: tmp_path)
    home = os.environ.get("KMTOOL_HOME")
    found = runner.run(2, 3, cores=2)
    assert found.violations == 0 and found.events > 100
    assert os.environ.get("KMTOOL_HOME") == home
    assert list(tmp_path.iterdir()) == []


class _Pool:
    """Processes, played by this one; each new pool is a fresh process."""

    made = 0

    def __init__(
        self, _cores: int, _context: object, _prepare: object, given: tuple[str, Any]
    ) -> None:
        _Pool.made += 1
        runner._over[:] = [given[1]]
        runner._grounds[:] = [None]  # type: ignore[list-item]

    def submit(self, work: Callable[[int], Life | None], seed: int) -> Future[Life | None]:
        done: Future[Life | None] = Future()
        done.set_result(work(seed))
        return done

    def shutdown(self, *, cancel_futures: bool) -> None:
        """Nobody waits."""


def test_a_process_that_saw_a_life_break_plays_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def one(seed: int, _ground: Ground, **_more: object) -> Life:
        return Life(seed, (1,), 100, {}, "d", verdict.ONE_BUYER if seed == 7 else "")

    for name in ("_grounds", "_over"):
        monkeypatch.setattr(runner, name, [])
    monkeypatch.setattr(runner, "play", one)
    monkeypatch.setattr(runner, "ProcessPoolExecutor", _Pool)
    lives = runner._beside(5, Path(), 2)
    assert [(life.seed, life.rule) for life in (next(lives) for _ in range(5))] == [
        (5, ""), (6, ""), (7, verdict.ONE_BUYER), (8, ""), (9, ""),
    ]  # fmt: skip
    assert _Pool.made == 2
    assert runner._play(5) is not None
    lives.close()
    assert runner._play(5) is None, "nobody asks any more"
