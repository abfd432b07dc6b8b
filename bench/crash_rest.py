"""Kills real kmtool processes in everything that is no delivery, and looks at what is left.

    python -m bench.crash_rest --kills 300

A shop in the middle of its work is restored, moved, copied, backed up, brought up to date; keys are
imported, suppliers settled, messages pasted by hand. Every time the process is killed with SIGKILL,
mostly at its n-th write (half of the bytes may have arrived), else at a random moment. Then a
person goes on: looks, does what the error says, repeats the command, delivers. Nothing may be lost,
no key at two buyers, nothing seen for sale again, doctor content. Exit 1 on any violation.
"""

from __future__ import annotations

import argparse
import os
import pty
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from kmtool.clock import ManualClock, SystemClock
from kmtool.store.db import connect
from tests import fakes
from tests.disk.cases import Case, filled, older, packed, run
from tests.disk.faulty import Disk
from tests.disk.stage import KEY, Stage
from tests.disk.trial import Trial

ROOT = Path(__file__).resolve().parents[1]
LEFT = re.compile(r"^\.(restore|move)-|^[^.].*\.part$|\.new$|^whole\.db$")
"""A hidden `.part` goes with the next file that is written there."""
SAFE = {"stock_back"}
"""Free keys out of sale until reconciled: a journey that ended between database and home file."""
SEEN = ("exposed", "delivered", "defective")
CHILD = (
    "import sys; from pathlib import Path; from tests.disk.faulty import Disk;"
    "from kmtool.cli.main import main;"
    "at = int(sys.argv[2]);"
    "disk = Disk(Path(sys.argv[1]), at, 'kill');"
    "disk.__enter__(); code = main(sys.argv[3:]);"
    "disk.__exit__(None, None, None); sys.exit(code)"
)


def sold_since(stage: Stage) -> None:
    """A key left after the backup was made: only the journal and the buyer know."""
    run(stage, "sell S1 --to demo_eve --price 9")


CASES = (
    Case("db restore BACKUP --confirm ?", first=sold_since),
    Case("db restore --replay", first=sold_since),
    Case("db move ../moved --yes", there="moved"),
    Case("db move ../out.kmmove --without-key --yes"),
    Case("db move --in ../out.kmmove ../there --yes", first=packed, there="there"),
    Case("db copy --to other.db"),
    Case("db copy --to other.db --switch --yes"),
    Case("db backup"),
    Case("db drill"),
    Case("status", first=older),
    Case("import more.txt two.txt --sku S1 --supplier z --cost 5 --yes"),
    Case("settle close y --yes"),
    Case("settle paid JS-z-NOW --amount 1 --date 2026-11-22 --ref V1"),
    Case("deliver --by-hand", typed="\n\n\n\n", tty=True),
    Case("sell S1 --to demo_bo --price 28"),
    Case("channel set leaf --mode ask"),
)


