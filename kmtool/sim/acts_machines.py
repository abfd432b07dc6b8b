"""Backups and what they are for: restore, an old file put back, a copied folder, a move, a loss.

After each of them the shop knows less than the buyers do. What it may not do then is to sell again
what was sent since; so all that holds at the buyers' door goes on unchanged. The owner's decisions
since that point are gone with the database (`Owner.back_to`), his files are brought in again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from kmtool.app import open_shop
from kmtool.config import FILE_NAME, Config, load
from kmtool.domain.secret import Secret
from kmtool.errors import AwayFromHome, KmError, OlderThanJournal
from kmtool.operations import adopt, backup, copy, move, restore
from kmtool.operations.deliver import deliver
from kmtool.shop import Shop
from kmtool.sim import acts_proofs, acts_stock
from kmtool.sim.acts_kit import DIED, DONE, REFUSED, finish, perform
from kmtool.sim.acts_truth import Point
from kmtool.sim.edges import Crash, PowerCut
from kmtool.sim.machine import Process
from kmtool.sim.stage import Stage
from kmtool.store import copying

T = TypeVar("T")
Opener = Callable[[Config], AbstractContextManager[Shop]]

TRIES = 8
POINTS = 6
SENT_ANEW = 3
"""How often a message may come again whose tries the shop has forgotten."""
TRIED_ONLY = 0.3
"""How often a copy is only looked at."""
SILENT = "a copy of the shop sends nothing by itself"


def run(
    stage: Stage,
    name: str,
    work: Callable[[Opener], T],
    done: Callable[[T], object] | None = None,
) -> str:
    """Run a command that opens shops by itself; tell how it ended."""
    stage.count["acts"] += 1
    stage.note(name)
    process = Process(stage, name.partition(" ")[0])
    try:
        with stage.running(process):
            found = work(lambda config: open_shop(config, clock=stage.clock, means=process.means()))
    except PowerCut:
        if stage.depth:
            raise
        return DIED
    except Crash:
        return DIED
    except KmError as error:
        stage.refused(name, error)
        return REFUSED
    if done is not None:
        done(found)
    return DONE


# ---------------------------------------------------------------------- points to come back to


def keep_backup(stage: Stage) -> None:
    """The nightly backup, or one by hand."""
    seq = stage.tick()

    def done(found: backup.BackupResult, _seq: int) -> None:
        _keep(stage, Point("restore", Path(found.file), seq))

    perform(stage, "backup", backup.backup, done)


def keep_file(stage: Stage) -> None:
    """Somebody copies the database file away."""
    seq = stage.tick()
    target = stage.ground.root / "copies" / f"{seq}.db"

    def work(shop: Shop) -> None:
        copying.copy_sqlite(shop.db, target)

    perform(stage, "cp shop.db", work, lambda *_: _keep(stage, Point("put back", target, seq)))


def keep_folder(stage: Stage) -> None:
    """Somebody copies the whole folder (a synced drive does the same)."""
    seq = stage.tick()
    target = stage.ground.root / f"clone-{seq}"
    root, database = stage.config.root, _inside(stage.config)

    def work(shop: Shop) -> None:
        shutil.copytree(root, target, ignore=shutil.ignore_patterns("*.db*", "locks", "*.part"))
        copying.copy_sqlite(shop.db, target / database)

    perform(stage, "cp -r", work, lambda *_: _keep(stage, Point("clone", target, seq)))


def _keep(stage: Stage, point: Point) -> None:
    points = stage.world.owner.points
    points.append(point)
    while len(points) > POINTS:
        gone = points.pop(0)
        if gone.kind == "clone":
            shutil.rmtree(gone.path, ignore_errors=True)
        elif gone.kind == "put back":
            gone.path.unlink(missing_ok=True)


def _inside(config: Config) -> Path:
    assert isinstance(config.database, Path)
    return config.database.relative_to(config.root)


def chosen(stage: Stage, kind: str) -> Point | None:
    found = [one for one in stage.world.owner.points if one.kind == kind and one.path.exists()]
    return stage.random.choice(found) if found else None


# ---------------------------------------------------------------------- coming back


def come_back(stage: Stage) -> None:
    """The shop is set back to an earlier state, in one of the ways in which that happens."""
    if stage.depth:
        return
    points = [one for one in stage.world.owner.points if one.path.exists()]
    if not points:
        stage.random.choice((keep_backup, keep_file, keep_folder))(stage)
        return
    kind = stage.random.choice(sorted({one.kind for one in points}))
    point = chosen(stage, kind)
    assert point is not None
    if stage.daemon() is None:  # its start makes the journal whole: what a torn one may lose
        return  # is another matter
    if stage.random.random() < 0.85:
        stage.stop_daemon()
    {"restore": restore_backup, "put back": put_back, "clone": wake_clone}[kind](stage, point)


def restore_backup(stage: Stage, point: Point) -> None:
    """`db restore`, given again when it dies on the way."""
    if stage.random.random() < 0.2:
        run(stage, "db restore --dry-run", lambda it: restore.restore(
            stage.config, stage.clock, point.path, it, keep=False))  # fmt: skip
    for _ in range(TRIES):
        end = run(
            stage, f"db restore {point.path.name}",
            lambda it: restore.restore(
                stage.config, stage.clock, point.path, noticing(stage, point, it)),
        )  # fmt: skip
        if end == DIED:
            stage.stop_daemon()
            continue
        if end == DONE:
            stage.count["restores"] += 1
            come_home(stage)
            forgot(stage, point)
        return


def noticing(stage: Stage, point: Point, open_it: Opener) -> Opener:
    """The shop is opened before it is set back, and once more when that is done.

    What is decided from then on is decided in the database that was brought back.
    """
    opened = [0]

    def again(config: Config) -> AbstractContextManager[Shop]:
        opened[0] += config is stage.config
        if opened[0] > 1:
            set_back(stage, point)
        return open_it(config)

    return again


def put_back(stage: Stage, point: Point) -> None:
    """An old file is copied over the database; kmtool notices, the owner does what it says."""
    stage.stop_daemon()
    live = stage.config.database
    assert isinstance(live, Path)
    for end in ("-wal", "-shm"):
        live.with_name(live.name + end).unlink(missing_ok=True)
    shutil.copyfile(point.path, live)
    stage.note("an old file is put back")
    stage.count["restores"] += 1
    set_back(stage, point)
    come_home(stage)
    forgot(stage, point)


def wake_clone(stage: Stage, point: Point) -> None:
    """Somebody starts kmtool in a copy of the folder; sometimes the shop goes on from there.

    Else it goes on where it was. The place that is not the shop's home must be silent either way.
    """
    clone = _moded(stage, load(point.path / FILE_NAME))
    if run(stage, "deliver from a copy", lambda it: _deliver(it, clone)) == DONE:
        stage.fail(SILENT, str(point.path))
    if stage.random.random() < TRIED_ONLY:
        return
    stage.stop_daemon()
    old, stage.config = stage.config, clone
    set_back(stage, point)
    stage.world.owner.points.remove(point)
    if not come_home(stage):
        return  # it will be at home there later
    stage.count["clones"] += 1
    stage.world.owner.places.append(old)
    wake_old(stage)
    forgot(stage, point)


def wake_old(stage: Stage) -> None:
    """Somebody starts kmtool at a place that was given up."""
    if stage.depth or not stage.world.owner.places:
        return
    old = stage.random.choice(stage.world.owner.places)
    if old.root == stage.config.root or not old.path.exists():
        return
    stage.end_daemon()
    end = run(stage, "deliver from the old place", lambda it: _deliver(it, old))
    if end == DONE:
        stage.fail(SILENT, str(old.root))


def come_home(stage: Stage) -> bool:
    """Do what kmtool says at a start: bring the copy up to the journal, or let it be at home.

    What was refused (a full disk) is given again.
    """
    stage.world.owner.set_back = True

    def work(open_it: Opener) -> None:
        with open_it(stage.config) as shop:
            try:
                deliver(shop)
            except OlderThanJournal:
                restore.replay_here(shop)
            except AwayFromHome:
                adopt.adopt(shop)

    for _ in range(TRIES):
        end = run(stage, "deliver, then what it says", work)
        if end == DONE:
            break
    return end == DONE


def _deliver(open_it: Opener, config: Config) -> None:
    with open_it(config) as shop:
        deliver(shop)


def set_back(stage: Stage, point: Point) -> None:
    """The owner's decisions since then are gone, and what the shop knew of its tries."""
    stage.world.owner.back_to(point.seq)
    _knows_less(stage, point)


