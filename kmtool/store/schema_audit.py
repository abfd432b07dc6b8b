"""The audit chain: heads, and triggers that refuse changes to what was written; waiting lines.

Rows from before the chain keep NULL in `chain`, `n`, `prev` and `hash`: they are never touched; the
first row of chain 0 seals them together (`store.audit`). `lines.waited` keeps the first gate or
state that made a line wait: such lines stand apart in the figures of latency.
"""

from __future__ import annotations


def _refuses(name: str, what: str, row: str) -> dict[str, str]:
    """Return a trigger for both databases; SQLite knows no TRUNCATE and gets a no-op there."""
    return {
        "sqlite": (
            f"CREATE TRIGGER {name} BEFORE {what} ON audit BEGIN"
            " SELECT RAISE(ABORT, 'the audit is only ever added to'); END"
        ),
        "postgresql": (
            f"CREATE TRIGGER {name} BEFORE {what} ON audit {row} EXECUTE FUNCTION audit_refuses()"
        ),
    }


AUDIT: tuple[str | dict[str, str], ...] = (
    "ALTER TABLE audit ADD COLUMN chain {int}",
    "ALTER TABLE audit ADD COLUMN n {int}",
    "ALTER TABLE audit ADD COLUMN prev {blob}",
    "ALTER TABLE audit ADD COLUMN hash {blob}",
    "CREATE UNIQUE INDEX audit_chain ON audit (chain, n)",
    """CREATE INDEX audit_seen ON audit (at_ms)
        WHERE action IN ('key.reveal', 'key.export', 'key.evidence', 'key.shown')""",
    """CREATE TABLE audit_heads (
        chain {int} PRIMARY KEY,
        count {int} NOT NULL CHECK (count >= 0),
        hash {blob} NOT NULL,
        verified {int} NOT NULL DEFAULT 0,
        at_ms {int} NOT NULL
    ) {strict}""",
    {
        "sqlite": "SELECT 1",
        "postgresql": (
            "CREATE FUNCTION audit_refuses() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'the audit is only ever added to'; END $$"
        ),
    },
    "ALTER TABLE lines ADD COLUMN waited {text} NOT NULL DEFAULT ''",
    _refuses("audit_no_update", "UPDATE", "FOR EACH ROW"),
    _refuses("audit_no_delete", "DELETE", "FOR EACH ROW"),
    {
        "sqlite": "SELECT 1",
        "postgresql": (
            "CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit"
            " FOR EACH STATEMENT EXECUTE FUNCTION audit_refuses()"
        ),
    },
)
