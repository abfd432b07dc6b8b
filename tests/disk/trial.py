"""Tries one command with the n-th write failing, and tells what is wrong with what it left."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kmtool.store.copying import test_open as opened_well
from tests.cli.conftest import Told
from tests.disk.cases import Case, filled
from tests.disk.faulty import Disk, left_over
from tests.disk.stage import Stage, differing, same

SAYS = re.compile(
    r"disk is full|No space|disk I/O|Input/output|cannot be written|cannot be changed", re.I
)
CODES = {1, 3, 4, 6, 7, 8, 9, 11}


@dataclass
class Trial:
    """One command on one stage: the clean runs, then those on a disk that fails."""

    stage: Stage
    case: Case
    line: str = ""
    code: int = 0
    writes: int = 0
    tried: int = 0
    random: set[tuple[str, str]] = field(default_factory=set)

    def clean(self) -> None:
        """Run it undisturbed, twice: what differs between the two is random."""
        self.begin()
        self.before, self.files_before = self.stage.books(), self.stage.files()
        self.doctor_before = self.doctor()
        self.begin()
        with Disk(self.stage.live) as disk:
            told = self.say()
        assert told.code in {0, 3, 8}, (self.line, told)
        self.code, self.writes = told.code, disk.writes
        self.after, self.files_after = self.stage.books(), self.stage.files()
        self.doctor_after = self.doctor()
        self.begin()
        self.say()
        self.random = differing(self.after, self.stage.books())

    def begin(self) -> None:
        """Put everything back to where the command starts."""
        self.stage.back()
        if self.case.first is not None:
            self.case.first(self.stage)
        self.line = filled(self.stage, self.case.line)

    def say(self) -> Told:
        return self.stage.say(self.line, self.case.typed, tty=self.case.tty)

    def places(self, most: int) -> list[int]:
        """Return which writes fail: all of them, or the first dozen and then some of the rest."""
        most = self.case.most or most
        if self.writes <= most:
            return list(range(1, self.writes + 1))
        first = min(12, most // 2)
        step = (self.writes - first) / (most - first)
        rest = {first + round(step * n) for n in range(1, most - first + 1)}
        return [*range(1, first + 1), *sorted(rest)]

    def wrong(self, at: int, kind: str) -> Iterator[str]:
        """Let the n-th write fail and yield what is wrong with what is left."""
        self.begin()
        with Disk(self.stage.live, at, kind) as disk:
            told = self.say()
        if not disk.failed:  # the n-th was a rename: it needs no room
            return
        place = f"{self.case.line}: write {at}/{self.writes} {kind} ({disk.failed[0]})"
        for complaint in (*self._told(told), *self._left(told), *self._again(told)):
            yield f"{place}: {complaint}"

    def _told(self, told: Told) -> Iterator[str]:
        text = told.out + told.err
        if "Traceback" in text or "KM-E100" in text:
            yield f"a traceback or a bug: {text[-600:]}"
        if told.code not in CODES | {self.code}:
            yield f"exit code {told.code}: {text[-300:]}"
        if told.code == self.code:
            return
        if not SAYS.search(text):
            yield f"nothing says that the disk was at fault: {told.code} {text[-400:]}"
        if told.code not in {3, 7, 8}:
            lines = told.err.splitlines()[-3:]
            whole = (  # behind a question the error begins where the answer would stand
                len(lines) == 3 and re.search(r"(^|: )KM-E\d{3,4} \S", lines[0])
                and lines[1].startswith("  where: ") and lines[2].startswith("  to do: ")
            )  # fmt: skip
            if not whole:
                yield f"no three lines: {told.err[-400:]}"

    def _left(self, told: Told) -> Iterator[str]:
        books = self.stage.books()
        undone = same(books, self.before, self.random)
        done = same(books, self.after, self.random)
        if not self.case.steps and undone and done:
            yield f"half done: {undone} are not as before, {done} not as after ({told.err[-200:]})"
        if told.code == self.code == 0 and not self.case.steps and done:
            yield f"it says that it is done, and {done} are not"
        yield from (f"left over: {path.name}" for path in left_over(self.stage.live))
        yield from self._files()
        yield from self.stage.unrecorded()

    def _files(self) -> Iterator[str]:
        """No file under its own name is cut (what a stopped demo played so far is whole)."""
        if self.case.line.startswith("demo"):
            return
        for name, data in self.stage.files().items():
            if data in (self.files_before.get(name), self.files_after.get(name)):
                continue
            problem = cut(self.stage.live / name, data, self.files_after.get(name))
            if problem:
                yield f"{name} is no whole file: {problem}"

    def _again(self, told: Told) -> Iterator[str]:
        """With room again the same command does it, and doctor finds no more than it would."""
        books = self.stage.books()
        is_after = not same(books, self.after, self.random)
        is_known = is_after or not same(books, self.before, self.random)
        if not is_after or told.code != self.code:
            yield from self._repeated(told, is_after=is_after)
        self.tried += 1
        if is_known and self.tried % 4:  # what doctor says of these books was seen already
            return
        if self.case.steps:
            self.stage.say("deliver")  # the next sender buries a session that could not be closed
        worse = self.doctor() - self.doctor_before - self.doctor_after
        if worse:
            yield f"doctor: {sorted(worse)}"

    def _repeated(self, told: Told, *, is_after: bool) -> Iterator[str]:
        if self.case.there and "not at home" in told.err:
            line = f"db adopt --config ../{self.case.there}/kmtool.toml --confirm ?"
            again = self.stage.say(filled(self.stage, line))
            if again.code != 0:
                yield f"adopted there, with room: {again.code} {again.err[-400:]}"
            return
        again = self.say()
        if is_after or self.case.steps:
            if again.code in {1, 2, 4, 10} or "Traceback" in again.err + again.out:
                yield f"again, with room: {again.code} {again.err[-400:]}"
            return
        if again.code != self.code:
            yield f"again, with room: {again.code} {again.err[-400:]}"
        left = same(self.stage.books(), self.after, self.random)
        if left:
            yield f"again, with room: {left} are not as after one undisturbed run"

    def doctor(self) -> set[str]:
        told = self.stage.say("doctor --json")
        if not told.out:
            return {told.err[-300:]}
        checks: list[dict[str, Any]] = json.loads(told.out)["checks"]
        return {f"{c['name']}" for c in checks if not c["ok"]}


def cut(path: Path, data: bytes, whole: bytes | None) -> str:
    """Return why a file is not whole, empty when it is (or cannot be told)."""
    match path.suffix:
        case ".db":
            found = opened_well(path)
            return "" if found == "ok" else found
        case ".xlsx":
            return "" if zipfile.is_zipfile(path) else "no workbook"
        case ".journal":  # fewer keys left than in an undisturbed run
            return "" if data.endswith(b"\n") else "its last line is cut"
        case ".json" | ".home":
            try:
                json.loads(data)
            except ValueError:
                return "no json"
            return ""
    if whole is not None:
        return "" if len(data) >= len(whole) else f"{len(data)} of {len(whole)} bytes"
    known = {".log", ".toml", ".sha256", ".key"}  # a key that seals nothing yet may stay
    return "nobody makes it" if data and path.suffix not in known else ""
