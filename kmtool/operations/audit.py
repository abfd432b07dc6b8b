"""The audit as people use it: list it, take it away with its hashes, anchor it, who saw which key.

Sends are known by their tries, everything else that opens a key for a person's eyes by a row of the
audit whose object is the key (`opened`, written before the text leaves).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kmtool.clock import iso_text
from kmtool.errors import Broken, Locked, NotFound, Refused, UsageError
from kmtool.locks import FileLock
from kmtool.operations import anchors
from kmtool.operations.anchors import Anchor, Head
from kmtool.operations.find_order import named
from kmtool.sheets_write import (
    Book,
    Cell,
    Kind,
    Look,
    Sheet,
    csv_bytes,
    disarmed,
    local_time,
    write_book,
    write_bytes,
)
from kmtool.shop import Shop
from kmtool.store import audit as store
from kmtool.store import house
from kmtool.store import keys as key_store
from kmtool.store.audit import SEEN, Wanted
from kmtool.store.db import Row

XLSX_ROWS = 1_000_000
METHOD = (
    "hash = HMAC-SHA256(key, bytes); bytes = UTF-8 of the JSON array [chain, n, at_ms, session,"
    " actor, action, object, detail, prev] without spaces, prev as hex, text as it is;"
    " prev is the hash of row n - 1 of the same chain, empty for n = 1"
)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One row of the audit; chain and n are None for rows from before the chain."""

    seq: int
    at_ms: int
    actor: str
    action: str
    object: str
    detail: str
    session_id: int | None
    chain: int | None
    n: int | None


@dataclass(frozen=True, slots=True)
class AuditList:
    """Audit rows, newest first, and how many there are."""

    entries: tuple[AuditEntry, ...]
    total: int


@dataclass(frozen=True, slots=True)
class AuditFile:
    """What was written. `key_file` holds the key that recomputes the hashes, when asked for."""

    file: str
    rows: int
    sha256: str
    key_file: str = ""


@dataclass(frozen=True, slots=True)
class Anchored:
    """An anchor; `new` is False when nothing was written since the last one."""

    seq: int
    at_ms: int
    chains: int
    rows: int
    hash: str
    file: str
    new: bool
    short: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """One time a key was before somebody's eyes. `how` is a word of the audit or the route."""

    at_ms: int
    who: str
    how: str
    where: str
    why: str
    state: str
    session_id: int | None


@dataclass(frozen=True, slots=True)
class SeenKey:
    """A key, masked, and who saw it, oldest first."""

    id: int
    key: str
    sku: str
    state: str
    seen: tuple[Sighting, ...]


@dataclass(frozen=True, slots=True)
class SeenKeys:
    """Keys and their sightings."""

    keys: tuple[SeenKey, ...]


def listing(shop: Shop, wanted: Wanted, limit: int | None) -> AuditList:
    """Return what was done, newest first."""
    rows = store.listing(shop.db, wanted, limit)
    return AuditList(tuple(_entry(row) for row in rows), store.count(shop.db, wanted))


def opened(shop: Shop, key_ids: Iterable[int], how: str, why: str) -> None:
    """Put on record, in the open transaction, that a person is about to see keys (`SEEN`)."""
    assert how in SEEN
    shop.audit_many([(how, f"key:{key_id}", why[:200]) for key_id in key_ids])


def anchor(shop: Shop, *, accept: str = "") -> Anchored:
    """Write the heads of all chains outside; `accept` says why older anchors count no more.

    Raises `Broken` when the file was changed or cannot be written, `Locked` when another process
    is at it.
    """
    shop.must_be_writable(anywhere=True)
    lock = FileLock(anchors.path_of(shop).with_suffix(".anchors.lock"))
    if not lock.acquire():
        raise Locked(detail="another kmtool is writing the anchor", mend="kmtool audit anchor")
    try:
        return _anchor(shop, accept)
    finally:
        lock.release()


def accept_restored(shop: Shop, why: str) -> None:
    """Take the audit as an older backup has it: what was anchored since is lost with the rest.

    A file of anchors that was changed stays as it is; doctor tells of it.
    """
    known = (anchors.path_of(shop), anchors.tail_path(shop))
    if shop.db.rehearsing or not any(path.exists() for path in known):
        return
    try:
        anchors.known_heads(shop)
    except Broken:
        return
    anchor(shop, accept=why)


