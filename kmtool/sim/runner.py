"""Plays many seeds, side by side on the processors there are, and adds their figures up.

The lives lie in a temporary folder of their own; nothing of the owner's is opened.
"""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kmtool.clock import SystemClock
from kmtool.sim.driver import Life, play
from kmtool.sim.edges import Fault
from kmtool.sim.ground import Ground, memory, prepared
from kmtool.sim.shrink import Script, shrink

FAILURES_MAX = 3
SHRINK_S = 60.0
SET_BACK = ("restores", "clones", "moves", "losses")
"""What counts as a restore, a copy or a move."""
AHEAD = 8
"""How many lives wait for each processor: none stands still while a long one holds the others up.
"""

SWEEP_EVERY = 4
"""After so many lives a process looks for garbage."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A broken promise: how to repeat it, what came before it, and its shortest script."""

    seed: int
    step: int
    rule: str
    told: str
    command: str
    last: tuple[str, ...]
    steps: tuple[int, ...]
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Selftest:
    """What many lives showed. `breakdown` says what the events were; the digest names the run."""

    seed: int
    lives: int
    events: int
    crashes: int
    restores: int
    orders: int
    keys: int
    repeated: int
    violations: int
    duplicate: int
    lost: int
    unrecorded: int
    seconds: float
    breakdown: dict[str, int] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()


def run(
    events: int,
    seed: int,
    *,
    cores: int = 0,
    shown: Callable[[Iterator[int], int], Iterator[int]] = lambda steps, _total: steps,
) -> Selftest:
    """Play lives from a seed on until so many events happened (at least one life).

    `shown(steps, total)` passes through how many events there were, for progress.
    """
    clock = SystemClock()
    began = clock.monotonic()
    count: Counter[str] = Counter()
    failed: list[Life] = []
    for life in _lives(events, seed, cores or os.cpu_count() or 1, shown):
        count.update(life.counts)
        count["lives"] += 1
        count["events"] += life.events
        if life.rule:
            failed.append(life)
    failures = tuple(_explained(sorted(failed, key=lambda one: one.seed)))
    return _summed(seed, count, failed, failures, clock.monotonic() - began)


def _lives(
    events: int, seed: int, cores: int, shown: Callable[[Iterator[int], int], Iterator[int]]
) -> Iterator[Life]:
    with ExitStack() as stack:
        base = stack.enter_context(_folder())
        alone = cores == 1 or events <= 1
        lives = _alone(seed, base) if alone else _beside(seed, base, cores)
        source = stack.enter_context(closing(lives))
        total = failures = 0
        ticks = shown(_counting(events), events)
        for life in source:
            yield life
            for _ in range(min(life.events, max(0, events - total))):
                next(ticks, None)
            total += life.events
            failures += bool(life.rule)
            if total >= events or failures >= FAILURES_MAX:
                break


def _counting(events: int) -> Iterator[int]:
    yield from range(events)


def _alone(seed: int, base: Path) -> Generator[Life, None, None]:
    with _sparing_the_collector(), prepared(base) as ground:
        while True:
            yield _swept(play(seed, ground))
            seed += 1


def _beside(seed: int, base: Path, cores: int) -> Generator[Life, None, None]:
    """Yield lives as they end, in the order of their seeds.

    A process in which a promise was broken plays no other life, whatever that one left behind: the
    lives that wait for it are played by fresh processes.
    """
    spawn = multiprocessing.get_context("spawn")
    over = spawn.Event()

    def fresh() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(cores, spawn, _prepare, (str(base), over))

    pool, waiting, following = fresh(), dict[int, Future[Life | None]](), seed
    try:
        while True:
            while len(waiting) < cores * AHEAD:
                waiting[following] = pool.submit(_play, following)
                following += 1
            first = min(waiting)
            life = waiting[first].result()
            if life is not None:
                del waiting[first]
                yield life
                continue
            pool.shutdown(cancel_futures=True)
            pool = fresh()
            for number in sorted(waiting):
                if waiting[number].cancelled() or waiting[number].result() is None:
                    waiting[number] = pool.submit(_play, number)
    finally:
        over.set()  # nobody asks for what waits
        pool.shutdown(cancel_futures=True)


class _Asked(Protocol):
    def is_set(self) -> bool: ...


_own: ExitStack = ExitStack()
_played = itertools.count(1)
_grounds: list[Ground] = []
_over: list[_Asked] = []


def _prepare(base: str, over: _Asked) -> None:
    """Prepare a ground for the life of a worker; its folder lies in the one of the run."""
    _own.enter_context(_sparing_the_collector())
    _over.append(over)
    _grounds.append(_own.enter_context(prepared(Path(base))))


@contextmanager
def _sparing_the_collector() -> Iterator[None]:
    """Look for garbage seldom: most of what a life makes is gone by itself."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _play(seed: int) -> Life | None:
    """Play a life; None in a process that saw one break, and once nobody asks any more."""
    if _over[-1].is_set() or not _grounds:
        return None
    life = play(seed, _grounds[-1])
    if life.rule:
        _grounds.clear()
    return _swept(life)


def _swept(life: Life) -> Life:
    """Collect the garbage of some lives at once: left to itself the heap gets holes and grows."""
    if next(_played) % SWEEP_EVERY == 0:
        gc.collect()
    return life


def _explained(failed: list[Life]) -> Iterator[Failure]:
    """Shrink the first failure; the others are told as they came."""
    clock = SystemClock()
    until = clock.monotonic() + SHRINK_S
    for n, life in enumerate(failed[:FAILURES_MAX]):
        script = Script(life.script, life.faults, life, 0)
        if n == 0:
            with _folder() as base, prepared(base) as ground:
                script = shrink(life, ground, lambda: clock.monotonic() < until)
        yield Failure(
            seed=life.seed,
            step=life.step,
            rule=life.rule,
            told=script.life.told,
            command=f"kmtool selftest --seed {life.seed}",
            last=script.life.trace[-20:],
            steps=script.steps,
            faults=tuple(_told(one) for one in script.faults),
        )


def _told(fault: Fault) -> str:
    return str(fault)


def _summed(
    seed: int,
    count: Counter[str],
    failed: list[Life],
    failures: tuple[Failure, ...],
    seconds: float,
) -> Selftest:
    rules = Counter(life.sort for life in failed)
    figures = ("lives", "events", "crashes", "orders", "keys", "repeated")
    return Selftest(
        seed=seed,
        restores=sum(count[name] for name in SET_BACK),
        violations=len(failed),
        duplicate=rules["duplicate"],
        lost=rules["lost"],
        unrecorded=rules["unrecorded"],
        seconds=round(seconds, 1),
        breakdown={name: n for name, n in sorted(count.items()) if name not in figures[:2]},
        failures=failures,
        **{name: count[name] for name in figures},
    )


@contextmanager
def _folder() -> Iterator[Path]:
    """Yield a folder for grounds, in memory where there is room, and remove it with all in it."""
    folder = Path(tempfile.mkdtemp(prefix="kmtool-selftest-", dir=memory()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
