"""Keys lent to a platform's own pool: uploaded, given out there, read back, taken back.

The pool is part of the truth: what lies in it and whom it gave what. An export tells all of it, as
it is now; the seldom acts are about exports that are old, lack rows, or came a moment too early.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path

from kmtool.operations import lending, lending_back
from kmtool.operations.lending import LendWish, Lent
from kmtool.operations.lending_back import ReadBack
from kmtool.shop import Shop
from kmtool.sim.acts_kit import DIED, REFUSED, perform
from kmtool.sim.acts_truth import Pool
from kmtool.sim.stage import Stage
from kmtool.sim.verdict import ONE_BUYER

NAME = "kq"
FORM = "91kaquan"
HEAD = "卡号,状态,订单号"
UNUSED, USED = "未使用", "已使用"
OLD_MS = 27 * 3_600_000


def lend(stage: Stage) -> None:
    """Keys go to the pool. A file that was written is uploaded, whatever came of the command."""
    path = stage.ground.root / f"lent-{stage.tick()}.csv"
    wish = LendWish(stage.random.choice(("S1", "S3")), NAME, stage.random.choice((2, 4)), FORM)

    def work(shop: Shop) -> Lent:
        return lending.lend(shop, wish, path)

    perform(stage, f"key lend {wish.sku} × {wish.count}", work)
    _upload(stage, path)


def _upload(stage: Stage, path: Path) -> None:
    if not path.exists():
        return
    pool = _pool(stage)
    with path.open(encoding="utf-8-sig", newline="") as file:
        cards = [row["CardNo"] for row in csv.DictReader(file)]
    pool.lying += [card for card in cards if card not in pool.lying and card not in pool.given]
    stage.happened(f"{len(cards)} keys uploaded to {NAME}")


def give_out(stage: Stage) -> None:
    """The pool gives keys to its own buyers."""
    pool = _pool(stage)
    n = min(len(pool.lying), stage.random.choice((1, 2)))
    for _ in range(n):
        key = pool.lying.pop(stage.random.randrange(len(pool.lying)))
        number = f"Q{stage.tick()}"
        pool.given[key] = number
        if not stage.world.expose(key, (f"pool-{NAME}", number)):
            stage.fail(ONE_BUYER, f"{key}: {stage.world.holders[key]}")
        stage.happened(f"{NAME} gives {key} to {number}")


def read_back(stage: Stage) -> None:
    """The pool's list comes back; half of the time the unused are taken out there before."""
    pool = _pool(stage)
    if not pool.lying and not pool.given:
        return
    take = stage.random.random() < 0.5
    path = _export(stage, _rows(pool))
    if take:
        pool.lying.clear()  # for good: whether they are for sale again is the shop's business
    _read(stage, path, take=take)


def old_list(stage: Stage) -> None:
    """The owner takes back by a list of yesterday; the pool gave keys out since."""
    pool = _pool(stage)
    if any(one.read == (0, 0) for one in stage.world.orders.values()):
        return  # a first pull looks back by a day: nobody leaves a shop alone before it
    if not pool.lying:
        lend(stage)
    path = _export(stage, _rows(pool))
    give_out(stage)
    stage.clock.advance(OLD_MS)
    stage.happened("the list of the pool is of yesterday")
    _read(stage, path, take=True)


def part_of_a_list(stage: Stage) -> None:
    """The list breaks off, and says of some keys what nobody understands. What it calls unused is
    taken out of the pool; the rest lies there, or was given out before."""
    pool = _pool(stage)
    give_out(stage)
    kept = [row for row in _rows(pool) if stage.random.random() < 0.6]
    if not kept:
        return
    named = {row.split(",")[0] for row in kept if UNUSED in row}
    odd = [row.replace(USED, "已锁定") if stage.random.random() < 0.3 else row for row in kept]
    path = _export(stage, odd)
    pool.lying[:] = [key for key in pool.lying if key not in named]
    _read(stage, path, take=True)


def came_back_used(stage: Stage) -> None:
    """Between the list and the taking out the pool gives one more key out. The next list, read at
    once, says so: that key may not be sold any more. Of a command that died the owner does not know
    what it did: he takes the keys out there. One that was refused did nothing: they lie there on.
    """
    pool = _pool(stage)
    if not pool.lying:
        lend(stage)
    path, lying = _export(stage, _rows(pool)), list(pool.lying)
    end = _read(stage, path, take=True) if lying else REFUSED
    if end == REFUSED:
        return
    pool.lying.clear()
    if end == DIED:
        return
    key, number = stage.random.choice(lying), f"Q{stage.tick()}"
    if stage.world.holders.get(key):
        return
    pool.given[key] = number
    stage.world.expose(key, (f"pool-{NAME}", number))
    stage.happened(f"{NAME} gave {key} to {number} at the last moment")

    there = (key, (f"pool-{NAME}", number))

    def known(_found: ReadBack, seq: int) -> None:
        if len(stage.world.holders[key]) == 1:
            stage.world.proved.discard(there)
            stage.world.owner.decided(seq, lambda: stage.world.proved.add(there))

    stage.world.proved.add(there)  # who sells it before the shop is told makes no mistake
    _read(stage, _export(stage, _rows(pool)), take=False, done=known)


def _rows(pool: Pool) -> list[str]:
    """Return what the pool's list says now."""
    rows = [f"{key},{UNUSED}," for key in pool.lying]
    return rows + [f"{key},{USED},{number}" for key, number in pool.given.items()]


def _export(stage: Stage, rows: list[str]) -> Path:
    path = stage.ground.root / f"pool-{stage.tick()}.csv"
    path.write_text("\n".join([HEAD, *rows]), encoding="utf-8")
    at_s = stage.clock.now_ms() / 1000
    os.utime(path, (at_s, at_s))
    return path


def _read(
    stage: Stage,
    path: Path,
    *,
    take: bool,
    done: Callable[[ReadBack, int], object] | None = None,
) -> str:
    def work(shop: Shop) -> ReadBack:
        return lending_back.settle(shop, lending_back.look(shop, NAME, path), take_back=take)

    return perform(stage, f"key lend-back{' --take-back' if take else ''}", work, done)


def _pool(stage: Stage) -> Pool:
    return stage.world.owner.pools.setdefault(NAME, Pool(NAME))
