"""SQL of orders, their facts, refunds and lines."""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.domain.ids import LineId, OrderId
from kmtool.domain.states import LINE_ARROWS, LineState
from kmtool.store.db import Db, Row, all_in, in_clause, run_in

OPEN = "('new', 'ready', 'held', 'unmapped')"
_WAITS = frozenset({LineState.UNMAPPED, LineState.HUMAN, LineState.REFUND_CASE})
"""States in which a line waits for a person though no gate is shut."""


def find(db: Db, channel: str, number: str, *, lock: bool = False) -> Row | None:
    """Return an order by its outside identity; `lock` holds its row until the transaction ends."""
    return db.one(
        "SELECT * FROM orders WHERE channel = :c AND number = :n" + (" {lock}" if lock else ""),
        c=channel,
        n=number,
    )


def lock(db: Db, order_ids: Sequence[int]) -> None:
    """Hold the rows of some orders until the transaction ends, always in the same order."""
    if order_ids and db.dialect == "postgresql":
        marks, params = in_clause(sorted(set(order_ids)))
        db.all(f"SELECT id FROM orders WHERE id IN {marks} ORDER BY id {{lock}}", **params)


def lock_numbers(db: Db, channel: str, numbers: Sequence[str]) -> None:
    """Hold the rows of a channel's orders, as `lock` does (those that are there)."""
    if numbers and db.dialect == "postgresql":
        marks, params = in_clause(numbers)
        db.all(
            f"SELECT id FROM orders WHERE channel = :c AND number IN {marks} ORDER BY id {{lock}}",
            c=channel,
            **params,
        )


def by_number(db: Db, number: str) -> list[Row]:
    """Return the orders of that number on any channel (people rarely name the channel)."""
    return db.all("SELECT * FROM orders WHERE number = :n ORDER BY channel", n=number)


def by_code(db: Db, code: str) -> Row | None:
    """Return the order of a redemption code."""
    return db.one("SELECT * FROM orders WHERE code = :c", c=code)


def get(db: Db, order_id: OrderId, *, lock: bool = False) -> Row:
    """Return an order by our id."""
    row = db.one("SELECT * FROM orders WHERE id = :id" + (" {lock}" if lock else ""), id=order_id)
    assert row is not None, f"order {order_id} is gone"
    return row


def some(db: Db, order_ids: Sequence[int]) -> dict[int, Row]:
    """Return orders by our id."""
    rows = all_in(db, "SELECT * FROM orders WHERE id IN {in}", order_ids)
    return {row["id"]: row for row in rows}


_BRIEF = (
    "id, channel, number, code, account, status, refund, currency, buyer_ref, buyer_name,"
    " buyer_email, buyer_phone, history, released_ms, hold_reason, marked_ms, by_hand"
)


def brief(db: Db, order_ids: Sequence[int]) -> dict[int, Row]:
    """Return what sending looks at of orders: not their money, texts and stamps."""
    rows = all_in(db, f"SELECT {_BRIEF} FROM orders WHERE id IN {{in}}", order_ids)
    return {row["id"]: row for row in rows}


def news(db: Db, order_ids: Sequence[int]) -> dict[int, Row]:
    """Return what of orders may change while they are sent and says what follows."""
    rows = all_in(
        db,
        "SELECT id, status, refund, released_ms, marked_ms, by_hand FROM orders WHERE id IN {in}",
        order_ids,
    )
    return {row["id"]: row for row in rows}


_COLUMNS = (
    "channel", "number", "account", "status", "refund", "refunded_minor", "revision_ms",
    "created_ms", "paid_ms", "currency", "total_minor", "expected_gross_minor", "ext_txn_id",
    "risk", "note", "buyer_ref", "buyer_name", "buyer_email", "buyer_phone", "fact_hash",
    "facts_ms", "seen_ms", "code", "history",
)  # fmt: skip
_FACTS = (
    "status", "refund", "refunded_minor", "revision_ms", "paid_ms", "currency", "total_minor",
    "expected_gross_minor", "ext_txn_id", "risk", "note", "buyer_ref", "buyer_name",
    "buyer_email", "buyer_phone", "fact_hash", "facts_ms",
)  # fmt: skip


def insert(db: Db, values: Row) -> OrderId | None:
    """Insert a new order; None when another session was faster."""
    names = ", ".join(_COLUMNS)
    marks = ", ".join(f":{c}" for c in _COLUMNS)
    found = db.value(
        f"INSERT INTO orders ({names}) VALUES ({marks})"
        " ON CONFLICT (channel, number) DO NOTHING RETURNING id",
        **values,
    )
    return None if found is None else OrderId(int(found))


def update_facts(db: Db, order_id: OrderId, values: Row) -> None:
    """Replace what the channel says of an order: it knows one that was written by hand as well."""
    sets = ", ".join(f"{c} = :{c}" for c in _FACTS)
    db.run(
        f"UPDATE orders SET {sets}, by_hand = 0 WHERE id = :id",
        id=order_id,
        **{c: values[c] for c in _FACTS},
    )


