"""SQL of stamps: how long each step of a delivery took, as nearest-rank percentiles.

The p-th percentile of n durations is the one at place ceil(p · n / 100) when they are sorted: a
duration that really happened, the same on both databases. Steps of an order count orders, steps of
a line count lines. A channel's clock that runs ahead makes no negative duration: it counts as 0.

`waited` is 1 for what waited: for a word of the operator, for a person who pastes, or behind a gate
(stock, pause, the other lines of its order). Its figure stands apart, it would drown the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kmtool.store.db import Db, Row

PAGE = 10_000
_BY_HAND = (
    "EXISTS (SELECT 1 FROM effects e WHERE e.order_id = o.id AND e.kind = 'hand_over'"
    " AND e.route IN ('by_hand', 'screen', 'sheet'))"
)
_ORDER_WAITED = f"o.released_ms IS NOT NULL OR o.channel = 'counter' OR {_BY_HAND}"
_LINES = "lines l JOIN orders o ON o.id = l.order_id"
_MARKED = (
    "(SELECT order_id, max(acknowledged_ms) AS acknowledged_ms, max(waited) AS waited FROM lines"
    " WHERE reserved_ms >= :since GROUP BY order_id) l JOIN orders o ON o.id = l.order_id"
)


@dataclass(frozen=True, slots=True)
class Step:
    """A step: between two stamps, of the rows of `source` that began (`since`) in the window."""

    name: str
    start: str
    end: str
    source: str = _LINES
    since: str = "l.reserved_ms"
    waited: str = f"l.waited <> '' OR {_ORDER_WAITED}"


STEPS: tuple[Step, ...] = (
    Step("paid_seen", "o.paid_ms", "o.seen_ms", "orders o", "o.paid_ms", "0 = 1"),
    Step("seen_reserved", "o.seen_ms", "l.reserved_ms"),
    Step("reserved_sent", "l.reserved_ms", "l.sent_ms"),
    Step("sent_acknowledged", "l.sent_ms", "l.acknowledged_ms"),
    Step("acknowledged_marked", "l.acknowledged_ms", "o.marked_ms", _MARKED, "o.paid_ms"),
    Step("seen_sent", "o.seen_ms", "l.sent_ms"),
    Step("paid_sent", "o.paid_ms", "l.sent_ms"),
    Step("paid_acknowledged", "o.paid_ms", "l.acknowledged_ms"),
)


def order_stamps(db: Db, since_ms: int) -> Iterator[Row]:
    """Yield the stamps of orders paid since a moment; `acknowledged_ms` is its last line's."""
    yield from _pages(
        db,
        "SELECT o.id, o.channel, o.paid_ms AS at, o.seen_ms, o.marked_ms,"
        " (SELECT max(l.acknowledged_ms) FROM lines l WHERE l.order_id = o.id) AS acknowledged_ms,"
        f" CASE WHEN {_ORDER_WAITED} THEN 1 ELSE 0 END AS waited FROM orders o"
        " WHERE o.paid_ms >= :at AND (o.paid_ms, o.id) > (:at, :id) AND o.history = 0"
        " ORDER BY o.paid_ms, o.id LIMIT :page",
        since_ms,
    )


def line_stamps(db: Db, since_ms: int) -> Iterator[Row]:
    """Yield the stamps of lines reserved since a moment."""
    yield from _pages(
        db,
        "SELECT l.id, o.channel, o.paid_ms, o.seen_ms, l.reserved_ms AS at, l.sent_ms,"
        f" l.acknowledged_ms, CASE WHEN l.waited <> '' OR {_ORDER_WAITED} THEN 1 ELSE 0 END"
        " AS waited FROM lines l JOIN orders o ON o.id = l.order_id"
        " WHERE l.reserved_ms >= :at AND (l.reserved_ms, l.id) > (:at, :id) AND o.history = 0"
        " ORDER BY l.reserved_ms, l.id LIMIT :page",
        since_ms,
    )


def count_lines(db: Db, since_ms: int) -> int:
    """Return how many lines were reserved since a moment."""
    return int(db.value("SELECT count(*) FROM lines WHERE reserved_ms >= :s", s=since_ms))


def _pages(db: Db, sql: str, since_ms: int) -> Iterator[Row]:
    at, last = since_ms, 0
    while True:
        rows = db.all(sql, at=at, id=last, page=PAGE)
        yield from rows
        if len(rows) < PAGE:
            return
        at, last = rows[-1]["at"], rows[-1]["id"]


def by_itself(db: Db, step: Step, since_ms: int, ended_ms: int) -> dict[str, list[int]]:
    """Return, per channel, how long a step took that ended after `ended_ms` and waited for nobody.

    `since_ms` bounds the search: what began before it is in no figure.
    """
    rows = db.all(
        f"SELECT channel, taken FROM (SELECT o.channel, {_taken(step)}"
        f" AND {step.end} >= :ended) v WHERE waited = 0 LIMIT 100000",
        since=since_ms,
        ended=ended_ms,
    )
    return _per_channel(rows)


def overdue(db: Db, step: Step, now_ms: int, limit_ms: int) -> dict[str, list[int]]:
    """Return, per channel, how long lines on their own way take already that are past a limit.

    Without them a step that stands still would look fast: what never ends is in no figure.
    """
    if step.source != _LINES or step.end != "l.sent_ms":
        return {}
    rows = db.all(
        f"SELECT o.channel, :now - {step.start} AS taken FROM {_LINES}"
        " WHERE l.state IN ('new', 'ready', 'reserved', 'sending') AND o.status = 'paid'"
        f" AND l.sent_ms IS NULL AND o.history = 0 AND {step.start} < :late"
        f" AND NOT ({step.waited}) LIMIT 10000",
        now=now_ms,
        late=now_ms - limit_ms,
    )
    return _per_channel(rows)


def _taken(step: Step) -> str:
    """Return the columns `waited` and `taken` with their source and window."""
    length = f"{step.end} - {step.start}"
    return (
        f"CASE WHEN {step.waited} THEN 1 ELSE 0 END AS waited,"
        f" CASE WHEN {length} < 0 THEN 0 ELSE {length} END AS taken FROM {step.source}"
        f" WHERE {step.since} >= :since AND o.history = 0"
        f" AND {step.start} IS NOT NULL AND {step.end} IS NOT NULL"
    )


def _per_channel(rows: Sequence[Row]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row in rows:
        found.setdefault(row["channel"], []).append(int(row["taken"]))
    return found
