"""Tables of the delivery ledger: orders and facts, lines, allocations, parcels, effects, attempts.

The unique index `allocations_one_buyer` is the promise in one line: a key that is sold once has at
most one allocation that was not withdrawn before anyone could see it.
"""

from __future__ import annotations

DELIVERY: tuple[str, ...] = (
    """CREATE TABLE inbox (
        channel {text} NOT NULL,
        event {text} NOT NULL,
        number {text} NOT NULL,
        received_ms {int} NOT NULL,
        PRIMARY KEY (channel, event)
    ) {strict}""",
    """CREATE TABLE cursors (
        channel {text} NOT NULL,
        stream {text} NOT NULL,
        value_ms {int} NOT NULL,
        updated_ms {int} NOT NULL,
        PRIMARY KEY (channel, stream)
    ) {strict}""",
    """CREATE TABLE orders (
        id {id},
        channel {text} NOT NULL,
        number {text} NOT NULL,
        account {text} NOT NULL,
        status {text} NOT NULL CHECK (status IN ('unpaid', 'paid', 'shipped', 'done', 'closed',
            'review')),
        refund {text} NOT NULL CHECK (refund IN ('none', 'open', 'partial', 'full')),
        refunded_minor {int} NOT NULL,
        revision_ms {int} NOT NULL,
        created_ms {int} NOT NULL,
        paid_ms {int},
        currency {text} NOT NULL,
        total_minor {int} NOT NULL,
        expected_gross_minor {int} NOT NULL,
        ext_txn_id {text} NOT NULL,
        risk {text} NOT NULL,
        note {text} NOT NULL,
        buyer_ref {text} NOT NULL,
        buyer_name {text} NOT NULL,
        buyer_email {text} NOT NULL,
        buyer_phone {text} NOT NULL,
        fact_hash {text} NOT NULL,
        facts_ms {int} NOT NULL,
        seen_ms {int} NOT NULL,
        code {text} NOT NULL UNIQUE,
        history {int} NOT NULL CHECK (history IN (0, 1)),
        released_ms {int},
        hold_reason {text},
        hold_ms {int},
        marked_ms {int},
        UNIQUE (channel, number)
    ) {strict}""",
    "CREATE INDEX orders_paid ON orders (paid_ms)",
    "CREATE INDEX orders_txn ON orders (ext_txn_id) WHERE ext_txn_id <> ''",
    """CREATE TABLE facts (
        id {id},
        order_id {int} NOT NULL REFERENCES orders (id),
        revision_ms {int} NOT NULL,
        received_ms {int} NOT NULL,
        hash {text} NOT NULL,
        applied {int} NOT NULL CHECK (applied IN (0, 1)),
        body {text} NOT NULL,
        UNIQUE (order_id, revision_ms, hash)
    ) {strict}""",
    """CREATE TABLE refunds (
        order_id {int} NOT NULL REFERENCES orders (id),
        number {text} NOT NULL,
        amount_minor {int} NOT NULL,
        state {text} NOT NULL CHECK (state IN ('open', 'done', 'ended')),
        at_ms {int},
        seen_ms {int} NOT NULL,
        PRIMARY KEY (order_id, number)
    ) {strict}""",
    """CREATE TABLE lines (
        id {id},
        order_id {int} NOT NULL REFERENCES orders (id),
        line_no {text} NOT NULL,
        item_id {text} NOT NULL,
        variant_id {text} NOT NULL,
        title {text} NOT NULL,
        quantity {int} NOT NULL,
        amount_minor {int} NOT NULL,
        account {text} NOT NULL,
        kind {text} NOT NULL CHECK (kind IN ('key', 'topup', 'text', 'bundle')),
        sku {text} REFERENCES products (sku),
        needed {int} NOT NULL,
        state {text} NOT NULL CHECK (state IN ('new', 'ready', 'reserved', 'sending', 'delivered',
            'held', 'unmapped', 'unknown', 'human', 'cancelled', 'refund_case', 'closed')),
        gate {text} NOT NULL,
        reason {text} NOT NULL,
        since_ms {int} NOT NULL,
        reserved_ms {int},
        sent_ms {int},
        acknowledged_ms {int},
        opened_ms {int},
        UNIQUE (order_id, line_no)
    ) {strict}""",
    """CREATE INDEX lines_open ON lines (state, order_id)
        WHERE state NOT IN ('delivered', 'cancelled', 'closed')""",
    "CREATE INDEX lines_sku ON lines (sku, reserved_ms)",
    "CREATE INDEX lines_reserved ON lines (reserved_ms) WHERE reserved_ms IS NOT NULL",
    """CREATE TABLE allocations (
        id {id},
        line_id {int} NOT NULL REFERENCES lines (id),
        key_id {int} NOT NULL REFERENCES keys (id),
        batch_id {int} NOT NULL REFERENCES batches (id),
        sku {text} NOT NULL,
        state {text} NOT NULL CHECK (state IN ('reserved', 'exposed', 'delivered', 'replaced',
            'withdrawn')),
        exclusive {int} NOT NULL CHECK (exclusive IN (0, 1)),
        mode {text} NOT NULL CHECK (mode IN ('consignment', 'buyout')),
        cost_e5 {int} NOT NULL,
        amount_minor {int},
        currency {text} NOT NULL,
        reserved_ms {int} NOT NULL,
        exposed_ms {int},
        delivered_ms {int}
    ) {strict}""",
    """CREATE UNIQUE INDEX allocations_one_buyer ON allocations (key_id)
        WHERE exclusive = 1 AND state <> 'withdrawn'""",
    """CREATE UNIQUE INDEX allocations_line_key ON allocations (line_id, key_id)
        WHERE state <> 'withdrawn'""",
    "CREATE INDEX allocations_key ON allocations (key_id)",
    "CREATE INDEX allocations_delivered ON allocations (delivered_ms) WHERE state = 'delivered'",
    """CREATE TABLE parcels (
        id {id},
        order_id {int} NOT NULL REFERENCES orders (id),
        n {int} NOT NULL,
        courier {text} NOT NULL,
        address_digest {text} NOT NULL,
        sealed {blob} NOT NULL,
        data_key_id {int} NOT NULL REFERENCES data_keys (id),
        created_ms {int} NOT NULL,
        UNIQUE (order_id, n)
    ) {strict}""",
    """CREATE TABLE parcel_lines (
        parcel_id {int} NOT NULL REFERENCES parcels (id),
        line_id {int} NOT NULL REFERENCES lines (id),
        PRIMARY KEY (parcel_id, line_id)
    ) {strict}""",
    "CREATE INDEX parcel_lines_line ON parcel_lines (line_id)",
    """CREATE TABLE effects (
        id {id},
        order_id {int} NOT NULL REFERENCES orders (id),
        parcel_id {int} REFERENCES parcels (id),
        parcel_n {int} NOT NULL,
        kind {text} NOT NULL CHECK (kind IN ('hand_over', 'replace', 'notify', 'mark_shipped',
            'refund_reply', 'purchase')),
        generation {int} NOT NULL,
        channel {text} NOT NULL,
        route {text} NOT NULL,
        state {text} NOT NULL CHECK (state IN ('pending', 'inflight', 'done', 'retry_at', 'human',
            'cancelled')),
        due_ms {int} NOT NULL,
        tries {int} NOT NULL,
        reason {text} NOT NULL,
        created_ms {int} NOT NULL,
        done_ms {int},
        UNIQUE (order_id, parcel_n, kind, generation)
    ) {strict}""",
    """CREATE INDEX effects_due ON effects (due_ms, id)
        WHERE state IN ('pending', 'retry_at')""",
    "CREATE INDEX effects_busy ON effects (state) WHERE state IN ('inflight', 'human')",
    "CREATE INDEX effects_order ON effects (order_id)",
    """CREATE TABLE attempts (
        id {id},
        effect_id {int} NOT NULL REFERENCES effects (id),
        n {int} NOT NULL,
        session_id {int} NOT NULL REFERENCES sessions (id),
        state {text} NOT NULL CHECK (state IN ('intent', 'ok', 'rejected', 'unknown')),
        digest {text} NOT NULL,
        started_ms {int} NOT NULL,
        ended_ms {int},
        reference {text} NOT NULL,
        detail {text} NOT NULL,
        UNIQUE (effect_id, n)
    ) {strict}""",
    "CREATE INDEX attempts_open ON attempts (session_id) WHERE state = 'intent'",
    """CREATE TABLE templates (
        id {id},
        kind {text} NOT NULL CHECK (kind IN ('message', 'subject')),
        channel {text} NOT NULL,
        sku {text} NOT NULL,
        language {text} NOT NULL,
        body {text} NOT NULL,
        updated_ms {int} NOT NULL,
        UNIQUE (kind, channel, sku, language)
    ) {strict}""",
    """CREATE TABLE ledger_entries (
        id {id},
        at_ms {int} NOT NULL,
        event {text} NOT NULL,
        ref {text} NOT NULL,
        note {text} NOT NULL,
        UNIQUE (event, ref)
    ) {strict}""",
    """CREATE TABLE ledger_postings (
        id {id},
        entry_id {int} NOT NULL REFERENCES ledger_entries (id),
        account {text} NOT NULL,
        currency {text} NOT NULL,
        amount_minor {int} NOT NULL
    ) {strict}""",
    "CREATE INDEX ledger_postings_entry ON ledger_postings (entry_id)",
    "CREATE INDEX ledger_postings_account ON ledger_postings (account, currency)",
)