def touch(db: Db, order_id: OrderId, now_ms: int) -> None:
    """Remember that the facts were read again and had not changed."""
    db.run("UPDATE orders SET facts_ms = :now WHERE id = :id", now=now_ms, id=order_id)


def add_fact(db: Db, order_id: OrderId, values: Row) -> bool:
    """Keep a fact as it came; False when that very fact is known."""
    return (
        db.run(
            "INSERT INTO facts (order_id, revision_ms, received_ms, hash, applied, body)"
            " VALUES (:order_id, :revision_ms, :received_ms, :hash, :applied, :body)"
            " ON CONFLICT (order_id, revision_ms, hash) DO NOTHING",
            order_id=order_id,
            **values,
        )
        == 1
    )


def add_event(db: Db, channel: str, event: str, number: str, now_ms: int) -> bool:
    """Record an incoming event; False when it was there already."""
    return (
        db.run(
            "INSERT INTO inbox (channel, event, number, received_ms) VALUES (:c, :e, :n, :now)"
            " ON CONFLICT (channel, event) DO NOTHING",
            c=channel,
            e=event,
            n=number,
            now=now_ms,
        )
        == 1
    )


def put_refund(
    db: Db, order_id: OrderId, number: str, amount: int, state: str, at_ms: int | None, now_ms: int
) -> bool:
    """Insert or update a refund; tell whether anything changed."""
    return (
        db.run(
            "INSERT INTO refunds (order_id, number, amount_minor, state, at_ms, seen_ms)"
            " VALUES (:o, :n, :a, :s, :at, :now)"
            " ON CONFLICT (order_id, number) DO UPDATE SET amount_minor = excluded.amount_minor,"
            " state = excluded.state, at_ms = excluded.at_ms, seen_ms = excluded.seen_ms"
            " WHERE refunds.amount_minor <> excluded.amount_minor"
            " OR refunds.state <> excluded.state",
            o=order_id,
            n=number,
            a=amount,
            s=state,
            at=at_ms,
            now=now_ms,
        )
        == 1
    )


def refunds(db: Db, order_id: OrderId) -> list[Row]:
    """Return the refunds of an order."""
    return db.all("SELECT * FROM refunds WHERE order_id = :o ORDER BY at_ms, number", o=order_id)


def insert_line(db: Db, values: Row) -> bool:
    """Insert a line; False when the order has that line already."""
    return (
        db.run(
            "INSERT INTO lines (order_id, line_no, item_id, variant_id, title, quantity,"
            " amount_minor, account, kind, sku, needed, state, gate, reason, since_ms)"
            " VALUES (:order_id, :line_no, :item_id, :variant_id, :title, :quantity,"
            " :amount_minor, :account, :kind, :sku, :needed, :state, '', '', :since_ms)"
            " ON CONFLICT (order_id, line_no) DO NOTHING",
            **values,
        )
        == 1
    )


def change_line(db: Db, line_id: LineId, values: Row) -> bool:
    """Take over a changed line from the channel, only while no key is bound to it."""
    return (
        db.run(
            "UPDATE lines SET quantity = :quantity, amount_minor = :amount_minor, title = :title,"
            " sku = :sku, kind = :kind, needed = :needed, item_id = :item_id,"
            f" variant_id = :variant_id, account = :account WHERE id = :id AND state IN {OPEN}",
            id=line_id,
            **values,
        )
        == 1
    )


def note_line(db: Db, line_id: LineId, values: Row) -> None:
    """Keep what the channel now says of a line that has keys; what it takes stays as it was."""
    names = ("quantity", "amount_minor", "title", "item_id", "variant_id")
    sets = ", ".join(f"{name} = :{name}" for name in names)
    given = {name: values[name] for name in names}
    db.run(f"UPDATE lines SET {sets} WHERE id = :id", id=line_id, **given)


def set_line_reason(db: Db, line_id: LineId, reason: str) -> None:
    """Say something of a line without moving it."""
    db.run("UPDATE lines SET reason = :r WHERE id = :id", r=reason[:300], id=line_id)


def lines(db: Db, order_id: OrderId) -> list[Row]:
    """Return the lines of an order."""
    return db.all("SELECT * FROM lines WHERE order_id = :o ORDER BY id", o=order_id)


def lines_of(db: Db, order_ids: Sequence[int]) -> list[Row]:
    """Return the lines of several orders."""
    return all_in(db, "SELECT * FROM lines WHERE order_id IN {in} ORDER BY order_id, id", order_ids)


def move_line(
    db: Db,
    line_id: LineId,
    source: LineState,
    target: LineState,
    now_ms: int,
    *,
    gate: str = "",
    reason: str = "",
) -> bool:
    """Compare-and-set the state of a line; False when it was no longer in `source`."""
    assert target == source or target in LINE_ARROWS[source], f"no arrow {source} → {target}"
    return (
        db.run(
            "UPDATE lines SET state = :target, gate = :gate, reason = :reason,"
            " since_ms = CASE WHEN state = :target AND gate = :gate THEN since_ms ELSE :now END,"
            " waited = CASE WHEN waited = '' THEN :waits ELSE waited END"
            " WHERE id = :id AND state = :source",
            id=line_id,
            source=source,
            target=target,
            gate=gate,
            reason=reason[:300],
            now=now_ms,
            waits=gate or (target if target in _WAITS else ""),
        )
        == 1
    )


