"""The send journal: which keys may have left, and what may have been bought, before it happens.

Append-only, outside the shop folder, so that a restored or copied database can be compared with
what was really sent. One line per record, JSON without keys:

    {"seq": 7, "db": "…", "session": 3, "kind": "SEND", "channel": …, "order": …, "line": …,
     "fingerprint": "hex", "mac": "hex"}

`mac` is the vault's HMAC over the record without it. RELEASE takes a SEND back: it is written when
a person proved that nobody saw the key. A torn last line (power cut) is ignored: its network call
had not begun. `n` counts the records of a session (the database counts them too: one that knows
fewer is older than the journal), `parcel` is the number by which a message can be found again.
`upto` is the `n` of the last record of the same message: one that lacks it broke off while it was
written, so its call had not begun, and none of its keys left.

BAD names a key that the SEND records of its message bring another one in place of: a copy from
before counts that key as given up, and no other.

BUY names no key: it says that a purchase for a line was tried under the number with this
`generation` (its count among the numbers of the line) and `place` (which line of the order the
number names), so that no older copy buys it again; and from whom, for how much at most, and when,
so that the limit of the day holds there too.

A journal that grew is laid aside under a number (`….0001.log`) when a sender starts; all parts are
read, in their order.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import RawIOBase
from json.encoder import encode_basestring as _quoted
from pathlib import Path
from typing import BinaryIO

from kmtool.durable import keep_name
from kmtool.errors import Broken

PART_MAX = 32 << 20
TAIL = 256 << 10


@dataclass(slots=True)  # one for each key: a frozen one takes four times as long to make
class JournalEntry:
    """One key that may leave (`SEND`), was proved not to have left (`RELEASE`), or was given up
    for another (`BAD`); or a purchase that may be made (`BUY`)."""

    kind: str
    channel: str
    order: str
    line: str
    fingerprint: str
    session: int
    n: int = 0
    parcel: int = 0
    upto: int = 0
    generation: int = 0
    supplier: str = ""
    amount: int = 0
    at: int = 0
    place: int = 0


class Journal:
    """The journal file of one database."""

    def __init__(self, path: Path, database_id: str, digest: Callable[[bytes], str]) -> None:
        self.path = path
        self._database_id = database_id
        self._digest = digest
        self._count: int | None = None
        self._end = (0, 0)

    def append(self, entries: Sequence[JournalEntry]) -> None:
        """Write entries and force them to the disk; only then may the network be touched."""
        if not entries:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._must_not_have_shrunk()
            if self._count is None:
                self._count = self.count()
            lines = [self._line(n, entry) for n, entry in enumerate(entries, self._count + 1)]
            fresh = not self.path.exists()
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(handle, "ab", buffering=0) as file:
                self._put(file, (b"\n" if self._torn() else b"") + b"".join(lines))
                self._force(file)
            if fresh:
                keep_name(self.path)
            self._count += len(lines)
            self._end = (len(self.parts()), self.path.stat().st_size)
        except OSError as error:
            raise self._unwritten(error) from None

    def read(self) -> Iterator[JournalEntry]:
        """Yield the records of all whole messages; one whose HMAC does not fit is `Broken` with
        its line."""
        begun: dict[int, list[JournalEntry]] = {}
        for entry in self.lines():
            yield from whole(begun, entry)

    def lines(self) -> Iterator[JournalEntry]:
        """Yield every record as it lies there, those of unfinished messages too; raises `Broken`
        as `read` does."""
        for part in self.parts():
            with self._opened(part) as file:
                for number, raw in enumerate(file, 1):
                    entry = self._parse(raw, number, part)
                    if entry is not None:
                        yield entry

    def tail(self, size: int = TAIL) -> list[JournalEntry]:
        """Return the last records (at most `size` bytes of them), without reading the rest."""
        for part in reversed(self.parts()):
            with self._opened(part) as file:
                length = file.seek(0, os.SEEK_END)
                file.seek(max(0, length - size))
                lines = file.read().splitlines(keepends=True)
            found = [
                entry
                for number, raw in enumerate(lines[1:] if length > size else lines, 1)
                if (entry := self._parse(raw, number, part)) is not None
            ]
            if found:
                return found
        return []

    def is_short(self) -> bool:
        """Tell whether `tail` returns all there is."""
        parts = self.parts()
        return not parts or (len(parts) == 1 and parts[0].stat().st_size <= TAIL)

    def parts(self) -> list[Path]:
        """Return the files of the journal, oldest first."""
        old = sorted(self.path.parent.glob(f"{self.path.stem}.[0-9][0-9][0-9][0-9].log"))
        return [*old, self.path] if self.path.exists() else old

    def size(self) -> int:
        """Return how long all parts are together, in bytes."""
        found = 0
        for part in self.parts():
            with suppress(FileNotFoundError):  # laid aside just now, by another process
                found += part.stat().st_size
        return found

    def lay_aside(self, limit: int = PART_MAX) -> bool:
        """Put a journal that grew too long under a number; call it as the only sender."""
        if not self.path.exists() or self.path.stat().st_size < limit:
            return False
        old = [part for part in self.parts() if part != self.path]
        number = int(old[-1].name.split(".")[-2]) + 1 if old else 1
        try:
            self.path.rename(self.path.with_name(f"{self.path.stem}.{number:04d}.log"))
        except OSError:  # somebody holds it open (Windows): the next start tries again
            return False
        self._count = None
        self.path.touch(0o600)
        keep_name(self.path)
        return True

    def count(self) -> int:
        """Return how many lines the journal has."""
        if not self.path.exists():
            return 0
        with self.path.open("rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))

    def look_again(self) -> None:
        """Take the files as they are now: whoever calls has looked for what is missing."""
        self._count, self._end = None, (0, 0)

    def _put(self, file: RawIOBase, data: bytes) -> None:
        """Write whole records at once, so that two processes do not mix theirs."""
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) or 0 :]

    def _force(self, file: RawIOBase) -> None:
        """Return when the disk has it."""
        os.fsync(file.fileno())

    def _must_not_have_shrunk(self) -> None:
        """A journal that was deleted or cut under a running sender is made whole by its next start;
        until then nothing is added that would hide the loss."""
        parts, size = self._end
        now = self.path.stat().st_size if self.path.exists() else 0
        if size and now < size and len(self.parts()) <= parts:
            raise Broken(
                detail="the send journal was deleted or cut while it was in use; nothing was sent",
                where=str(self.path),
                mend="stop what sends (kmtool run stop), then start it again: kmtool run",
            )

    def _opened(self, part: Path) -> BinaryIO:
        try:
            return part.open("rb")
        except OSError as error:
            raise Broken(
                detail="the send journal cannot be read ({reason}); nothing is sent",
                reason=error.strerror,
                where=str(part),
                mend="mend the permissions, then: kmtool deliver",
            ) from None

    def _unwritten(self, error: OSError) -> Broken:
        return Broken(
            detail="the send journal cannot be written ({reason}); nothing was sent",
            reason=error.strerror,
            where=str(self.path),
            mend="make room or mend the permissions, then: kmtool deliver",
        )

    def _torn(self) -> bool:
        if not self.path.exists() or self.path.stat().st_size == 0:
            return False
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"

    def _line(self, number: int, entry: JournalEntry) -> bytes:
        """Return a record as `json.dumps` with sorted keys writes it, five times as fast."""
        head = "{"
        if entry.generation:
            head += f'"amount": {entry.amount}, "at": {entry.at}, '
        head += (
            f'"channel": {_quoted(entry.channel)}, "db": {_quoted(self._database_id)}, '
            f'"fingerprint": {_quoted(entry.fingerprint)}, '
        )
        if entry.generation:
            head += f'"generation": {entry.generation}, '
        head += f'"kind": {_quoted(entry.kind)}, "line": {_quoted(entry.line)}'
        place = f'"place": {entry.place}, ' if entry.place else ""
        rest = (
            f', "n": {entry.n}, "order": {_quoted(entry.order)}, "parcel": {entry.parcel}, '
            f'{place}"seq": {number}, "session": {entry.session}'
        )
        if entry.generation:
            rest += f', "supplier": {_quoted(entry.supplier)}'
        rest += f', "upto": {entry.upto}}}' if entry.upto else "}"
        mac = self._digest((head + rest).encode())
        return f'{head}, "mac": "{mac}"{rest}\n'.encode()

    def _parse(self, raw: bytes, number: int, part: Path) -> JournalEntry | None:
        if not raw.endswith(b"\n"):
            return None
        try:
            record = json.loads(raw)
            mac = record.pop("mac")
        except (ValueError, KeyError, AttributeError, TypeError):
            return None
        if not self._fits(raw, record, mac):
            raise Broken(
                detail="a record of the send journal was changed",
                where=f"{part.name}:{number}",
                mend="put the journal back from the newest backup that holds it: {path}",
                path=self.path,
            )
        if record["db"] != self._database_id:
            return None
        return JournalEntry(
            kind=record["kind"],
            channel=record["channel"],
            order=record["order"],
            line=record["line"],
            fingerprint=record["fingerprint"],
            session=int(record["session"]),
            n=int(record.get("n", 0)),
            parcel=int(record.get("parcel", 0)),
            upto=int(record.get("upto", 0)),
            generation=int(record.get("generation", 0)),
            supplier=str(record.get("supplier", "")),
            amount=int(record.get("amount", 0)),
            at=int(record.get("at", 0)),
            place=int(record.get("place", 0)),
        )

    def _fits(self, raw: bytes, record: dict[str, object], mac: object) -> bool:
        """Compare the HMAC with the line as it lies there; written anew only when that differs."""
        written = b', "mac": "%b"' % str(mac).encode()
        if raw.count(written) == 1 and self._digest(raw.replace(written, b"")[:-1]) == mac:
            return True
        text = json.dumps(record, ensure_ascii=False, sort_keys=True)
        return self._digest(text.encode("utf-8", "surrogatepass")) == mac


def whole(begun: dict[int, list[JournalEntry]], entry: JournalEntry) -> list[JournalEntry]:
    """Return the records of a message with its last one; `begun` keeps those before it."""
    if not entry.upto:
        return [entry]
    mine = begun.setdefault(entry.session, [])
    if mine and mine[-1].upto != entry.upto:
        mine.clear()
    mine.append(entry)
    return begun.pop(entry.session) if entry.n == entry.upto else []