def _knows_less(stage: Stage, point: Point) -> None:
    owner = stage.world.owner
    owner.set_back = True
    owner.points = [one for one in owner.points if one.seq <= point.seq]
    owner.unfinished.clear()
    owner.text_here = False
    for file in owner.files:
        file.here, file.batch = False, ""  # the numbers of batches begin anew from that point
    owner.bursts.clear()  # the brakes count what was decided here, not what a replay binds again
    for placed in stage.world.orders.values():
        placed.forgotten += SENT_ANEW
        placed.told_ended = placed.told_changed = 0
        owner.rewritten.add(placed.name)


def forgot(stage: Stage, point: Point) -> None:
    """The shop was set back; what the owner has in the drawer comes in again."""
    owner = stage.world.owner
    _knows_less(stage, point)  # what was decided since it was set back stands
    acts_proofs.reconcile_stock(stage)
    acts_proofs.accept_audit(stage)
    acts_stock.bring_again(stage)
    for file in owner.files:
        if file.undone and file.batch and not file.here:
            acts_stock.undo(stage, file)


# ---------------------------------------------------------------------- other places


def move_folder(stage: Stage) -> None:
    """`db move` to another folder; whoever dies on the way lets the shop be at home by hand."""
    if stage.depth:
        return
    finish(stage)
    stage.stop_daemon()
    old, target = stage.config, stage.ground.root / f"moved-{stage.tick()}"

    def work(open_it: Opener) -> None:
        with open_it(old) as shop:
            move.move(shop, target, open_it)

    run(stage, "db move", work)
    _settle_in(stage, old, target)