def stamp_line(db: Db, line_id: LineId, column: str, now_ms: int) -> None:
    """Set a stamp of a line once."""
    assert column in {"reserved_ms", "sent_ms", "acknowledged_ms", "opened_ms"}
    db.run(
        f"UPDATE lines SET {column} = :now WHERE id = :id AND {column} IS NULL",
        now=now_ms,
        id=line_id,
    )


def due(db: Db) -> list[int]:
    """Return the orders with lines that wait for keys, oldest first.

    The second condition names the index of lines that are not over, so that a shop's whole past is
    not walked every few seconds.
    """
    rows = db.all(
        "SELECT DISTINCT l.order_id FROM lines l JOIN orders o ON o.id = l.order_id"
        f" WHERE l.state IN {OPEN} AND l.state NOT IN ('delivered', 'cancelled', 'closed')"
        " AND o.history = 0 ORDER BY l.order_id"
    )
    return [row["order_id"] for row in rows]


def set_hold(db: Db, order_id: OrderId, reason: str | None, now_ms: int) -> None:
    """Set or clear the operator's hold."""
    db.run(
        "UPDATE orders SET hold_reason = :r, hold_ms = :now WHERE id = :id",
        r=reason,
        now=None if reason is None else now_ms,
        id=order_id,
    )


def set_released(db: Db, order_id: OrderId, now_ms: int | None) -> None:
    """Set the operator's answer to the gates that ask."""
    db.run("UPDATE orders SET released_ms = :now WHERE id = :id", now=now_ms, id=order_id)


def set_marked(db: Db, order_ids: Sequence[int], now_ms: int) -> None:
    """Stamp that the channel shows orders as shipped by us."""
    run_in(
        db,
        "UPDATE orders SET marked_ms = :now WHERE marked_ms IS NULL AND id IN {in}",
        order_ids,
        now=now_ms,
    )


def cursor(db: Db, channel: str, stream: str = "orders") -> int | None:
    """Return up to where a channel was pulled."""
    value = db.value(
        "SELECT value_ms FROM cursors WHERE channel = :c AND stream = :s", c=channel, s=stream
    )
    return None if value is None else int(value)


def cursor_moved_ms(db: Db, channel: str) -> int | None:
    """Return when a channel was pulled last."""
    value = db.value(
        "SELECT updated_ms FROM cursors WHERE channel = :c AND stream = 'orders'", c=channel
    )
    return None if value is None else int(value)


def move_cursor(db: Db, channel: str, value_ms: int, now_ms: int, stream: str = "orders") -> None:
    """Move a cursor forward; it never goes back."""
    db.run(
        "INSERT INTO cursors (channel, stream, value_ms, updated_ms) VALUES (:c, :s, :v, :now)"
        " ON CONFLICT (channel, stream) DO UPDATE SET value_ms = excluded.value_ms,"
        " updated_ms = excluded.updated_ms WHERE cursors.value_ms <= excluded.value_ms",
        c=channel,
        s=stream,
        v=value_ms,
        now=now_ms,
    )


def set_cursor_back(db: Db, channel: str, from_ms: int, value_ms: int, now_ms: int) -> None:
    """Set a cursor back that was moved by a wrong clock (compare-and-set)."""
    db.run(
        "UPDATE cursors SET value_ms = :v, updated_ms = :now"
        " WHERE channel = :c AND stream = 'orders' AND value_ms = :from",
        c=channel,
        v=value_ms,
        now=now_ms,
        **{"from": from_ms},
    )


def newest_revision(db: Db, channel: str) -> int | None:
    """Return the newest time of change that a channel told of its orders."""
    value = db.value("SELECT max(revision_ms) FROM orders WHERE channel = :c", c=channel)
    return None if value is None else int(value)


def set_needed(db: Db, line_id: LineId, needed: int) -> bool:
    """Change how many keys a waiting line takes."""
    return (
        db.run(
            f"UPDATE lines SET needed = :n WHERE id = :id AND state IN {OPEN}",
            n=needed,
            id=line_id,
        )
        == 1
    )


def set_line_product(db: Db, order_id: OrderId, sku: str, needed: int) -> None:
    """Give the line of a sale by hand its product (it has no listing)."""
    db.run(
        "UPDATE lines SET sku = :sku, needed = :n,"
        " kind = (SELECT kind FROM products WHERE sku = :sku)"
        f" WHERE order_id = :o AND state IN {OPEN}",
        sku=sku,
        n=needed,
        o=order_id,
    )


def lock_counter(db: Db) -> None:
    """Let one sale by hand at a time take the next number."""
    db.one("SELECT value FROM meta WHERE name = 'database_id' {lock}")


def count_numbers(db: Db, channel: str, prefix: str) -> int:
    """Count the orders of a channel whose number begins so."""
    return int(
        db.value(
            "SELECT count(*) FROM orders WHERE channel = :c AND number LIKE :p",
            c=channel,
            p=prefix + "%",
        )
    )
