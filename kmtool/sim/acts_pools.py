"""Keys lent to a platform's own pool: uploaded, given out there, read back, taken back.

The pool is part of the truth: what lies in it and whom it gave what. An export tells all of it.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

from kmtool.operations import lending, lending_back
from kmtool.operations.lending import LendWish, Lent
from kmtool.operations.lending_back import ReadBack
from kmtool.shop import Shop
from kmtool.sim.acts_kit import perform
from kmtool.sim.acts_truth import Pool
from kmtool.sim.stage import Stage
from kmtool.sim.verdict import ONE_BUYER

NAME = "kq"
FORM = "91kaquan"
HEAD = "卡号,状态,订单号"


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
    path = stage.ground.root / f"pool-{stage.tick()}.csv"
    rows = [f"{key},未使用," for key in pool.lying]
    rows += [f"{key},已使用,{number}" for key, number in pool.given.items()]
    path.write_text("\n".join([HEAD, *rows]), encoding="utf-8")
    at_s = stage.clock.now_ms() / 1000
    os.utime(path, (at_s, at_s))
    if take:
        pool.lying.clear()  # for good: whether they are for sale again is the shop's business

    def work(shop: Shop) -> ReadBack:
        return lending_back.settle(shop, lending_back.look(shop, NAME, path), take_back=take)

    perform(stage, f"key lend-back{' --take-back' if take else ''}", work)


def _pool(stage: Stage) -> Pool:
    return stage.world.owner.pools.setdefault(NAME, Pool(NAME))
