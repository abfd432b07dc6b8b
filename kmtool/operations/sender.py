"""Who may send: one session per sender, with a lock that dies with its process.

- On SQLite one process at a time holds the sender lock; on PostgreSQL several send side by side.
- A session's row is inserted after its token's lock is held, so a live row without a held lock is a
  dead session. Whoever starts marks such sessions dead and turns their open attempts `unknown`
  (compare-and-set; a refund case stays one).
- An orderly end, Ctrl-C included, does the same for its own attempts before the session is `ended`.
  Where that cannot be written (a full disk) the session is left to whoever starts next.
- `by_hand` sessions (a person shows keys) live beside the sender: they lock their token only.
- Whoever replaces, copies or moves the database holds another lock, at which they all look once
  their row stands: it either sees their session, or they see that it is at work.
- Nobody sends from a copy, from another machine, or from a database older than the send journal.
- A take-over raises the epoch in the name of the sender lock and buries the session of whoever
  sends: one that was only stopped finds itself fenced off at its next intent or outcome, though its
  process still holds the old lock.
"""

from __future__ import annotations

import os
import platform
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from kmtool.config import Config
from kmtool.domain.ids import EffectId, LineId, ParcelId, SessionId
from kmtool.domain.states import AttemptState, EffectState, LineState
from kmtool.errors import KmError, Locked, marked, told
from kmtool.locks import FileLock
from kmtool.operations import home, journal_check, journal_whole
from kmtool.operations.refunds import reason_of
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, house, machines, orders, sessions
from kmtool.store.db import Db, Row

SENDER = "sender"
ALONE = "alone"
ALONE_NUMBER = 0x6B6D_746F_6F6C  # its number on PostgreSQL: "kmtool"
SENDS = frozenset({"run", "deliver", "once"})
"""Kinds of sessions that hold the sender lock."""
LOOKS = 4
LOOK_S = 0.05


@contextmanager
def sending(shop: Shop, kind: str, *, by_hand: bool = False) -> Iterator[Shop]:
    """Yield the shop with a live session; `Locked` when another process is the sender."""
    with ExitStack() as stack:
        epoch = _epoch(shop.db)
        if not by_hand:
            _hold_sender(shop, epoch, stack)
        home.must_be_home(shop)
        journal_check.must_not_be_older(shop)
        busy = [row["id"] for row in sessions.live(shop.db) if is_alive(shop, row)]
        journal_whole.make_whole(shop, busy)
        if not by_hand:
            shop.journal.lay_aside()
        token = secrets.randbits(62)
        _hold_token(shop, token, stack)
        with shop.db.tx():
            if not by_hand and _epoch(shop.db) != epoch:
                raise Locked(detail="another kmtool takes over just now")
            session = sessions.start(
                shop.db, kind, token, platform.node(), os.getpid(), shop.now_ms()
            )
        mine = replace(shop, session=session)
        try:
            _must_not_be_locked_out(shop)  # the sender lock has another name after a take-over
            sweep(mine)
            yield mine
        finally:
            with suppress(KmError):  # what was done stands and is told; the next start buries it
                close(mine, session, "ended")


@contextmanager
def alone(shop: Shop, *, beside: Shop | None = None) -> Iterator[None]:
    """Hold the sender lock without a session, while nobody sends or shows keys; else `Locked`.

    Nobody begins to meanwhile. `beside` is a shop that is held so already: databases of one folder
    share their locks.
    """
    with ExitStack() as stack:
        try:
            if beside is None or not _same_folder(shop, beside):
                _lock_out(shop, stack)
            if beside is None or not _same_lock(shop, beside):
                _hold_sender(shop, _epoch(shop.db), stack)
        except Locked:  # this must wait until nobody sends; "it sends by itself" is no answer here
            raise Locked(detail=_holder(shop.db)) from None
        for row in sessions.live(shop.db):
            if is_alive(shop, row):
                raise Locked(detail=_holder(shop.db))
        yield


