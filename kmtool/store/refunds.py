"""SQL of decisions on refunds, replaced keys, and what a supplier may be charged for them."""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.domain.ids import EffectId, LineId, OrderId, ParcelId
from kmtool.domain.states import AllocationState
from kmtool.store.db import Db, Row, in_clause

_DEBIT = (
    "SELECT d.*, a.exclusive, k.tail, k.line_no, k.state AS key_state, b.number AS batch,"
    " b.mode, o.channel, o.number, (SELECT s.number FROM settlement_lines x JOIN settlements s"
    " ON s.id = x.settlement_id WHERE x.allocation_id = d.allocation_id"
    " AND x.kind = 'clawback') AS sheet FROM supplier_debits d"
    " JOIN allocations a ON a.id = d.allocation_id JOIN keys k ON k.id = a.key_id"
    " JOIN batches b ON b.id = a.batch_id JOIN orders o ON o.id = d.order_id"
)


def add_decision(db: Db, values: Row, answered: Sequence[Row]) -> int:
    """Write a decision with the refunds it answers; return its number within the order."""
    n = 1 + int(
        db.value(
            "SELECT coalesce(max(n), 0) FROM refund_decisions WHERE order_id = :o",
            o=values["order_id"],
        )
    )
    decision = db.value(
        "INSERT INTO refund_decisions (order_id, n, at_ms, actor, answer, lines, amount_minor,"
        " currency, keys, bearer, reason, told) VALUES (:order_id, :n, :at_ms, :actor, :answer,"
        " :lines, :amount_minor, :currency, :keys, :bearer, :reason, :told) RETURNING id",
        n=n,
        **values,
    )
    db.many(
        "INSERT INTO refund_answers (decision_id, number, amount_minor, state)"
        " VALUES (:decision, :number, :amount_minor, :state)",
        [{"decision": decision, **row} for row in answered],
    )
    return n


def decisions(db: Db, order_id: OrderId) -> list[Row]:
    """Return the decisions on an order, oldest first."""
    return db.all("SELECT * FROM refund_decisions WHERE order_id = :o ORDER BY n", o=order_id)


def answers(db: Db, order_id: OrderId) -> list[Row]:
    """Return the refunds that were answered, oldest first: number, amount, state then, answer."""
    return db.all(
        "SELECT r.number, r.amount_minor, r.state, d.answer FROM refund_answers r"
        " JOIN refund_decisions d ON d.id = r.decision_id WHERE d.order_id = :o"
        " ORDER BY d.n, r.number",
        o=order_id,
    )


def decision_id(db: Db, order_id: OrderId, n: int) -> int:
    """Return the id of a decision."""
    return int(
        db.value("SELECT id FROM refund_decisions WHERE order_id = :o AND n = :n", o=order_id, n=n)
    )


def add_reply(db: Db, values: Row) -> None:
    """Say what a reply to the channel will hold."""
    db.run(
        "INSERT INTO refund_replies (effect_id, decision_id, number, agree, message)"
        " VALUES (:effect_id, :decision_id, :number, :agree, :message)",
        **values,
    )


def reply(db: Db, effect_id: EffectId) -> Row | None:
    """Return what a reply says."""
    return db.one("SELECT * FROM refund_replies WHERE effect_id = :e", e=effect_id)


def next_generation(db: Db, order_id: OrderId, kind: str, parcel_n: int) -> int:
    """Return the number that the next effect of a kind gets."""
    return 1 + int(
        db.value(
            "SELECT coalesce(max(generation), 0) FROM effects WHERE order_id = :o AND kind = :k"
            " AND parcel_n = :n",
            o=order_id,
            k=kind,
            n=parcel_n,
        )
    )


def end_key(db: Db, key_id: int, state: str, now_ms: int) -> bool:
    """Move a key that may have been seen to `defective` or `void`."""
    assert state in {"defective", "void"}
    return (
        db.run(
            "UPDATE keys SET state = :to, state_ms = :now WHERE id = :id"
            " AND state IN ('exposed', 'delivered', 'defective') AND state <> :to",
            to=state,
            id=key_id,
            now=now_ms,
        )
        == 1
    )


