"""What the operator decided on refunds and defective keys, and what a supplier is asked for.

A decision answers refunds as they were then (`refund_answers`); a replacement ties the key that was
bad to the one that came for it; a debit is what a supplier may be charged on the next sheet.
"""

from __future__ import annotations

REFUNDS: tuple[str | dict[str, str], ...] = (
    """CREATE TABLE refund_decisions (
        id {id},
        order_id {int} NOT NULL REFERENCES orders (id),
        n {int} NOT NULL,
        at_ms {int} NOT NULL,
        actor {text} NOT NULL,
        answer {text} NOT NULL CHECK (answer IN ('agree', 'refuse', 'record')),
        lines {text} NOT NULL,
        amount_minor {int} NOT NULL CHECK (amount_minor >= 0),
        currency {text} NOT NULL,
        keys {text} NOT NULL CHECK (keys IN ('keep', 'void')),
        bearer {text} NOT NULL CHECK (bearer IN ('shop', 'supplier')),
        reason {text} NOT NULL,
        told {text} NOT NULL CHECK (told IN ('channel', 'by_hand', 'nobody')),
        UNIQUE (order_id, n)
    ) {strict}""",
    """CREATE TABLE refund_answers (
        decision_id {int} NOT NULL REFERENCES refund_decisions (id),
        number {text} NOT NULL,
        amount_minor {int} NOT NULL,
        state {text} NOT NULL,
        PRIMARY KEY (decision_id, number)
    ) {strict}""",
    """CREATE TABLE refund_replies (
        effect_id {int} PRIMARY KEY REFERENCES effects (id),
        decision_id {int} NOT NULL REFERENCES refund_decisions (id),
        number {text} NOT NULL,
        agree {int} NOT NULL CHECK (agree IN (0, 1)),
        message {text} NOT NULL
    ) {strict}""",
    """CREATE TABLE replacements (
        id {id},
        order_id {int} NOT NULL REFERENCES orders (id),
        line_id {int} NOT NULL REFERENCES lines (id),
        old_allocation_id {int} NOT NULL UNIQUE REFERENCES allocations (id),
        new_allocation_id {int} UNIQUE REFERENCES allocations (id),
        parcel_id {int} REFERENCES parcels (id),
        sku {text} NOT NULL,
        reason {text} NOT NULL,
        actor {text} NOT NULL,
        at_ms {int} NOT NULL
    ) {strict}""",
    "CREATE INDEX replacements_line ON replacements (line_id)",
    "CREATE INDEX replacements_parcel ON replacements (parcel_id) WHERE parcel_id IS NOT NULL",
    "CREATE INDEX replacements_wanted ON replacements (id) WHERE new_allocation_id IS NULL",
    """CREATE TABLE supplier_debits (
        id {id},
        supplier {text} NOT NULL REFERENCES suppliers (code),
        allocation_id {int} NOT NULL UNIQUE REFERENCES allocations (id),
        order_id {int} NOT NULL REFERENCES orders (id),
        cause {text} NOT NULL CHECK (cause IN ('defective', 'refund')),
        ask {text} NOT NULL CHECK (ask IN ('credit', 'void')),
        state {text} NOT NULL CHECK (state IN ('open', 'accepted', 'dropped')),
        amount_minor {int} NOT NULL,
        currency {text} NOT NULL,
        reason {text} NOT NULL,
        actor {text} NOT NULL,
        at_ms {int} NOT NULL,
        decided_by {text} NOT NULL DEFAULT '',
        decided_ms {int}
    ) {strict}""",
    "CREATE INDEX supplier_debits_supplier ON supplier_debits (supplier, state)",
    """CREATE TABLE order_notes (
        id {id},
        order_id {int} NOT NULL REFERENCES orders (id),
        at_ms {int} NOT NULL,
        actor {text} NOT NULL,
        body {text} NOT NULL
    ) {strict}""",
    "CREATE INDEX order_notes_order ON order_notes (order_id)",
    "ALTER TABLE orders ADD COLUMN by_hand {int} NOT NULL DEFAULT 0",
)
