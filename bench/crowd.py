"""Two daemons and a crowd of commands on one shop, and senders that are stopped and wake up.

    python -m bench.crowd --minutes 5                 # SQLite
    python -m bench.crowd --minutes 5 --postgres      # several daemons send side by side

The simulated shop of `bench.crash` keeps the truth at its buyers. Eight hands at once run real
commands (sync, deliver, import, sell, status, export …) beside two real daemons. Again and again a
daemon is stopped (SIGSTOP) wherever it stands, another one takes over, and the first one wakes
(SIGCONT): it must end by itself, fenced off. Nobody may be told of a lock (but while a process that
was stopped in the middle of a change holds SQLite's file: then its end is asked for), no log may
hold a traceback; at the end every buyer has exactly the paid keys. Exit 1 on any violation.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Lock, Thread

from bench.crash import FINISH_S, Crash, report
from bench.crash_workers import postgres, with_programs

HANDS = 8
TOLD_OK = {0, 3, 6, 7, 8}
"""3: part of it waits; 6: refused for safety; 7: the outside fails now; 8: doctor's differences."""
FENCED = "Another sender took over"
STANDS = "end its process"
COMMANDS = (
    "sync", "sync", "deliver", "deliver", "deliver", "status", "order list", "key stock", "doctor",
    "sell S1", "import", "product set S1 --price 28", "export orders -o {out}.xlsx", "db backup",
    "order list --json", "supplier add s{n}", "channel test", "audit verify", "settle preview sup",
    "run --once --only sync", "job list",
)  # fmt: skip


