"""Stock kinds beyond one key for one buyer, and purchases for top-ups.

A key with more than one use is shared: it stays `free` until `uses_left` is 0 and then counts as
`delivered`; who got it stands in its allocations (`exclusive` = 0). `media` is empty for text, else
the media type of the picture that is sold. `account_given` is the operator's word for the account
of a top-up line and outlives what the channel says.
"""

from __future__ import annotations

KINDS: tuple[str | dict[str, str], ...] = (
    "ALTER TABLE products ADD COLUMN uses {int} NOT NULL DEFAULT 1",
    "ALTER TABLE products ADD COLUMN shared {int} NOT NULL DEFAULT 0",
    "ALTER TABLE products ADD COLUMN account_rule {text} NOT NULL DEFAULT ''",
    "ALTER TABLE products ADD COLUMN supplier {text} NOT NULL DEFAULT ''",
    "ALTER TABLE products ADD COLUMN supplier_item {text} NOT NULL DEFAULT ''",
    "ALTER TABLE products ADD COLUMN cap_minor {int}",
    "ALTER TABLE keys ADD COLUMN uses {int} NOT NULL DEFAULT 1",
    "ALTER TABLE keys ADD COLUMN media {text} NOT NULL DEFAULT ''",
    "ALTER TABLE lines ADD COLUMN account_given {text} NOT NULL DEFAULT ''",
    """CREATE TABLE purchases (
        id {id},
        our_no {text} NOT NULL UNIQUE,
        supplier {text} NOT NULL,
        item {text} NOT NULL,
        sku {text} NOT NULL REFERENCES products (sku),
        order_id {int} REFERENCES orders (id),
        line_id {int} REFERENCES lines (id),
        generation {int} NOT NULL,
        quantity {int} NOT NULL CHECK (quantity > 0),
        account {text} NOT NULL,
        cap_minor {int} NOT NULL CHECK (cap_minor >= 0),
        currency {text} NOT NULL,
        state {text} NOT NULL CHECK (state IN ('planned', 'intent', 'unknown', 'accepted', 'done',
            'keys_received', 'reconciled', 'rejected', 'failed', 'cancelled')),
        agreed_minor {int},
        charged_minor {int},
        their_no {text} NOT NULL,
        proof {text} NOT NULL,
        note {text} NOT NULL,
        planned_ms {int} NOT NULL,
        intent_ms {int},
        accepted_ms {int},
        done_ms {int},
        settled_ms {int},
        UNIQUE (line_id, generation)
    ) {strict}""",
    "CREATE INDEX allocations_shared ON allocations (key_id) WHERE exclusive = 0",
    "CREATE INDEX purchases_line ON purchases (line_id)",
    "CREATE INDEX purchases_spend ON purchases (supplier, intent_ms)",
    "CREATE INDEX purchases_order ON purchases (order_id) WHERE order_id IS NOT NULL",
)
