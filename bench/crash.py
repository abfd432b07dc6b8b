"""Kills real kmtool processes at random moments and looks at the buyers afterwards.

    python -m bench.crash --kills 120

A simulated shop on loopback takes orders all the time, loses replies, and keeps the truth. Real
`kmtool sync`, `deliver` and `run` processes serve it from one shop folder on SQLite; they are
killed with SIGKILL, alone and two at a time, half of them while a call of theirs is answered.
Then all faults end, the shop is left to finish, and the buyers are asked. Exit 1 on any violation.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread

from adapters.demo_shop import DemoShop, Fault, FaultKind, Offer, Sold
from kmtool.app import create_shop
from kmtool.clock import SystemClock
from kmtool.config import load

ROOT = Path(__file__).resolve().parents[1]
KEY = re.compile(r"CRASH-\d{6}-[A-Z]{4}")
ITEMS = (("i1", 1), ("i2", 2))
BUSY_S = 1.5
LIVE_S = 25.0
FINISH_S = 240.0
FAULTS = (
    ("message", FaultKind.LOST_REPLY, 0.06),
    ("message", FaultKind.ERROR_AFTER, 0.02),
    ("message", FaultKind.CLOSED_BEFORE, 0.02),
    ("ship", FaultKind.LOST_REPLY, 0.05),
    ("ship", FaultKind.HALF_REPLY, 0.02),
    ("orders", FaultKind.ERROR_BEFORE, 0.02),
    ("order", FaultKind.LOST_REPLY, 0.02),
)
TOML = """schema = 1
[shop]
name = "Crash"
[data]
private = ".private"
{database}
[sync]
every = "1s"
[deliver]
every = "1s"
reread_after = "3s"
[brakes]
sku_pieces_per_hour = 0
sku_value_per_hour = "0"
buyer_pieces_per_hour = 0
[channels.maple]
adapter = "demo"
mode = "auto"
couriers = ["demo"]
[channels.maple.options]
url = "{url}"
read_seconds = 3
[channels.maple.credentials]
token = "env:CRASH_TOKEN"
secret = "env:CRASH_SECRET"
"""


@dataclass
class Figures:
    """What happened and what was found."""

    kills: Counter[str] = field(default_factory=Counter)
    ended: int = 0
    calls: int = 0
    wrong: list[str] = field(default_factory=list)
    lines: list[tuple[str, object]] = field(default_factory=list)


class Market:
    """The simulated shop with its buyers: orders arrive, some ask their money back."""

    def __init__(self, seed: int) -> None:
        self.shop = DemoShop(SystemClock(), name="maple")
        self.random = random.Random(seed)
        self.wanted: dict[str, int] = {}
        self.refunded: set[str] = set()
        self.victims: list[tuple[int, subprocess.Popen[bytes]]] = []
        self.lock = Lock()
        self.stopping = Event()
        self.rate_s = 0.25
        for item, _ in ITEMS:
            self.shop.add_item(Offer(item, "", f"月卡 {item}", 1000, 100_000))
        self.shop.faults.plan = self._fault
        self.shop.before = self._call

    def order(self) -> None:
        """Let one buyer pay."""
        item, units = self.random.choice(ITEMS)
        quantity = self.random.choice((1, 1, 1, 2, 3))
        lines, keys = [Sold(item, quantity)], quantity * units
        if self.random.random() < 0.15:
            other, more = ITEMS[1 if item == "i1" else 0]
            lines.append(Sold(other, 1))
            keys += more
        number = self.shop.add_order(lines, buyer=f"demo_buyer_{len(self.wanted) + 1}")
        self.wanted[number] = keys

    def buy(self) -> None:
        """Let orders arrive until told to stop; every thirtieth asks for its money back."""
        while not self.stopping.wait(self.random.expovariate(1 / self.rate_s)):
            self.order()
            if self.random.random() < 1 / 30:
                number = self.random.choice(list(self.wanted)[-12:])
                self.refunded.add(number)
                self.shop.refund(number, state=self.random.choice(("APPLIED", "REFUNDED")))

    def hit(self, process: subprocess.Popen[bytes], after_calls: int) -> None:
        """Kill a process while its n-th call from now is being answered."""
        with self.lock:
            self.victims.append((len(self.shop.calls) + after_calls, process))

    def miss(self, process: subprocess.Popen[bytes]) -> None:
        """Leave a process alone."""
        with self.lock:
            self.victims = [found for found in self.victims if found[1] is not process]

    def _call(self, _name: str) -> None:
        with self.lock:
            due = [process for at, process in self.victims if len(self.shop.calls) >= at]
            self.victims = [found for found in self.victims if found[1] not in due]
        for process in due:
            process.kill()

    def _fault(self, call: str) -> Fault | None:
        for where, kind, chance in FAULTS:
            if where == call and self.random.random() < chance:
                return Fault(where, kind)
        return None


class Crash:
    """One run: a shop folder, its market, its processes. `rush`: so many orders are paid before
    the first process starts, and no others come."""

    key = KEY

    def __init__(self, folder: Path, kills: int, seed: int, rush: int = 0) -> None:
        self.folder = folder
        self.kills = kills
        self.rush = rush
        self.database = ""
        self.seed = seed
        self.random = random.Random(seed)
        self.market = Market(seed + 1)
        self.figures = Figures()
        self.began = time.monotonic()

    def run(self) -> Figures:
        """Do it all."""
        with self.market.shop:
            self._set_up()
            for _ in range(self.rush):
                self.market.order()
            if self.rush:
                self.market.stopping.set()
            buying = Thread(target=self.market.buy, name="buyers")
            buying.start()
            try:
                self._act()
            finally:
                self.market.stopping.set()
                buying.join()
            self.market.shop.faults.clear()
            self.market.shop.before = None
            self._finish()
            self._look()
        return self.figures

    def _act(self) -> None:
        """Do to the shop what this run is about, while buyers buy."""
        while sum(self.figures.kills.values()) < self.kills:
            self._strike()

    def _set_up(self) -> None:
        toml = TOML.format(url=self.market.shop.url, database=self.database)
        (self.folder / "kmtool.toml").write_text(toml, "utf-8")
        create_shop(load(self.folder / "kmtool.toml"), SystemClock())
        amount = self.kills * 60 + self.rush * 10 + 400
        letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
        texts = [
            f"CRASH-{n:06d}-" + "".join(self.random.choices(letters, k=4)) for n in range(amount)
        ]
        file = self.folder / "keys.txt"
        file.write_text("\n".join(texts) + "\n", "utf-8")
        self._do(
            "import", file, "--sku", "S1", "--supplier", "sup", "--cost", "1.00", "--new", "--yes"
        )
        for item, units in ITEMS:
            self._do("product", "map", "maple", item, "S1", "--units", units)

    def _strike(self) -> None:
        """Start one or two processes and kill them somewhere."""
        roll = self.random.random()
        if roll < 0.35:
            self._kill_one("run")
        elif roll < 0.5:
            self._kill_one("sync")
        elif roll < 0.85:
            self._do("sync", check=False)
            self._kill_one("deliver")
        else:
            self._kill_two()

    def _kill_one(self, name: str) -> None:
        process = self._start(name)
        if self.random.random() < 0.5:
            self.market.hit(process, self.random.randint(1, 12))
            self._wait(process, LIVE_S if name == "run" else 10.0)
        else:
            self._wait(process, 0.2 + self.random.random() * BUSY_S)
        self._end(process, name)

    def _kill_two(self) -> None:
        """A sender and a command beside it: either may die first."""
        first, second = self._start("run"), self._start("deliver")
        self.market.hit(first, self.random.randint(1, 25))
        self._wait(second, 0.5 + self.random.random() * BUSY_S * 2)
        pairs = [(first, "run"), (second, "deliver")]
        self.random.shuffle(pairs)
        for process, name in pairs:
            self._end(process, name)

    def _end(self, process: subprocess.Popen[bytes], name: str) -> None:
        process.kill()
        process.wait()
        self.market.miss(process)
        if process.returncode == -9:
            self.figures.kills[name] += 1
        else:
            self.figures.ended += 1
            if process.returncode in {1, 2, 4}:
                self.figures.wrong.append(f"kmtool {name} ended with {process.returncode}")

    def _wait(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            return

    def _finish(self) -> None:
        """Without faults the daemon must bring all to an end by itself; then it stops in order."""
        daemon = self._start("run")
        end = time.monotonic() + FINISH_S
        while time.monotonic() < end and daemon.poll() is None and self._left():
            time.sleep(0.5)
        self._do("run", "stop", check=False)
        self._wait(daemon, 30)
        self._end(daemon, "run (the last)")
        self._do("run", "--once", check=False)  # jobs of the night may have been killed

    def _left(self) -> list[str]:
        shop = self.market.shop
        return [
            number
            for number in self.market.wanted
            if number not in self.market.refunded
            and not (shop.received(number) and shop.shipped(number))
        ]

    def _look(self) -> None:
        """Ask the buyers."""
        shop, figures = self.market.shop, self.figures
        holders: dict[str, set[str]] = {}
        texts = repeated = 0
        forgotten, short = [], []
        for number, wanted in self.market.wanted.items():
            got = shop.received(number)
            texts += len(got)
            repeated += max(0, len(got) - 1)
            keys = {key for text in got for key in KEY.findall(text)}
            for key in keys:
                holders.setdefault(key, set()).add(number)
            refunded = number in self.market.refunded
            if not got and not refunded:
                forgotten.append(number)
            if len(keys) != wanted and (got or not refunded):
                short.append(number)
        twice = [key for key, numbers in holders.items() if len(numbers) > 1]
        unmarked = [n for n in self._left() if n not in forgotten]
        figures.calls = len(shop.calls)
        checks, doctor = self._doctor()
        figures.lines = [
            ("orders paid", len(self.market.wanted)),
            ("of them asked their money back", len(self.market.refunded)),
            ("messages at the buyers", texts),
            ("second messages with the same keys", repeated),
            ("keys at the buyers", len(holders)),
            ("keys with two buyers", len(twice)),
            ("paid orders forgotten", len(forgotten)),
            ("orders without exactly their keys", len(short)),
            ("delivered, not marked shipped", len(unmarked)),
            ("doctor", f"{checks} checks, {len(doctor)} not well"),
        ]
        figures.wrong += [f"key {key} went to {sorted(holders[key])}" for key in twice]
        figures.wrong += [f"order {number} is forgotten" for number in forgotten]
        figures.wrong += [f"order {number} has not exactly its keys" for number in short]
        figures.wrong += [f"order {number} is not marked shipped" for number in unmarked]
        figures.wrong += [f"doctor: {told}" for told in doctor]
        figures.wrong += [f"the simulated shop broke: {error!r}" for error in shop.troubles]

    def _doctor(self) -> tuple[int, list[str]]:
        told = self._do("doctor", "--json", check=False)
        checks = json.loads(told)["checks"]
        wrong = [f"{c['name']}: {c['figure']}" for c in checks if not c["ok"]]
        return len(checks), wrong

    def _start(self, *words: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "kmtool", *map(str, words)],
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _do(self, *words: object, check: bool = True) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "kmtool", *map(str, words)],
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            timeout=180,
            check=False,
        )
        if check and done.returncode:
            raise SystemExit(f"kmtool {words[0]}: {done.stderr.decode()}")
        return done.stdout.decode()

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONUTF8": "1",
            "KMTOOL_LANG": "en",
            "KMTOOL_HOME": str(self.folder / ".home"),
            "CRASH_TOKEN": self.market.shop.token,
            "CRASH_SECRET": self.market.shop.secret,
        }


def main(argv: list[str] | None = None) -> int:
    """Run, print one screen, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=120)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--folder", type=Path, help="keep the shop folder here")
    given = parser.parse_args(argv)
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    folder = given.folder or Path(tempfile.mkdtemp(prefix="kmtool-crash-"))
    folder.mkdir(parents=True, exist_ok=True)
    return report(Crash(folder, given.kills, seed), seed, keep=given.folder is not None)


def report(crash: Crash, seed: int, *, keep: bool) -> int:
    """Run it and print one screen; 1 on any violation, whose folder is left to look at."""
    figures = crash.run()
    kills = ", ".join(f"{n} × {name}" for name, n in sorted(figures.kills.items()))
    print(f"kill -9: {sum(figures.kills.values())} ({kills}), seed {seed},")
    print(f"  {figures.calls} calls answered, {time.monotonic() - crash.began:.0f} s")
    for name, figure in figures.lines:
        print(f"  {name:36} {figure}")
    for told in figures.wrong[:20]:
        print(f"  WRONG: {told}")
    print(
        "nothing lost, nothing sold twice" if not figures.wrong else f"{len(figures.wrong)} wrong"
    )
    if figures.wrong:
        print(f"  look at {crash.folder}")
    elif not keep:
        shutil.rmtree(crash.folder, ignore_errors=True)
    return 1 if figures.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