@contextmanager
def locked_out(config: Config) -> Iterator[None]:
    """Hold every sender lock beside a database that does not open; `Locked` when one is held."""
    with ExitStack() as stack:
        folder = _locks(config)
        for path in sorted({folder / SENDER, folder / ALONE, *folder.glob(f"{SENDER}-*")}):
            lock = FileLock(path)
            if not lock.acquire():
                raise Locked(detail="another kmtool is sending")
            stack.callback(lock.release)
        yield


def take_over(shop: Shop) -> list[Row]:
    """Fence off whoever sends now, stopped or at work; return the sessions that were buried.

    Their open tries become unknown; what they still learn is kept as evidence. Raises `Locked`
    while the database is replaced: who does that sends nothing, and would lose what is sent then.
    """
    _must_not_be_locked_out(shop)
    found = senders(shop)
    try:
        with shop.db.tx():
            house.set_meta(shop.db, machines.EPOCH, str(_epoch(shop.db) + 1))
            shop.audit("take_over", "sender")
        found = senders(shop)
    except Locked:
        if not found:
            raise
        raise _stands_still(shop, found[0]) from None
    for row in found:
        try:
            close(shop, SessionId(row["id"]), "dead")
        except Locked:
            raise _stands_still(shop, row) from None
    return found


def _stands_still(shop: Shop, row: Row) -> Locked:
    """A sender that stands still in the middle of a change: only its end frees the database."""
    return Locked(
        detail=_holder(shop.db),
        mend="end its process ({pid}), by force if need be; then: kmtool run",
        pid=row["pid"],
    )


def senders(shop: Shop) -> list[Row]:
    """Return the living sessions that hold the sender lock."""
    return [row for row in sessions.live(shop.db) if row["kind"] in SENDS]


def _hold_sender(shop: Shop, epoch: int, stack: ExitStack) -> None:
    if shop.db.dialect != "sqlite":
        return
    lock = FileLock(_sender_lock(shop, epoch))
    if not _taken(shop, lock.acquire):
        raise Locked(detail=_holder(shop.db), mend="it sends what you ordered by itself")
    stack.callback(lock.release)


def _sender_lock(shop: Shop, epoch: int) -> Path:
    return _folder(shop) / _in_epoch(SENDER, epoch)


def _same_folder(one: Shop, other: Shop) -> bool:
    both_files = one.db.dialect == other.db.dialect == "sqlite"
    return both_files and _folder(one).resolve() == _folder(other).resolve()


def _same_lock(one: Shop, other: Shop) -> bool:
    return _same_folder(one, other) and _epoch(one.db) == _epoch(other.db)


def _lock_out(shop: Shop, stack: ExitStack) -> None:
    """Let nobody begin to send or show keys: it is held before the sessions are looked at."""
    if shop.db.dialect == "sqlite":
        lock = FileLock(_folder(shop) / ALONE)
        if not _taken(shop, lock.acquire):
            raise Locked(detail=_holder(shop.db))
        stack.callback(lock.release)
        return
    if not _taken(shop, partial(sessions.try_advisory, shop.db, ALONE_NUMBER)):
        raise Locked(detail=_holder(shop.db))
    stack.callback(sessions.free_advisory, shop.db, ALONE_NUMBER)


def _must_not_be_locked_out(shop: Shop) -> None:
    """Raise `Locked` when somebody replaces or moves the database.

    Whoever begins to send asks when his session stands: one of both sees the other.
    """
    with ExitStack() as stack:
        try:
            if shop.db.dialect == "sqlite":
                _lock_out(shop, stack)
            elif not _taken(shop, partial(sessions.look_advisory, shop.db, ALONE_NUMBER)):
                raise Locked(detail=_holder(shop.db))
        except Locked:
            raise Locked(
                detail="the shop is being restored, copied or moved",
                mend="wait until that is done, then repeat the command",
            ) from None


def with_epoch(db: Db, name: str) -> str:
    """Return the name of a lock as it is since the last take-over."""
    return _in_epoch(name, _epoch(db))


def _in_epoch(name: str, epoch: int) -> str:
    return f"{name}-{epoch}" if epoch else name


