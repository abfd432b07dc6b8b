"""What a disk may hold after a power cut: all that was synced, and anything of what was not.

Of the writes after a file's last sync each may have reached the disk or not, in any order, whole or
torn at borders of 512 or 4096 bytes; where a file had grown, sectors that did not arrive are zeros
or rubbish, or the file is still short. Names that were made, changed or removed since their folder
was synced may be so or not. Two things are taken for granted, as SQLite does by default: a write
harms no byte beside it (power-safe overwrite), and a sync that returned is kept.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.powercut_tape import Op, Recording

HOWS = ("nothing", "everything", "in order", "some writes", "most writes", "few writes",
        "sectors", "blocks", "all but one", "only one")  # fmt: skip
FILLS = ("zeros", "rubbish", "short", "grown")
RUBBISH = random.Random(7).randbytes(1 << 16)
Files = dict[str, bytes]
Sign = list[tuple[str, bytes]]


@dataclass
class Disk:
    """The durable bytes of every file, what is still on its way, and the same for names."""

    bodies: dict[int, bytearray] = field(default_factory=dict)
    waiting: dict[int, list[Op]] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    renaming: list[Op] = field(default_factory=list)
    versions: dict[int, int] = field(default_factory=dict)
    """Counts how often the durable bytes of a file changed."""
    _digests: dict[int, tuple[int, bytes]] = field(default_factory=dict)

    @classmethod
    def at_start(cls, tape: Recording) -> Disk:
        """Return the disk before the first operation."""
        return cls(
            bodies={number: bytearray(body) for number, body in tape.contents.items()},
            names=dict(tape.files),
        )

    def apply(self, op: Op) -> None:
        """Let the next operation of the tape happen."""
        kind = op[0]
        if kind in {"w", "t"}:
            self.waiting.setdefault(op[1], []).append(op)
        elif kind == "s":
            if self.waiting.get(op[1]):
                body = self.bodies.setdefault(op[1], bytearray())
                for one in self.waiting.pop(op[1]):
                    put(body, one)
                self.versions[op[1]] = self.versions.get(op[1], 0) + 1
        elif kind == "d":
            kept = [one for one in self.renaming if folder_of(one[-1 if one[0] == ">" else 1])
                    != op[1]]  # fmt: skip
            for one in self.renaming:
                if one not in kept:
                    rename(self.names, one)
            self.renaming = kept
        elif kind in {"+", "-", ">"}:
            self.renaming.append(op)

    @property
    def settled(self) -> bool:
        """Tell whether nothing is on its way."""
        return not self.renaming and not any(self.waiting.values())

    def after_cut(self, how: str, chance: random.Random) -> tuple[Files, Sign]:
        """Return files as they may lie there, and a short sign by which equal ones are known."""
        names = dict(self.names)
        for op in self._renames_kept(how, chance):
            rename(names, op)
        order = [number for number in sorted(set(names.values())) if self.waiting.get(number)]
        chosen = {number: self._body(number, how, chance) for number in order}
        files, sign = {}, []
        for name, number in sorted(names.items()):
            if number in chosen:
                files[name] = bytes(chosen[number])
                sign.append((name, digest(files[name])))
            else:
                files[name] = bytes(self.bodies.get(number, b""))
                sign.append((name, self._digest(number)))
        return files, sign

    def _digest(self, number: int) -> bytes:
        known = self._digests.get(number)
        version = self.versions.get(number, 0)
        if known is None or known[0] != version:
            known = (version, digest(bytes(self.bodies.get(number, b""))))
            self._digests[number] = known
        return known[1]

    def _renames_kept(self, how: str, chance: random.Random) -> list[Op]:
        """A journalling file system keeps the order of names; how far it came is open."""
        if how in {"nothing", "everything"}:
            return self.renaming if how == "everything" else []
        if chance.random() < 0.3:
            return self.renaming
        return self.renaming[: chance.randint(0, len(self.renaming))]

    def _body(self, number: int, how: str, chance: random.Random) -> bytearray:
        """Return one file's bytes."""
        body = bytearray(self.bodies.get(number, b""))
        waiting = self.waiting[number]
        durable, full = len(body), _length(len(body), waiting)
        fill = chance.choice(FILLS)
        if how == "nothing":
            fill = "zeros"
        if fill == "rubbish" and full > durable:
            at = chance.randrange(len(RUBBISH) // 2)
            missing = full - durable
            body += (RUBBISH[at:] * (missing // (len(RUBBISH) // 2) + 1))[:missing]
        for op in _reached(waiting, how, chance):
            put(body, op)
        if fill == "grown" and len(body) < full:
            body.extend(bytes(full - len(body)))
        if fill == "short" and len(body) > durable and how != "everything":
            del body[chance.randint(durable, len(body)) :]
        return body


def put(body: bytearray, op: Op) -> None:
    """Write or cut."""
    if op[0] == "t":
        if op[2] < len(body):
            del body[op[2] :]
        else:
            body.extend(bytes(op[2] - len(body)))
        return
    offset, data = op[2], op[3]
    if len(body) < offset:
        body.extend(bytes(offset - len(body)))
    body[offset : offset + len(data)] = data


def rename(names: dict[str, int], op: Op) -> None:
    """Make, remove or change a name."""
    if op[0] == "+":
        names[op[1]] = op[2]
    elif op[0] == "-":
        names.pop(op[1], None)
    elif op[1] in names:
        names[op[2]] = names.pop(op[1])


def folder_of(name: str) -> str:
    """Return the folder of a name."""
    return name.rpartition("/")[0]


def _length(length: int, waiting: list[Op]) -> int:
    """Return how long a file is when all has arrived."""
    for op in waiting:
        length = op[2] if op[0] == "t" else max(length, op[2] + len(op[3]))
    return length


def _reached(waiting: list[Op], how: str, chance: random.Random) -> Iterator[Op]:
    """Yield what of the waiting writes reached the disk, in pieces where they are torn."""
    if how == "everything":
        yield from waiting
    elif how == "in order":
        upto = chance.randint(0, len(waiting) - 1)
        yield from waiting[:upto]
        pieces = list(_pieces(waiting[upto], chance.choice((512, 4096))))
        yield from pieces[: chance.randint(0, len(pieces))]
    elif how in {"all but one", "only one"}:
        yield from _around_one(waiting, how == "only one", chance)
    elif how in {"sectors", "blocks"}:
        share, grain = chance.choice((0.1, 0.5, 0.9)), 512 if how == "sectors" else 4096
        pieces = [piece for op in waiting for piece in _pieces(op, grain)]
        yield from (piece for piece in pieces if chance.random() < share)
    elif how != "nothing":
        share = {"some writes": 0.5, "most writes": 0.9, "few writes": 0.1}[how]
        yield from (op for op in waiting if chance.random() < share)


def _around_one(waiting: list[Op], only: bool, chance: random.Random) -> Iterator[Op]:
    """Yield one write, or all others; that one with a hole of a sector every other time."""
    one = chance.randrange(len(waiting))
    parts = list(_pieces(waiting[one], 512))
    hole = chance.randrange(len(parts))
    with_hole = parts[:hole] + parts[hole + 1 :] if chance.random() < 0.5 else []
    for n, op in enumerate(waiting):
        if n == one:
            yield from with_hole or ([op] if only else [])
        elif not only:
            yield op


def _pieces(op: Op, grain: int) -> Iterator[Op]:
    """Cut a write at the borders of sectors."""
    if op[0] == "t":
        yield op
        return
    offset, data, at = op[2], op[3], 0
    while at < len(data):
        end = min(len(data), (offset + at) // grain * grain + grain - offset)
        yield ("w", op[1], offset + at, data[at:end])
        at = end


def digest(body: bytes) -> bytes:
    """Return a short hash by which equal contents are known."""
    return hashlib.sha256(body).digest()[:12]


def cuts(
    tape: Recording, part: int, parts: int, rounds: range, seed: int
) -> Iterator[tuple[int, str, Files, bytes]]:
    """Yield for every operation states after a cut right behind it: (cut, how, files, sign).

    A process takes one of `parts` shares of the cuts. Rounds differ in what of the unsynced writes
    reached the disk; where all is synced there is one state only.
    """
    disk = Disk.at_start(tape)
    for cut, op in enumerate(tape.ops):
        disk.apply(op)
        if op[0] == "m" or cut % parts != part:
            continue
        for n in rounds if not disk.settled else range(rounds.start == 0):
            chance = random.Random(f"{seed}:{cut}:{n}")
            how = HOWS[n] if n < 2 else chance.choice(HOWS[2:])
            files, sign = disk.after_cut(how, chance)
            yield cut, how, files, digest(repr(sign).encode())
