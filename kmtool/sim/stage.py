"""One simulated life of a shop: its folder, clock, processes, counts and trace.

What an act uses:

    stage.random     all chance of this step (never anything else)
    stage.world      the truth outside (`kmtool.sim.world`)
    stage.clock      `advance(ms)`: time passes; `jump(ms)`: the shop's clock is set
    stage.config     the shop's configuration now; another may be put here (`dataclasses.replace`)
    stage.command    run an operation as a command: a process of its own that may die or be refused
    stage.open       the same without the safety net
    stage.rounds     the daemon works: pulls, delivers
    stage.note       a line in the trace
    stage.fail       a broken promise: ends this life
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn, TypeVar

from kmtool.app import open_shop
from kmtool.config import Config
from kmtool.errors import Broken, KmError, TakenOver
from kmtool.journal import Journal, JournalEntry
from kmtool.operations.deliver import deliver_all
from kmtool.operations.recovery import recovered, refusal
from kmtool.operations.sender import sending
from kmtool.operations.sync import sync
from kmtool.ports import OrderFact
from kmtool.shop import Shop
from kmtool.sim.clocks import SimClock
from kmtool.sim.edges import Crash, Edges, PowerCut, Violation
from kmtool.sim.ground import Ground
from kmtool.sim.machine import Connections, Disk, Process
from kmtool.sim.sites import SITES
from kmtool.sim.world import Name, Placed, World

T = TypeVar("T")

START_MS = 1_795_305_600_000
TRACE = 60
LOOKS = 5  # of so many starts one looks at all promises
DEEP = 2
"""How many processes may stand still one inside the other."""
STILL_MAX_MS = 55_000
"""So long may a process stand still right before its call (`docs/reliability.md`)."""
COUNTED = ("outside", "acts", "calls", "commits", "journal", "crashes", "restarts", "jumps")
"""What counts as an event; `Stage.count` holds other figures too."""

current: list[Stage] = []
"""The stage that is played now (adapters are built by name and find it here)."""


@dataclass(frozen=True, slots=True)
class Act:
    """Something that happens in a step: how often compared with others, its name, what it does."""

    weight: int
    name: str
    run: Callable[[Stage], object]


class Stage:
    """One life. Make it, play on it, `close` it."""

    def __init__(
        self, seed: int, ground: Ground, allowed: frozenset[tuple[int, int]] | None = None
    ) -> None:
        self.seed = seed
        self.ground = ground
        self.clock = SimClock(START_MS)
        self.config: Config = ground.fresh()
        self.edges = Edges(seed, allowed)
        self.random = random.Random(seed)  # noqa: S311  (a simulation)
        self.count: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.trace: deque[str] = deque(maxlen=TRACE)
        self.violations: list[Violation] = []
        self.disk = Disk()
        self.connections = Connections()
        self.lines: dict[bytes, JournalEntry | None] = {}
        """Lines of journals that were read before (they hold their own proof)."""
        self.sent: dict[bytes, set[Name]] = {}
        """fingerprint → orders: what the journal has on the disk."""
        self.begun: dict[tuple[str, str, int], int] = {}  # message → commit of its first intent
        self.journals: dict[Path, Journal] = {}
        """The journals of this life, each as a process knew it."""
        self.stands_at = ""
        """Where a process stands still while another acts."""
        self.others: list[Act] = []
        """What another actor may do while a process stands still."""
        self.step = 0
        self._sequence = 0
        self.jumped_ms = 0
        """When the shop's clock was set last."""
        self._digest = hashlib.blake2b(digest_size=16)
        self._processes: list[Process] = []
        self._daemon: ExitStack | None = None
        self._daemon_process: Process | None = None
        self._daemon_shop: Shop | None = None
        self.world = World(SITES, self.clock.true_ms, self.tick)
        current[:] = [self]

    # ------------------------------------------------------------------ steps and trace

    def begin_step(self, number: int) -> None:
        """Go on to a step of the script: chance is drawn for it alone."""
        self.step = number
        self.random = random.Random(f"{self.seed}/{number}")  # noqa: S311  (a simulation)
        self.edges.begin_step(number)

    def tick(self) -> int:
        """Return the next sequence number."""
        self._sequence += 1
        return self._sequence

    def note(self, text: str) -> None:
        """Put a line into the trace (it belongs to what a seed must repeat exactly)."""
        self.trace.append(f"{self.step:4} {(self.clock.true_ms() - START_MS) // 1000:7} s  {text}")
        self._digest.update(text.encode("utf-8", "surrogatepass") + b"\n")

    def jump(self, ms: int) -> None:
        """Set the shop's clock forward or back."""
        self.count["jumps"] += 1
        self.clock.jump(ms)
        self.jumped_ms = self.clock.true_ms()
        self.note(f"the clock jumps by {ms // 1000} s")

    def happened(self, text: str) -> None:
        """Note something that happened outside by itself."""
        self.count["outside"] += 1
        self.note(text)

    def digest(self) -> str:
        """Return what names everything that happened so far."""
        return self._digest.hexdigest()

    def events(self) -> int:
        """Return how many events there were."""
        return sum(self.count[name] for name in COUNTED)

    def fail(self, rule: str, told: str) -> NoReturn:
        """Tell of a broken promise: this life is over."""
        violation = Violation(rule, told)
        self.violations.append(violation)
        self.note(f"VIOLATION {violation}")
        raise violation

    # ------------------------------------------------------------------ edges

    def draw(self, where: str, process: Process) -> str:
        """Return what happens at an edge of a process; a dead one does nothing any more."""
        process.check()
        what = self.edges.draw(where)
        if what:
            process.acted = True
        return what

    def edge(self, where: str, process: Process, *, may_act: bool = True) -> str:
        """Let happen what happens at an edge; returns what the caller must do itself."""
        what = self.draw(where, process)
        if not what or (what == "other" and (not may_act or len(self._processes) > DEEP)):
            return ""
        return self.strike(what, where, process)

    def strike(self, what: str, where: str, process: Process) -> str:
        """Do what concerns the whole process; return the rest."""
        if what == "crash":
            self.count["crashes"] += 1
            self.note(f"{process.name} dies at {where}")
            process.die()
            raise Crash
        if what == "power":
            self.power_cut(where)
        if what == "other":
            self._let_other_act(where, process)
            return ""
        return what

    def power_cut(self, where: str) -> NoReturn:
        """The machine dies: all processes, and what was not forced to the disk."""
        self.count["crashes"] += 1
        self.count["power"] += 1
        self.note(f"power cut at {where}")
        for process in self._processes:
            process.die()
        if self._daemon_process is not None:
            self._daemon_process.die()
        self.disk.lose(lambda size: self.edges.random.randrange(size + 1))
        raise PowerCut

    def told(self, process: Process, placed: Placed, fact: OrderFact) -> None:
        """A process was told of an order; it knows once its next fact is on the disk."""
        process.told.append((placed, fact))

    def committed(self, process: Process) -> int:
        """Count a fact on the disk; return its sequence number."""
        self.count["commits"] += 1
        self._digest.update(b"c")
        sequence = self.tick()
        for placed, fact in process.told:
            placed.read = (self.clock.true_ms(), self.count["jumps"])
            if fact.revision_ms >= placed.told_ms:
                placed.learned(fact, sequence)
        process.told.clear()
        return sequence

    def journalled(self, process: Process, entries: Sequence[JournalEntry]) -> None:
        """Remember what the send journal has on the disk."""
        self.count["journal"] += 1
        for entry in entries:
            name = (entry.channel, entry.order)
            if entry.kind == "SEND":
                self.sent.setdefault(bytes.fromhex(entry.fingerprint), set()).add(name)
                message = (entry.channel, entry.order, entry.parcel)
                process.intended[message] = process.last_commit
        self._digest.update(b"j%d" % len(entries))

    def _let_other_act(self, where: str, process: Process) -> None:
        if not self.others:
            return
        act = self.edges.random.choices(self.others, [one.weight for one in self.others])[0]
        self.note(f"{process.name} stands still at {where}: {act.name}")
        mine, self.random = self.random, self.edges.random
        stood, self.stands_at = self.stands_at, where
        since_ms = self.clock.true_ms()
        try:
            act.run(self)
        finally:
            self.random, self.stands_at = mine, stood
        process.check()
        if self.clock.true_ms() - since_ms > STILL_MAX_MS and where == "call before":
            self.strike("crash", where, process)
        self.note(f"{process.name} goes on")

    # ------------------------------------------------------------------ processes

    @property
    def process(self) -> Process:
        """The process that runs now."""
        return self._processes[-1]

    def senders(self) -> list[Process]:
        """Return the processes that send by themselves, those that stand still too."""
        every = [*self._processes, *([self._daemon_process] if self._daemon_process else [])]
        return [one for one in every if one.name in {"daemon", "run"}]

    @property
    def depth(self) -> int:
        """How many processes are in the middle of something."""
        return len(self._processes)

    @contextmanager
    def running(self, process: Process) -> Iterator[Process]:
        """Let a process run (others stand still until it is done)."""
        self._processes.append(process)
        try:
            yield process
        finally:
            self._processes.pop()

    @contextmanager
    def open(self, name: str = "command", config: Config | None = None) -> Iterator[Shop]:
        """Open the shop in a process of its own. Whatever happens to it comes through."""
        process = Process(self, name)
        with (
            self.running(process),
            open_shop(config or self.config, clock=self.clock, means=process.means()) as shop,
        ):
            yield replace(shop, actor="owner")

    def command(
        self, name: str, work: Callable[[Shop], T], config: Config | None = None
    ) -> T | None:
        """Run an operation as a command; None when it was refused or died on the way."""
        self.count["acts"] += 1
        self.note(name)
        try:
            with self.open(name.partition(" ")[0], config) as shop:
                return work(shop)
        except PowerCut:
            if self._processes:
                raise
            return None
        except Crash:
            return None
        except KmError as error:
            self.refused(name, error)
            return None

    def refused(self, name: str, error: KmError) -> None:
        """Take note of an error that the program expected."""
        self.refusals[error.code] += 1
        told = error.message().replace(str(self.ground.root), "…")
        self.note(f"{name}: {error.code} {told}")

    # ------------------------------------------------------------------ the daemon

    def daemon(self) -> Shop | None:
        """Return the shop of the daemon, started if need be; None when it cannot start."""
        if self._daemon_shop is not None and self._daemon_process is not None:
            if self._daemon_process.is_alive:
                return self._daemon_shop
            self.end_daemon()
        self.count["restarts"] += 1
        stack, process = ExitStack(), Process(self, "daemon")
        self._daemon, self._daemon_process = stack, process
        try:
            with self.running(process):
                opened = open_shop(self.config, clock=self.clock, means=process.means())
                shop = replace(stack.enter_context(opened), actor="daemon")
                self._daemon_shop = self._start(shop, stack)
                process.sends = True
        except Crash as crash:
            self.end_daemon()
            if isinstance(crash, PowerCut) and self._processes:
                raise
            return None
        except KmError as error:
            self.refused("daemon starts", error)
            self.end_daemon()
            return None
        return self._daemon_shop

    def _start(self, shop: Shop, stack: ExitStack) -> Shop:
        """Become the sender, as `deliver` does, or as `run`, which looks at all promises first."""
        if self.edges.random.randrange(LOOKS):
            return stack.enter_context(sending(shop, "deliver"))
        found = stack.enter_context(recovered(shop, "run"))
        if found.broken:
            self.fail("nothing is broken at a start", str(refusal(found.broken)))
        return found.shop

    def stop_daemon(self) -> None:
        """End the daemon before files are touched: nothing of the shop is open then."""
        self.end_daemon()
        self.connections.close()

    def end_daemon(self) -> None:
        """End the daemon in an orderly way, or what is left of a dead one."""
        stack, process = self._daemon, self._daemon_process
        self._daemon = self._daemon_shop = None
        if stack is None or process is None:
            self._daemon_process = None
            return
        try:
            with self.running(process), suppress(KmError):
                stack.close()
        except PowerCut:
            if self._processes:
                raise
        except Crash:
            pass
        finally:
            self._daemon_process = None

    def kill_daemon(self) -> None:
        """kill -9, between two rounds."""
        if self._daemon_process is not None and self._daemon_process.is_alive:
            self.count["crashes"] += 1
            self.note("daemon is killed")
            self._daemon_process.die()
        self.end_daemon()

    def rounds(self, n: int = 1) -> None:
        """The daemon works n rounds: pulls, delivers. It is started when it is not there."""
        for _ in range(n):
            self.world.catch_up()
            shop = self.daemon()
            if shop is None or self._daemon_process is None:
                continue
            try:
                with self.running(self._daemon_process):
                    sync(shop)
                    self.count["pulls"] += 1
                    deliver_all(shop)
            except Crash as crash:
                self.end_daemon()
                if isinstance(crash, PowerCut) and self._processes:
                    raise
            except Broken as error:
                if not isinstance(error, TakenOver) and not self._daemon_process.acted:
                    self.fail("no round breaks by itself", f"{error}")
                self.refused("daemon", error)
                self.end_daemon()
            except KmError as error:
                self.refused("daemon", error)

    def close(self) -> None:
        """End whatever still runs."""
        self.edges.calm = True
        self.stop_daemon()
        current.clear()
