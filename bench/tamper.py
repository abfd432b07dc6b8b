"""Tampers with a shop at random, a thousand times, and asks `doctor` and `audit verify` each time.

    python -m bench.tamper --times 1000

A whole day of a simulated shop is played once; then each time one thing is changed behind the
program's back in a fresh copy: a byte of the audit, the send journal, the anchors; rows swapped,
taken out, doubled, forged; the audit's tail cut off together with its head; the database set back
to an earlier state. Whoever does it can write every file, drop triggers and put them back, and has
not the master key. All of these must be found.

Two more kinds measure what the checks cover beyond that promise: a bit of any cell of any table,
and a byte of the database file. What of them was not found is listed by table. A flipped byte that
leaves every cell readable and equal (free space) counts as no change. Exit 1 when a promised one
was not found, or something ended in a traceback.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from bench.tamper_kinds import MEASURED, PROMISED, Nothing, Place
from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.config import load
from kmtool.demo import day
from kmtool.errors import KmError
from kmtool.operations import audit, audit_verify
from kmtool.operations.doctor import doctor

MINUTE_MS = 60_000


def prepare(folder: Path, seed: int) -> Place:
    """Play a day, keep an earlier state, go on for a while; return all files in memory."""
    day.run(folder, lambda *_: None)
    config = load(folder / "kmtool.toml")
    database = folder / "shop" / "shop.db"
    _fold(database)
    older = database.read_bytes()
    with open_shop(config) as shop:
        now_ms = int(shop.db.value("SELECT max(at_ms) FROM audit")) + MINUTE_MS
    clock = ManualClock(now_ms)
    with open_shop(config, clock=clock) as shop:
        audit.anchor(shop)
        audit_verify.verify(shop)
    for word in range(6):  # what is written after the anchor is noted by each command
        clock.advance(MINUTE_MS)
        with open_shop(config, clock=clock) as shop, shop.db.tx():
            shop.audit("note", f"order:maple:{word}", f"after the anchor {word}")
    _fold(database)
    files = {path: path.read_bytes() for path in folder.rglob("*") if _matters(path)}
    place = Place(folder, files, older, clock.now_ms(), random.Random(seed))
    place.normal = look(place)
    assert "audit" not in place.normal and "journal" not in place.normal, place.normal
    return place


def _matters(path: Path) -> bool:
    return path.is_file() and (
        path.suffix in {".db", ".log", ".anchors", ".tail", ".home"} and "backups" not in path.parts
    )


def _fold(database: Path) -> None:
    with closing(sqlite3.connect(database)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def look(place: Place) -> set[str]:
    """Return the names of all checks that are not well; `refused` when nothing opens."""
    config = load(place.folder / "kmtool.toml")
    try:
        with open_shop(config, clock=ManualClock(place.now_ms + MINUTE_MS)) as shop:
            wrong = {check.name for check in doctor(shop).problems}
            if not audit_verify.verify(shop).ok:
                wrong.add("audit verify")
            return wrong
    except KmError as error:
        return {f"refused {error.code}"}
    except Exception as error:  # noqa: BLE001  (a bug: it is told as one)
        return {f"TRACEBACK {type(error).__name__}: {error}"}


@dataclass
class Found:
    """How many of each kind were tampered with, and which were not found."""

    times: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    by: Counter[str] = field(default_factory=Counter)
    bugs: list[str] = field(default_factory=list)


def tamper(place: Place, kinds: dict[Callable[[Place], str], int], times: int) -> Found:
    """Tamper so many times, each with a fresh copy; return what was found and what not."""
    found = Found()
    done = 0
    for _ in range(times * 20):
        if done == times:
            break
        place.put_back()
        kind = place.random.choices(list(kinds), list(kinds.values()))[0]
        try:
            told = kind(place)
        except Nothing:
            continue
        done += 1
        wrong = look(place) - place.normal
        found.times[told] += 1
        found.by.update(wrong)
        found.bugs += [f"{told}: {one}" for one in wrong if one.startswith("TRACEBACK")]
        if not wrong:
            found.missed[told] += 1
    place.put_back()
    return found


def main(argv: list[str] | None = None) -> int:
    """Tamper, print one screen, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.tamper", description=__doc__)
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--cells", type=int, default=200, help="cells, and bytes of the file")
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args(argv)
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    base = Path(tempfile.mkdtemp(prefix="kmtool-tamper-"))
    began = time.monotonic()
    try:
        place = prepare(base / "shop", seed)
        promised = tamper(place, PROMISED, given.times)
        measured = tamper(place, MEASURED, given.cells)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    tampered, missed = promised.times.total(), promised.missed.total()
    print(f"seed {seed}, {time.monotonic() - began:.0f} s")
    for told, n in sorted(promised.times.items()):
        print(f"  {told:28} {n:5}  not found {promised.missed[told]}")
    print(f"tampered {tampered}, found {tampered - missed} (bar: all)")
    print(f"beyond the promise: {measured.times.total()} cells and bytes of the file,"
          f" found {measured.times.total() - measured.missed.total()}; not found:")  # fmt: skip
    for told, n in measured.missed.most_common(40):
        print(f"  {told:50} {n}")
    bugs = promised.bugs + measured.bugs
    for told in bugs[:20]:
        print(f"  BUG {told}")
    return 1 if bugs or missed or tampered < given.times else 0


if __name__ == "__main__":
    sys.exit(main())
