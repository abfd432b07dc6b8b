"""Replays the send journal on a database that is older than it: what was sent is sent.

A key that the journal knows as sent is bound to its line again, exposed; the line's outcome is
unclear, so that asking settles it and no other key goes out. An order that is not here yet gets
exactly these keys when sync brings it; a key that is not here goes to its line when its file is
imported again. Nothing is replayed twice: whatever stands already is left as it is.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kmtool.domain.ids import Place
from kmtool.domain.states import AllocationState, KeyState
from kmtool.errors import marked
from kmtool.journal import Journal, JournalEntry, whole
from kmtool.operations import bought_before, lending_replay
from kmtool.operations.bought_before import Buying
from kmtool.operations.claims import counter_sales
from kmtool.operations.home import host_name
from kmtool.operations.rebind import (
    give_up,
    line_of,
    rebind,
    resume,
    to_person,
    tried_since,
    unreserve,
)
from kmtool.shop import Shop
from kmtool.store import house, machines, orders, seen_keys
from kmtool.store.db import Row
from kmtool.store.purchases import Kept

_SEEN = {KeyState.EXPOSED, KeyState.DELIVERED, KeyState.DEFECTIVE, KeyState.VOID, KeyState.RETURNED}


@dataclass(frozen=True, slots=True)
class Sending:
    """The last word of the journal on one key and one line."""

    place: Place
    session: int
    parcel: int
    n: int = 0


@dataclass
class Replayed:
    """What a replay found, in keys: right already, bound again, waiting for order or file."""

    records: int = 0
    right: int = 0
    bound: int = 0
    waiting: int = 0
    unknown: int = 0
    freed: int = 0
    conflicts: int = 0


@dataclass(frozen=True, slots=True)
class LastWord:
    """What the whole journal says: fingerprint → places it was sent for and not released since,
    and those it was released from; how many records, the highest session, and the records that
    stand where they cannot have been written (a session numbers its own from 1 on); and the last
    purchase that was tried for each line, and the keys of it that others were sent in place of.
    `by` tells which session released a key last.
    """

    sent: dict[bytes, dict[Place, Sending]]
    released: dict[bytes, set[Place]]
    records: int
    last: int
    moved: tuple[int, ...] = ()
    bought: dict[Place, Buying] = field(default_factory=dict)
    bad: dict[Place, set[bytes]] = field(default_factory=dict)
    by: dict[bytes, int] = field(default_factory=dict)

    def places(self) -> Iterator[Place]:
        """Yield every place that a key was sent for or released from."""
        for found in (self.sent, self.released):
            for places in found.values():
                yield from places


def last_word(journal: Journal) -> LastWord:
    """Read the journal to its end."""
    sent: dict[bytes, dict[Place, Sending]] = {}
    released: dict[bytes, set[Place]] = {}
    records = last = 0
    moved: list[int] = []
    bought: dict[Place, Buying] = {}
    bad: dict[Place, set[bytes]] = {}
    by: dict[bytes, int] = {}
    for entry in _in_order(journal, moved):
        records += 1
        last = max(last, entry.session)
        fingerprint = bytes.fromhex(entry.fingerprint)
        place = (entry.channel, entry.order, entry.line)
        if entry.kind == "SEND":
            sent.setdefault(fingerprint, {})[place] = Sending(
                place, entry.session, entry.parcel, entry.n
            )
        elif entry.kind == "BAD":
            bad.setdefault(place, set()).add(fingerprint)
        elif entry.kind == "RELEASE":
            by[fingerprint] = entry.session
            known = sent.get(fingerprint, {})
            released.setdefault(fingerprint, set()).update((place,) if place in known else known)
            if known.pop(place, None) is None or not known:
                sent.pop(fingerprint, None)
        elif (
            entry.kind == "BUY" and entry.generation >= bought.get(place, Buying()).kept.generation
        ):
            kept = Kept(
                entry.generation, entry.parcel, entry.supplier, entry.amount, entry.at, entry.place
            )
            bought[place] = Buying(kept, entry.session, entry.n)
    return LastWord(sent, released, records, last, tuple(moved), bought, bad, by)


def _in_order(journal: Journal, moved: list[int]) -> Iterator[JournalEntry]:
    """Yield the records of whole messages; note in `moved` each one, of an unfinished message too,
    that stands where it was not written: a session never counts back."""
    numbers: dict[int, int] = {}
    begun: dict[int, list[JournalEntry]] = {}
    for count, entry in enumerate(journal.lines(), 1):
        if entry.n and entry.n <= numbers.get(entry.session, 0):
            moved.append(count)
        numbers[entry.session] = max(entry.n, numbers.get(entry.session, 0))
        yield from whole(begun, entry)


def replay(shop: Shop) -> Replayed:
    """Bring the database up to the journal, in one transaction; return what was found.

    Raises `Broken` when a record of the journal was changed. Call it as the only sender.
    """
    word = last_word(shop.journal)
    done = Replayed(records=word.records)
    with shop.db.tx():
        numbers = {sending.session for places in word.sent.values() for sending in places.values()}
        numbers |= {buying.session for buying in word.bought.values()}
        known = machines.sessions_known(shop.db, sorted(numbers))
        replayed = house.number(shop.db, machines.REPLAYED) or 0
        known |= {n: sys.maxsize for n in numbers if n <= replayed}  # an earlier replay saw them
        session = _skip_sessions(shop, word.last)
        keys = seen_keys.keys_of(shop.db, list(word.sent))
        bonds = seen_keys.bonds(shop.db, [key["id"] for key in keys.values()])
        waiting = seen_keys.waiting_places(shop.db)
        lending_replay.keep_returned(shop, word.sent, word.released)
        seen: list[Row] = []
        for fingerprint, places in word.sent.items():
            key = keys.get(fingerprint)
            held = bonds.get(key["id"], []) if key is not None else []
            for sending in places.values():
                if (fingerprint, *sending.place) in waiting:
                    continue
                if key is not None and lending_replay.stands(shop, key, held, sending.place):
                    done.right += 1
                    continue
                gone = word.released.get(fingerprint, set())
                if key is not None and _stands(shop, held, sending, (known, session), done):
                    continue
                if key is not None and not _cleared(shop, key, held, (places, gone), done):
                    continue
                is_bad = fingerprint in word.bad.get(sending.place, ())
                seen.append(_seen(fingerprint, sending, is_bad, shop.now_ms()))
                if key is not None:
                    lending_replay.came_back(shop, key, places.keys(), gone)
                    _take_out(shop, key, done)
        give_up(shop, word.bad)
        lending_replay.keep_numbers(shop, word.places())
        seen_keys.remember_seen(shop.db, seen)
        counter_sales(shop)
        for row in seen_keys.seen_orders(shop.db):
            if row["here"]:
                order = orders.find(shop.db, row["channel"], row["number"], lock=True)
                assert order is not None
                done.bound += rebind(shop, order, session)
        bought_before.bring_back(shop, word.bought, known)
        done.waiting, done.unknown = seen_keys.seen_figures(shop.db)
        shop.audit(
            "journal_replayed",
            "journal",
            f"{word.records} records, {done.bound} bound again, {done.waiting} wait",
        )
    return done


def _skip_sessions(shop: Shop, last: int) -> int:
    """Give out no session number again that the journal knows; return the replay's own."""
    number = max(last, machines.last_session(shop.db)) + 1
    machines.skip_sessions(shop.db, number, secrets.randbits(62), host_name(), shop.now_ms())
    house.set_meta(shop.db, machines.REPLAYED, str(number))
    return number


