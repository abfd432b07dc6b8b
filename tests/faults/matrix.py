"""Runs every act through every way to go wrong and compares what it was taken for with the rules.

One thread per act: most of the time somebody waits for somebody who does not answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import adapters.http
from kmtool.errors import NeedsOperator, OutsideError, Rejected, Retriable, Unknown
from kmtool.ports import Verdict
from tests.faults import desks, mail_desks, tls_desk
from tests.faults.rules import ACTS, Act, Means, Nature, Phase

THREADS = 8
TOLD_S = 7.0
"""What the 429 says in its Retry-After."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One act that went wrong in one way: what it was taken for, and what the rules want."""

    act: Act
    phase: Phase
    state: str
    got: str
    wanted: Means
    acted: bool

    @property
    def trouble(self) -> str:
        """Say what is wrong with this pair, empty when nothing is."""
        where = f"{self.act.adapter} {self.act.title} · {self.phase.name} · {self.state}"
        if self.act.nature is Nature.WRITE and self.acted is not self.phase.acted:
            return f"{where}: the other side {'acted' if self.acted else 'did not act'}"
        if self.got != self.wanted:
            return f"{where}: taken for {self.got}, it means {self.wanted}"
        return ""


@contextmanager
def short_connects(seconds: float = desks.SHORT_S) -> Iterator[None]:
    """Let connections be given up quickly."""
    before = adapters.http.CONNECT_S
    adapters.http.CONNECT_S = seconds
    try:
        yield
    finally:
        adapters.http.CONNECT_S = before


def run(folder: Path) -> list[Pair]:
    """Run everything, mail beside HTTP; return all pairs."""
    http = [act for act in ACTS if act.wire == "http"]
    mail = [act for act in ACTS if act.wire == "smtp"]
    safe = _run_tls([act for act in ACTS if act.wire == "https"], folder / "tls")
    with ThreadPoolExecutor(2) as pool:
        found = pool.submit(run_mail, mail, folder), pool.submit(run_http, http, folder)
        return safe + [pair for part in found for pair in part.result()]


def run_http(acts: Sequence[Act], folder: Path) -> list[Pair]:
    """Run the HTTP acts; return all pairs."""
    with short_connects(), ThreadPoolExecutor(THREADS) as pool:
        return [
            pair for found in pool.map(lambda act: _run_act(act, folder), acts) for pair in found
        ]


def _run_tls(acts: Sequence[Act], folder: Path) -> list[Pair]:
    pairs = []
    with short_connects(1.0), tls_desk.desk(folder) as desk:
        for act in acts:
            for phase in act.phases():
                desk.front.phase = phase.name
                got = taken_for(act.nature, desk.attempt(act))
                pairs.append(Pair(act, phase, "first", got, phase.means(act.nature), False))
    return pairs


def run_mail(acts: Sequence[Act], folder: Path) -> list[Pair]:
    """Run the acts that go by mail; return all pairs."""
    with mail_desks.few_certificates(), ThreadPoolExecutor(THREADS) as pool:
        quick = pool.map(lambda act: _mail(act, folder / act.adapter, waits=False), acts)
        pairs = [pair for found in quick for pair in found]
        with mail_desks.short_waits():
            slow = pool.map(lambda act: _mail(act, folder / act.adapter / "slow", waits=True), acts)
            return pairs + [pair for found in slow for pair in found]


def _mail(act: Act, folder: Path, *, waits: bool) -> list[Pair]:
    pairs = []
    with mail_desks.desk(folder) as desk:
        for phase in act.phases():
            if (phase.name in mail_desks.WAITS) is not waits:
                continue
            do, done = desk.attempt(act)
            with desk.front.failing(phase.name):
                got = taken_for(act.nature, do)
            pairs.append(Pair(act, phase, "first", got, phase.means(act.nature), done()))
        assert all(len(one) == 1 for one in desk.inbox.recipients), "a mail is for one person"
    return pairs


def _run_act(act: Act, folder: Path) -> list[Pair]:
    pairs = []
    with desks.desk(act.adapter, folder) as desk:
        for phase in act.phases():
            for state, there in _states(act):
                is_slow = phase.name in desks.SLOW
                attempt = desk.attempt(act, there, short=is_slow)
                with desk.front.failing(phase.name, attempt.skip):
                    got = taken_for(act.nature, attempt.do)
                acted = act.nature is Nature.WRITE and _acted(attempt, phase)
                pairs.append(Pair(act, phase, state, got, phase.means(act.nature), acted))
    return pairs


def _states(act: Act) -> list[tuple[str, bool]]:
    """Return (state, whether the answer to a question would be yes)."""
    if act.nature is Nature.ASK:
        return [("it is there", True), ("it is not there", False)]
    return [("first", False)]


def _acted(attempt: desks.Attempt, phase: Phase) -> bool:
    """Look over there; what is still at work is waited for."""
    for _ in range(100):
        if attempt.done() == phase.acted:
            break
        time.sleep(0.01)
    return attempt.done()


def taken_for(nature: Nature, do: Callable[[], object]) -> str:
    """Return what a caller has to take an act for; anything but our errors is unclassified."""
    try:
        value = do()
    except OutsideError as error:
        return NO_ANSWERS if nature is Nature.ASK else _error(nature, error)
    except Exception as error:  # noqa: BLE001
        return f"unclassified ({type(error).__name__}: {error})"
    if nature is Nature.ASK:
        return NO_ANSWERS if value is Verdict.UNCLEAR else f"an answer ({value})"
    return Means.DONE


NO_ANSWERS = Means.NO_ANSWER


def _error(nature: Nature, error: OutsideError) -> str:
    match error:
        case Unknown():
            return Means.UNKNOWN if nature is Nature.WRITE else "unknown (of a read)"
        case Rejected():
            return Means.REFUSED
        case NeedsOperator():
            return Means.PERSON
        case Retriable():
            if error.after_s == TOLD_S:
                return Means.WAIT
            return Means.NOT_SENT if nature is Nature.WRITE else Means.AGAIN
    return f"unclassified ({type(error).__name__})"