class Crowd(Crash):
    """One run: the shop, its market, two daemons, eight hands."""

    def __init__(self, folder: Path, seed: int, minutes: float, uri: str = "") -> None:
        super().__init__(folder, 400, seed)
        self.uri = uri
        self.database = f'database = "{uri}"' if uri else ""
        self.seconds = minutes * 60
        self.over = Event()
        self.lock = Lock()
        self.ran: Counter[str] = Counter()
        self.woken: Counter[str] = Counter()
        self.sold: set[str] = set()
        self.locked: list[tuple[float, float, str]] = []
        """Commands that were told of a lock: from, to, what."""
        self.frozen: list[tuple[float, float]] = []
        """When a stopped process held the database."""
        self.daemons: list[tuple[subprocess.Popen[bytes], Path]] = []

    def _act(self) -> None:
        """Let the hands and the daemons work beside each other for the given time."""
        hands = [Thread(target=self._hand, args=(n,), name=f"hand {n}") for n in range(HANDS)]
        for hand in hands:
            hand.start()
        end = time.monotonic() + self.seconds
        try:
            self._daemon()
            while time.monotonic() < end:
                if self.uri:
                    self._two_workers()
                else:
                    self._one_and_its_shadow()
        finally:
            self.over.set()
            for hand in hands:
                hand.join()

    def _hand(self, number: int) -> None:
        """Run one command after the other, as a person at a terminal of their own would."""
        chance = random.Random(f"{self.seed}/{number}")
        round_ = 0
        while not self.over.is_set():
            round_ += 1
            words = chance.choice(COMMANDS).format(
                out=self.folder / f"out-{number}", n=f"{number}-{round_}"
            )
            if words == "import":
                words = self._fresh_keys(number, round_)
            began = time.monotonic()
            done = self._quietly(words.split())
            self._judge(words, done, began)

    def _fresh_keys(self, number: int, round_: int) -> str:
        file = self.folder / f"keys-{number}.txt"
        first = 500_000 + number * 10_000 + round_ * 10
        file.write_text("".join(f"CRASH-{first + n:06d}-HAND\n" for n in range(10)), "utf-8")
        return f"import {file} --sku S1 --supplier sup --cost 1.00 --yes"

    def _quietly(self, words: list[str]) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "kmtool", *words],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=300,
            check=False,
        )

    def _judge(self, words: str, done: subprocess.CompletedProcess[bytes], began: float) -> None:
        text = (done.stdout + done.stderr).decode(errors="replace")
        name = " ".join(words.split()[:2])
        with self.lock:
            self.ran[words.split()[0]] += 1
            if "Traceback" in text or "KM-E100" in text:
                self.figures.wrong.append(f"{name}: a traceback or a bug: {text[-400:]}")
            elif "KM-E1100" in text or "is locked" in text:
                told = f"{name}: a person was told of a lock: {text[-300:]}"
                self.locked.append((began, time.monotonic(), told))
            elif done.returncode not in TOLD_OK and FENCED not in text:
                self.figures.wrong.append(f"{name}: ended with {done.returncode}: {text[-300:]}")
            if words.startswith("sell") and not done.returncode:
                self.sold |= set(self.key.findall(text))

    def _one_and_its_shadow(self) -> None:
        """SQLite: one sends; a second one is told so; the first is stopped and taken over."""
        self._begun(*self.daemons[0])
        self._work_for(1.0)
        second, told = self._daemon(keep=False)
        code = second.wait(120)
        if code != 11:
            text = told.read_text("utf-8")[-300:]
            self.figures.wrong.append(f"a second daemon beside the first: {code} {text}")
        self._stopped_and_woken()

    def _two_workers(self) -> None:
        """PostgreSQL: both send; one of them is stopped, a third takes over from all."""
        while len(self.daemons) < 2:
            self._daemon()
        for process, told in self.daemons:
            self._begun(process, told)
        self._work_for(1.0)
        self._stopped_and_woken()

    def _stopped_and_woken(self) -> None:
        """Stop a daemon wherever it is, let another take over, wake it: it must end by itself."""
        old, old_told = self.daemons[0]
        self._begun(old, old_told)
        stopped = time.monotonic()
        old.send_signal(signal.SIGSTOP)
        new, new_told = self._daemon("--take-over", "--yes")
        self._begun(new, new_told)
        if new.poll() is not None:
            self._could_not(new, new_told, old)
            self.frozen.append((stopped, time.monotonic()))
            self._daemon()
            return
        self._work_for(0.5 + self.random.random())
        old.send_signal(signal.SIGCONT)
        for process, text in [one for one in self.daemons if one[0] is not new]:
            self._fenced_off(process, text)

    def _begun(self, process: subprocess.Popen[bytes], told: Path) -> None:
        """Wait until a daemon says that it runs, or ends."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if "The daemon runs" in told.read_text("utf-8"):
                return
            time.sleep(0.1)

    def _could_not(
        self, new: subprocess.Popen[bytes], told: Path, old: subprocess.Popen[bytes]
    ) -> None:
        """It stood in the middle of a change: only its end frees the database, and that is said."""
        text = told.read_text("utf-8")
        self.daemons = [one for one in self.daemons if one[0] is not new]
        if STANDS in text and str(old.pid) in text:
            self.woken["stood in a change: its end was asked for"] += 1
        else:
            self.figures.wrong.append(f"take-over ended with {new.returncode}: {text[-400:]}")
        old.kill()
        old.wait()
        self.daemons = [one for one in self.daemons if one[0] is not old]

    def _fenced_off(self, process: subprocess.Popen[bytes], told: Path) -> None:
        try:
            code = process.wait(90)
        except subprocess.TimeoutExpired:
            self.figures.wrong.append("a fenced off daemon went on for 90 s after it woke")
            process.kill()
            code = process.wait()
        text = told.read_text("utf-8")
        if code == 1 and FENCED in text and "Traceback" not in text:
            self.woken["woke fenced off and ended"] += 1
        else:
            self.figures.wrong.append(f"a woken daemon ended with {code}: {text[-400:]}")
        self.daemons = [one for one in self.daemons if one[0] is not process]

    def _daemon(self, *words: str, keep: bool = True) -> tuple[subprocess.Popen[bytes], Path]:
        told = self.folder / f"daemon-{time.monotonic_ns()}.out"
        with told.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "kmtool", "run", *words],
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        if keep:
            self.daemons.append((process, told))
        return process, told

    def _work_for(self, seconds: float) -> None:
        time.sleep(seconds)

    def _finish(self) -> None:
        """Let the daemon that is there bring it to an end, then stop it in order."""
        end = time.monotonic() + FINISH_S
        while time.monotonic() < end and self._left():
            if not any(process.poll() is None for process, _ in self.daemons):
                self.figures.wrong.append("no daemon was left at the end")
                break
            time.sleep(0.5)
        self._do("run", "stop", check=False)
        for process, _told in self.daemons:
            self._wait(process, 60)
            process.kill()
            process.wait()
        self._do("run", "--once", check=False)

    def _look(self) -> None:
        super()._look()
        figures = self.figures
        at_buyers = {key for texts in self._received() for key in self.key.findall(texts)}
        both = sorted(self.sold & at_buyers)
        figures.wrong += [f"key {key} was sold at the desk and sent to a buyer" for key in both]
        for began, ended, told in self.locked:
            if not any(began <= until and since <= ended for since, until in self.frozen):
                figures.wrong.append(told)
        for log in (self.folder / "logs").glob("kmtool.log*"):
            if "Traceback" in log.read_text("utf-8"):
                figures.wrong.append(f"{log} holds a traceback")
        commands = sum(self.ran.values())
        figures.lines += [
            ("commands beside the daemons", commands),
            ("  of them", ", ".join(f"{n} {name}" for name, n in self.ran.most_common(6))),
            ("keys sold at the desk", len(self.sold)),
            ("told of a process that held the file", len(self.locked)),
            *[(f"stopped daemons: {what}", n) for what, n in sorted(self.woken.items())],
        ]

    def _environment(self) -> dict[str, str]:
        found = super()._environment()
        return with_programs(found) if self.uri else found

    def _received(self) -> list[str]:
        shop = self.market.shop
        return ["\n".join(shop.received(number)) for number in self.market.wanted]


def main(argv: list[str] | None = None) -> int:
    """Run, print one screen, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.crowd", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--postgres", action="store_true", help="a real PostgreSQL")
    parser.add_argument("--folder", type=Path, help="keep the shop folder here")
    given = parser.parse_args(argv)
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    folder = given.folder or Path(tempfile.mkdtemp(prefix="kmtool-crowd-"))
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        uri = ""
        if given.postgres:
            uri = stack.enter_context(postgres())
        crowd = Crowd(folder, seed, given.minutes, uri)
        return report(crowd, seed, keep=given.folder is not None)


if __name__ == "__main__":
    sys.exit(main())
