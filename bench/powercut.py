"""Cuts the power at every write and sync of the real schema, and looks for what was acknowledged.

    python -m bench.powercut --states 100000

Real operations run over a VFS that records every write, cut, sync and name in one order: import,
sync, reserve, send, refund, release, sale, checkpoints, a reader beside, backup, restore, update of
an old database. After every one of these the files are built as a power cut could leave them
(bench/powercut_disk.py), opened with the product, and asked for every acknowledged fact; samples
are started and delivered to the end. Exit 1 when a fact is lost, a file unsound, or states are too
few.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import pickle
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from bench.powercut_disk import cuts
from bench.powercut_look import Look
from bench.powercut_recover import recover
from bench.powercut_tape import Recording

ROOT = Path(__file__).resolve().parents[1]
PARTS = 8
ROUNDS = 8
ROUNDS_MAX = 400
SHOWN = 20


@dataclass(frozen=True)
class Plan:
    """One day to record: how many pages the log takes before a checkpoint, what care is lost."""

    scenario: str
    checkpoint: int = 100
    seed: int = 1
    options: tuple[str, ...] = ()


PLANS = (
    Plan("selling"),
    Plan("selling", 1000, 2),
    Plan("reading", 60),
    Plan("backing_up"),
    Plan("updating"),
)


@dataclass
class Found:
    """What was seen: distinct states, where they came from, what was wrong."""

    signs: set[bytes] = field(default_factory=set)
    hows: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)
    images: set[str] = field(default_factory=set)
    recovered: int = 0
    cuts: int = 0

    def add(self, other: Found) -> None:
        """Take in what another process saw."""
        self.signs |= other.signs
        self.hows += other.hows
        self.wrong += other.wrong
        self.told += other.told[: SHOWN - len(self.told)]
        self.images |= other.images
        self.recovered += other.recovered


def record(plan: Plan, base: Path) -> Path:
    """Run a day in a process of its own; return its tape. The shop's folder goes."""
    name = f"{plan.scenario}-{plan.checkpoint}-{plan.seed}"
    folder, tape = base / name, base / f"{name}.tape"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
    environment.pop("KMTOOL_MASTER_KEY", None)
    environment.pop("KMTOOL_CONFIG", None)
    done = subprocess.run(
        [sys.executable, "-m", "bench.powercut_day", plan.scenario, str(folder), str(tape),
         "--seed", str(plan.seed), "--checkpoint", str(plan.checkpoint), *plan.options],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)
    if done.returncode:
        raise SystemExit(f"the day {name} was not recorded: {done.stderr}")
    return tape


def load(tape: Path) -> Recording:
    """Read a tape that this run has made."""
    with tape.open("rb") as file:
        found: Recording = pickle.load(file)
    return found


_LOOKS: dict[Path, Look] = {}


def search(tape: Path, part: int, parts: int, rounds: range, *, seed: int, share: float) -> Found:
    """Judge one share of the cuts of a tape; start the shop on a share of the states."""
    if tape not in _LOOKS:
        _LOOKS[tape] = Look(load(tape), tape.with_name(f"{tape.stem}-{os.getpid()}"))
    return judged(_LOOKS[tape], part, parts, rounds, seed=seed, share=share)


def judged(look: Look, part: int, parts: int, rounds: range, *, seed: int, share: float) -> Found:
    """Judge one share of the cuts as `search` does, in this process."""
    found = Found()
    name = look.folder.name
    chance = random.Random(f"{seed}:{part}:{rounds.start}")
    for cut, how, files, sign in cuts(look.tape, part, parts, rounds, seed):
        if sign in found.signs:
            continue
        found.signs.add(sign)
        found.hows[how] += 1
        wrong = look.judge(cut, files)
        often = 1 if look.known[cut].ready else 5  # setting up is short: look at more of it
        if not wrong and chance.random() < share * often:
            found.recovered += 1
            told = recover(look.tape, cut, files, look.folder / "shop")
            wrong = [("not recovered", one) for one in told]
        for kind in {kind for kind, _ in wrong}:
            found.wrong[kind] += 1
        for kind, text in wrong[: 1 if len(found.told) < SHOWN else 0]:
            found.told.append(f"{name}, cut {cut}, {how}: {kind}: {text}")
    found.images |= set(look.whole)
    return found


def run(plans: Sequence[Plan], states: int, seed: int, *, recoveries: int, workers: int) -> Found:
    """Record the days, then cut until so many distinct states were judged."""
    memory = Path("/dev/shm")
    base = Path(tempfile.mkdtemp(prefix="kmtool-power-", dir=memory if memory.is_dir() else None))
    found = Found()
    share = recoveries / states
    spawn = multiprocessing.get_context("spawn")
    try:
        tapes = [record(plan, base) for plan in plans]
        found.cuts = sum(op[0] != "m" for tape in tapes for op in load(tape).ops)
        parts = max(PARTS, found.cuts * ROUNDS // max(1, states // len(tapes)))
        with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
            for first in range(0, ROUNDS_MAX, ROUNDS):
                rounds = range(first, first + ROUNDS)
                todo = [(tape, part) for tape in tapes for part in range(parts)]
                random.Random(seed).shuffle(todo)
                jobs = [
                    pool.submit(search, tape, part, parts, rounds, seed=seed, share=share)
                    for tape, part in todo
                ]
                for job in jobs:
                    if len(found.signs) < states:
                        found.add(job.result())
                    else:
                        job.cancel()
                if len(found.signs) >= states:
                    break
    finally:
        shutil.rmtree(base, ignore_errors=True)
    return found


def main(argv: list[str] | None = None) -> int:
    """Run, print one screen, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.powercut", description=__doc__)
    parser.add_argument("--states", type=int, default=100_000)
    parser.add_argument("--recoveries", type=int, default=300, help="states that are started")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args(argv)
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    began = time.monotonic()
    found = run(PLANS, given.states, seed, recoveries=given.recoveries, workers=given.workers)
    enough = len(found.signs) >= given.states
    hows = ", ".join(f"{n} {how}" for how, n in found.hows.most_common())
    print(f"power cuts: seed {seed}, {time.monotonic() - began:.0f} s")
    for name, figure in (
        ("places to cut (writes, cuts, syncs, names)", found.cuts),
        ("distinct states of the disk", len(found.signs)),
        ("distinct images after SQLite's recovery", len(found.images)),
        ("shops started and delivered to the end", found.recovered),
        ("states with a lost acknowledgement", found.wrong["lost"]),
        ("states with an unsound file", found.wrong["unsound"]),
        ("shops that did not come to a good end", found.wrong["not recovered"]),
    ):
        print(f"  {name:46} {figure}")
    print(f"  what reached the disk: {hows}")
    for told in found.told:
        print(f"  WRONG: {told}")
    if not enough:
        print(f"too few states: {len(found.signs)} of {given.states}")
    good = enough and not found.wrong
    print("nothing acknowledged was lost, every file is sound" if good else "not good")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
