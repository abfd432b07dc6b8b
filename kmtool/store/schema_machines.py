"""Where the shop lives, what was sent before a restore, what a restore took out of sale.

- `homes`: the places this database was at home in. On SQLite the newest row counts; on PostgreSQL
  each machine that sends has one. `token` is found again in the home file beside the send journal.
- `seen_keys`: keys that the send journal knows as sent and whose order or key is not here yet.
- `quarantined`: keys that a restore without a journal took out of sale, until they are reconciled.
"""

from __future__ import annotations

MACHINES: tuple[str | dict[str, str], ...] = (
    """CREATE TABLE homes (
        id {id},
        token {text} NOT NULL UNIQUE,
        machine {text} NOT NULL,
        system {text} NOT NULL,
        host {text} NOT NULL,
        place {text} NOT NULL,
        state {text} NOT NULL CHECK (state IN ('live', 'retired')),
        moved_to {text} NOT NULL,
        since_ms {int} NOT NULL,
        retired_ms {int}
    ) {strict}""",
    """CREATE TABLE seen_keys (
        id {id},
        fingerprint {blob} NOT NULL,
        channel {text} NOT NULL,
        number {text} NOT NULL,
        line_no {text} NOT NULL,
        parcel_n {int} NOT NULL,
        session_id {int} NOT NULL,
        state {text} NOT NULL CHECK (state IN ('waiting', 'bound')),
        seen_ms {int} NOT NULL,
        bound_ms {int},
        UNIQUE (fingerprint, channel, number, line_no)
    ) {strict}""",
    "CREATE INDEX seen_keys_order ON seen_keys (channel, number) WHERE state = 'waiting'",
    """CREATE TABLE quarantined (
        key_id {int} PRIMARY KEY REFERENCES keys (id),
        at_ms {int} NOT NULL
    ) {strict}""",
    "ALTER TABLE sessions ADD COLUMN journalled {int} NOT NULL DEFAULT 0",
)

REPLACED: tuple[str | dict[str, str], ...] = (
    "ALTER TABLE seen_keys ADD COLUMN replaced {int} NOT NULL DEFAULT 0",
    "CREATE INDEX seen_keys_place ON seen_keys (channel, number)",
)
"""Which of the keys that were sent before a restore others were sent in place of."""