def accept_if_older(shop: Shop, why: str) -> None:
    """Do so only when the audit here is older than what was noted of it."""
    with suppress(Broken):
        if any(store.hash_at(shop.db, *place) is None for place in anchors.noted(shop)):
            accept_restored(shop, why)


def foot(shop: Shop) -> str:
    """Return the newest anchor in a line for messages to the owner, empty when there is none."""
    _, newest = anchors.known_heads(shop)
    return "" if newest is None else f"audit {anchors.short(newest)}"


def export(shop: Shop, target: Path, wanted: Wanted, *, raw: bool, key_file: str) -> AuditFile:
    """Write rows with their hashes as json, csv or xlsx, in the order they were written.

    `key_file` also writes the key that recomputes the hashes: it opens no key and no credential.
    Raises `UsageError`, `FileNotWritten`.
    """
    suffix = target.suffix.lower()
    if suffix not in _WRITERS:
        raise UsageError(
            detail="the suffix of {name} says no format",
            name=target.name,
            mend="kmtool audit export -o audit.json, .csv or .xlsx",
        )
    key_path = ""
    if key_file:
        shop.must_be_writable(anywhere=True)
        with shop.db.tx():
            shop.audit("audit.key", "audit", Path(key_file).name)
        text = shop.vault.audit_key().hex() + "\n"
        key_path = str(write_bytes(Path(key_file), text.encode(), private=True))
    rows = store.listing(shop.db, wanted, None, newest=False)
    if suffix == ".xlsx" and len(rows) > XLSX_ROWS:
        raise UsageError(
            detail="{n} rows do not fit a sheet", n=len(rows), mend="kmtool audit export -o a.csv"
        )
    path = _WRITERS[suffix](shop, target, rows, raw)
    return AuditFile(str(path), len(rows), hashlib.sha256(path.read_bytes()).hexdigest(), key_path)


def who_saw(shop: Shop, *, key_id: int | None = None, tail: str = "", order: str = "") -> SeenKeys:
    """Return who saw a key, all keys with an ending, or the keys of an order."""
    if order:
        rows = store.keys_of_order(shop.db, named(shop, order)["id"])
    elif tail:
        rows = store.keys_with_tail(shop.db, tail.lstrip("…"))
    elif key_id is not None:
        found = key_store.key(shop.db, key_id)
        rows = [found] if found else []
    else:
        raise UsageError(
            detail="which key?", mend="kmtool audit seen ID, --tail ENDING or --order ORDER"
        )
    if not rows:
        raise NotFound(
            kind="key", name=order or tail or key_id, mend="kmtool key find --tail ENDING"
        )
    return SeenKeys(tuple(_seen(shop, row) for row in rows))


def _seen(shop: Shop, key: Row) -> SeenKey:
    shown = [
        Sighting(
            row["at_ms"], row["actor"], row["action"], "", row["detail"], "", row["session_id"]
        )
        for row in store.sightings(shop.db, key["id"])
    ]
    sent = [
        Sighting(
            at_ms=row["started_ms"],
            who=row["actor"] or f"{row['session_kind']} {row['host']}",
            how=row["route"],
            where=f"{row['channel']}:{row['number']}",
            why=row["kind"],
            state=row["state"],
            session_id=row["session_id"],
        )
        for row in store.sends(shop.db, key["id"])
    ]
    every = sorted([*shown, *sent], key=lambda one: one.at_ms)
    return SeenKey(key["id"], f"…{key['tail']}", key["sku"], key["state"], tuple(every))


def _anchor(shop: Shop, accept: str) -> Anchored:
    if accept:
        if not accept.strip():
            raise Refused(detail="say why", mend="kmtool audit anchor --accept REASON")
        with shop.db.tx():
            shop.audit("audit.accept", "audit", accept.strip()[:200])
    known, newest = anchors.known_heads(shop)
    heads = {
        row["chain"]: Head(row["chain"], row["count"], bytes(row["hash"]).hex())
        for row in store.heads(shop.db)
    }
    changed = tuple(head for chain, head in heads.items() if accept or known.get(chain) != head)
    whole = "\n".join(f"{head.chain} {head.count} {head.hash}" for head in heads.values())
    made = Anchor(
        seq=newest.seq + 1 if newest else 1,
        at_ms=shop.now_ms(),
        kind=anchors.RESET if accept else anchors.ANCHOR,
        chains=len(heads),
        rows=sum(head.count for head in heads.values()),
        all=hashlib.sha256(whole.encode()).hexdigest(),
        heads=changed,
        reason=accept.strip()[:200],
        mac="",
    )
    if (newest is not None and not changed and not accept) or shop.db.rehearsing:
        return _anchored(shop, newest or made, new=False)
    written = anchors.append(shop, made, newest.mac if newest else "")
    anchors.drop_tail(shop)
    with shop.db.tx():
        house.set_meta(shop.db, anchors.META, str(written.seq))
    return _anchored(shop, written, new=True)


