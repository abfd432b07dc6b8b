"""The anchor file: heads of the audit's chains, written outside the shop folder.

A chain alone does not show a cut tail: whoever can write the database can also write its heads. So
the heads are noted from time to time beside the send journal, one JSON line per anchor:

    {"seq": 7, "db": "…", "at_ms": …, "kind": "ANCHOR", "chains": 12, "rows": 3456, "reason": "",
     "heads": [[chain, count, "hash"], …], "all": "sha256", "prev": "mac of line 6", "mac": "hex"}

`heads` holds the chains that grew since the anchor before; `all` is one hash over every head. A
RESET says that a person accepted the chains as they are (an older backup was restored): what was
anchored before it no longer has to be there. `mac` is the HMAC of the audit over the line without
it; a torn last line (power cut) is ignored.

Between two anchors every command and job that wrote to the audit notes the heads it moved, in the
same form (TAIL), in a file that the next anchor ends: its first line follows the newest anchor.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kmtool.durable import keep_name
from kmtool.errors import Broken
from kmtool.shop import Shop
from kmtool.store.audit import Mac

ANCHOR, RESET, TAIL = "ANCHOR", "RESET", "TAIL"
META = "audit_anchors"
"""How many anchors there are: one that says more than the file holds tells of a lost file."""


@dataclass(frozen=True, slots=True)
class Head:
    """How many rows a chain has and the hash of its last one (hex)."""

    chain: int
    count: int
    hash: str


@dataclass(frozen=True, slots=True)
class Anchor:
    """One line of the anchor file."""

    seq: int
    at_ms: int
    kind: str
    chains: int
    rows: int
    all: str
    heads: tuple[Head, ...]
    reason: str
    mac: str


def path_of(shop: Shop) -> Path:
    """Return where the anchors of a shop lie: beside its send journal."""
    return shop.journal.path.with_suffix(".anchors")


def read(shop: Shop) -> Iterator[Anchor]:
    """Yield all whole anchors; a changed or missing one is `Broken` with its line."""
    yield from _lines(shop, path_of(shop), "")


def read_tail(shop: Shop, newest: Anchor | None) -> list[Anchor]:
    """Return what was noted since the newest anchor; a changed or missing line is `Broken`.

    Notes that follow an older anchor are covered by the newest one: they count no more.
    """
    before = newest.mac if newest else ""
    return list(_lines(shop, tail_path(shop), before)) if _follows(shop, before) else []


def drop_tail(shop: Shop) -> None:
    """Forget the notes that an anchor has just covered."""
    with suppress(OSError):
        tail_path(shop).unlink(missing_ok=True)


def note(shop: Shop, made: Anchor, last: Anchor | None) -> Anchor:
    """Write a note behind the last one, or behind the newest anchor into a new file."""
    if made.seq == 1:
        drop_tail(shop)
    return append(shop, made, last.mac if last else "", tail_path(shop))


def last_note(shop: Shop) -> tuple[Anchor | None, int]:
    """Return the newest note or anchor and how many notes there are, without reading the rest."""
    newest = _last(shop, path_of(shop))
    if _follows(shop, newest.mac if newest else ""):
        found = _last(shop, tail_path(shop))
        if found is not None:
            return found, found.seq
    return newest, 0


def _last(shop: Shop, path: Path) -> Anchor | None:
    """Return the last whole line of a file; those before it are `verify`'s to look at."""
    if not path.exists():
        return None
    lines = [raw for raw in path.read_bytes().splitlines(keepends=True)[-2:] if raw[-1:] == b"\n"]
    if not lines:
        return None
    try:
        record = json.loads(lines[-1])
        number, before = record["seq"], record["prev"]
    except (ValueError, KeyError, TypeError):
        raise _changed(len(lines)) from None
    return _parse(lines[-1], number, shop.vault.audit_mac, before)


def noted(shop: Shop) -> list[tuple[int, int]]:
    """Return chain and row of every head that is known outside."""
    heads, last = known_heads(shop)
    found = [(head.chain, head.count) for head in heads.values()]
    found += [(head.chain, head.count) for one in read_tail(shop, last) for head in one.heads]
    return [place for place in found if place[1]]


