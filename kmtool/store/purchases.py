"""SQL of purchases from suppliers: what was asked for under which of our numbers, what came of it.

A purchase may have been charged from its intent on until it is known that it was not: in all those
states it counts as spent. Every change of state is a compare-and-set.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass

from kmtool.domain.ids import Place
from kmtool.domain.states import PurchaseState
from kmtool.store import house
from kmtool.store.db import Db, Row, in_clause

SPENT = "('intent', 'unknown', 'accepted', 'done', 'keys_received', 'reconciled')"
OPEN = "('intent', 'unknown', 'accepted')"
_COLUMNS = ("agreed_minor", "charged_minor", "their_no", "proof", "note", "intent_ms",
            "accepted_ms", "done_ms", "account", "cap_minor", "supplier", "item")  # fmt: skip
"""What may be set with a change of state."""
BOUGHT = "bought:"
"""Meta: how the name of a value begins that tells of a purchase from before a restore."""


def add(db: Db, values: Row) -> int | None:
    """Write down a purchase to be made; None when its number or its place is taken."""
    found = db.value(
        "INSERT INTO purchases (our_no, supplier, item, sku, order_id, line_id, generation,"
        " quantity, account, cap_minor, currency, state, their_no, proof, note, planned_ms)"
        " VALUES (:our_no, :supplier, :item, :sku, :order_id, :line_id, :generation, :quantity,"
        " :account, :cap_minor, :currency, 'planned', '', '', '', :planned_ms)"
        " ON CONFLICT DO NOTHING RETURNING id",
        **values,
    )
    return None if found is None else int(found)


def get(db: Db, purchase_id: int) -> Row:
    """Return a purchase."""
    row = db.one("SELECT * FROM purchases WHERE id = :id", id=purchase_id)
    assert row is not None
    return row


def of_line(db: Db, line_id: int) -> Row | None:
    """Return the newest purchase of a line."""
    return db.one(
        "SELECT * FROM purchases WHERE line_id = :l ORDER BY generation DESC LIMIT 1", l=line_id
    )


def of_order(db: Db, order_id: int) -> list[Row]:
    """Return the purchases of an order, oldest first, with the line's number."""
    return db.all(
        "SELECT p.*, l.line_no FROM purchases p JOIN lines l ON l.id = p.line_id"
        " WHERE p.order_id = :o ORDER BY p.id",
        o=order_id,
    )


def place_of(db: Db, order_id: int, line_id: int) -> int:
    """Return which line of its order a line is, counted from 1 in the order they came."""
    return int(
        db.value(
            "SELECT count(*) FROM lines WHERE order_id = :o AND id <= :l", o=order_id, l=line_id
        )
    )


def tried(db: Db, *, asked: bool = False) -> dict[Place, Row]:
    """Return place → the newest purchase of the line, for every line that has one (`asked`: one
    that its supplier was asked for)."""
    chosen = " WHERE p.intent_ms IS NOT NULL" if asked else ""
    rows = db.all(
        "SELECT o.channel, o.number, l.line_no, p.generation, p.state, p.intent_ms, p.supplier,"
        " p.our_no, p.note, p.cap_minor, r.n AS parcel_n FROM purchases p"
        " JOIN lines l ON l.id = p.line_id JOIN orders o ON o.id = p.order_id"
        " LEFT JOIN (SELECT m.line_id, max(q.n) AS n FROM parcel_lines m"
        " JOIN parcels q ON q.id = m.parcel_id GROUP BY m.line_id) r"
        f" ON r.line_id = p.line_id{chosen} ORDER BY p.line_id, p.generation"
    )
    return {(row["channel"], row["number"], row["line_no"]): row for row in rows}


def move(
    db: Db,
    purchase_id: int,
    sources: Sequence[PurchaseState],
    target: PurchaseState,
    **changes: object,
) -> bool:
    """Compare-and-set the state of a purchase, with what became known."""
    assert set(changes) <= set(_COLUMNS)
    marks, params = in_clause([str(source) for source in sources])
    sets = "".join(f", {name} = :{name}" for name in changes)
    return (
        db.run(
            f"UPDATE purchases SET state = :target{sets} WHERE id = :id AND state IN {marks}",
            id=purchase_id,
            target=target,
            **changes,
            **params,
        )
        == 1
    )


