"""Is this database the one the send journal was written with, and does it know what was sent?

`older` is quick enough for every sender: it looks at the last records and at the sessions that
wrote them. A session's records are numbered, and the database counts them in the transaction of the
intent, before they are written: a database that knows fewer is an older copy. `compare` reads all.
"""

from __future__ import annotations

from dataclasses import dataclass

from kmtool.domain.ids import Place
from kmtool.domain.states import KeyState
from kmtool.errors import OlderThanJournal, told
from kmtool.journal import JournalEntry
from kmtool.operations import home, journal_whole
from kmtool.operations.replay import LastWord, last_word
from kmtool.shop import Shop
from kmtool.store import doctor as store
from kmtool.store import house, machines, seen_keys
from kmtool.store.db import Row

WRITTEN_MS = 60_000
UNSENT = (KeyState.FREE, KeyState.RESERVED)


@dataclass(frozen=True, slots=True)
class Compared:
    """What the whole journal says: records, what does not agree with the keys here, and how many
    keys were sent that it does not name (any more): the next start of a sender writes them again.
    """

    records: int
    wrong: tuple[str, ...]
    missing: int = 0


def must_not_be_older(shop: Shop) -> None:
    """Refuse to send from a database that is older than what was sent."""
    found = older(shop)
    if found:
        raise OlderThanJournal(detail=found, where=str(shop.journal.path))


def older(shop: Shop) -> str:
    """Return how the database shows that it is older than the journal, empty when it does not."""
    replayed = house.number(shop.db, machines.REPLAYED) or 0
    tail = [entry for entry in shop.journal.tail() if entry.session > replayed]
    last: dict[int, int] = {}
    for entry in tail:
        if entry.n:
            last[entry.session] = max(entry.n, last.get(entry.session, 0))
    known = machines.sessions_known(shop.db, list(last))
    for session, n in sorted(last.items()):
        if known.get(session, 0) < n:
            return told(
                "session {session} sent {n} keys, this copy knows of {known}",
                session=session,
                n=n,
                known=known.get(session, 0),
            )
    return _unnumbered(shop, tail)


def compare(shop: Shop) -> Compared:
    """Compare every record with the keys; raises `Broken` when one was changed."""
    word = last_word(shop.journal)
    waiting = seen_keys.seen_fingerprints(shop.db)
    known = store.key_states(shop.db, list(word.sent))
    shared = seen_keys.shared_keys(shop.db)
    wrong = [told("record {n} stands where it was not written", n=n) for n in word.moved]
    for fingerprint, places in word.sent.items():
        state, tail = known.get(fingerprint, ("not here", ""))
        where = list(places)
        if fingerprint in shared:
            continue
        if len(where) > 1 and state != "not here":  # how many it serves, only its file tells
            first, again = _place(where[0]), _place(where[1])
            wrong.append(told("one key was sent for {first} and {again}", first=first, again=again))
        if state in UNSENT or (state == "not here" and fingerprint not in waiting):
            wrong.append(
                told(
                    "key {tail} was sent for {place} but is {state}",
                    tail=tail or "?",
                    place=_place(where[0]),
                    state=told(state),
                )
            )
    return Compared(word.records, tuple(wrong), len(_long_missing(shop, word)))


def _long_missing(shop: Shop, word: LastWord) -> list[Row]:
    """What was sent and is not named; a record is written a moment after its intent. On PostgreSQL
    each machine learns at its next start what the others sent."""
    if shop.db.dialect == "postgresql":
        return []
    before = shop.now_ms() - WRITTEN_MS
    return [row for row in journal_whole.missing(shop, word) if (row["exposed_ms"] or 0) < before]


def _unnumbered(shop: Shop, tail: list[JournalEntry]) -> str:
    """Records from before they were numbered: the keys of the last ones must not be for sale."""
    sent: dict[bytes, Place] = {}
    for entry in tail:
        fingerprint = bytes.fromhex(entry.fingerprint)
        if entry.kind == "SEND":
            if entry.n:
                continue
            sent[fingerprint] = (entry.channel, entry.order, entry.line)
        elif entry.kind == "RELEASE":
            sent.pop(fingerprint, None)
    if not sent:
        return ""
    known = store.key_states(shop.db, list(sent))
    shared = seen_keys.shared_keys(shop.db)
    waiting = seen_keys.seen_fingerprints(shop.db)
    for fingerprint, place in sent.items():
        state = known.get(fingerprint, ("not here", ""))[0]
        lost = state == "not here" and fingerprint not in waiting
        if fingerprint not in shared and (state in UNSENT or lost):
            return told("a key was sent for {place} but is {state}", place=_place(place),
                        state=told(state))  # fmt: skip
    return ""


def _place(place: Place) -> str:
    return told("{order} line {line}", order=f"{place[0]}:{place[1]}", line=place[2])


def last_chance(present: Shop | None) -> None:
    """Make the journal whole before the database that knows what it lost is replaced or leaves.

    A replay takes what it finds in the journal for all there is.
    """
    if present is not None and home.read_home(present.journal.path) and not older(present):
        journal_whole.make_whole(present)
