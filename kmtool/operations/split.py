"""Parts of a message that does not fit its route: cut between keys, sent one after the other.

Every key stands in exactly one part. The parts of one message carry the same lines, and the lines
move together: a part is due when the one before it has arrived, the lines count as delivered with
the last. From the first part on all their keys count as perhaps seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kmtool.domain import packing
from kmtool.domain.ids import ParcelId
from kmtool.operations.messages import Written
from kmtool.shop import Shop
from kmtool.store import deliveries, route_uses
from kmtool.store.db import Row

TURN_MS = 600_000
"""How soon a part is looked at again whose turn has not come; its turn makes it due at once."""
Line = tuple[Row, list[Row]]
"""A line with its keys, or with those of one part."""
Writer = Callable[[Sequence[Line], tuple[int, int]], Written]


@dataclass(slots=True)  # one for each parcel: a frozen one takes four times as long to make
class Part:
    """What stands in one message: lines with their keys, and the text."""

    bound: tuple[Line, ...]
    written: Written


def parts(bound: Sequence[Line], write: Writer, text_max: int | None) -> list[Part] | None:
    """Return the parts of a message, one when it fits; None when a key alone does not fit."""
    whole = write(bound, (1, 1))
    if text_max is None or length(whole) <= text_max:
        return [Part(tuple(bound), whole)]
    items: list[tuple[Row, Row | None]] = []
    for line, keys in bound:
        items += [(line, key) for key in keys] or [(line, None)]
    last = packing.PARTS_MAX

    def fits(start: int, end: int) -> bool:
        return length(write(_grouped(items[start:end]), (last, last))) <= text_max

    pieces = packing.split(len(items), fits)
    if pieces is None:
        return None
    grouped = [_grouped(items[start:end]) for start, end in pieces]
    return [
        Part(tuple(lines), write(lines, (n, len(grouped)))) for n, lines in enumerate(grouped, 1)
    ]


def length(written: Written) -> int:
    """Return how many characters a message takes; its mark is counted with a long number."""
    return len(written.text.text()) + len(written.mark.replace("{marker}", "K" * 20)) + 1


def _grouped(items: Sequence[tuple[Row, Row | None]]) -> list[Line]:
    found: dict[int, Line] = {}
    for line, key in items:
        keys = found.setdefault(line["id"], (line, []))[1]
        if key is not None:
            keys.append(key)
    return list(found.values())


def siblings(shop: Shop, parcel: Row) -> list[int]:
    """Return the other parts of the message a parcel belongs to."""
    if parcel["parts"] == 1:
        return []
    return [one["id"] for one in route_uses.parts_of(shop.db, parcel) if one["id"] != parcel["id"]]


def undo(shop: Shop, parcel_id: int, reason: str) -> int:
    """Cancel the other parts of a message that is undone as a whole; return how many."""
    others = siblings(shop, deliveries.parcel(shop.db, ParcelId(parcel_id)))
    return route_uses.cancel_parts(shop.db, others, reason) if others else 0