def move_packed(stage: Stage) -> None:
    """`db move` through a sealed file, as to another machine."""
    if stage.depth:
        return
    finish(stage)
    stage.stop_daemon()
    old, seq = stage.config, stage.tick()
    file = stage.ground.root / f"shop-{seq}.kmmove"
    target = stage.ground.root / f"moved-{seq}"
    secret = Secret("simulated pass")

    def pack(open_it: Opener) -> None:
        with open_it(old) as shop:
            move.pack(shop, file, secret)

    if run(stage, "db move pack", pack) == DONE:
        for _ in range(TRIES):
            end = run(
                stage, "db move --in",
                lambda it: move.unpack(file, target, it, lambda: secret),
            )  # fmt: skip
            if end != DIED or (target / FILE_NAME).exists():
                break
    file.unlink(missing_ok=True)
    _settle_in(stage, old, target)


def _settle_in(stage: Stage, old: Config, target: Path) -> None:
    """The shop goes on where it arrived, else where it was."""
    if (target / FILE_NAME).exists():
        stage.config = _moded(stage, load(target / FILE_NAME))
        stage.count["moves"] += 1
        stage.world.owner.places.append(old)
        stage.world.owner.points = [
            one for one in stage.world.owner.points if old.root not in one.path.parents
        ]
    come_home(stage)
    if stage.config is not old:
        wake_old(stage)


def copy_over(stage: Stage) -> None:
    """`db copy --to … --switch`: another database file in the same folder."""
    if stage.depth:
        return
    finish(stage)
    stage.stop_daemon()
    name = f"shop/copy-{stage.tick()}.db"

    def work(open_it: Opener) -> None:
        with open_it(stage.config) as shop:
            copy.copy(shop, name, switch=True)

    run(stage, "db copy --switch", work)
    stage.config = _moded(stage, load(stage.config.path))
    come_home(stage)


def _moded(stage: Stage, config: Config) -> Config:
    """kmtool.toml says `auto` and names no supplier; what the owner changed since stands."""
    channels = {
        name: replace(one, mode=stage.config.channels[name].mode)
        for name, one in config.channels.items()
    }
    return replace(config, channels=channels, suppliers=stage.config.suppliers)