def set_replaced(db: Db, allocation_id: int) -> bool:
    """End the bond of a key that is replaced; the record of it stays."""
    return (
        db.run(
            "UPDATE allocations SET state = 'replaced' WHERE id = :id"
            " AND state IN ('exposed', 'delivered')",
            id=allocation_id,
        )
        == 1
    )


def count_delivered(db: Db, allocation_id: int, amount_minor: int, now_ms: int) -> bool:
    """A person decided that a key whose outcome is unclear counts as delivered; fix its amount."""
    return (
        db.run(
            "UPDATE allocations SET state = 'delivered', amount_minor = :m, delivered_ms = :now"
            " WHERE id = :id AND state = 'exposed'",
            id=allocation_id,
            m=amount_minor,
            now=now_ms,
        )
        == 1
    )


def keep_key(db: Db, key_id: int, now_ms: int) -> None:
    """A key that may have been seen stays with its buyer."""
    db.run(
        "UPDATE keys SET state = 'delivered', state_ms = :now WHERE id = :id AND state = 'exposed'",
        id=key_id,
        now=now_ms,
    )


def set_amount(db: Db, allocation_id: int, amount_minor: int) -> None:
    """Fix the amount of a key that ended before its delivery was proved."""
    db.run(
        "UPDATE allocations SET amount_minor = :m WHERE id = :id AND amount_minor IS NULL",
        id=allocation_id,
        m=amount_minor,
    )


def add_replacement(db: Db, values: Row) -> None:
    """Write that a key is to be replaced; the key that comes for it is named later."""
    db.run(
        "INSERT INTO replacements (order_id, line_id, old_allocation_id, sku, reason, actor, at_ms)"
        " VALUES (:order_id, :line_id, :old_allocation_id, :sku, :reason, :actor, :at_ms)",
        **values,
    )


def wanted(db: Db, line_id: int) -> list[Row]:
    """Return the replacements of a line that wait for a key."""
    return db.all(
        "SELECT * FROM replacements WHERE line_id = :l AND new_allocation_id IS NULL ORDER BY id",
        l=line_id,
    )


def wanted_lines(db: Db, limit: int, only: Sequence[int] = (), after: int = 0) -> list[Row]:
    """Return (order, line, one of its products) of replacements that wait for a key, oldest first,
    those that come `after` the `first` of another."""
    marks, params = in_clause(only) if only else ("", {})
    return db.all(
        "SELECT r.order_id, r.line_id, min(r.id) AS first, min(r.sku) AS sku FROM replacements r"
        " JOIN lines l ON l.id = r.line_id WHERE r.new_allocation_id IS NULL AND l.state = 'human'"
        + (f" AND r.order_id IN {marks}" if only else "")
        + " GROUP BY r.order_id, r.line_id HAVING min(r.id) > :after"
        " ORDER BY min(r.id) LIMIT :limit",
        limit=limit,
        after=after,
        **params,
    )


def bound_to(db: Db, line_id: int, key_id: int, state: AllocationState) -> int:
    """Return the allocation of that state that binds a key to a line."""
    return int(
        db.value(
            "SELECT id FROM allocations WHERE line_id = :l AND key_id = :k AND state = :s",
            l=line_id,
            k=key_id,
            s=state,
        )
    )


def name_replacement(
    db: Db, replacement_id: int, allocation_id: int, parcel_id: ParcelId | None
) -> None:
    """Name the key that comes for one that was bad, and the parcel it goes in (if it can)."""
    db.run(
        "UPDATE replacements SET new_allocation_id = :a, parcel_id = :p"
        " WHERE id = :id AND new_allocation_id IS NULL",
        id=replacement_id,
        a=allocation_id,
        p=parcel_id,
    )


def given_up(db: Db, parcel_ids: Sequence[int]) -> dict[int, list[Row]]:
    """Return parcel → the keys that it brings others in place of: line_id, fingerprint."""
    marks, params = in_clause(parcel_ids)
    found: dict[int, list[Row]] = {}
    for row in db.all(
        "SELECT r.parcel_id, r.line_id, k.fingerprint FROM replacements r"
        " JOIN allocations a ON a.id = r.old_allocation_id JOIN keys k ON k.id = a.key_id"
        f" WHERE r.parcel_id IN {marks} ORDER BY r.id",
        **params,
    ):
        found.setdefault(int(row["parcel_id"]), []).append(row)
    return found


