"""Identities: outside ids are text, our own are integers, and the type checker keeps them apart."""

from __future__ import annotations

from typing import NewType

OrderId = NewType("OrderId", int)
LineId = NewType("LineId", int)
KeyId = NewType("KeyId", int)
BatchId = NewType("BatchId", int)
ParcelId = NewType("ParcelId", int)
EffectId = NewType("EffectId", int)
AttemptId = NewType("AttemptId", int)
SessionId = NewType("SessionId", int)
AllocationId = NewType("AllocationId", int)

Place = tuple[str, str, str]
"""A line by its outside ids: channel, order number, line number; it outlives a database."""
NOTICES = 100_000
"""Messages of an order that carry keys are numbered below; what tells of its purchases is numbered
by them, from here on: count of the purchase, place of the line (`100002`, `200002`)."""

_CODE_LETTERS = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"


def code_text(number: int, length: int) -> str:
    """Return a number in letters and digits that are not mixed up (no 0 O 1 I L)."""
    letters = []
    for _ in range(length):
        number, rest = divmod(number, len(_CODE_LETTERS))
        letters.append(_CODE_LETTERS[rest])
    return "".join(reversed(letters))
