"""Stock held for unpaid orders, and listings we took off a channel's shelf.

`stock.held` is the sum of the live holds of a product (`held`, `paid`); it grows by compare-and-set
only as far as keys are free. A line gets one hold per product in its life. `lowered` says that the
channel has counted its own figure down for the order already.

`listings.shelf` is empty while a listing is the owner's own business, `off` when we took it down,
`owner` when the owner put it back although it had run out. `shelf_moves` are our writes: one try
each, `intent` before the network, `unknown` until the listing was read again.
"""

from __future__ import annotations

HOLDS: tuple[str | dict[str, str], ...] = (
    "ALTER TABLE stock ADD COLUMN held {int} NOT NULL DEFAULT 0",
    "CREATE INDEX stock_held ON stock (sku) WHERE held > 0",
    """CREATE TABLE stock_holds (
        id {id},
        line_id {int} NOT NULL REFERENCES lines (id),
        order_id {int} NOT NULL REFERENCES orders (id),
        sku {text} NOT NULL REFERENCES products (sku),
        channel {text} NOT NULL,
        n {int} NOT NULL CHECK (n > 0),
        state {text} NOT NULL CHECK (state IN ('held', 'paid', 'claimed', 'expired', 'dropped')),
        lowered {int} NOT NULL CHECK (lowered IN (0, 1)),
        held_ms {int} NOT NULL,
        expires_ms {int} NOT NULL,
        ended_ms {int},
        reason {text} NOT NULL,
        UNIQUE (line_id, sku)
    ) {strict}""",
    "CREATE INDEX stock_holds_order ON stock_holds (order_id)",
    "CREATE INDEX stock_holds_live ON stock_holds (sku) WHERE state IN ('held', 'paid')",
    "CREATE INDEX stock_holds_due ON stock_holds (expires_ms) WHERE state = 'held'",
    "ALTER TABLE products ADD COLUMN shelf_floor {int}",
    "ALTER TABLE listings ADD COLUMN shelf {text} NOT NULL DEFAULT ''",
    "ALTER TABLE listings ADD COLUMN shelf_ms {int}",
    """CREATE TABLE shelf_moves (
        id {id},
        listing_id {int} NOT NULL REFERENCES listings (id),
        wanted {text} NOT NULL CHECK (wanted IN ('off', 'on')),
        state {text} NOT NULL CHECK (state IN ('intent', 'ok', 'rejected', 'unknown')),
        figure {int} NOT NULL,
        detail {text} NOT NULL,
        started_ms {int} NOT NULL,
        ended_ms {int}
    ) {strict}""",
    """CREATE UNIQUE INDEX shelf_moves_open ON shelf_moves (listing_id)
        WHERE state IN ('intent', 'unknown')""",
)
