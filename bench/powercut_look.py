"""Opens what a power cut left, with the product, and asks for all that was acknowledged.

- The database opens, and after its own recovery its pages are exactly those after some commit: not
  before the last one that had been acknowledged. Every distinct image is looked into once: whole,
  and every fact that a command had answered is there.
- Every key that may have left is in the send journal, and the journal can be read.
- The master key and every finished backup are there.
- On samples the shop is started: it recovers, delivers what is left, and the buyers are asked.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.powercut_day import LIVE
from bench.powercut_disk import Files, digest
from bench.powercut_tape import Recording, image_hash
from kmtool.errors import KmError
from kmtool.journal import Journal
from kmtool.store import copying
from kmtool.store.db import Db, connect
from kmtool.store.maintenance import foreign_keys, integrity
from kmtool.store.sqlite import sqlite3
from kmtool.vault import MasterKey, Vault

BEFORE = ("new", "ready", "reserved", "sending")
LOGS = ("", "-wal", "-journal", "-shm")


@dataclass
class Known:
    """What is known outside at one operation of the tape."""

    image: int = -1
    created: bool = False
    handed: frozenset[str] = frozenset()
    backups: tuple[tuple[str, bytes], ...] = ()

    @property
    def ready(self) -> bool:
        """Tell whether there is a shop that can be started."""
        return self.created or self.old_shop

    old_shop: bool = False


@dataclass(frozen=True)
class Claim:
    """A fact that a command answered: it holds from an image on, until a restore."""

    since: int
    until: int
    kind: str
    names: tuple[str, ...]


@dataclass
class Verdict:
    """What was wrong with a state, by kind."""

    wrong: list[tuple[str, str]] = field(default_factory=list)

    def say(self, kind: str, text: str) -> None:
        """Note one thing."""
        self.wrong.append((kind, text))


class Look:
    """Judges states of one tape, in a folder of its own."""

    def __init__(self, tape: Recording, folder: Path) -> None:
        self.tape = tape
        self.folder = folder
        self.live = folder / "shop.db"
        folder.mkdir(parents=True, exist_ok=True)
        self.places = {name: n for n, name in enumerate(tape.images)}  # the last of equal ones
        self.vault, self.database_id, self.key = self._master()
        self.known = list(self._known())
        self.claims = list(self._claims())
        self.whole: dict[str, list[str]] = {}
        self.journals: dict[bytes, frozenset[str] | str] = {}
        self.copies: dict[bytes, str] = {}
        self.garbage = random.Random(3)

    def judge(self, cut: int, files: Files) -> list[tuple[str, str]]:
        """Return what is wrong with a state."""
        verdict = Verdict()
        known = self.known[cut]
        self._database(files, known, verdict)
        self._journal(files, known, verdict)
        if known.created and files.get(f"home/keys/{self.database_id}.key") != self.key:
            verdict.say("lost", "the master key")
        for name, body in known.backups:
            self._backup(files, name, body, verdict)
        return verdict.wrong

    # ------------------------------------------------------------------ the database

    def _database(self, files: Files, known: Known, verdict: Verdict) -> None:
        for end in LOGS:
            path = self.live.with_name(self.live.name + end)
            if LIVE + end in files:
                path.write_bytes(files[LIVE + end])
            elif end == "-shm" and self.garbage.random() < 0.2:
                path.write_bytes(self.garbage.randbytes(32768))
            else:
                path.unlink(missing_ok=True)
        try:
            db = connect(self.live)
            try:
                db.value("SELECT count(*) FROM sqlite_master")
            finally:
                db.close()
        except (KmError, sqlite3.Error) as error:
            if known.image >= 0:
                verdict.say("unsound", f"it does not open: {error}")
            return
        image = self.live.read_bytes()
        name = image_hash(image)
        place = self.places.get(name, -1)
        if place < 0 and known.image >= 0:
            found = self._look_into(image)
            verdict.say("unsound", f"no commit left these pages: {found or 'but whole'}")
        elif place < known.image:
            verdict.say("lost", f"{known.image - place} acknowledged commits")
        elif place >= 0:
            for told in self._whole(name, image, place):
                verdict.say("unsound", told)

    def _whole(self, name: str, image: bytes, place: int) -> list[str]:
        """Look into an image, once."""
        if name not in self.whole:
            found = self._look_into(image)
            with contextlib.closing(connect(self.live)) as db:
                found += self._facts(db, place)
            self.whole[name] = found
        return self.whole[name]

    def _look_into(self, image: bytes) -> list[str]:
        self.live.write_bytes(image)
        try:
            with contextlib.closing(connect(self.live)) as db:
                return integrity(db) + foreign_keys(db)
        except (KmError, sqlite3.Error) as error:
            return [str(error)]

    def _facts(self, db: Db, place: int) -> list[str]:
        return [
            f"image {place}: {told}"
            for claim in self.claims
            if claim.since <= place and (place < claim.until or claim.kind == "handed")
            for told in self._missing(db, claim)
        ]

    def _missing(self, db: Db, claim: Claim) -> Iterator[str]:
        """Yield what of a fact is not there."""
        for name in claim.names:
            if claim.kind in {"imported", "handed"}:
                print_of = self.vault.fingerprint(name.encode())
                state = db.value("SELECT state FROM keys WHERE fingerprint = :f", f=print_of)
                if claim.kind == "imported" and state is None:
                    yield f"the imported key {name} is gone"
                if claim.kind == "handed" and state in {"free", "reserved"}:
                    yield f"the key {name} left and is {state}"
            elif not db.value("SELECT count(*) FROM orders WHERE number = :n", n=name):
                yield f"the order {name} is gone"
            elif claim.kind == "delivered":
                rows = db.all(
                    "SELECT l.state FROM lines l JOIN orders o ON o.id = l.order_id"
                    " WHERE o.number = :n",
                    n=name,
                )
                if any(row["state"] in BEFORE for row in rows):
                    yield f"the order {name} was delivered and is not"

    # ------------------------------------------------------------------ other files

    def _journal(self, files: Files, known: Known, verdict: Verdict) -> None:
        body = files.get(f"home/journal/{self.database_id}.log", b"")
        sign = digest(body)
        if sign not in self.journals:
            self.journals[sign] = self._read_journal(body)
        found = self.journals[sign]
        if isinstance(found, str):
            verdict.say("unsound", f"the send journal: {found}")
        elif not known.handed <= found:
            missing = len(known.handed - found)
            verdict.say("lost", f"{missing} keys that left are not in the send journal")

    def _read_journal(self, body: bytes) -> frozenset[str] | str:
        path = self.folder / f"{self.database_id}.log"
        path.write_bytes(body)
        journal = Journal(path, self.database_id, self.vault.digest)
        try:
            return frozenset(one.fingerprint for one in journal.read() if one.kind == "SEND")
        except KmError as error:
            return str(error)

    def _backup(self, files: Files, name: str, body: bytes, verdict: Verdict) -> None:
        if name not in files:
            verdict.say("lost", f"the backup {name}")
            return
        sign = digest(files[name])
        if sign not in self.copies:
            path = self.folder / "backup.db"
            path.write_bytes(files[name])
            self.copies[sign] = copying.test_open(path)
        if self.copies[sign] != "ok" or sign != body:
            verdict.say("unsound", f"the backup {name}: {self.copies[sign]}")

    # ------------------------------------------------------------------ what is known when

    def _master(self) -> tuple[Vault, str, bytes]:
        for op in self.tape.ops:
            if op[0] == "+" and op[1].startswith("home/keys/"):
                body = next(one[3] for one in self.tape.ops if one[0] == "w" and one[1] == op[2])
                found = MasterKey.parse(body.decode(), op[1])
                return Vault(found), Path(op[1]).stem, body
        return Vault(MasterKey.new()), "none", b""  # a database alone

    def _known(self) -> Iterator[Known]:
        """Yield what is known at every operation, with the marks that follow before the next."""
        now = Known()
        found: list[Known] = []
        since = 0
        names: dict[str, int] = {}
        bodies: dict[int, bytearray] = {}
        for at, op in enumerate([*self.tape.ops, ("end",)]):
            if op[0] != "m":
                found += [now] * (at - since)
                since = at
                follow(names, bodies, op)
                continue
            what = op[1]
            now = replace(now)
            if what["kind"] == "commit":
                now.image = what["at_image"]
            elif what["kind"] == "created":
                now.created = True
            elif what["kind"] == "synced" and not now.created:
                now.old_shop = True
            elif what["kind"] == "handed":
                prints = (self.vault.fingerprint(key.encode()).hex() for key in what["keys"])
                now.handed = now.handed | frozenset(prints)
            elif what["kind"] == "backed_up":
                body = digest(bytes(bodies[names[what["file"]]]))
                now.backups = (*now.backups, (what["file"], body))
        yield from found

    def _claims(self) -> Iterator[Claim]:
        marks = [op[1] for op in self.tape.ops if op[0] == "m"]
        restored = next((m["at_image"] for m in marks if m["kind"] == "restoring"), 10**9)
        for mark in marks:
            names = mark.get("keys") or mark.get("orders") or ()
            if mark["kind"] in {"imported", "handed", "synced", "delivered"} and names:
                since = mark["at_image"]
                until = restored + 1 if since <= restored else 10**9
                yield Claim(since, until, mark["kind"], tuple(names))


def follow(names: dict[str, int], bodies: dict[int, bytearray], op: tuple[Any, ...]) -> None:
    """Keep names and contents as they are without a cut."""
    from bench.powercut_disk import put, rename

    if op[0] in {"+", "-", ">"}:
        rename(names, op)
    elif op[0] in {"w", "t"}:
        put(bodies.setdefault(op[1], bytearray()), op)


def lay_out(files: Files, folder: Path) -> None:
    """Put the files of a state into a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, body in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        if name.startswith("home/"):
            os.chmod(path, 0o600)  # noqa: PTH101
