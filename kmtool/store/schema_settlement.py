"""Tables of the settlement side. A closed sheet and all that hangs on it never change: triggers.

What a workbook shows stands here whole (names, terms, open lines, stock of the batches), so that
the same sheet gives the same bytes at any later time.
"""

from __future__ import annotations

Statement = str | dict[str, str]


def _frozen(table: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the two statements per database that refuse to change or delete rows of a table."""
    text = f"{table}: a closed settlement does not change"
    return (
        {
            "sqlite": f"CREATE TRIGGER {table}_keep BEFORE UPDATE ON {table}"
            f" BEGIN SELECT RAISE(ABORT, '{text}'); END",
            "postgresql": f"CREATE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql"
            f" AS $$ BEGIN RAISE EXCEPTION '{text}'; END $$",
        },
        {
            "sqlite": f"CREATE TRIGGER {table}_stay BEFORE DELETE ON {table}"
            f" BEGIN SELECT RAISE(ABORT, '{text}'); END",
            "postgresql": f"CREATE TRIGGER {table}_keep BEFORE UPDATE OR DELETE ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION {table}_refuse()",
        },
    )


SETTLEMENT: tuple[Statement, ...] = (
    """CREATE TABLE settlements (
        id {id},
        number {text} NOT NULL UNIQUE,
        supplier {text} NOT NULL REFERENCES suppliers (code),
        month {text} NOT NULL,
        nth {int} NOT NULL,
        chain {int} NOT NULL,
        cut {text} NOT NULL,
        period_from {text} NOT NULL,
        period_to {text} NOT NULL,
        zone {text} NOT NULL,
        currency {text} NOT NULL,
        closed_ms {int} NOT NULL,
        actor {text} NOT NULL,
        shop_name {text} NOT NULL,
        supplier_name {text} NOT NULL,
        payee_tail {text} NOT NULL,
        settle_days {int} NOT NULL,
        rule {text} NOT NULL,
        program {text} NOT NULL,
        opening_minor {int} NOT NULL,
        cost_minor {int} NOT NULL,
        returned_minor {int} NOT NULL,
        adjusted_minor {int} NOT NULL,
        settled_minor {int} NOT NULL,
        discount_minor {int} NOT NULL,
        commission_minor {int} NOT NULL,
        closing_minor {int} NOT NULL,
        carried_in_minor {int} NOT NULL CHECK (carried_in_minor <= 0),
        payable_minor {int} NOT NULL CHECK (payable_minor >= 0),
        carried_out_minor {int} NOT NULL CHECK (carried_out_minor <= 0),
        unpaid_before_minor {int} NOT NULL,
        open_minor {int} NOT NULL,
        accrued_total_minor {int} NOT NULL,
        undone_total_minor {int} NOT NULL,
        paid_total_minor {int} NOT NULL,
        lines {int} NOT NULL,
        keys {int} NOT NULL,
        detail_sha256 {text} NOT NULL,
        prev_hash {text} NOT NULL,
        hash {text} NOT NULL,
        UNIQUE (supplier, month, nth),
        UNIQUE (supplier, chain)
    ) {strict}""",
    """CREATE TABLE settlement_lines (
        settlement_id {int} NOT NULL REFERENCES settlements (id),
        seq {int} NOT NULL,
        kind {text} NOT NULL CHECK (kind IN ('sale', 'batch', 'clawback', 'change')),
        allocation_id {int} REFERENCES allocations (id),
        batch_id {int} NOT NULL REFERENCES batches (id),
        batch {text} NOT NULL,
        batch_sha256 {text} NOT NULL,
        line_no {int},
        tail {text} NOT NULL,
        sku {text} NOT NULL,
        delivered_ms {int},
        quantity {int} NOT NULL,
        cost_e5 {int} NOT NULL,
        amount_minor {int} NOT NULL,
        order_tail {text} NOT NULL,
        ref_number {text} NOT NULL,
        ref_seq {int},
        reason {text} NOT NULL,
        PRIMARY KEY (settlement_id, seq)
    ) {strict}""",
    """CREATE UNIQUE INDEX settlement_lines_allocation ON settlement_lines (allocation_id, kind)
        WHERE allocation_id IS NOT NULL""",
    """CREATE UNIQUE INDEX settlement_lines_one_batch ON settlement_lines (batch_id)
        WHERE kind = 'batch'""",
    "CREATE INDEX settlement_lines_batch ON settlement_lines (batch_id, kind)",
    """CREATE TABLE settlement_open (
        settlement_id {int} NOT NULL REFERENCES settlements (id),
        seq {int} NOT NULL,
        batch {text} NOT NULL,
        line_no {int},
        tail {text} NOT NULL,
        delivered_ms {int} NOT NULL,
        eligible_on {text} NOT NULL,
        amount_minor {int} NOT NULL,
        reason {text} NOT NULL,
        PRIMARY KEY (settlement_id, seq)
    ) {strict}""",
    """CREATE TABLE settlement_batches (
        settlement_id {int} NOT NULL REFERENCES settlements (id),
        seq {int} NOT NULL,
        batch_id {int} NOT NULL REFERENCES batches (id),
        batch {text} NOT NULL,
        file_name {text} NOT NULL,
        file_sha256 {text} NOT NULL,
        sku {text} NOT NULL,
        title {text} NOT NULL,
        mode {text} NOT NULL CHECK (mode IN ('consignment', 'buyout')),
        cost_e5 {int} NOT NULL,
        opening {int} NOT NULL,
        received {int} NOT NULL,
        sold {int} NOT NULL,
        ended {int} NOT NULL,
        closing {int} NOT NULL,
        quantity {int} NOT NULL,
        amount_minor {int} NOT NULL,
        PRIMARY KEY (settlement_id, seq),
        UNIQUE (settlement_id, batch_id)
    ) {strict}""",
    """CREATE TABLE settlement_payments (
        id {id},
        settlement_id {int} NOT NULL REFERENCES settlements (id),
        voucher {text} NOT NULL,
        amount_minor {int} NOT NULL CHECK (amount_minor > 0),
        paid_on {text} NOT NULL,
        at_ms {int} NOT NULL,
        actor {text} NOT NULL,
        note {text} NOT NULL,
        UNIQUE (settlement_id, voucher)
    ) {strict}""",
    *_frozen("settlements"),
    *_frozen("settlement_lines"),
    *_frozen("settlement_open"),
    *_frozen("settlement_batches"),
    *_frozen("settlement_payments"),
)
