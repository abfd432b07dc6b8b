"""SQL of stock holds: an unpaid order keeps a number of keys back, no particular keys.

The counter `stock.held` and the rows change together in one transaction; what lost a race tells so
by its result. On PostgreSQL the counter's row is the lock: who changes several locks them by SKU.
"""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.domain.ids import OrderId
from kmtool.store.db import Db, Row, in_clause

LIVE = "('held', 'paid')"
_WAITING = "('new', 'ready', 'held', 'unmapped')"
_STILL = "(h.state = 'paid' OR h.state = 'held' AND h.expires_ms > :now)"


def wanted(db: Db, order_id: OrderId) -> list[Row]:
    """Return (line_id, sku, n) that the waiting lines of an order would take, bundles by parts."""
    return db.all(
        "SELECT l.id AS line_id, l.sku, l.needed AS n FROM lines l JOIN products p ON p.sku = l.sku"
        f" WHERE l.order_id = :o AND l.state IN {_WAITING} AND l.needed > 0 AND p.kind = 'key'"
        " UNION ALL SELECT l.id, b.sku, l.needed * b.units FROM lines l"
        " JOIN bundle_items b ON b.bundle_sku = l.sku JOIN products p ON p.sku = b.sku"
        f" WHERE l.order_id = :o AND l.state IN {_WAITING} AND l.needed > 0 AND l.kind = 'bundle'"
        " AND p.kind = 'key' ORDER BY 1, 2",
        o=order_id,
    )


def of_order(db: Db, order_id: OrderId) -> list[Row]:
    """Return all holds of an order, ended ones too."""
    return db.all("SELECT * FROM stock_holds WHERE order_id = :o ORDER BY id", o=order_id)


def lock(db: Db, skus: Sequence[str]) -> None:
    """Hold the counters of some products until the transaction ends, always in the same order."""
    if skus and db.dialect == "postgresql":
        marks, params = in_clause(sorted(set(skus)))
        db.all(f"SELECT sku FROM stock WHERE sku IN {marks} ORDER BY sku {{lock}}", **params)


def count_up(db: Db, sku: str, n: int, spoken_for: int) -> bool:
    """Keep n more keys back; False when fewer are free beyond what is held or spoken for."""
    return (
        db.run(
            "UPDATE stock SET held = held + :n WHERE sku = :s AND held + :n + :spoken <= free",
            s=sku,
            n=n,
            spoken=spoken_for,
        )
        == 1
    )


def count_down(db: Db, sku: str, n: int) -> None:
    """Give n keys back to whoever wants them."""
    db.run("UPDATE stock SET held = held - :n WHERE sku = :s", s=sku, n=n)


def add(db: Db, values: Row) -> bool:
    """Insert a hold; False when the line had one of that product already."""
    return (
        db.run(
            "INSERT INTO stock_holds (line_id, order_id, sku, channel, n, state, lowered, held_ms,"
            " expires_ms, reason) VALUES (:line_id, :order_id, :sku, :channel, :n, 'held',"
            " :lowered, :held_ms, :expires_ms, '') ON CONFLICT (line_id, sku) DO NOTHING",
            **values,
        )
        == 1
    )


def set_lowered(db: Db, order_id: OrderId, lowered: bool) -> None:
    """Note whether the channel counted its own figure down for an order."""
    db.run(
        f"UPDATE stock_holds SET lowered = :v WHERE order_id = :o AND lowered <> :v"
        f" AND state IN {LIVE}",
        o=order_id,
        v=int(lowered),
    )


def move(db: Db, order_id: OrderId, source: str, target: str) -> int:
    """Let the holds of an order follow its payment (`held` ↔ `paid`); return how many."""
    assert {source, target} == {"held", "paid"}
    return db.run(
        "UPDATE stock_holds SET state = :target WHERE order_id = :o AND state = :source",
        o=order_id,
        source=source,
        target=target,
    )


def resize(db: Db, hold: Row, n: int, spoken_for: int) -> bool:
    """Change how many keys a live hold keeps back; False when there are not that many."""
    more = n - hold["n"]
    if more > 0 and not count_up(db, hold["sku"], more, spoken_for):
        return False
    if more < 0:
        count_down(db, hold["sku"], -more)
    moved = db.run(
        f"UPDATE stock_holds SET n = :n WHERE id = :id AND n = :was AND state IN {LIVE}",
        id=hold["id"],
        n=n,
        was=hold["n"],
    )
    assert moved == 1, "a hold moved although its order is locked"
    return True


def end(db: Db, hold: Row, state: str, reason: str, now_ms: int) -> bool:
    """End a hold that is what `hold` says and give its keys back; False when it moved meanwhile."""
    n = db.value(
        "UPDATE stock_holds SET state = :to, ended_ms = :now, reason = :reason"
        " WHERE id = :id AND state = :state AND expires_ms = :expires RETURNING n",
        id=hold["id"],
        state=hold["state"],
        expires=hold["expires_ms"],
        to=state,
        reason=reason,
        now=now_ms,
    )
    if n is None:
        return False
    count_down(db, hold["sku"], int(n))
    return True


