"""Kills real `kmtool run` workers that serve one shop on PostgreSQL side by side.

    python -m bench.crash_workers --kills 200 --workers 4

The same simulated shop and the same questions at the buyers as `bench.crash`; the database is a
real PostgreSQL, and all workers are alive at once: when one is killed in the middle of a call the
others go on, and a new one takes its place. Exit 1 on any violation.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.crash import BUSY_S, LIVE_S, Crash, report
from kmtool.app import open_shop
from kmtool.config import load
from kmtool.operations import sender
from kmtool.store import sessions

MEET_S = 60.0


class Workers(Crash):
    """Several daemons on one PostgreSQL; any of them may die at any moment."""

    def __init__(
        self, folder: Path, kills: int, seed: int, uri: str, workers: int, rush: int = 0
    ) -> None:
        super().__init__(folder, kills, seed, rush)
        self.database = f'database = "{uri}"'
        self.workers = workers
        self.alive: list[subprocess.Popen[bytes]] = []
        self.most = 0

    def _strike(self) -> None:
        """Fill the ranks, wait until they work, kill one or two of them somewhere."""
        while len(self.alive) < self.workers:
            self.alive.append(self._start("run"))
        self.most = max(self.most, len(self._at_work()))
        victims = self.random.sample(self.alive, self.random.choice((1, 1, 1, 2)))
        for process in victims:
            if self.random.random() < 0.6:
                self.market.hit(process, self.random.randint(1, 30))
                self._wait(process, LIVE_S)
            else:
                self._wait(process, 0.2 + self.random.random() * BUSY_S)
            self._end(process, "run")
            self.alive.remove(process)

    def _at_work(self) -> list[int]:
        """Return the sessions whose process holds its lock."""
        with open_shop(load(self.folder / "kmtool.toml")) as shop:
            return [row["id"] for row in sessions.live(shop.db) if sender.is_alive(shop, row)]

    def _finish(self) -> None:
        """All workers together bring it to an end, and stop in order."""
        while len(self.alive) < self.workers:
            self.alive.append(self._start("run"))
        end = time.monotonic() + MEET_S
        while time.monotonic() < end:  # who starts after `run stop` would be ended by force
            at_work = len(self._at_work())
            self.most = max(self.most, at_work)
            if at_work >= self.workers:
                break
            time.sleep(0.5)
        super()._finish()
        for process in self.alive:
            self._wait(process, 30)
            self._end(process, "run (to the end)")
        self.figures.lines.append(("workers alive at once, at most", self.most))
        if self.most < self.workers:
            self.figures.wrong.append(f"never more than {self.most} workers were alive at once")

    def _environment(self) -> dict[str, str]:
        return with_programs(super()._environment())

    def _look(self) -> None:
        found = list(self.figures.lines)
        super()._look()
        self.figures.lines += found


def main(argv: list[str] | None = None) -> int:
    """Run, print one screen, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.crash_workers", description=__doc__)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--folder", type=Path, help="keep the shop folder here")
    given = parser.parse_args(argv)
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    folder = given.folder or Path(tempfile.mkdtemp(prefix="kmtool-workers-"))
    folder.mkdir(parents=True, exist_ok=True)
    with postgres() as uri:
        crash = Workers(folder, given.kills, seed, uri, given.workers)
        return report(crash, seed, keep=given.folder is not None)


@contextmanager
def postgres() -> Iterator[str]:
    """A running PostgreSQL of its own, gone afterwards."""
    import pgserver

    data = Path(tempfile.mkdtemp(prefix="kmtool-pg-"))
    server = pgserver.get_server(data, cleanup_mode="delete")
    try:
        yield str(server.get_uri())
    finally:
        server.cleanup()


def with_programs(environment: dict[str, str]) -> dict[str, str]:
    """Return an environment in which backups find the pg_dump of this very server."""
    import pgserver

    programs = Path(pgserver.__file__).parent / "pginstall" / "bin"
    return {**environment, "PATH": f"{programs}{os.pathsep}{environment['PATH']}"}


if __name__ == "__main__":
    sys.exit(main())
