"""The send journal: which keys may have left the house, written before they do.

Append-only, outside the shop folder, so that a restored or copied database can be compared with
what was really sent. One line per record, JSON without keys:

    {"seq": 7, "db": "…", "session": 3, "kind": "SEND", "channel": …, "order": …, "line": …,
     "fingerprint": "hex", "mac": "hex"}

`mac` is the vault's HMAC over the record without it. RELEASE takes a SEND back: it is written when
a person proved that nobody saw the key. A torn last line (power cut) is ignored: its network call
had not begun.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kmtool.errors import Broken


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One key that may leave (`SEND`) or was proved not to have left (`RELEASE`)."""

    kind: str
    channel: str
    order: str
    line: str
    fingerprint: str
    session: int


class Journal:
    """The journal file of one database."""

    def __init__(self, path: Path, database_id: str, digest: Callable[[bytes], str]) -> None:
        self.path = path
        self._database_id = database_id
        self._digest = digest
        self._count: int | None = None

    def append(self, entries: Sequence[JournalEntry]) -> None:
        """Write entries and force them to the disk; only then may the network be touched."""
        if not entries:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self._count is None:
                self._count = self.count()
            lines = [self._line(n, entry) for n, entry in enumerate(entries, self._count + 1)]
            fresh = not self.path.exists()
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(handle, "ab", buffering=0) as file:
                rest = memoryview((b"\n" if self._torn() else b"") + b"".join(lines))
                while rest:  # whole records in one write, so that two processes do not mix theirs
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            if fresh:
                self._keep_name()
            self._count += len(lines)
        except OSError as error:
            raise self._unwritten(error) from None

    def read(self) -> Iterator[JournalEntry]:
        """Yield all whole records; one whose HMAC does not fit is `Broken` with its line."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                entry = self._parse(raw, number)
                if entry is not None:
                    yield entry

    def count(self) -> int:
        """Return how many lines the journal has."""
        if not self.path.exists():
            return 0
        with self.path.open("rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))

    def _keep_name(self) -> None:
        """Force the new file's name to the disk too: a power cut must not lose it."""
        if os.name != "posix":
            return
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

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
        record = {
            "seq": number,
            "db": self._database_id,
            "session": entry.session,
            "kind": entry.kind,
            "channel": entry.channel,
            "order": entry.order,
            "line": entry.line,
            "fingerprint": entry.fingerprint,
        }
        text = json.dumps(record, ensure_ascii=False, sort_keys=True)
        record["mac"] = self._digest(text.encode())
        return (json.dumps(record, ensure_ascii=False, sort_keys=True) + "\n").encode()

    def _parse(self, raw: bytes, number: int) -> JournalEntry | None:
        if not raw.endswith(b"\n"):
            return None
        try:
            record = json.loads(raw)
            mac = record.pop("mac")
        except (ValueError, KeyError, AttributeError, TypeError):
            return None
        text = json.dumps(record, ensure_ascii=False, sort_keys=True)
        if self._digest(text.encode()) != mac:
            raise Broken(detail="a record of the send journal was changed", where=f"line {number}")
        if record["db"] != self._database_id:
            return None
        return JournalEntry(
            kind=record["kind"],
            channel=record["channel"],
            order=record["order"],
            line=record["line"],
            fingerprint=record["fingerprint"],
            session=int(record["session"]),
        )