class Rest:
    """One stage, its cases, and what went wrong."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.stage = Stage(folder, SystemClock().now_ms() - 3_600_000)
        self.random = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self.ended = 0
        self.wrong: list[str] = []
        self.began = time.monotonic()

    def run(self, kills: int, only: str = "") -> None:
        """Kill as often as asked for, every case in turn."""
        trials = [self._trial(case) for case in CASES if case.line.startswith(only)]
        while sum(self.kills.values()) < kills:
            for trial in trials:
                self._kill(trial)

    def _trial(self, case: Case) -> Trial:
        trial = Trial(self.stage, case)
        self._begin(trial)
        with Disk(self.stage.live) as disk:
            told = trial.say()
        assert told.code in {0, 3, 8}, (trial.line, told)
        trial.code, trial.writes = told.code, disk.writes
        trial.doctor_after = trial.doctor()
        return trial

    def _begin(self, trial: Trial) -> None:
        trial.begin()
        self.stage.clock = ManualClock(SystemClock().now_ms())
        sheets = self.stage.shop / "exports" / "settlements"
        trial.line = trial.line.replace("JS-z-NOW", next(sheets.glob("JS-z-*.xlsx")).stem)

    def _kill(self, trial: Trial) -> None:
        self._begin(trial)
        before = self._seen()
        total = self._count()
        at = self.random.randint(1, max(1, trial.writes)) if self.random.random() < 0.6 else 0
        died = self._child(trial, at)
        place = f"{trial.case.line} ({f'write {at}/{trial.writes}' if at else 'some moment'})"
        if died:
            self.kills[" ".join(trial.case.line.split()[:2])] += 1
        else:
            self.ended += 1
        self.stage.clock = ManualClock(SystemClock().now_ms())
        for problem in self._look(trial, before, total):
            self.wrong.append(f"{place}: {problem}")

    def _child(self, trial: Trial, at: int) -> bool:
        """Run the command as its own process and kill it; tell whether it died of it."""
        words = [self.stage._word(word) for word in trial.line.split()]
        live = str(self.stage.live)
        program = ["-c", CHILD, live, str(at)] if at else ["-m", "kmtool"]
        master, slave = pty.openpty() if trial.case.tty else (0, 0)
        process = subprocess.Popen(
            [sys.executable, *program, *words],
            cwd=self.stage.shop,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "PYTHONUTF8": "1",
                "KMTOOL_LANG": "en",
                "KMTOOL_HOME": str(self.stage.live / "home"),
            },
            stdin=slave if trial.case.tty else subprocess.DEVNULL,
            stdout=slave if trial.case.tty else subprocess.DEVNULL,
            stderr=slave if trial.case.tty else subprocess.DEVNULL,
        )
        if trial.case.tty:
            os.write(master, trial.case.typed.encode())
        try:
            process.wait(60 if at else 0.25 + self.random.random() * 0.9)
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()
        if trial.case.tty:
            os.close(master)
            os.close(slave)
        return process.returncode == -9

    def _look(self, trial: Trial, before: set[bytes], total: int) -> Iterator[str]:
        """Go on as a person would an hour later, and yield what is wrong."""
        for path in self.stage.live.rglob(".*.part"):
            os.utime(path, (0, time.time() - 3_600))
        told = self.stage.say("status")
        if "Traceback" in told.err + told.out or "KM-E100" in told.err:
            yield f"status: {told.err[-400:]}"
        yield from self._repeated(trial)
        shop = self._shop(trial)
        if (shop / "kmtool.toml").is_file():
            self._go_on(shop)
            yield from self._books(shop, before, total)
            worse = self._doctor(shop) - trial.doctor_after
            if worse - SAFE:
                yield f"doctor: {sorted(worse)}"
        yield from (
            f"left for good: {path.relative_to(self.stage.live)}"
            for path in self.stage.live.rglob("*")
            if LEFT.search(path.name)
        )

    def _repeated(self, trial: Trial) -> Iterator[str]:
        """The same command again works, or says what stands in its way and what to do."""
        with suppress(AssertionError):  # nothing is asked for any more
            trial.line = filled(self.stage, trial.case.line)
            self._number(trial)
        again = trial.say()
        if again.code in {1, 2, 4} or "Traceback" in again.err + again.out:
            yield f"again: {again.code} {again.err[-500:]}"

    def _number(self, trial: Trial) -> None:
        sheets = self.stage.shop / "exports" / "settlements"
        trial.line = trial.line.replace("JS-z-NOW", next(sheets.glob("JS-z-*.xlsx")).stem)

    def _shop(self, trial: Trial) -> Path:
        """Return where the shop lies by now."""
        there = self.stage.live / trial.case.there
        moved = bool(trial.case.there) and (there / "kmtool.toml").is_file()
        return there if moved else self.stage.shop

    def _go_on(self, shop: Path) -> None:
        """Let the shop be at home here (a journey may have ended half-way), then deliver."""
        config = f"--config {shop}/kmtool.toml"
        with suppress(AssertionError):
            self.stage.say(filled(self.stage, f"db adopt {config} --confirm ?"))
        for _ in range(2):
            self.stage.say(f"deliver {config}")
        self.stage.say(f"db backup {config}")  # it clears its folder

    def _doctor(self, shop: Path) -> set[str]:
        import json

        told = self.stage.say(f"doctor --json --config {shop}/kmtool.toml")
        if not told.out:
            return {told.err[-300:]}
        return {c["name"] for c in json.loads(told.out)["checks"] if not c["ok"]}

    def _books(self, shop: Path, before: set[bytes], total: int) -> Iterator[str]:
        """Every key is still there, what was seen is not for sale, no key has two buyers."""
        lost = before - self._seen(shop)
        if lost:
            yield f"{len(lost)} keys that somebody saw are for sale again or gone"
        if self._count(shop) < total:
            yield f"{total - self._count(shop)} keys are gone"
        held: dict[str, set[str]] = {}
        for world in fakes.WORLDS.values():
            for number, texts in world.received.items():
                for key in KEY.findall("\n".join(texts)):
                    held.setdefault(key, set()).add(number)
        yield from (f"{key} is at {sorted(n)}" for key, n in held.items() if len(n) > 1)

    def _rows(self, shop: Path, sql: str) -> list[dict[str, Any]]:
        text = (shop / "kmtool.toml").read_text(encoding="utf-8")
        named = re.search(r'^database = "(.+)"', text, re.M)
        db = connect(shop / (named[1] if named else "shop/shop.db"))
        try:
            return db.all(sql)
        finally:
            db.close()

    def _seen(self, shop: Path | None = None) -> set[bytes]:
        marks = ", ".join(f"'{state}'" for state in SEEN)
        rows = self._rows(
            shop or self.stage.shop, f"SELECT fingerprint FROM keys WHERE state IN ({marks})"
        )
        return {bytes(row["fingerprint"]) for row in rows}

    def _count(self, shop: Path | None = None) -> int:
        return int(self._rows(shop or self.stage.shop, "SELECT count(*) AS n FROM keys")[0]["n"])


def main(argv: list[str] | None = None) -> int:
    """Run, print one screen, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.crash_rest", description=__doc__)
    parser.add_argument("--kills", type=int, default=48)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", default="", help="only commands that begin so")
    given = parser.parse_args(argv)
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    folder = Path(tempfile.mkdtemp(prefix="kmtool-rest-"))
    try:
        rest = Rest(folder, seed)
        rest.run(given.kills, given.only)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    kills = ", ".join(f"{n} × {name}" for name, n in sorted(rest.kills.items()))
    took = time.monotonic() - rest.began
    print(f"kill -9: {sum(rest.kills.values())}, seed {seed}, {took:.0f} s")
    print(f"  {kills}; {rest.ended} ended before")
    for told in rest.wrong[:30]:
        print(f"  WRONG: {told}")
    print("nothing lost, nothing sold twice" if not rest.wrong else f"{len(rest.wrong)} wrong")
    return 1 if rest.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
