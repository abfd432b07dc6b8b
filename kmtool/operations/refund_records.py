"""What the refund commands take and show: a wish, the case before it, what was decided."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kmtool.errors import marked


class Answer(StrEnum):
    """What a person says to a refund."""

    AGREE = "agree"
    REFUSE = "refuse"
    RECORD = "record"


class Fate(StrEnum):
    """What becomes of the keys the buyer has: the supplier is asked to end them, or they stay."""

    KEEP = "keep"
    VOID = "void"


class Bearer(StrEnum):
    """Who bears the cost of the keys."""

    SHOP = "shop"
    SUPPLIER = "supplier"


class Stage(StrEnum):
    """How far a line was when its refund was seen (the rows of the refund table)."""

    NOT_RESERVED = "not_reserved"
    RESERVED = "reserved"
    OUTCOME_UNCLEAR = "outcome_unclear"
    DELIVERED = "delivered"
    SETTLED = "settled"


STAGES = {
    Stage.NOT_RESERVED: marked("no key was bound"),
    Stage.RESERVED: marked("a key is bound, surely nobody saw it"),
    Stage.OUTCOME_UNCLEAR: marked("a key may have been seen, the outcome is unclear"),
    Stage.DELIVERED: marked("the buyer has the key"),
    Stage.SETTLED: marked("the buyer has the key, and its supplier was settled for it"),
}
"""Stages in people's words; the codes stay in JSON."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person wants: without lines all of the case, without a sum all that is asked for."""

    answer: Answer
    amount_minor: int | None = None
    lines: tuple[str, ...] = ()
    reason: str = ""
    keys: Fate = Fate.KEEP
    bearer: Bearer | None = None


@dataclass(frozen=True, slots=True)
class RefundShown:
    """A refund as the channel tells of it."""

    number: str
    amount_minor: int
    state: str
    at_ms: int | None
    seen_ms: int


@dataclass(frozen=True, slots=True)
class KeyAtStake:
    """A key of a line in a case: what the buyer may have, what it cost, where it is settled."""

    line: str
    key: str
    state: str
    exposed_ms: int | None
    delivered_ms: int | None
    batch: str
    supplier: str
    mode: str
    cost_minor: int
    sheet: str


@dataclass(frozen=True, slots=True)
class LineAtStake:
    """A line of a case: how far it was, and what its tries told."""

    line: str
    title: str
    amount_minor: int
    state: str
    stage: str
    tries: int
    outcome: str


@dataclass(frozen=True, slots=True)
class DecisionShown:
    """A decision as it stands in the books; `told` says how the channel learns of it."""

    n: int
    at_ms: int
    actor: str
    answer: str
    lines: str
    amount_minor: int
    keys: str
    bearer: str
    reason: str
    told: str
    reply: str


@dataclass(frozen=True, slots=True)
class Option:
    """One possible answer, as the exact command, and what it means here."""

    command: str
    meaning: str


@dataclass(frozen=True, slots=True)
class RefundCase:
    """All that a person needs to decide on a refund. `stage` is that of the line gone furthest."""

    channel: str
    number: str
    buyer: str
    status: str
    refund: str
    asked_minor: int
    refunded_minor: int
    total_minor: int
    currency: str
    paid_ms: int | None
    stage: str
    undecided: bool
    by_channel: bool
    refunds: tuple[RefundShown, ...]
    lines: tuple[LineAtStake, ...]
    keys: tuple[KeyAtStake, ...]
    decisions: tuple[DecisionShown, ...]
    answers: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class Debit:
    """What a supplier may be charged for a key."""

    id: int
    supplier: str
    key: str
    batch: str
    mode: str
    order: str
    cause: str
    ask: str
    state: str
    amount_minor: int
    currency: str
    reason: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Decided:
    """What a decision did. `told` is channel, by_hand or nobody; `still_open` lines wait on."""

    channel: str
    number: str
    n: int
    answer: str
    amount_minor: int
    currency: str
    lines: int
    still_open: int
    bearer: str
    told: str
    debits: tuple[Debit, ...] = ()