def _anchored(shop: Shop, anchor: Anchor, *, new: bool) -> Anchored:
    path = anchors.path_of(shop)
    return Anchored(
        anchor.seq, anchor.at_ms, anchor.chains, anchor.rows, anchor.all, str(path), new,
        anchors.short(anchor),
    )  # fmt: skip


def _entry(row: Row) -> AuditEntry:
    return AuditEntry(
        seq=row["seq"],
        at_ms=row["at_ms"],
        actor=row["actor"],
        action=row["action"],
        object=row["object"],
        detail=row["detail"],
        session_id=row["session_id"],
        chain=row["chain"],
        n=row["n"],
    )


_HEAD = (
    "seq", "chain", "n", "at", "at_ms", "session", "actor", "action", "object", "detail", "prev",
    "hash",
)  # fmt: skip


def _plain(row: Row, zone: str) -> tuple[str | int | None, ...]:
    prev, found = (None if row[k] is None else bytes(row[k]).hex() for k in ("prev", "hash"))
    return (
        row["seq"], row["chain"], row["n"], iso_text(row["at_ms"], zone), row["at_ms"],
        row["session_id"], row["actor"], row["action"], row["object"], row["detail"], prev, found,
    )  # fmt: skip


def _json(shop: Shop, target: Path, rows: Sequence[Row], _raw: bool) -> Path:
    zone = shop.config.shop.timezone
    body = {
        "method": METHOD,
        "heads": [
            {"chain": row["chain"], "count": row["count"], "hash": bytes(row["hash"]).hex()}
            for row in store.heads(shop.db)
        ],
        "rows": [dict(zip(_HEAD, _plain(row, zone), strict=True)) for row in rows],
    }
    text = json.dumps(body, ensure_ascii=False, indent=1) + "\n"
    return write_bytes(target, text.encode("utf-8", "backslashreplace"))


def _csv(shop: Shop, target: Path, rows: Sequence[Row], raw: bool) -> Path:
    """For people a text that would run as a formula is disarmed; `raw` has it as it was hashed."""
    zone = shop.config.shop.timezone
    lines = (
        ["" if v is None else v if raw and isinstance(v, str) else disarmed(str(v)) for v in found]
        for row in rows
        for found in [_plain(row, zone)]
    )
    return write_bytes(target, csv_bytes(_HEAD, lines, mark=not raw))


def _xlsx(shop: Shop, target: Path, rows: Sequence[Row], _raw: bool) -> Path:
    zone = shop.config.shop.timezone
    titles = (
        "序号", "链", "链内序号", "时间", "毫秒", "会话", "谁", "做了什么", "对象", "说明",
        "前一哈希", "哈希",
    )  # fmt: skip
    body = [
        [
            Cell(local_time(row["at_ms"], zone), Kind.TIME) if i == 3 else _cell(value)
            for i, value in enumerate(_plain(row, zone))
        ]
        for row in rows
    ]
    head = [Cell(title, look=Look.HEAD) for title in titles]
    widths = [8, 6, 8, 20, 16, 8, 12, 20, 28, 40, 30, 30]
    sheet = Sheet("操作记录", widths, [head, *body], head=1, last=len(body) + 1)
    name = shop.config.shop.name
    book = Book(f"{name} 操作记录", name, shop.now_ms(), shop.config.shop.currency, (sheet,))
    return write_book(target, book)


def _cell(value: str | int | None) -> Cell | None:
    if value is None:
        return None
    if isinstance(value, int) and value < 10**12:
        return Cell(value, Kind.COUNT)
    return Cell(str(value))


_WRITERS = {".json": _json, ".csv": _csv, ".xlsx": _xlsx}
