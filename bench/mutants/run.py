"""Applies the mutants one at a time to a copy of the program and lets the simulator run there.

    python -m bench.mutants                     all of them, 60 s each at most
    python -m bench.mutants --only NAME …       some of them
    python -m bench.mutants --list              their names and what they do

Every mutant gets one core and the same lives, from seed 1 upwards, until one of them breaks a
promise or the core has worked for the time given. The lives are made of what concerns the mutant
(`probe.choose`). First the copy plays them as it is; a life in which it breaks a promise by itself
says nothing about a mutant and is left out.
Exit 1 when less than 95 % are found, or the program itself broke a promise.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

from bench.mutants import Mutant, files_of
from bench.mutants.catalog import AREAS, MUTANTS

ROOT = Path(__file__).resolve().parents[2]
PROBE = Path(__file__).with_name("probe.py")
PARTS = ("kmtool", "adapters", "jobs", "data")
MEMORY = Path("/dev/shm")
ROOM = 400_000_000
SECONDS = 60.0
WALL = 20
"""How many times longer a trial may take by the clock on the wall."""
KILLED = 0.95
RUNNING: set[subprocess.Popen[str]] = set()
"""The trials at work: they end with this program."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant: `killed` by a broken promise, `crashed` by an error nobody expects,
    `hung` in a life that did not end, or it `survived`."""

    name: str
    fate: str
    seconds: float
    lives: int = 0
    seed: int = 0
    rule: str = ""
    told: str = ""
    good: Sequence[int] = ()
    bad: Sequence[int] = ()

    @property
    def is_found(self) -> bool:
        """Tell whether the simulator saw it."""
        return self.fate != "survived"


@contextmanager
def copies(n: int) -> Iterator[Queue[Path]]:
    """Yield n compiled copies of the program, in memory where there is room."""
    roomy = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM
    base = Path(tempfile.mkdtemp(prefix="kmtool-mutants-", dir=MEMORY if roomy else None))
    found: Queue[Path] = Queue()
    try:
        for number in range(n):
            copy = base / str(number)
            skip = shutil.ignore_patterns("__pycache__")
            for part in PARTS:
                shutil.copytree(ROOT / part, copy / part, ignore=skip)
            shutil.copy2(ROOT / "kmtool.toml", copy)
            compileall.compile_dir(copy, quiet=2)
            found.put(copy)
        yield found
    finally:
        shutil.rmtree(base, ignore_errors=True)


@contextmanager
def mutated(copy: Path, mutant: Mutant | None) -> Iterator[None]:
    """Make the edits of a mutant in a copy, and take them back afterwards."""
    changed = files_of(mutant, copy) if mutant else {}
    before = {name: (copy / name).read_text(encoding="utf-8") for name in changed}
    try:
        for name, text in changed.items():
            _write(copy / name, text)
        yield
    finally:
        for name, text in before.items():
            _write(copy / name, text)


def _write(path: Path, text: str) -> None:
    """Write a module and forget what was compiled of it: its time may be the same second."""
    path.write_text(text, encoding="utf-8", newline="\n")
    for old in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        old.unlink()


def trial(
    copy: Path, mutant: Mutant | None, seconds: float, script: str, seeds: Sequence[int] = ()
) -> Verdict:
    """Run the simulator on a copy with one mutant, on some seeds, until it finds something.

    Without a mutant, and without seeds, it plays on: which seeds are good, which break a promise.
    """
    name = mutant.name if mutant else f"as it is ({script})"
    began = time.monotonic()
    with mutated(copy, mutant):
        process = subprocess.Popen(
            [sys.executable, str(PROBE), str(copy), str(seconds), script, json.dumps(list(seeds))],
            cwd=copy,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        RUNNING.add(process)
        try:
            out, errors = process.communicate(timeout=60 + seconds * WALL)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return Verdict(name, "hung", time.monotonic() - began, rule="a life ends")
        finally:
            RUNNING.discard(process)
    try:
        told = json.loads(out.strip().splitlines()[-1])
    except (IndexError, ValueError):
        last = errors.strip().splitlines()[-1:] or [""]
        took = time.monotonic() - began
        return Verdict(name, "crashed", took, rule="the program starts", told=last[0][:200])
    return Verdict(name, **told)


def run(chosen: Sequence[Mutant], seconds: float, jobs: int) -> tuple[list[Verdict], list[Verdict]]:
    """Try the program as it is, then all mutants on the lives it came through, some side by side;
    prints a line for each. Returns what became of the program (by script), and of the mutants."""
    with copies(jobs) as free, ThreadPoolExecutor(jobs) as pool:
        good: dict[str, Sequence[int]] = {}

        def one(mutant: Mutant | None, script: str) -> Verdict:
            copy = free.get()
            try:
                found = trial(copy, mutant, seconds, script, good.get(script, ()))
            finally:
                free.put(copy)
            print(line(found), flush=True)
            return found

        scripts = sorted({mutant.script for mutant in chosen})
        try:
            plain = list(pool.map(lambda script: one(None, script), scripts))
            good |= {script: verdict.good for script, verdict in zip(scripts, plain, strict=True)}
            wanted = [mutant for mutant in chosen if good[mutant.script]]
            return plain, list(pool.map(lambda mutant: one(mutant, mutant.script), wanted))
        except (SystemExit, KeyboardInterrupt):  # nobody waits for what is left
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(RUNNING):
                process.kill()
            raise


def line(found: Verdict) -> str:
    """Return a line of the table."""
    told = f"{found.rule}: {found.told}" if found.rule else ""
    head = f"{found.name:28} {found.fate:9} {found.seconds:6.1f} s  {found.lives:5} lives"
    return f"{head}  seed {found.seed:<5} {told[:110]}" if found.is_found else head


def areas(found: Sequence[Verdict]) -> Iterator[str]:
    """Yield the lines of a table: what became of the mutants of each area."""
    fates = ("killed", "crashed", "hung", "survived")
    yield f"{'':28}{'mutants':>9}" + "".join(f"{fate:>10}" for fate in fates) + "   slowest"
    for area, mutants in AREAS.items():
        names = {mutant.name for mutant in mutants}
        mine = [one for one in found if one.name in names]
        count = Counter(one.fate for one in mine)
        if mine:
            slowest = max((one.seconds for one in mine if one.is_found), default=0.0)
            cells = "".join(f"{count[fate]:10}" for fate in fates)
            yield f"{area:28}{len(mine):9}{cells}{slowest:8.1f} s"


def main(words: Sequence[str] | None = None) -> int:
    """Try the mutants; 1 when less than 95 % of them are killed, or the program itself fails."""
    parser = argparse.ArgumentParser(prog="python -m bench.mutants", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--list", action="store_true")
    given = parser.parse_args(words)
    known = {mutant.name: mutant for mutant in MUTANTS}
    strange = [name for name in given.only if name not in known]
    if strange:
        print(f"there is no mutant {strange[0]}")
        return 2
    chosen = [known[name] for name in given.only] or list(MUTANTS)
    if given.list:
        for mutant in chosen:
            print(f"{mutant.name:28} {mutant.why}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the copies are removed on the way out
    plain, found = run(chosen, given.seconds, given.jobs)
    broken = [one for one in plain if one.is_found]
    for one in broken:
        print(
            f"{one.name}: the program itself breaks a promise (seeds {list(one.bad)}): {one.told}"
        )
    if not found:
        return 1
    print(*areas(found), sep="\n")
    fates = Counter(one.fate for one in found)
    share = sum(one.is_found for one in found) / len(found)
    print(f"{len(found)} mutants: " + ", ".join(f"{n} {fate}" for fate, n in sorted(fates.items())))
    print(f"{share:.1%} found (bar: {KILLED:.0%})")
    for one in found:
        if not one.is_found:
            print(f"  survived: {one.name}: {known[one.name].why}")
    return int(share < KILLED or bool(broken))


if __name__ == "__main__":
    sys.exit(main())
