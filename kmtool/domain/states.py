"""States and the arrows between them: one table each.

A state changes by compare-and-set only (`UPDATE … WHERE id = :id AND state = :from`); the tables
here say which pairs exist. Tests walk them.
"""

from __future__ import annotations

from enum import StrEnum

COUNTER = "counter"
"""The pseudo channel of sales by hand."""


class KeyState(StrEnum):
    """A key's life. No automatic arrow leads from `exposed` back to `free`."""

    FREE = "free"
    RESERVED = "reserved"
    EXPOSED = "exposed"
    DELIVERED = "delivered"
    DEFECTIVE = "defective"
    LENT = "lent"
    QUARANTINE = "quarantine"
    VOID = "void"
    EXPIRED = "expired"
    RETURNED = "returned"


class LineState(StrEnum):
    """Our progress with one line of an order."""

    NEW = "new"
    READY = "ready"
    RESERVED = "reserved"
    SENDING = "sending"
    DELIVERED = "delivered"
    HELD = "held"
    UNMAPPED = "unmapped"
    UNKNOWN = "unknown"
    HUMAN = "human"
    CANCELLED = "cancelled"
    REFUND_CASE = "refund_case"
    CLOSED = "closed"


class AllocationState(StrEnum):
    """A key's bond to a line. Only `withdrawn` (never exposed) sets the key free again."""

    RESERVED = "reserved"
    EXPOSED = "exposed"
    DELIVERED = "delivered"
    REPLACED = "replaced"
    WITHDRAWN = "withdrawn"


class EffectState(StrEnum):
    """One thing to happen outside."""

    PENDING = "pending"
    INFLIGHT = "inflight"
    DONE = "done"
    RETRY_AT = "retry_at"
    HUMAN = "human"
    CANCELLED = "cancelled"


class EffectKind(StrEnum):
    """What is to happen outside."""

    HAND_OVER = "hand_over"
    REPLACE = "replace"
    NOTIFY = "notify"
    MARK_SHIPPED = "mark_shipped"
    REFUND_REPLY = "refund_reply"
    PURCHASE = "purchase"


class AttemptState(StrEnum):
    """One try of an effect."""

    INTENT = "intent"
    OK = "ok"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


class OrderStatus(StrEnum):
    """What the channel says of an order (a fact, never our progress)."""

    UNPAID = "unpaid"
    PAID = "paid"
    SHIPPED = "shipped"
    DONE = "done"
    CLOSED = "closed"
    REVIEW = "review"


class RefundState(StrEnum):
    """What the channel says of refunds on an order."""

    NONE = "none"
    OPEN = "open"
    PARTIAL = "partial"
    FULL = "full"


class PurchaseState(StrEnum):
    """Something bought from a supplier for an order line. `unknown` counts as spent."""

    PLANNED = "planned"
    INTENT = "intent"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    DONE = "done"
    KEYS_RECEIVED = "keys_received"
    RECONCILED = "reconciled"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"


class LineKind(StrEnum):
    """What a line sells."""

    KEY = "key"
    TOPUP = "topup"
    TEXT = "text"
    BUNDLE = "bundle"


UNLIMITED_USES = 10**12
"""How many uses a text has: more than any shop sells, and sums of it still fit a column."""


def is_unlimited(kind: str) -> bool:
    """Tell whether a product of this kind never runs out (a text, a top-up bought when sold)."""
    return kind in {LineKind.TEXT, LineKind.TOPUP}


class Mode(StrEnum):
    """How far a channel is trusted: compute only, ask before sending, send."""

    WATCH = "watch"
    ASK = "ask"
    AUTO = "auto"


class Gate(StrEnum):
    """The gates before a key is reserved, in the order they are walked."""

    PAID = "paid"
    AMOUNT = "amount"
    REFUND = "refund"
    CLOSED = "closed"
    MAPPED = "mapped"
    PRODUCT = "product"
    PRICE = "price"
    BURST = "burst"
    RISK = "risk"
    MODE = "mode"
    STOCK = "stock"
    ROUTE = "route"
    ADDRESS = "address"
    PAUSE = "pause"
    SHIPPED = "shipped"
    ORDER_WAIT = "order_wait"


SHARED_KEY_ARROWS: dict[KeyState, frozenset[KeyState]] = {
    KeyState.FREE: frozenset({KeyState.DELIVERED, KeyState.EXPIRED}),
    KeyState.DELIVERED: frozenset({KeyState.FREE}),
    KeyState.EXPIRED: frozenset({KeyState.FREE}),
}
"""What a key with several uses does beside its KEY_ARROWS: its allocations tell who saw it, so its
row only says whether uses are left. A text that is set again comes back into sale."""