def _seen(fingerprint: bytes, sending: Sending, is_bad: bool, now: int) -> Row:
    channel, number, line_no = sending.place
    return {
        "fingerprint": fingerprint,
        "channel": channel,
        "number": number,
        "line_no": line_no,
        "parcel_n": sending.parcel,
        "session_id": sending.session,
        "replaced": int(is_bad),
        "seen_ms": now,
    }


def _stands(
    shop: Shop,
    bonds: Sequence[Row],
    sending: Sending,
    sessions: tuple[Mapping[int, int], int],
    done: Replayed,
) -> bool:
    """Tell whether a key is where the journal says. `sessions`: how many records the copy knows of
    each, and the replay's own."""
    known, session = sessions
    mine = [b for b in bonds if (b["channel"], b["number"], b["line_no"]) == sending.place]
    if mine and mine[0]["state"] != AllocationState.RESERVED:
        if sending.n > known.get(sending.session, 0):
            tried_since(shop, mine[0], sending.parcel, session)
        done.right += 1
        return True
    if mine and sending.parcel and mine[0]["parcel_n"] != sending.parcel:
        unreserve(shop, mine[0])  # packed anew since: that text, with other keys in it, never left
        return False
    if mine:
        resume(shop, mine[0], session)
        done.bound += 1
        return True
    return False


def _cleared(
    shop: Shop,
    key: Row,
    bonds: Sequence[Row],
    said: tuple[Collection[Place], set[Place]],
    done: Replayed,
) -> bool:
    """Clear what stands in the way of a key: reserved for a line, or released there by proof.

    False when another buyer may have it and no release is on record: nothing is changed then, and
    the figure tells of it. `said`: the places it was sent for, and those it was released from.
    """
    sent, released = said
    if _is_shared(key, bonds):
        _make_room(shop, key, bonds, sent)
        return True
    for bond in bonds:
        place = (bond["channel"], bond["number"], bond["line_no"])
        if bond["state"] == AllocationState.RESERVED:
            unreserve(shop, bond)
        elif place not in released:
            done.conflicts += 1
            return False
        else:
            seen_keys.undo_bond(shop.db, bond["id"])
            shop.audit("key_release", f"key:{key['id']}", "the journal holds its release")
            line = line_of(shop, bond)
            to_person(shop, line, marked("its key was released and sent elsewhere since"))
            done.freed += 1
    return True


def _make_room(shop: Shop, key: Row, bonds: Sequence[Row], sent: Collection[Place]) -> None:
    """Where no use of a shared key is left, one that was bound and never sent gives way."""
    fingerprint = bytes(key["fingerprint"])
    if seen_keys.keys_of(shop.db, [fingerprint])[fingerprint]["uses_left"]:
        return
    ids = {
        bond["id"]
        for bond in bonds
        if bond["state"] == AllocationState.RESERVED
        and (bond["channel"], bond["number"], bond["line_no"]) not in sent
    }
    for bond in seen_keys.bonds(shop.db, [key["id"]]).get(key["id"], ()):
        if bond["id"] in ids and bond["state"] == AllocationState.RESERVED:
            unreserve(shop, bond)
            return


def _is_shared(key: Row, bonds: Sequence[Row]) -> bool:
    return key["uses"] > 1 or any(not bond["exclusive"] for bond in bonds)


def _take_out(shop: Shop, key: Row, done: Replayed) -> None:
    if key["uses"] > 1:
        seen_keys.use_once(shop.db, key["id"], shop.now_ms())
    elif KeyState(key["state"]) not in _SEEN:
        seen_keys.take_out(shop.db, key["id"], shop.now_ms())
