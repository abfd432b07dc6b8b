"""Keeps the send journal whole: what this database knows as sent and the journal lost is written
again, before anything more is sent.

A journal that was deleted, cut or put back from an old day would let a later restore believe that
what it does not name was never sent. The database that is current knows better, as long as it
lives: so the loss is made good at the next start of a sender, and before a restore.
"""

from __future__ import annotations

from collections.abc import Collection

from kmtool.domain.ids import Place
from kmtool.domain.states import PurchaseState
from kmtool.errors import KmError
from kmtool.journal import JournalEntry
from kmtool.operations import home, topup, without_journal
from kmtool.operations.replay import LastWord, last_word
from kmtool.shop import Shop
from kmtool.store import house, machines, purchases
from kmtool.store.db import Row
from kmtool.store.lending import POOL

BUYS = "journal_names_purchases"
"""Meta: the journal names what was bought before it did so by itself."""
LOOKED = "journal_whole_session"
"""Meta: the journal was made whole for sessions up to this one."""
SIZE = "journal_whole_size"
"""Meta: how long the journal was then, in bytes. It never gets shorter by itself."""
PART = 2_000


def make_whole(shop: Shop, busy: Collection[int] = ()) -> int:
    """Write records that the journal misses anew; return how many. Cheap when none is missing.

    `busy`: sessions at work. What one of them has just released is about to be free here.
    """
    if shop.db.rehearsing:
        return 0
    shop.journal.look_again()
    known = house.number(shop.db, _mine(shop, SIZE)) or 0
    last = _suspicious(shop, is_shorter=shop.journal.size() < known)
    if not last and _never_named(shop):
        last = machines.last_session(shop.db)
    written = write_missing(shop, last, busy) if last else 0
    size = shop.journal.size()
    if last or size != known:
        with shop.db.tx():
            house.set_meta(shop.db, _mine(shop, SIZE), str(size))
            if last:
                house.set_meta(shop.db, _mine(shop, LOOKED), str(last))
                house.set_meta(shop.db, _mine(shop, BUYS), "1")
            if written:
                shop.audit("journal_made_whole", "journal", f"{written} records it had lost")
    return written


def note_size(shop: Shop) -> None:
    """Remember how long the journal is that was just replayed: it may be cut before a sender
    starts."""
    with shop.db.tx():
        house.set_meta(shop.db, _mine(shop, SIZE), str(shop.journal.size()))


def write_missing(shop: Shop, session: int, busy: Collection[int] = ()) -> int:
    """Append every sending, every purchase, and every release of a lent key, that the journal does
    not name."""
    word = last_word(shop.journal)
    entries = [
        *(_entry("RELEASE", row, session) for row in _come_back(shop, word)),
        *(
            _entry("SEND", row, session)
            for row in missing(shop, word)
            if word.by.get(bytes(row["fingerprint"])) not in busy
        ),
        *(_entry("BAD", row, session) for row in _given_up(shop, word)),
        *(_bought(place, row, session) for place, row in _unnamed(shop, word)),
    ]
    for start in range(0, len(entries), PART):
        shop.journal.append(entries[start : start + PART])
    return len(entries)


def missing(shop: Shop, word: LastWord) -> list[Row]:
    """Return the sendings that the database knows and the journal does not name."""
    return [
        row
        for row in machines.sendings(shop.db, POOL)
        if (row["channel"], row["number"], str(row["line_no"]))
        not in word.sent.get(bytes(row["fingerprint"]), {})
    ]


def _come_back(shop: Shop, word: LastWord) -> list[Row]:
    """Return the places in pools from which keys came back, and of which the journal lost that."""
    return [
        row
        for row in machines.come_back(shop.db, POOL)
        if (row["channel"], row["number"], str(row["line_no"]))
        in word.sent.get(bytes(row["fingerprint"]), {})
    ]