KEY_ARROWS: dict[KeyState, frozenset[KeyState]] = {
    KeyState.FREE: frozenset(
        {
            KeyState.RESERVED,
            KeyState.LENT,
            KeyState.QUARANTINE,
            KeyState.VOID,
            KeyState.EXPIRED,
            KeyState.RETURNED,
        }
    ),
    KeyState.RESERVED: frozenset({KeyState.FREE, KeyState.EXPOSED, KeyState.QUARANTINE}),
    KeyState.EXPOSED: frozenset(
        {KeyState.DELIVERED, KeyState.DEFECTIVE, KeyState.VOID, KeyState.QUARANTINE}
    ),
    KeyState.DELIVERED: frozenset({KeyState.DEFECTIVE, KeyState.VOID, KeyState.QUARANTINE}),
    KeyState.DEFECTIVE: frozenset({KeyState.VOID, KeyState.RETURNED, KeyState.QUARANTINE}),
    KeyState.LENT: frozenset({KeyState.FREE, KeyState.DELIVERED, KeyState.QUARANTINE}),
    KeyState.QUARANTINE: frozenset({KeyState.FREE, KeyState.VOID, KeyState.RETURNED}),
    KeyState.VOID: frozenset(),
    KeyState.EXPIRED: frozenset({KeyState.RETURNED, KeyState.QUARANTINE}),
    KeyState.RETURNED: frozenset(),
}

PURCHASE_ARROWS: dict[PurchaseState, frozenset[PurchaseState]] = {
    PurchaseState.PLANNED: frozenset({PurchaseState.INTENT, PurchaseState.CANCELLED}),
    PurchaseState.CANCELLED: frozenset({PurchaseState.PLANNED}),
    PurchaseState.INTENT: frozenset(
        {
            PurchaseState.PLANNED,
            PurchaseState.ACCEPTED,
            PurchaseState.REJECTED,
            PurchaseState.UNKNOWN,
        }
    ),
    PurchaseState.UNKNOWN: frozenset(
        {
            PurchaseState.PLANNED,
            PurchaseState.ACCEPTED,
            PurchaseState.REJECTED,
        }
    ),
    PurchaseState.ACCEPTED: frozenset(
        {PurchaseState.DONE, PurchaseState.KEYS_RECEIVED, PurchaseState.FAILED}
    ),
    PurchaseState.DONE: frozenset({PurchaseState.RECONCILED}),
    PurchaseState.KEYS_RECEIVED: frozenset({PurchaseState.RECONCILED}),
    PurchaseState.RECONCILED: frozenset(),
    PurchaseState.REJECTED: frozenset(),
    PurchaseState.FAILED: frozenset(),
}

LINE_ARROWS: dict[LineState, frozenset[LineState]] = {
    LineState.NEW: frozenset(
        {LineState.READY, LineState.HELD, LineState.UNMAPPED, LineState.CANCELLED, LineState.CLOSED}
    ),
    LineState.READY: frozenset(
        {
            LineState.NEW,
            LineState.RESERVED,
            LineState.HELD,
            LineState.UNMAPPED,
            LineState.CANCELLED,
            LineState.CLOSED,
        }
    ),
    LineState.HELD: frozenset(
        {
            LineState.NEW,
            LineState.READY,
            LineState.HELD,
            LineState.UNMAPPED,
            LineState.CANCELLED,
            LineState.CLOSED,
        }
    ),
    LineState.UNMAPPED: frozenset(
        {LineState.NEW, LineState.READY, LineState.HELD, LineState.CANCELLED, LineState.CLOSED}
    ),
    LineState.RESERVED: frozenset(
        {
            LineState.SENDING,
            LineState.READY,
            LineState.CANCELLED,
            LineState.HUMAN,
            LineState.REFUND_CASE,
        }
    ),
    LineState.SENDING: frozenset(
        {
            LineState.DELIVERED,
            LineState.RESERVED,
            LineState.UNKNOWN,
            LineState.HUMAN,
            LineState.REFUND_CASE,
        }
    ),
    LineState.UNKNOWN: frozenset(
        {
            LineState.SENDING,
            LineState.DELIVERED,
            LineState.RESERVED,
            LineState.HUMAN,
            LineState.REFUND_CASE,
        }
    ),
    LineState.HUMAN: frozenset(
        {
            LineState.HUMAN,
            LineState.READY,
            LineState.SENDING,
            LineState.RESERVED,
            LineState.DELIVERED,
            LineState.REFUND_CASE,
            LineState.CLOSED,
        }
    ),
    LineState.DELIVERED: frozenset({LineState.HUMAN, LineState.REFUND_CASE, LineState.CLOSED}),
    LineState.REFUND_CASE: frozenset(
        {LineState.CLOSED, LineState.DELIVERED, LineState.UNKNOWN, LineState.HUMAN}
    ),
    LineState.CANCELLED: frozenset({LineState.NEW, LineState.CLOSED}),
    LineState.CLOSED: frozenset(),
}