def unname_replacements(db: Db, parcel_id: ParcelId) -> None:
    """Forget the keys of a parcel that was undone before anybody could see it."""
    db.run(
        "UPDATE replacements SET new_allocation_id = NULL, parcel_id = NULL WHERE parcel_id = :p",
        p=parcel_id,
    )


def replacements(db: Db, order_id: OrderId) -> list[Row]:
    """Return the replacements of an order with the endings of both keys, oldest first."""
    return db.all(
        "SELECT r.*, l.line_no, k.tail AS old_tail, n.tail AS new_tail, k.id AS old_key_id"
        " FROM replacements r JOIN lines l ON l.id = r.line_id"
        " JOIN allocations a ON a.id = r.old_allocation_id JOIN keys k ON k.id = a.key_id"
        " LEFT JOIN allocations b ON b.id = r.new_allocation_id LEFT JOIN keys n ON n.id = b.key_id"
        " WHERE r.order_id = :o ORDER BY r.id",
        o=order_id,
    )


def replaced_of(db: Db, order: Row, since_ms: int) -> tuple[int, int]:
    """Return how many keys were replaced: for this order, for its buyer since a moment."""
    mine = db.value("SELECT count(*) FROM replacements WHERE order_id = :o", o=order["id"])
    buyer = order["buyer_ref"] or order["buyer_name"]
    if not buyer:
        return int(mine), int(mine)
    theirs = db.value(
        "SELECT count(*) FROM replacements r JOIN orders o ON o.id = r.order_id"
        " WHERE o.channel = :c AND r.at_ms >= :since"
        " AND (o.buyer_ref = :b OR (o.buyer_ref = '' AND o.buyer_name = :b))",
        c=order["channel"],
        b=buyer,
        since=since_ms,
    )
    return int(mine), int(theirs)


def parcel_allocations(db: Db, parcel_id: ParcelId, is_replacement: bool) -> list[Row]:
    """Return the live allocations whose keys stand in a parcel's text, with what opens them.

    A key from before parcels were named on it belongs to the first one, never to a replacement.
    """
    columns = (
        "SELECT a.*, k.fingerprint, k.sealed, k.data_key_id, k.tail, k.state AS key_state,"
        " k.expires_ms, k.line_no AS key_line_no FROM allocations a JOIN keys k ON k.id = a.key_id"
    )
    live = " AND a.state NOT IN ('withdrawn', 'replaced') ORDER BY a.line_id, a.id"
    own = "a.parcel_id = :p" if is_replacement else "(a.parcel_id = :p OR a.parcel_id IS NULL)"
    return db.all(
        columns + " JOIN parcel_lines c ON c.line_id = a.line_id WHERE c.parcel_id = :p"
        f" AND {own}" + live,
        p=parcel_id,
    )


def all_allocations(db: Db, order_id: OrderId) -> list[Row]:
    """Return every key an order ever had that may have been seen, and where it is settled."""
    return db.all(
        "SELECT a.*, k.tail, k.state AS key_state, k.state_ms, k.fingerprint, k.sealed,"
        " k.data_key_id, l.line_no, b.number AS batch, b.supplier, k.line_no AS key_line_no,"
        " (SELECT s.number FROM settlement_lines x JOIN settlements s ON s.id = x.settlement_id"
        "  WHERE x.kind = 'sale' AND x.allocation_id = a.id) AS sale_sheet,"
        " (SELECT min(s.number) FROM settlement_lines x JOIN settlements s"
        "  ON s.id = x.settlement_id WHERE x.kind = 'batch' AND x.batch_id = a.batch_id"
        "  AND a.mode = 'buyout') AS batch_sheet"
        " FROM allocations a JOIN keys k ON k.id = a.key_id JOIN lines l ON l.id = a.line_id"
        " JOIN batches b ON b.id = a.batch_id WHERE l.order_id = :o"
        " AND (a.state <> 'withdrawn' OR a.exposed_ms IS NOT NULL) ORDER BY l.id, a.id",
        o=order_id,
    )


