"""What the order commands show: records without a key in the clear, and the words for states."""

from __future__ import annotations

from dataclasses import dataclass

from kmtool.errors import marked
from kmtool.operations.purchase_records import PurchaseShown
from kmtool.operations.refund_records import DecisionShown

WORDS = {
    "new": marked("new 新"),
    "ready": marked("ready 待发"),
    "reserved": marked("key bound 已配卡"),
    "sending": marked("sending 发送中"),
    "delivered": marked("delivered 已发货"),
    "held": marked("held 暂停"),
    "unmapped": marked("not mapped 未映射"),
    "unknown": marked("outcome unclear 结果不明"),
    "human": marked("needs you 要你处理"),
    "cancelled": marked("cancelled 已取消"),
    "refund_case": marked("refund case 退款处理"),
    "closed": marked("closed 已结束"),
    "exposed": marked("may have been seen 可能已被看到"),
    "free": marked("in stock 在库"),
    "defective": marked("bad key 坏卡"),
    "void": marked("void 作废"),
}
"""States in people's words; the codes stay in JSON."""
ASSUMED = "found in the send journal; its price is assumed"
"""The note of a sale by hand that a replay wrote again: the journal names no price."""


@dataclass(frozen=True, slots=True)
class OrderRow:
    """One order in a list; `assumed`: its money is not on record (see `ASSUMED`)."""

    channel: str
    number: str
    title: str
    quantity: int
    total_minor: int
    currency: str
    buyer: str
    paid_ms: int | None
    state: str
    gate: str
    refund: str
    assumed: bool = False


@dataclass(frozen=True, slots=True)
class OrderPage:
    """A list of orders; `total` counts all that fit."""

    orders: tuple[OrderRow, ...]
    total: int


@dataclass(frozen=True, slots=True)
class LineShown:
    """One line of an order with its masked keys."""

    line: str
    title: str
    sku: str | None
    quantity: int
    needed: int
    amount_minor: int
    state: str
    gate: str
    reason: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AttemptShown:
    """One try of an effect."""

    effect: str
    route: str
    state: str
    n: int
    outcome: str
    at_ms: int
    detail: str


@dataclass(frozen=True, slots=True)
class Happening:
    """One row of the order's story."""

    at_ms: int
    actor: str
    action: str
    detail: str


@dataclass(frozen=True, slots=True)
class NoteShown:
    """A note on an order."""

    at_ms: int
    actor: str
    note: str


@dataclass(frozen=True, slots=True)
class ReplacedShown:
    """A key that was bad and the one that came for it (empty while it waits for stock)."""

    line: str
    bad_key: str
    new_key: str
    at_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class OrderShown:
    """All that is known of one order, no key in the clear."""

    channel: str
    number: str
    code: str
    status: str
    refund: str
    refunded_minor: int
    total_minor: int
    currency: str
    buyer: str
    contact: str
    created_ms: int
    paid_ms: int | None
    seen_ms: int
    marked_ms: int | None
    hold: str
    released_ms: int | None
    lines: tuple[LineShown, ...]
    attempts: tuple[AttemptShown, ...]
    story: tuple[Happening, ...]
    notes: tuple[NoteShown, ...] = ()
    purchases: tuple[PurchaseShown, ...] = ()
    decisions: tuple[DecisionShown, ...] = ()
    replaced: tuple[ReplacedShown, ...] = ()
    assumed: bool = False


@dataclass(frozen=True, slots=True)
class GateShown:
    """One gate of the walk: open, or why it is shut and what opens it."""

    gate: str
    open: bool
    reason: str
    command: str


@dataclass(frozen=True, slots=True)
class LastTry:
    """What happened last to a line with keys; `seen_ms`: they may have been seen since then."""

    effect: str
    route: str
    state: str
    tries: int
    outcome: str
    detail: str
    at_ms: int | None
    next_ms: int | None
    keys: tuple[str, ...]
    seen_ms: int | None


@dataclass(frozen=True, slots=True)
class LineWhy:
    """Why a line is where it is."""

    line: str
    title: str
    state: str
    gates: tuple[GateShown, ...]
    answer: str
    command: str
    last: LastTry | None = None


@dataclass(frozen=True, slots=True)
class OrderWhy:
    """The walk through the gates for every line of an order."""

    channel: str
    number: str
    lines: tuple[LineWhy, ...]