def lock_supplier(db: Db, supplier: str) -> None:
    """Hold what may be spent at a supplier until the transaction ends."""
    if db.dialect == "postgresql":
        key = zlib.crc32(f"spend:{supplier}".encode())
        db.value("SELECT pg_advisory_xact_lock(:key)", key=key)


def spent(db: Db, supplier: str, since_ms: int) -> int:
    """Return what was spent at a supplier since a moment; what is unclear counts as spent."""
    return int(
        db.value(
            "SELECT CAST(coalesce(sum(coalesce(charged_minor, agreed_minor, cap_minor)), 0)"
            f" AS BIGINT) FROM purchases WHERE supplier = :s AND state IN {SPENT}"
            " AND intent_ms >= :since",
            s=supplier,
            since=since_ms,
        )
    )


def tally(db: Db, supplier: str) -> Row:
    """Return how many purchases a supplier has done, has open, and what they came to."""
    row = db.one(
        "SELECT CAST(coalesce(sum(CASE WHEN state IN ('done', 'keys_received', 'reconciled')"
        f" THEN 1 ELSE 0 END), 0) AS BIGINT) AS done, CAST(coalesce(sum(CASE WHEN state IN {OPEN}"
        " THEN 1 ELSE 0 END), 0) AS BIGINT) AS unclear,"
        " CAST(coalesce(sum(charged_minor), 0) AS BIGINT) AS charged_minor"
        " FROM purchases WHERE supplier = :s",
        s=supplier,
    )
    assert row is not None
    return row


def unequal(db: Db) -> list[Row]:
    """Return purchases that were charged with another amount than agreed, and nobody said why."""
    return db.all(
        "SELECT p.id, p.our_no, p.supplier, p.agreed_minor, p.charged_minor, p.currency,"
        " p.done_ms, o.channel, o.number, l.line_no FROM purchases p JOIN lines l"
        " ON l.id = p.line_id JOIN orders o ON o.id = p.order_id"
        " WHERE p.charged_minor <> p.agreed_minor AND p.settled_ms IS NULL ORDER BY p.done_ms"
    )


def given_up(db: Db) -> list[Row]:
    """Return purchases that may have been made and that nobody asks about any more, of lines that
    no person is asked about."""
    return db.all(
        "SELECT p.our_no, p.supplier, p.cap_minor, p.currency, p.intent_ms AS since_ms,"
        " o.channel, o.number, l.line_no FROM purchases p JOIN lines l ON l.id = p.line_id"
        " JOIN orders o ON o.id = p.order_id WHERE p.state IN ('intent', 'unknown')"
        " AND l.state <> 'human' AND NOT EXISTS (SELECT 1 FROM effects e JOIN parcel_lines m"
        " ON m.parcel_id = e.parcel_id WHERE m.line_id = l.id AND e.kind = 'purchase'"
        " AND e.state IN ('pending', 'inflight', 'retry_at')) ORDER BY p.id"
    )


def open_numbers(db: Db) -> list[str]:
    """Return our numbers of purchases that may have been made or are under way."""
    rows = db.all(f"SELECT our_no FROM purchases WHERE state IN {OPEN} ORDER BY id")
    return [row["our_no"] for row in rows]


def settle_unequal(db: Db, order_id: int, line_no: str, note: str, now_ms: int) -> int:
    """Remember that a person looked at the differences of an order, or of one line of it; return
    how many."""
    return db.run(
        "UPDATE purchases SET settled_ms = :now, note = :note WHERE order_id = :o"
        " AND charged_minor <> agreed_minor AND settled_ms IS NULL AND (CAST(:line AS TEXT) = ''"
        " OR line_id IN (SELECT id FROM lines WHERE order_id = :o AND line_no = :line))",
        line=line_no,
        now=now_ms,
        note=note[:300],
        o=order_id,
    )


def set_account(db: Db, line_id: int, account: str) -> bool:
    """Say which account a line charges, as long as nothing was asked of the supplier."""
    return (
        db.run(
            "UPDATE lines SET account_given = :a WHERE id = :l"
            " AND state IN ('new', 'ready', 'held', 'unmapped')",
            a=account,
            l=line_id,
        )
        == 1
    )