def _given_up(shop: Shop, word: LastWord) -> list[Row]:
    """Return the keys that others were sent in place of, where the journal does not say so."""
    return [
        row
        for row in machines.given_up(shop.db)
        if bytes(row["fingerprint"])
        not in word.bad.get((row["channel"], row["number"], str(row["line_no"])), ())
    ]


def _entry(kind: str, row: Row, session: int) -> JournalEntry:
    return JournalEntry(
        kind=kind,
        channel=row["channel"],
        order=row["number"],
        line=str(row["line_no"]),
        fingerprint=bytes(row["fingerprint"]).hex(),
        session=session,
        parcel=row["parcel_n"] or 0,
    )


def _unnamed(shop: Shop, word: LastWord) -> list[tuple[Place, Row]]:
    """Return the purchases that were tried and that the journal does not name; those of which
    only a replay told are among them."""
    kept = {
        place: purchases.bought_at(shop.db, place) for place in purchases.bought_places(shop.db)
    }
    told = {
        place: {
            "generation": one.generation, "parcel_n": one.parcel, "supplier": one.supplier,
            "cap_minor": one.amount_minor, "intent_ms": one.at,
            "place": one.place,
        }
        for place, one in kept.items() if one is not None
    }  # fmt: skip
    every = {**told, **purchases.tried(shop.db, asked=True)}
    return [
        (place, row)
        for place, row in every.items()
        if place not in word.bought or word.bought[place].kept.generation < row["generation"]
    ]


def lacks_purchases(shop: Shop, word: LastWord) -> bool:
    """Tell whether the journal here, which names what is bought, does not name every account that
    was charged as far as this copy knows."""
    if house.meta(shop.db, _mine(shop, BUYS)) is None:
        return False  # written before purchases were named
    made = (*topup.CHARGED, PurchaseState.ACCEPTED)
    every = list(purchases.tried(shop.db, asked=True).items())
    if house.number(shop.db, without_journal.UNPROVED):  # found by asking: that journal is gone
        every = [(p, row) for p, row in every if not without_journal.was_made_elsewhere(row)]
    return any(place not in word.bought for place, row in every if row["state"] in made)


def _never_named(shop: Shop) -> bool:
    """Tell whether purchases were made here before the journal named them."""
    if house.meta(shop.db, _mine(shop, BUYS)) is not None:
        return False
    return bool(purchases.tried(shop.db, asked=True))


def _bought(place: Place, row: Row, session: int) -> JournalEntry:
    channel, number, line_no = place
    return JournalEntry(
        "BUY", channel, number, line_no, "", session,
        parcel=row["parcel_n"] or 0, generation=row["generation"], supplier=row["supplier"],
        amount=row["cap_minor"], at=row["intent_ms"],
        place=row["place"] if "place" in row else purchases.place_in(row["our_no"]),
    )  # fmt: skip


def _mine(shop: Shop, name: str) -> str:
    """Each machine has a journal of its own; it learns what the others sent."""
    return name if shop.db.dialect == "sqlite" else f"{name}_{home.here().id}"


def _suspicious(shop: Shop, *, is_shorter: bool) -> int:
    """Return the newest session when the journal lost something, else 0.

    It did when it is shorter than it was, or when one of the last sessions wrote more than it
    holds. A process that was killed right before its records were written looks the same: harmless.
    """
    names = (_mine(shop, LOOKED), machines.REPLAYED)
    looked = max(house.number(shop.db, name) or 0 for name in names)
    ended = machines.last_journalled(shop.db, looked)
    if is_shorter:
        return max(ended, default=looked)
    if not ended:
        return 0
    try:
        tail = shop.journal.tail()
        all_of_it = shop.journal.is_short()
    except KmError:
        return 0  # a changed record is told by who compares
    numbers: dict[int, set[int]] = {}
    for entry in tail:
        numbers.setdefault(entry.session, set()).add(entry.n)
    for session, n in ended.items():
        found = numbers.get(session, set())
        held = len(found - {0}) if all_of_it else max(found, default=0)
        if held < n and (all_of_it or found or session == max(ended)):
            return max(ended)
    return 0
