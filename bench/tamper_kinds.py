"""What is tampered with: rows, files and bytes of a shop folder, one kind in one function."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

AUDIT = (
    "at_ms", "session_id", "actor", "action", "object", "detail", "chain", "n", "prev", "hash",
)  # fmt: skip
SKIPPED = {"sqlite_sequence", "sqlite_stat1"}


class Nothing(Exception):
    """There was nothing of this kind to tamper with, or it changed nothing: draw another."""


@dataclass
class Place:
    """A shop folder as it was, in memory, and where it is put back each time."""

    folder: Path
    files: dict[Path, bytes]
    older: bytes
    now_ms: int
    random: random.Random
    normal: set[str] = field(default_factory=set)
    """Checks that are not well before anything is tampered with (no backup yet …)."""

    @property
    def database(self) -> Path:
        return self.folder / "shop" / "shop.db"

    def private(self, suffix: str) -> Path:
        found = [path for path in self.files if path.suffix == suffix and path.exists()]
        if not found:
            raise Nothing
        return found[0]

    def put_back(self) -> None:
        for end in ("-wal", "-shm"):
            self.database.with_name(self.database.name + end).unlink(missing_ok=True)
        for path, data in self.files.items():
            if not path.exists() or path.read_bytes() != data:
                path.write_bytes(data)


def rows(place: Place, work: Callable[[sqlite3.Connection], None]) -> None:
    """Change rows with the triggers off, and put the triggers back."""
    with closing(sqlite3.connect(place.database, isolation_level=None)) as raw:
        before = raw.total_changes
        triggers = raw.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        known = triggers.fetchall()
        raw.execute("BEGIN")
        for name, _sql in known:
            raw.execute(f"DROP TRIGGER {name}")
        made = raw.total_changes
        work(raw)
        if raw.total_changes == made:
            raise Nothing
        for _name, sql in known:
            raw.execute(sql)
        raw.execute("COMMIT")
        assert raw.total_changes > before
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def flipped(value: Any, draw: random.Random) -> Any:
    """Return a value with one bit turned; an absent one becomes a one."""
    if value is None:
        return 1
    if isinstance(value, int):
        return value ^ (1 << draw.randrange(max(1, min(62, value.bit_length() + 1))))
    data = bytearray(value.encode() if isinstance(value, str) else value)
    if not data:
        return "x" if isinstance(value, str) else b"x"
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(7)
    return bytes(data).decode("utf-8", "replace") if isinstance(value, str) else bytes(data)


def audit_byte(place: Place) -> str:
    column = place.random.choice(AUDIT)

    def work(raw: sqlite3.Connection) -> None:
        seq = _one(raw, "audit", place)
        old = raw.execute(f"SELECT {column} FROM audit WHERE seq = ?", (seq,)).fetchone()[0]
        new = flipped(old, place.random)
        if new == old:
            raise Nothing
        with suppress(sqlite3.IntegrityError):  # two rows cannot have one place: not this one
            raw.execute(f"UPDATE audit SET {column} = ? WHERE seq = ?", (new, seq))

    rows(place, work)
    return f"audit.{column}"


def _one(raw: sqlite3.Connection, table: str, place: Place) -> int:
    ids = [row[0] for row in raw.execute(f"SELECT rowid FROM {table}")]
    if not ids:
        raise Nothing
    return int(place.random.choice(ids))


def audit_swapped(place: Place) -> str:
    """Two rows change places: all they say, or only their numbers in the file."""
    whole = place.random.random() < 0.5

    def work(raw: sqlite3.Connection) -> None:
        one, two = (_one(raw, "audit", place) for _ in range(2))
        if one == two:
            raise Nothing
        chains = raw.execute(
            "SELECT DISTINCT chain FROM audit WHERE seq IN (?, ?)", (one, two)
        ).fetchall()
        if not whole and len(chains) == 2:
            raise Nothing  # chains of different sessions have no order between them
        if whole:
            names = "actor, action, object, detail, at_ms"
            first, second = (
                raw.execute(f"SELECT {names} FROM audit WHERE seq = ?", (seq,)).fetchone()
                for seq in (one, two)
            )
            if first == second:
                raise Nothing
            for seq, row in ((one, second), (two, first)):
                raw.execute(
                    "UPDATE audit SET actor = ?, action = ?, object = ?, detail = ?, at_ms = ?"
                    " WHERE seq = ?",
                    (*row, seq),
                )
            return
        for old, new in ((one, -1), (two, one), (-1, two)):
            raw.execute("UPDATE audit SET seq = ? WHERE seq = ?", (new, old))

    rows(place, work)
    return "audit rows swapped"


def audit_taken(place: Place) -> str:
    def work(raw: sqlite3.Connection) -> None:
        raw.execute("DELETE FROM audit WHERE seq = ?", (_one(raw, "audit", place),))

    rows(place, work)
    return "audit row taken out"


def audit_doubled(place: Place) -> str:
    """A row is written once more, or a forged one, at the end of its chain; the head is mended."""
    forged = place.random.random() < 0.5

    def work(raw: sqlite3.Connection) -> None:
        seq = _one(raw, "audit", place)
        chain, n, found = raw.execute(
            "SELECT h.chain, h.count, h.hash FROM audit_heads h JOIN audit a ON a.chain = h.chain"
            " WHERE a.seq = ?", (seq,)
        ).fetchone() or (None, 0, b"")  # fmt: skip
        if chain is None:
            raise Nothing
        mac = place.random.randbytes(32) if forged else found
        raw.execute(
            "INSERT INTO audit (at_ms, session_id, actor, action, object, detail, chain, n, prev,"
            " hash) SELECT at_ms, session_id, actor, action, object, detail, chain, ?, ?, ?"
            " FROM audit WHERE seq = ?",
            (n + 1, found, mac, seq),
        )
        raw.execute(
            "UPDATE audit_heads SET count = ?, hash = ? WHERE chain = ?", (n + 1, mac, chain)
        )

    rows(place, work)
    return "audit row added"


def audit_cut(place: Place) -> str:
    """The last rows of a chain, or all of it, go together with its head."""

    def work(raw: sqlite3.Connection) -> None:
        heads = raw.execute("SELECT chain, count FROM audit_heads WHERE count > 0").fetchall()
        chain, count = place.random.choice(heads)
        keep = place.random.choice((0, count - 1, place.random.randrange(count)))
        raw.execute("DELETE FROM audit WHERE chain = ? AND n > ?", (chain, keep))
        if keep == 0 and place.random.random() < 0.5:
            raw.execute("DELETE FROM audit_heads WHERE chain = ?", (chain,))
            return
        raw.execute(
            "UPDATE audit_heads SET count = ?1, verified = min(verified, ?1), hash = coalesce("
            "(SELECT hash FROM audit WHERE chain = ?2 AND n = ?1), x'') WHERE chain = ?2",
            (keep, chain),
        )

    rows(place, work)
    return "audit tail cut"


def head_byte(place: Place) -> str:
    column = place.random.choice(("chain", "count", "hash"))

    def work(raw: sqlite3.Connection) -> None:
        one = _one(raw, "audit_heads", place)
        old = raw.execute(f"SELECT {column} FROM audit_heads WHERE rowid = ?", (one,)).fetchone()[0]
        with suppress(sqlite3.IntegrityError):
            new = flipped(old, place.random)
            raw.execute(f"UPDATE audit_heads SET {column} = ? WHERE rowid = ?", (new, one))

    rows(place, work)
    return f"audit_heads.{column}"


HOWS = ("byte", "line out", "lines swapped", "cut", "doubled", "gone")


def file_of(suffix: str, hows: tuple[str, ...] = HOWS) -> Callable[[Place], str]:
    """Return what changes a file beside the journal: a byte, lines cut, swapped, doubled, all."""

    def work(place: Place) -> str:
        path = place.private(suffix)
        data = bytearray(path.read_bytes())
        lines = bytes(data).splitlines(keepends=True)
        how = place.random.choice(hows)
        if how == "byte":
            at = place.random.randrange(len(data) - 1)
            data[at] ^= 1 << place.random.randrange(7)
            path.write_bytes(bytes(data))
        elif how == "gone":
            path.unlink()
        else:
            one, two = (place.random.randrange(len(lines)) for _ in range(2))
            if how == "line out":
                if suffix == ".tail" and one == len(lines) - 1:
                    raise Nothing  # the last note gone is as if it had not been written
                del lines[one]
            elif how == "cut":
                del lines[one:]
            elif how == "doubled":
                lines.insert(two, lines[one])
            elif suffix == ".log" and _session(lines[one]) != _session(lines[two]):
                raise Nothing  # between two sessions there is no order
            elif one == two:
                raise Nothing
            else:
                lines[one], lines[two] = lines[two], lines[one]
            path.write_bytes(b"".join(lines))
        return f"{suffix[1:]} {how}"

    return work


def _session(line: bytes) -> int:
    return int(json.loads(line)["session"])


def keys_exchanged(place: Place) -> str:
    """The sealed texts of two keys change places, or one is put in the place of another."""

    def work(raw: sqlite3.Connection) -> None:
        one, two = (_one(raw, "keys", place) for _ in range(2))
        if one == two:
            raise Nothing
        first, second = (
            raw.execute("SELECT sealed FROM keys WHERE rowid = ?", (i,)).fetchone()[0]
            for i in (one, two)
        )
        raw.execute("UPDATE keys SET sealed = ? WHERE rowid = ?", (second, one))
        if place.random.random() < 0.5:
            raw.execute("UPDATE keys SET sealed = ? WHERE rowid = ?", (first, two))

    rows(place, work)
    return "sealed keys exchanged"


def set_back(place: Place) -> str:
    place.database.write_bytes(place.older)
    return "database set back"


def any_cell(place: Place) -> str:
    told = ""

    def work(raw: sqlite3.Connection) -> None:
        nonlocal told
        tables = [
            (name, sql)
            for name, sql in raw.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
            if name not in SKIPPED and raw.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone()
        ]
        table, sql = place.random.choice(tables)
        if "WITHOUT ROWID" in sql:
            raise Nothing
        names = [row[1] for row in raw.execute(f"PRAGMA table_info({table})")]
        column, one = place.random.choice(names), _one(raw, table, place)
        old = raw.execute(f"SELECT {column} FROM {table} WHERE rowid = ?", (one,)).fetchone()[0]
        new = flipped(old, place.random)
        if new == old:
            raise Nothing
        try:
            raw.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (new, one))
        except sqlite3.IntegrityError:
            raise Nothing from None  # the schema itself refuses it
        told = f"{table}.{column}"

    rows(place, work)
    return told


def file_byte(place: Place) -> str:
    data = bytearray(place.files[place.database])
    data[place.random.randrange(len(data))] ^= 1 << place.random.randrange(8)
    before = dump(place.database)
    place.database.write_bytes(bytes(data))
    after = dump(place.database)
    if after == before:
        raise Nothing
    changed = {line.split("\0")[0] for line in set(before or ()) ^ set(after or ())}
    return "file: " + (", ".join(sorted(changed)[:2]) if after else "unreadable")


def dump(path: Path) -> list[str] | None:
    """Return all cells of all tables, None when they cannot be read."""
    found: list[str] = []
    try:
        with closing(sqlite3.connect(path)) as raw:
            raw.text_factory = bytes
            for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
                table = name.decode()
                found += [f"{table}\0{row!r}" for row in raw.execute(f"SELECT * FROM {table}")]
            if raw.execute("PRAGMA integrity_check").fetchall() != [(b"ok",)]:
                found.append("unsound\0")
    except (sqlite3.Error, UnicodeDecodeError):
        return None
    return sorted(found)


PROMISED: dict[Callable[[Place], str], int] = {
    audit_byte: 30, audit_swapped: 10, audit_taken: 8, audit_doubled: 8, audit_cut: 14,
    head_byte: 5, file_of(".log"): 10, file_of(".anchors"): 6, file_of(".tail", HOWS[:3]): 4,
    keys_exchanged: 3, set_back: 2,
}  # fmt: skip
MEASURED: dict[Callable[[Place], str], int] = {any_cell: 1, file_byte: 1}