def _follows(shop: Shop, before: str) -> bool:
    """Tell whether the notes are of now: their first line follows the newest anchor.

    A whole and unchanged one that follows an older anchor is overtaken; of any other the reader is
    to tell what is wrong with it.
    """
    try:
        with tail_path(shop).open("rb") as file:
            first = file.readline()
    except FileNotFoundError:
        return False
    try:
        follows = str(json.loads(first)["prev"])
        if follows == before:
            return True
        _parse(first, 1, shop.vault.audit_mac, follows)
    except (Broken, ValueError, KeyError, TypeError):
        return first.endswith(b"\n")
    return False


def _lines(shop: Shop, path: Path, before: str) -> Iterator[Anchor]:
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if not raw.endswith(b"\n"):
                return
            found = _parse(raw, number, shop.vault.audit_mac, before)
            before = found.mac
            yield found


def tail_path(shop: Shop) -> Path:
    """Return where the heads that grew since the newest anchor are noted."""
    return shop.journal.path.with_suffix(".tail")


def known_heads(shop: Shop) -> tuple[dict[int, Head], Anchor | None]:
    """Return the newest anchored head of every chain, and the newest anchor."""
    heads: dict[int, Head] = {}
    newest = None
    for anchor in read(shop):
        newest = anchor
        if anchor.kind == RESET:
            heads = {}
        heads.update({head.chain: head for head in anchor.heads})
    return heads, newest


def append(shop: Shop, anchor: Anchor, before: str, path: Path | None = None) -> Anchor:
    """Write an anchor (or a note of the tail) and force it to the disk; return it with its mac."""
    record = _record(shop, anchor, before)
    text = json.dumps(record, ensure_ascii=False, sort_keys=True)
    mac = shop.vault.audit_mac(text.encode()).hex()
    line = json.dumps({**record, "mac": mac}, ensure_ascii=False, sort_keys=True) + "\n"
    path = path or path_of(shop)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _cut_torn_line(path)
        fresh = not path.exists()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "ab", buffering=0) as file:
            rest = memoryview(line.encode())
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        if fresh:
            keep_name(path)
    except OSError as error:
        raise Broken(
            detail="the anchor of the audit cannot be written ({reason})",
            reason=error.strerror,
            where=str(path),
            mend="make room or mend the permissions, then: kmtool audit anchor",
        ) from None
    return Anchor(
        anchor.seq, anchor.at_ms, anchor.kind, anchor.chains, anchor.rows, anchor.all,
        anchor.heads, anchor.reason, mac,
    )  # fmt: skip


def short(anchor: Anchor) -> str:
    """Return an anchor as a person can copy it: its number, its rows, and the start of its hash."""
    return f"#{anchor.seq} {anchor.rows:,} {anchor.all[:16]}"


def _record(shop: Shop, anchor: Anchor, before: str) -> dict[str, Any]:
    return {
        "seq": anchor.seq,
        "db": shop.journal.path.stem,
        "at_ms": anchor.at_ms,
        "kind": anchor.kind,
        "chains": anchor.chains,
        "rows": anchor.rows,
        "all": anchor.all,
        "heads": [[head.chain, head.count, head.hash] for head in anchor.heads],
        "reason": anchor.reason,
        "prev": before,
    }


def _parse(raw: bytes, number: int, mac: Mac, before: str) -> Anchor:
    changed = _changed(number)
    try:
        record = json.loads(raw)
        given = record.pop("mac")
        text = json.dumps(record, ensure_ascii=False, sort_keys=True)
        heads = tuple(Head(int(c), int(n), str(h)) for c, n, h in record["heads"])
        fits = mac(text.encode()).hex() == given
        fits = fits and record["seq"] == number and record["prev"] == before
    except (ValueError, KeyError, AttributeError, TypeError):
        raise changed from None
    if not fits:
        raise changed
    return Anchor(
        record["seq"], record["at_ms"], record["kind"], record["chains"], record["rows"],
        record["all"], heads, record["reason"], given,
    )  # fmt: skip


def _changed(number: int) -> Broken:
    return Broken(
        detail="line {number} of the anchors of the audit was changed or taken out",
        number=number,
        mend="put the file back as it was; kmtool audit verify",
    )


def _cut_torn_line(path: Path) -> None:
    """Take out what a power cut left of a line: it was never a whole anchor."""
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole != len(data):
        with path.open("r+b") as file:
            file.truncate(whole)
