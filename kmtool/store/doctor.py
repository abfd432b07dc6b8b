"""The invariants: each is one query that must return no row. A row names what is wrong (`what`).

`broken` marks the promises of the delivery ledger; the others are problems to look at. While one
that `blocks` is broken nothing is sent: the rest of them could not be made worse by sending.
Parameters any query may use: `:now`, `:hour_ago`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kmtool.store.db import Db, Row, in_clause

SHOWN = 20


@dataclass(frozen=True, slots=True)
class Invariant:
    """A name, what it promises in plain words, the query, and what the operator does."""

    name: str
    promise: str
    sql: str
    mend: str
    broken: bool = True
    blocks: bool = True


_LOOK = "kmtool pause, then kmtool key find …ENDING for each, and report it"
_LIVE = "a.state <> 'withdrawn' AND a.state <> 'replaced'"
_ORDER = "o.channel || ':' || o.number"

INVARIANTS: tuple[Invariant, ...] = (
    Invariant(
        "one_buyer",
        "a key is bound to one order line",
        "SELECT 'key ' || k.tail || ' is bound to ' || CAST(count(*) AS TEXT) || ' lines' AS what"
        " FROM allocations a JOIN keys k ON k.id = a.key_id"
        " WHERE a.exclusive = 1 AND a.state <> 'withdrawn'"
        " GROUP BY k.id, k.tail HAVING count(*) > 1",
        _LOOK,
    ),
    Invariant(
        "one_exposure",
        "a key was shown for one order line only",
        "SELECT 'key ' || k.tail || ' was sent for ' || CAST(count(DISTINCT a.line_id) AS TEXT)"
        " || ' lines' AS what FROM allocations a JOIN keys k ON k.id = a.key_id"
        " WHERE a.exclusive = 1 AND a.exposed_ms IS NOT NULL AND NOT EXISTS (SELECT 1 FROM audit u"
        "  WHERE a.state = 'withdrawn' AND u.action = 'key_release'"
        "  AND u.object = 'key:' || CAST(k.id AS TEXT))"
        " GROUP BY k.id, k.tail HAVING count(DISTINCT a.line_id) > 1",
        _LOOK,
    ),
    Invariant(
        "seen_not_free",
        "a key that may have been seen is not for sale again",
        "SELECT 'key ' || k.tail || ' is ' || k.state || ' but was sent' AS what"
        " FROM allocations a JOIN keys k ON k.id = a.key_id"
        " WHERE a.exclusive = 1 AND k.state IN ('free', 'reserved')"
        " AND a.exposed_ms IS NOT NULL AND a.state <> 'withdrawn'",
        _LOOK,
    ),
    Invariant(
        "delivered_whole",
        "a delivered line has all its keys",
        f"SELECT {_ORDER} || ' line ' || l.line_no || ' has ' || CAST(n.have AS TEXT) || ' of '"
        " || CAST(n.want AS TEXT) || ' keys' AS what FROM ("
        "  SELECT l.id, (SELECT count(*) FROM allocations a WHERE a.line_id = l.id"
        f"   AND {_LIVE}) AS have,"
        "  CASE WHEN l.kind = 'text' THEN 1 WHEN l.kind = 'bundle' THEN (SELECT"
        "   CAST(coalesce(sum(CASE WHEN p.kind = 'text' THEN 1 ELSE b.units * l.needed END), 0)"
        "   AS BIGINT) FROM bundle_items b JOIN products p ON p.sku = b.sku"
        "   WHERE b.bundle_sku = l.sku) ELSE l.needed END AS want"
        "  FROM lines l WHERE l.state = 'delivered' AND l.kind IN ('key', 'text', 'bundle')) n"
        " JOIN lines l ON l.id = n.id JOIN orders o ON o.id = l.order_id WHERE n.have <> n.want",
        "kmtool order show ORDER",
    ),
    Invariant(
        "uses_kept",
        "a key is given to no more buyers than it serves",
        "SELECT 'key ' || k.tail || ' serves ' || CAST(k.uses AS TEXT) || ' and was given to '"
        " || CAST(count(a.id) AS TEXT) || ', ' || CAST(k.uses_left AS TEXT) || ' are left' AS what"
        " FROM allocations a JOIN keys k ON k.id = a.key_id"
        " WHERE a.exclusive = 0 AND a.state <> 'withdrawn'"
        " GROUP BY k.id, k.tail, k.uses, k.uses_left HAVING count(a.id) + k.uses_left > k.uses",
        _LOOK,
    ),
    Invariant(
        "charged_once",
        "a top-up was charged once, and before it counts as delivered",
        f"SELECT {_ORDER} || ' line ' || l.line_no || ' was charged '"
        " || CAST(n.times AS TEXT) || ' times' AS what FROM (SELECT l.id, (SELECT count(*)"
        "  FROM purchases p WHERE p.line_id = l.id"
        "  AND p.state IN ('done', 'keys_received', 'reconciled')) AS times,"
        "  (SELECT count(*) FROM purchases p WHERE p.line_id = l.id"
        "  AND p.state IN ('intent', 'unknown', 'accepted')) AS unclear"
        "  FROM lines l WHERE l.kind = 'topup') n JOIN lines l ON l.id = n.id"
        " JOIN orders o ON o.id = l.order_id WHERE n.times + n.unclear > 1"
        " OR (n.times = 0 AND l.state = 'delivered')",
        "kmtool order show ORDER",
    ),
    Invariant(
        "delivered_proved",
        "a delivered line has a try that succeeded",
        f"SELECT {_ORDER} || ' line ' || l.line_no || ' has no successful try' AS what"
        " FROM lines l JOIN orders o ON o.id = l.order_id"
        " WHERE l.state = 'delivered' AND NOT EXISTS (SELECT 1 FROM parcel_lines p"
        "  JOIN effects e ON e.order_id = o.id AND e.parcel_id = p.parcel_id"
        "  JOIN attempts t ON t.effect_id = e.id"
        "  WHERE p.line_id = l.id AND t.state = 'ok')",
        "kmtool order show ORDER",
    ),
    Invariant(
        "parts_arrived",
        "every part of a delivered line's message has a try that succeeded",
        f"SELECT {_ORDER} || ' line ' || l.line_no || ' lacks part ' || CAST(c.part AS TEXT)"
        " || ' of ' || CAST(c.parts AS TEXT) AS what FROM parcels c"
        " JOIN parcel_lines p ON p.parcel_id = c.id JOIN lines l ON l.id = p.line_id"
        " JOIN orders o ON o.id = l.order_id WHERE c.parts > 1 AND l.state = 'delivered'"
        " AND EXISTS (SELECT 1 FROM effects e WHERE e.order_id = o.id AND e.parcel_id = c.id"
        "  AND e.state <> 'cancelled')"
        " AND NOT EXISTS (SELECT 1 FROM effects e JOIN attempts t ON t.effect_id = e.id"
        "  WHERE e.order_id = o.id AND e.parcel_id = c.id AND t.state = 'ok')",
        "kmtool order redeliver ORDER",
        blocks=False,
    ),
    Invariant(
        "no_open_try",
        "a sender that ended left no open try",
        f"SELECT {_ORDER} || ': a try of session ' || CAST(s.id AS TEXT) || ' is still open'"
        " AS what FROM attempts t JOIN sessions s ON s.id = t.session_id"
        " JOIN effects e ON e.id = t.effect_id JOIN orders o ON o.id = e.order_id"
        " WHERE t.state = 'intent' AND s.state <> 'live'",
        "kmtool doctor --fix",
    ),
    Invariant(
        "batch_sum",
        "a batch holds all keys it brought",
        "SELECT b.number || ' brought ' || CAST(b.accepted - b.removed AS TEXT) || ', holds '"
        " || CAST(count(k.id) AS TEXT) AS what FROM batches b LEFT JOIN keys k ON k.batch_id = b.id"
        " GROUP BY b.id, b.number, b.accepted, b.removed"
        " HAVING count(k.id) <> b.accepted - b.removed",
        "kmtool key batch show BATCH",
    ),
    Invariant(
        "refund_first",
        "nothing was sent after a refund was known",
        f"SELECT DISTINCT {_ORDER} || ' was sent after its refund was seen' AS what"
        " FROM refunds r JOIN orders o ON o.id = r.order_id JOIN lines l ON l.order_id = o.id"
        " JOIN allocations a ON a.line_id = l.id JOIN keys k ON k.id = a.key_id"
        " WHERE r.state <> 'ended' AND a.exposed_ms > r.seen_ms"
        " AND (o.released_ms IS NULL OR o.released_ms < r.seen_ms)"
        # given back by the send journal: it was sent earlier than its bond says
        " AND NOT EXISTS (SELECT 1 FROM seen_keys s WHERE s.fingerprint = k.fingerprint"
        "  AND s.channel = o.channel AND s.number = o.number AND s.line_no = l.line_no)",
        "kmtool order show ORDER",
        blocks=False,
    ),
    Invariant(
        "reserved_in_flight",
        "a reserved key belongs to a line on its way",
        "SELECT 'key ' || k.tail || ' is reserved for nothing' AS what FROM keys k"
        " WHERE k.state = 'reserved' AND NOT EXISTS (SELECT 1 FROM allocations a"
        "  JOIN lines l ON l.id = a.line_id WHERE a.key_id = k.id AND a.state = 'reserved'"
        "  AND l.state IN ('reserved', 'sending', 'unknown', 'human'))",
        _LOOK,
    ),
    Invariant(
        "nothing_stuck",
        "a line on its way has somebody who moves it",
        f"SELECT {_ORDER} || ' line ' || l.line_no || ' is ' || l.state || ' and nobody moves it'"
        " AS what FROM lines l JOIN orders o ON o.id = l.order_id"
        " WHERE l.state IN ('reserved', 'sending', 'unknown') AND NOT EXISTS (SELECT 1"
        "  FROM parcel_lines p JOIN effects e ON e.order_id = o.id AND e.parcel_id = p.parcel_id"
        "  WHERE p.line_id = l.id"
        "  AND e.state IN ('pending', 'retry_at', 'inflight'))"
        f" UNION ALL SELECT {_ORDER} || ': ' || e.kind || ' has no sender' AS what"
        " FROM effects e JOIN orders o ON o.id = e.order_id WHERE e.state = 'inflight'"
        " AND NOT EXISTS (SELECT 1 FROM attempts t WHERE t.effect_id = e.id"
        "  AND t.state = 'intent')",
        "kmtool order redeliver ORDER",
        blocks=False,
    ),
    Invariant(
        "lent_alone",
        "a key lent to a pool is counted there and bound to nobody",
        "SELECT 'key ' || k.tail || ' is lent to no pool' AS what FROM keys k"
        " WHERE k.state = 'lent' AND NOT EXISTS (SELECT 1 FROM lent_keys t"
        "  WHERE t.key_id = k.id AND t.state = 'lent')"
        " UNION ALL SELECT 'key ' || k.tail || ' is lent and is ' || k.state AS what"
        " FROM lent_keys t JOIN keys k ON k.id = t.key_id"
        " WHERE t.state = 'lent' AND k.state <> 'lent'"
        " UNION ALL SELECT 'key ' || k.tail || ' is lent and bound to a line' AS what"
        " FROM lent_keys t JOIN keys k ON k.id = t.key_id JOIN allocations a ON a.key_id = k.id"
        f" WHERE t.state = 'lent' AND {_LIVE}"
        " UNION ALL SELECT 'key ' || k.tail || ' was used in a pool without an order' AS what"
        " FROM lent_keys t JOIN keys k ON k.id = t.key_id WHERE t.state = 'used'"
        " AND NOT EXISTS (SELECT 1 FROM allocations a WHERE a.key_id = t.key_id"
        "  AND a.line_id = t.line_id)",
        _LOOK,
    ),
    Invariant(
        "stock_counter",
        "the stock counter is the count",
        "SELECT p.sku || ' counts ' || CAST(coalesce(s.free, 0) AS TEXT) || ', has '"
        " || CAST(coalesce(k.free, 0) AS TEXT) AS what FROM products p"
        " LEFT JOIN stock s ON s.sku = p.sku LEFT JOIN (SELECT sku, CAST(sum(uses_left) AS BIGINT)"
        "  AS free FROM keys WHERE state = 'free' GROUP BY sku) k ON k.sku = p.sku"
        " WHERE coalesce(s.free, 0) <> coalesce(k.free, 0)",
        "kmtool doctor --fix",
        blocks=False,
    ),
    Invariant(
        "held_counter",
        "what is held for orders is the sum of their holds",
        "SELECT s.sku || ' counts ' || CAST(s.held AS TEXT) || ' held, holds sum to '"
        " || CAST(coalesce(h.n, 0) AS TEXT) AS what FROM stock s LEFT JOIN"
        " (SELECT sku, CAST(sum(n) AS BIGINT) AS n FROM stock_holds"
        "  WHERE state IN ('held', 'paid') GROUP BY sku) h ON h.sku = s.sku"
        " WHERE s.held <> coalesce(h.n, 0)",
        "kmtool doctor --fix",
        blocks=False,
    ),
    Invariant(
        "held_for_waiting",
        "stock is held only for lines that wait for keys, while they may",
        f"SELECT {_ORDER} || ' line ' || l.line_no || ' is ' || l.state || ' and still holds '"
        " || CAST(h.n AS TEXT) || ' of ' || h.sku AS what FROM stock_holds h"
        " JOIN lines l ON l.id = h.line_id JOIN orders o ON o.id = l.order_id"
        " WHERE h.state IN ('held', 'paid') AND (h.state = 'held' AND h.expires_ms < :hour_ago"
        " OR l.state NOT IN ('new', 'ready', 'held', 'unmapped'))",
        "kmtool doctor --fix",
        broken=False,
        blocks=False,
    ),
    Invariant(
        "ledger_zero",
        "the ledger sums to zero per currency",
        "SELECT currency || ' sums to ' || CAST(CAST(sum(amount_minor) AS BIGINT) AS TEXT) AS what"
        " FROM ledger_postings GROUP BY currency HAVING sum(amount_minor) <> 0",
        "kmtool db backup, and report it",
    ),
    Invariant(
        "entry_zero",
        "every ledger entry sums to zero",
        "SELECT e.event || ' ' || e.ref || ' sums to '"
        " || CAST(CAST(sum(p.amount_minor) AS BIGINT) AS TEXT) || ' ' || p.currency AS what"
        " FROM ledger_entries e JOIN ledger_postings p ON p.entry_id = e.id"
        " GROUP BY e.id, e.event, e.ref, p.currency HAVING sum(p.amount_minor) <> 0",
        "kmtool db backup, and report it",
    ),
    Invariant(
        "one_fingerprint",
        "no two keys are the same",
        "SELECT 'key ' || min(tail) || ' is there ' || CAST(count(*) AS TEXT) || ' times' AS what"
        " FROM keys GROUP BY fingerprint HAVING count(*) > 1",
        _LOOK,
    ),
    Invariant(
        "cursor_past",
        "no channel is read up to a time to come",
        "SELECT channel || ' is read up to a time that has not come yet' AS what FROM cursors"
        " WHERE value_ms > :now + 60000",
        "set this machine's clock right, then kmtool sync CHANNEL --since DAY",
        broken=False,
        blocks=False,
    ),
    Invariant(
        "shipped_there",
        "what we marked shipped is shipped at the channel",
        f"SELECT {_ORDER} || ' is delivered here, not shipped there' AS what FROM orders o"
        " WHERE o.marked_ms < :hour_ago AND o.facts_ms > o.marked_ms + 600000"
        " AND o.status IN ('unpaid', 'paid') AND o.refund = 'none'",
        "ship it by hand at the channel; kmtool order show ORDER",
        broken=False,
        blocks=False,
    ),
)


def violations(db: Db, invariant: Invariant, now_ms: int) -> list[str]:
    """Return what breaks an invariant, at most `SHOWN` + 1 rows."""
    given = {":now": ("now", now_ms), ":hour_ago": ("hour_ago", now_ms - 3_600_000)}
    params = {name: value for mark, (name, value) in given.items() if mark in invariant.sql}
    rows = db.all(f"SELECT what FROM ({invariant.sql}) v LIMIT :shown", shown=SHOWN + 1, **params)
    return [str(row["what"]) for row in rows]


def orphan_sessions(db: Db) -> list[int]:
    """Return sessions that are over but left tries open."""
    rows = db.all(
        "SELECT DISTINCT s.id FROM attempts t JOIN sessions s ON s.id = t.session_id"
        " WHERE t.state = 'intent' AND s.state <> 'live' ORDER BY s.id"
    )
    return [int(row["id"]) for row in rows]


def recount_stock(db: Db) -> list[Row]:
    """Set wrong stock counters to the count of free uses; return sku, was and now of each."""
    rows = db.all(
        "SELECT p.sku, coalesce(s.free, 0) AS was, coalesce(k.free, 0) AS found FROM products p"
        " LEFT JOIN stock s ON s.sku = p.sku LEFT JOIN (SELECT sku, CAST(sum(uses_left) AS BIGINT)"
        " AS free FROM keys WHERE state = 'free' GROUP BY sku) k ON k.sku = p.sku"
        " WHERE coalesce(s.free, 0) <> coalesce(k.free, 0) ORDER BY p.sku"
    )
    for row in rows:
        db.run(
            "INSERT INTO stock (sku, free) VALUES (:sku, :free)"
            " ON CONFLICT (sku) DO UPDATE SET free = excluded.free",
            sku=row["sku"],
            free=row["found"],
        )
    return rows


def lock_counters(db: Db) -> None:
    """Hold every stock counter until the transaction ends, so that a count stands still."""
    db.all("SELECT sku FROM stock ORDER BY sku {lock}")


def sample_keys(db: Db, wanted: int, day: int) -> list[Row]:
    """Return about `wanted` keys spread over all of them, others every day."""
    step = max(1, int(db.value("SELECT count(*) FROM keys")) // wanted)
    return db.all(
        "SELECT id, tail, fingerprint, sealed, data_key_id FROM keys WHERE id % :step = :offset"
        " ORDER BY id LIMIT :n",
        step=step,
        offset=day % step,
        n=wanted * 2,
    )


def sample_parcels(db: Db, wanted: int, day: int) -> list[Row]:
    """Return about `wanted` parcels with the identity of their order, others every day."""
    step = max(1, int(db.value("SELECT count(*) FROM parcels")) // wanted)
    return db.all(
        "SELECT p.id, p.n, p.sealed, p.data_key_id, o.channel, o.number FROM parcels p"
        " JOIN orders o ON o.id = p.order_id WHERE p.id % :step = :offset ORDER BY p.id LIMIT :n",
        step=step,
        offset=day % step,
        n=wanted * 2,
    )


def key_states(db: Db, fingerprints: Sequence[bytes]) -> dict[bytes, tuple[str, str]]:
    """Return fingerprint → (state, tail) of the keys this database knows."""
    found: dict[bytes, tuple[str, str]] = {}
    for start in range(0, len(fingerprints), 500):
        marks, params = in_clause(fingerprints[start : start + 500])
        for row in db.all(
            f"SELECT fingerprint, state, tail FROM keys WHERE fingerprint IN {marks}", **params
        ):
            found[bytes(row["fingerprint"])] = (row["state"], row["tail"])
    return found


def exposures(db: Db) -> int:
    """Return how many keys were ever sent."""
    return int(db.value("SELECT count(*) FROM allocations WHERE exposed_ms IS NOT NULL"))
