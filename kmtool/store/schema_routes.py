"""Routes: which one a try took, which parcel holds a key, how often each route was used.

A use is written in the transaction of its intent; a send that certainly did not happen gives it
back. `routes` holds one row per route with a quota, so that several senders count one after the
other.
"""

from __future__ import annotations

ROUTES: tuple[str | dict[str, str], ...] = (
    "ALTER TABLE attempts ADD COLUMN route {text} NOT NULL DEFAULT ''",
    "ALTER TABLE allocations ADD COLUMN parcel_id {int}",
    "ALTER TABLE parcels ADD COLUMN part {int} NOT NULL DEFAULT 1",
    "ALTER TABLE parcels ADD COLUMN parts {int} NOT NULL DEFAULT 1",
    """CREATE TABLE routes (
        name {text} PRIMARY KEY,
        created_ms {int} NOT NULL
    ) {strict}""",
    """CREATE TABLE route_uses (
        id {id},
        route {text} NOT NULL,
        order_id {int} NOT NULL REFERENCES orders (id),
        effect_id {int} NOT NULL REFERENCES effects (id),
        n {int} NOT NULL,
        at_ms {int} NOT NULL,
        state {text} NOT NULL CHECK (state IN ('used', 'given_back')),
        UNIQUE (effect_id, n)
    ) {strict}""",
    "CREATE INDEX route_uses_route ON route_uses (route, at_ms) WHERE state = 'used'",
    "CREATE INDEX route_uses_order ON route_uses (order_id, route) WHERE state = 'used'",
)
