"""What gets lost: journals that are cut, disks that are gone; and the drill for it."""

from __future__ import annotations

from pathlib import Path

from kmtool.operations import restore
from kmtool.sim import acts_machines as machines
from kmtool.sim.acts_kit import DONE
from kmtool.sim.acts_machines import TRIES, Opener
from kmtool.sim.acts_truth import Point
from kmtool.sim.stage import Stage


def hurt_journal(stage: Stage) -> None:
    """The send journal is deleted, cut, or its last line torn, while the database lives."""
    if stage.depth or stage.daemon() is None:  # a shop that is set back may know less than it
        return
    stage.stop_daemon()
    with stage.open("look") as shop:
        path = shop.journal.path
    if not path.exists():
        return
    size, how = path.stat().st_size, stage.random.choice(("deleted", "cut", "torn"))
    stage.note(f"the journal is {how}")
    if how == "deleted":
        path.unlink()
    elif how == "cut":
        _truncate(path, stage.random.randrange(size + 1))
    else:
        _truncate(path, max(0, size - stage.random.randrange(1, 40)))
    stage.disk.known(path)
    stage.count["journals"] += 1
    stage.world.owner.hurt = stage.count["restarts"]
    if stage.random.random() < 0.5:
        stage.rounds()


def _truncate(path: Path, size: int) -> None:
    with path.open("rb+") as file:
        file.truncate(size)


def lose_database(stage: Stage) -> None:
    """The disk of the shop is gone, sometimes the journal too; a backup is restored."""
    if stage.depth:
        return
    point = machines.chosen(stage, "restore")
    if point is None:
        machines.keep_backup(stage)
        return
    stage.stop_daemon()
    live = stage.config.database
    assert isinstance(live, Path)
    with stage.open("look") as shop:
        journal = shop.journal.path
    for end in ("", "-wal", "-shm"):
        live.with_name(live.name + end).unlink(missing_ok=True)
    stage.note("the database is lost")
    stage.count["losses"] += 1
    machines.set_back(stage, point)  # whoever sends while it is brought back knows no more either
    hurt = stage.world.owner.hurt == stage.count["restarts"]  # and nobody made it whole since
    without = stage.random.random() < 0.4
    if without:
        _lose_journal(stage, journal)
    for _ in range(TRIES):
        end = machines.run(
            stage, f"db restore {point.path.name}",
            lambda it: restore.restore(
                stage.config, stage.clock, point.path, machines.noticing(stage, point, it)),
        )  # fmt: skip
        if end == DONE:
            stage.count["restores"] += 1
            break
    if without or hurt:
        stage.world.owner.sold.update(stage.world.holders, stage.world.owner.lent())
        _forget_orders(stage, point)
    machines.forgot(stage, point)
    machines.come_home(stage)


def _lose_journal(stage: Stage, path: Path) -> None:
    """Journal and home file are gone with the machine."""
    for gone in sorted(path.parent.glob(f"{path.stem}*")):
        if gone.suffix in {".log", ".home"}:
            gone.unlink()
    stage.note("the journal is lost as well")
    stage.count["journals"] += 1


def _forget_orders(stage: Stage, point: Point) -> None:
    """What was sent since the backup, or is on its way, nobody here knows any more: those buyers
    may get keys anew."""
    begun = {key[:2] for key, seq in stage.begun.items() if seq > point.seq}
    for placed in stage.world.orders.values():
        last = placed.letters[-1].seq if placed.letters else point.seq + 1
        if last > point.seq or placed.name in begun:
            stage.world.owner.forgetful.add(placed.name)
            sold = stage.world.owner.counter.get(placed.name, 0) > point.seq
            if placed.letters or sold:  # a sale that nobody knows of is never read again
                placed.ended = placed.ended or "forgotten with the journal"


def drill(stage: Stage) -> None:
    """The newest backup is restored on trial."""
    if stage.depth:
        return

    def work(open_it: Opener) -> bool:
        with open_it(stage.config) as shop:
            return restore.drill(shop, open_it).ok

    machines.run(stage, "db drill", work)