def add_debit(db: Db, values: Row) -> bool:
    """Write what a supplier may be charged for a key; False when it stands there already."""
    return (
        db.run(
            "INSERT INTO supplier_debits (supplier, allocation_id, order_id, cause, ask, state,"
            " amount_minor, currency, reason, actor, at_ms) VALUES (:supplier, :allocation_id,"
            " :order_id, :cause, :ask, :state, :amount_minor, :currency, :reason, :actor, :at_ms)"
            " ON CONFLICT (allocation_id) DO NOTHING",
            **values,
        )
        == 1
    )


def debits(db: Db, supplier: str, limit: int) -> list[Row]:
    """Return what a supplier may be charged and is on no sheet yet, oldest first."""
    return db.all(
        f"SELECT * FROM ({_DEBIT} WHERE d.supplier = :s) x WHERE x.sheet IS NULL"
        " AND x.state <> 'dropped' ORDER BY x.id LIMIT :limit",
        s=supplier,
        limit=limit,
    )


def debits_of(db: Db, order_id: OrderId) -> list[Row]:
    """Return what suppliers are charged for the keys of an order."""
    return db.all(f"{_DEBIT} WHERE d.order_id = :o ORDER BY d.id", o=order_id)


def debit(db: Db, debit_id: int) -> Row | None:
    """Return one debit."""
    return db.one(f"{_DEBIT} WHERE d.id = :id", id=debit_id)


def move_debit(
    db: Db, debit_id: int, sources: Sequence[str], target: str, actor: str, now_ms: int
) -> bool:
    """Compare-and-set a debit."""
    marks, params = in_clause(sources)
    return (
        db.run(
            "UPDATE supplier_debits SET state = :to, decided_by = :actor, decided_ms = :now"
            f" WHERE id = :id AND state IN {marks}",
            to=target,
            actor=actor,
            now=now_ms,
            id=debit_id,
            **params,
        )
        == 1
    )


def add_note(db: Db, order_id: OrderId, body: str, actor: str, now_ms: int) -> None:
    """Keep a note on an order."""
    db.run(
        "INSERT INTO order_notes (order_id, at_ms, actor, body) VALUES (:o, :now, :actor, :body)",
        o=order_id,
        now=now_ms,
        actor=actor,
        body=body,
    )


def notes(db: Db, order_id: OrderId) -> list[Row]:
    """Return the notes on an order, oldest first."""
    return db.all("SELECT * FROM order_notes WHERE order_id = :o ORDER BY id", o=order_id)


def set_by_hand(db: Db, order_id: OrderId) -> None:
    """Mark an order that a person wrote: its channel does not know it."""
    db.run("UPDATE orders SET by_hand = 1 WHERE id = :id", id=order_id)


def give_reason(db: Db, line_id: LineId, reason: str) -> None:
    """Say why a refund case still waits."""
    db.run(
        "UPDATE lines SET reason = :r WHERE id = :id AND state = 'refund_case'",
        r=reason[:300],
        id=line_id,
    )


def has_other_text(db: Db, sku: str, key_id: int, now_ms: int) -> bool:
    """Tell whether a product has a free key or text beside one."""
    found = db.value(
        "SELECT id FROM keys WHERE sku = :s AND state = 'free' AND id <> :id"
        " AND expires_ms > :now LIMIT 1",
        s=sku,
        id=key_id,
        now=now_ms,
    )
    return found is not None


def set_aside(db: Db, key_id: int, sku: str, now_ms: int) -> None:
    """Take a shared key that is bad out of sale, with the uses it has left."""
    left = db.value(
        "UPDATE keys SET state = 'quarantine', state_ms = :now WHERE id = :id AND state = 'free'"
        " RETURNING uses_left",
        id=key_id,
        now=now_ms,
    )
    if left:
        db.run("UPDATE stock SET free = free - :n WHERE sku = :s", n=left, s=sku)