def claim(db: Db, line_ids: Sequence[int], now_ms: int) -> None:
    """The keys of lines are taken: what was held for them need not be kept back any more."""
    if not line_ids:
        return
    marks, params = in_clause(line_ids)
    rows = db.all(
        "UPDATE stock_holds SET state = 'claimed', ended_ms = :now"
        f" WHERE line_id IN {marks} AND state IN {LIVE} RETURNING sku, n",
        now=now_ms,
        **params,
    )
    sums: dict[str, int] = {}
    for row in rows:
        sums[row["sku"]] = sums.get(row["sku"], 0) + row["n"]
    for sku in sorted(sums):
        count_down(db, sku, sums[sku])


def due(db: Db, now_ms: int, newest_ms: int) -> list[Row]:
    """Return unpaid holds whose time is over, or that come from a time to come (a clock went back).

    A hold made after `newest_ms` would never end by a clock that was set back.
    """
    return db.all(
        "SELECT * FROM stock_holds WHERE state = 'held' AND (expires_ms <= :now"
        " OR held_ms > :newest) ORDER BY id",
        now=now_ms,
        newest=newest_ms,
    )


def beyond(db: Db) -> list[Row]:
    """Return holds of products of which more is held than free, those to give up first.

    Unpaid ones before paid ones, newest first. Each row tells `over`: how many too many are held.
    """
    return db.all(
        "SELECT h.*, s.held - s.free AS over FROM stock s JOIN stock_holds h ON h.sku = s.sku"
        f" WHERE s.held > 0 AND s.held > s.free AND h.state IN {LIVE}"
        " ORDER BY h.sku, h.state, h.id DESC"
    )


def kept(db: Db, skus: Sequence[str], now_ms: int) -> dict[str, int]:
    """Return SKU → keys kept back for orders now (a hold whose time is over counts no more)."""
    if not skus:
        return {}
    marks, params = in_clause(sorted(set(skus)))
    rows = db.all(
        "SELECT h.sku, CAST(sum(h.n) AS BIGINT) AS n FROM stock_holds h"
        f" WHERE h.sku IN {marks} AND h.state IN {LIVE} AND {_STILL} GROUP BY h.sku",
        now=now_ms,
        **params,
    )
    return {row["sku"]: int(row["n"]) for row in rows}


def own(db: Db, line_ids: Sequence[int], now_ms: int) -> dict[tuple[int, str], int]:
    """Return (line, SKU) → keys kept back for that very line."""
    if not line_ids:
        return {}
    marks, params = in_clause(line_ids)
    rows = db.all(
        f"SELECT h.line_id, h.sku, h.n FROM stock_holds h WHERE h.line_id IN {marks}"
        f" AND h.state IN {LIVE} AND {_STILL}",
        now=now_ms,
        **params,
    )
    return {(row["line_id"], row["sku"]): row["n"] for row in rows}


def unpaid(db: Db, channel: str, now_ms: int) -> dict[str, int]:
    """Return SKU → keys that unpaid orders hold and that `channel` must not offer.

    Its own unpaid orders count only where it lowered its figure for them: an absolute figure
    takes the place of that decrement. What it keeps apart by itself would count twice.
    """
    rows = db.all(
        "SELECT h.sku, CAST(sum(h.n) AS BIGINT) AS n FROM stock_holds h WHERE h.state = 'held'"
        " AND h.expires_ms > :now AND (h.channel <> :c OR h.lowered = 1) GROUP BY h.sku",
        now=now_ms,
        c=channel,
    )
    return {row["sku"]: int(row["n"]) for row in rows}


def held(db: Db, sku: str = "") -> dict[str, int]:
    """Return SKU → the counter of keys held, where it is not 0."""
    rows = db.all(
        "SELECT sku, held FROM stock WHERE held > 0 AND (:sku = '' OR sku = :sku)", sku=sku
    )
    return {row["sku"]: row["held"] for row in rows}


def paid_holds(db: Db, skus: Sequence[str]) -> dict[str, int]:
    """Return SKU → keys held for lines that are paid (they stand in the open demand as well)."""
    marks, params = in_clause(sorted(set(skus)))
    rows = db.all(
        "SELECT sku, CAST(sum(n) AS BIGINT) AS n FROM stock_holds WHERE state = 'paid'"
        f" AND sku IN {marks} GROUP BY sku",
        **params,
    )
    return {row["sku"]: int(row["n"]) for row in rows}


def left_over(db: Db) -> list[Row]:
    """Return live holds of lines that wait for no keys any more."""
    return db.all(
        "SELECT h.* FROM stock_holds h JOIN lines l ON l.id = h.line_id"
        f" WHERE h.state IN {LIVE} AND l.state NOT IN {_WAITING} ORDER BY h.id"
    )


def recount(db: Db) -> list[Row]:
    """Set wrong counters to the sum of live holds; return sku, was and found of each."""
    rows = db.all(
        "SELECT s.sku, s.held AS was, coalesce(h.n, 0) AS found FROM stock s LEFT JOIN"
        f" (SELECT sku, CAST(sum(n) AS BIGINT) AS n FROM stock_holds WHERE state IN {LIVE}"
        " GROUP BY sku) h ON h.sku = s.sku WHERE s.held <> coalesce(h.n, 0) ORDER BY s.sku"
    )
    for row in rows:
        db.run("UPDATE stock SET held = :n WHERE sku = :s", n=row["found"], s=row["sku"])
    return rows