# ------------------------------------------------------------------ from before a restore


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a purchase: the count of its number, its parcel, from whom, for how much at
    most, when it was tried."""

    generation: int
    parcel: int = 0
    supplier: str = ""
    amount_minor: int = 0
    at: int = 0
    place: int = 0
    """Which line of its order its number names; 0 where that is not known."""


def place_in(our_no: str) -> int:
    """Return which line of its order the number of a purchase names."""
    return int(our_no.split("-")[-2])


def keep_bought(db: Db, place: Place, kept: Kept) -> None:
    """Keep that a purchase for a line was tried of which nothing else is here."""
    house.set_meta(db, _name_of(place), json.dumps(astuple(kept)))


def kept_spent(db: Db, supplier: str, since_ms: int) -> int:
    """Return what those purchases may have cost at a supplier since a moment."""
    rows = db.all("SELECT name, value FROM meta WHERE name LIKE 'bought:%'")
    every = [_kept(db, row["name"], row["value"]) for row in rows]
    return sum(one.amount_minor for one in every if one.supplier == supplier and one.at >= since_ms)


def forget_bought(db: Db, place: Place) -> None:
    """Keep it no longer: the purchase stands here again."""
    db.run("DELETE FROM meta WHERE name = :name", name=_name_of(place))


def note_open(db: Db, note: str, but: Sequence[str]) -> None:
    """Say of every purchase that may have been made, or is under way, why that is not known; but
    of those with certain notes, which say more."""
    marks, params = in_clause(list(but))
    db.run(
        f"UPDATE purchases SET note = :note WHERE state IN {OPEN} AND note NOT IN {marks}",
        note=note,
        **params,
    )


def said_unmade(db: Db, line_id: int, note: str, supplier: str = "") -> bool:
    """Tell whether a person said of a purchase with a note, at any supplier or at one, that it was
    not made (only then does one that is refused have the moment of an answer)."""
    found = db.value(
        "SELECT 1 FROM purchases WHERE line_id = :line AND :supplier IN ('', supplier)"
        " AND state = 'rejected' AND note = :note AND accepted_ms IS NOT NULL LIMIT 1",
        line=line_id,
        supplier=supplier,
        note=note,
    )
    return found is not None


def forget_answers(db: Db, notes: Sequence[str]) -> None:
    """Let what was said of purchases with certain notes, and what was asked of suppliers for those
    that were not made, count no more: it tells nothing of what was bought since."""
    marks, params = in_clause(list(notes))
    db.run(f"UPDATE purchases SET note = '' WHERE state = 'rejected' AND note IN {marks}", **params)
    db.run("UPDATE purchases SET intent_ms = NULL WHERE state IN ('planned', 'cancelled')")


def clear_note(db: Db, purchase_id: int) -> None:
    """Forget why the outcome of a purchase was unclear: it was not made."""
    db.run("UPDATE purchases SET note = '' WHERE id = :id", id=purchase_id)


def any_bought(db: Db) -> bool:
    """Tell whether anything is kept so (usually not)."""
    return db.value("SELECT 1 FROM meta WHERE name LIKE 'bought:%' LIMIT 1") is not None


def bought_places(db: Db) -> list[Place]:
    """Return the place of every purchase that is kept so."""
    rows = db.all("SELECT name FROM meta WHERE name LIKE 'bought:%' ORDER BY name")
    return [_place(db, row["name"]) for row in rows]


def bought_at(db: Db, place: Place) -> Kept | None:
    """Return the purchase that is kept so for a line."""
    name = _name_of(place)
    found = house.meta(db, name)
    return None if found is None else _kept(db, name, found)


def _kept(db: Db, name: str, value: str) -> Kept:
    """Read what is kept of a purchase; raises `Broken` when somebody changed it."""
    try:
        generation, parcel, supplier, amount_minor, at, *more = json.loads(value)
        place = int(more[0]) if more else 0
        return Kept(int(generation), int(parcel), str(supplier), int(amount_minor), int(at), place)
    except (ValueError, TypeError):
        raise house.changed(db, name) from None


def _place(db: Db, name: str) -> Place:
    try:
        channel, number, line_no = json.loads(name.removeprefix(BOUGHT))
    except (ValueError, TypeError):
        raise house.changed(db, name) from None
    return str(channel), str(number), str(line_no)


def _name_of(place: Place) -> str:
    return BOUGHT + json.dumps(place)
