"""What lies at a platform in a file: keys lent to its own pool, orders to be marked shipped.

A lent key belongs to one lending and has no allocation: the platform hands it out by itself. It
becomes `used` when an export of the pool says so (then it gets its order line), `returned` when an
export proves that nobody has it. `pool_reads` keeps what each export said, by its content.

`ship_files` are batch-ship files that wait to be uploaded; the effects named there are done when a
later export of the channel shows their orders as shipped.
"""

from __future__ import annotations

LENDING: tuple[str | dict[str, str], ...] = (
    """CREATE TABLE lendings (
        id {id},
        number {text} NOT NULL UNIQUE,
        pool {text} NOT NULL,
        channel {text} NOT NULL,
        sku {text} NOT NULL REFERENCES products (sku),
        form {text} NOT NULL,
        file_name {text} NOT NULL,
        file_sha256 {text} NOT NULL,
        lent_ms {int} NOT NULL
    ) {strict}""",
    "CREATE INDEX lendings_pool ON lendings (pool)",
    """CREATE TABLE lent_keys (
        lending_id {int} NOT NULL REFERENCES lendings (id),
        key_id {int} NOT NULL REFERENCES keys (id),
        n {int} NOT NULL,
        state {text} NOT NULL CHECK (state IN ('lent', 'used', 'returned', 'lost')),
        line_id {int} REFERENCES lines (id),
        read_id {int},
        state_ms {int} NOT NULL,
        PRIMARY KEY (lending_id, key_id)
    ) {strict}""",
    """CREATE UNIQUE INDEX lent_keys_once ON lent_keys (key_id)
        WHERE state IN ('lent', 'used', 'lost')""",
    """CREATE TABLE pool_reads (
        id {id},
        pool {text} NOT NULL,
        file_name {text} NOT NULL,
        file_sha256 {text} NOT NULL,
        file_ms {int} NOT NULL,
        at_ms {int} NOT NULL,
        UNIQUE (pool, file_sha256)
    ) {strict}""",
    """CREATE TABLE ship_files (
        id {id},
        channel {text} NOT NULL,
        path {text} NOT NULL,
        sha256 {text} NOT NULL,
        written_ms {int} NOT NULL
    ) {strict}""",
    """CREATE TABLE ship_file_effects (
        file_id {int} NOT NULL REFERENCES ship_files (id),
        effect_id {int} NOT NULL REFERENCES effects (id),
        PRIMARY KEY (file_id, effect_id)
    ) {strict}""",
    "CREATE INDEX ship_file_effects_effect ON ship_file_effects (effect_id)",
)
