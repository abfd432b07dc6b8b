"""SQL that moves many lines at once: one compare-and-set whose count the operation checks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from kmtool.domain.states import LINE_ARROWS, LineState
from kmtool.store.db import Db, Row, run_in


def move_lines(
    db: Db,
    line_ids: Sequence[int],
    source: LineState,
    target: LineState,
    now_ms: int,
    *,
    stamp: str = "",
    through: LineState | None = None,
    silent: bool = False,
) -> int:
    """Compare-and-set many lines from one state to another; return how many were in `source`.

    `stamp` names a stamp that is set with it, the first time only; `through` a state that is passed
    on the way without being written. `silent` moves only lines of which nothing is said.
    """
    steps = [source, target] if through in {None, source} else [source, through, target]
    for one, other in pairwise(steps):
        assert other in LINE_ARROWS[one], f"no arrow {one} → {other}"
    assert stamp in {"", "reserved_ms", "sent_ms", "acknowledged_ms"}
    also = f", {stamp} = coalesce({stamp}, :now)" if stamp else ""
    only = " AND reason = ''" if silent else ""
    return run_in(
        db,
        f"UPDATE lines SET state = :target, gate = '', reason = '', since_ms = :now{also}"
        f" WHERE state = :source{only} AND id IN {{in}}",
        line_ids,
        source=source,
        target=target,
        now=now_ms,
    )


def hold_lines(db: Db, rows: Sequence[Row], now_ms: int) -> int:
    """Compare-and-set lines that wait (id, source, target, gate, reason); return how many moved."""
    for row in rows:
        assert row["target"] == row["source"] or row["target"] in LINE_ARROWS[row["source"]]
    return db.many(
        "UPDATE lines SET state = :target, gate = :gate, reason = :reason,"
        " since_ms = CASE WHEN state = :target AND gate = :gate THEN since_ms ELSE :now END,"
        " waited = CASE WHEN waited = '' THEN :gate ELSE waited END"
        " WHERE id = :id AND state = :source",
        [{**row, "reason": row["reason"][:300], "now": now_ms} for row in rows],
    )