def _epoch(db: Db) -> int:
    return house.number(db, machines.EPOCH) or 0


def _taken(shop: Shop, take: Callable[[], bool]) -> bool:
    """Take a lock; who only looks whether it is held has it for a moment."""
    for _ in range(LOOKS):
        if take():
            return True
        shop.clock.sleep(LOOK_S)
    return take()


def sender_is_running(shop: Shop) -> bool:
    """Tell whether another process holds the sender lock (SQLite)."""
    if shop.db.dialect != "sqlite":
        return False
    lock = FileLock(_sender_lock(shop, _epoch(shop.db)))
    free = lock.acquire()
    lock.release()
    return not free


def is_alive(shop: Shop, row: Row) -> bool:
    """Tell whether the process of a live session row still holds its lock."""
    return row["id"] == shop.session or not _token_is_free(shop, row["token"])


def sweep(shop: Shop) -> int:
    """Bury sessions whose process is gone; return how many attempts became unknown."""
    found = 0
    for row in sessions.live(shop.db):
        if not is_alive(shop, row):
            found += close(shop, SessionId(row["id"]), "dead")
    return found


def close(shop: Shop, session: SessionId, state: str) -> int:
    """End a session: its open attempts become `unknown`, to be resolved by asking."""
    db, now = shop.db, shop.now_ms()
    with db.tx():
        left = effects.orphans(db, session)
        orders.lock(db, [attempt["order_id"] for attempt in left])
        for attempt in left:
            _to_unknown(db, attempt, now)
        ended = sessions.finish(db, session, state, now)
        if left or (ended and state == "dead"):
            shop.audit(f"session_{state}", f"session:{session}", f"{len(left)} attempts unknown")
    return len(left)


def _to_unknown(db: Db, attempt: Row, now: int) -> None:
    moved = effects.move_attempt(
        db, attempt["id"], AttemptState.INTENT, AttemptState.UNKNOWN, now, "", "the sender stopped"
    )
    if not moved:
        return
    effects.move_effect(
        db,
        EffectId(attempt["effect_id"]),
        [EffectState.INFLIGHT],
        EffectState.RETRY_AT,
        now,
        due_ms=now,
        reason=marked("the sender stopped in the middle"),
    )
    if attempt["parcel_id"] is None:
        return
    for line in deliveries.parcel_lines(db, ParcelId(attempt["parcel_id"])):
        if line["state"] == LineState.SENDING:
            reason = reason_of(line, "the sender stopped in the middle")
            orders.move_line(
                db, LineId(line["id"]), LineState.SENDING, LineState.UNKNOWN, now, reason=reason
            )


def _folder(shop: Shop) -> Path:
    return _locks(shop.config)


def _locks(config: Config) -> Path:
    database = config.database
    base = database.parent if isinstance(database, Path) else config.root
    return base / "locks"


def _hold_token(shop: Shop, token: int, stack: ExitStack) -> None:
    if shop.db.dialect == "postgresql":
        if not sessions.try_advisory(shop.db, token):
            raise Locked(detail="a session number is in use twice")
        stack.callback(sessions.free_advisory, shop.db, token)
        return
    lock = FileLock(_folder(shop) / f"session-{token:016x}")
    if not lock.acquire():
        raise Locked(detail="a session number is in use twice")
    stack.callback(lock.release, remove=True)


def _token_is_free(shop: Shop, token: int) -> bool:
    if shop.db.dialect == "postgresql":
        if not sessions.try_advisory(shop.db, token):
            return False
        sessions.free_advisory(shop.db, token)
        return True
    lock = FileLock(_folder(shop) / f"session-{token:016x}")
    free = lock.acquire()
    lock.release(remove=True)
    return free


def _holder(db: Db) -> str:
    for row in sessions.live(db):
        if row["kind"] in {"run", "deliver"}:
            return told(
                "`kmtool {command}` (process {pid} on {host})",
                command=row["kind"],
                pid=row["pid"],
                host=row["host"],
            )
    return told("another kmtool is sending")
