"""What would have been sent while a channel is only watched.

One row per line: `hold` with the first gate that was shut, until it is `send`; then it stands. No
key is bound, so what would have left is counted here for the stock and burst gates of later lines.
"""

from __future__ import annotations

WATCHING: tuple[str | dict[str, str], ...] = (
    """CREATE TABLE watched (
        line_id {int} PRIMARY KEY REFERENCES lines (id),
        order_id {int} NOT NULL REFERENCES orders (id),
        channel {text} NOT NULL,
        sku {text},
        n {int} NOT NULL,
        amount_minor {int} NOT NULL,
        verdict {text} NOT NULL CHECK (verdict IN ('send', 'hold')),
        gate {text} NOT NULL,
        reason {text} NOT NULL,
        first_ms {int} NOT NULL,
        at_ms {int} NOT NULL
    ) {strict}""",
    "CREATE INDEX watched_channel ON watched (channel, first_ms)",
    "CREATE INDEX watched_sku ON watched (sku, at_ms) WHERE verdict = 'send'",
)
