"""The tables, as migrations. Tokens in braces are filled per database (see `db.TOKENS`).

Money is integer minor units (`_minor`) or 1e-5 major units (`_e5`), time is UTC milliseconds
(`_ms`), outside ids are text. A state column has a CHECK; every arrow is a compare-and-set.
"""

from __future__ import annotations

from kmtool.store.schema_audit import AUDIT
from kmtool.store.schema_delivery import DELIVERY
from kmtool.store.schema_holds import HOLDS
from kmtool.store.schema_kinds import KINDS
from kmtool.store.schema_lending import LENDING
from kmtool.store.schema_machines import MACHINES, REPLACED
from kmtool.store.schema_refunds import REFUNDS
from kmtool.store.schema_rollups import ROLLUPS
from kmtool.store.schema_routes import ROUTES
from kmtool.store.schema_settlement import SETTLEMENT
from kmtool.store.schema_statements import STATEMENTS
from kmtool.store.schema_views import VIEWS
from kmtool.store.schema_watching import WATCHING

HOUSE: tuple[str, ...] = (
    """CREATE TABLE meta (
        name {text} PRIMARY KEY,
        value {text} NOT NULL
    ) {strict}""",
    """CREATE TABLE sessions (
        id {id},
        kind {text} NOT NULL,
        token {int} NOT NULL UNIQUE,
        host {text} NOT NULL,
        pid {int} NOT NULL,
        state {text} NOT NULL CHECK (state IN ('live', 'ended', 'dead')),
        started_ms {int} NOT NULL,
        heartbeat_ms {int} NOT NULL,
        ended_ms {int},
        stop_ms {int}
    ) {strict}""",
    """CREATE TABLE audit (
        seq {id},
        at_ms {int} NOT NULL,
        session_id {int},
        actor {text} NOT NULL,
        action {text} NOT NULL,
        object {text} NOT NULL,
        detail {text} NOT NULL
    ) {strict}""",
    "CREATE INDEX audit_object ON audit (object, seq)",
    """CREATE TABLE data_keys (
        id {id},
        wrapped {blob} NOT NULL,
        records {int} NOT NULL,
        created_ms {int} NOT NULL
    ) {strict}""",
    """CREATE TABLE secrets (
        name {text} PRIMARY KEY,
        sealed {blob} NOT NULL,
        data_key_id {int} NOT NULL REFERENCES data_keys (id),
        updated_ms {int} NOT NULL
    ) {strict}""",
    """CREATE TABLE pauses (
        scope {text} PRIMARY KEY,
        reason {text} NOT NULL,
        since_ms {int} NOT NULL
    ) {strict}""",
    """CREATE TABLE alerts (
        id {id},
        code {text} NOT NULL,
        subject {text} NOT NULL,
        state {text} NOT NULL CHECK (state IN ('open', 'cleared')),
        text {text} NOT NULL,
        told {text} NOT NULL DEFAULT '',
        raised_ms {int} NOT NULL,
        sent_ms {int},
        cleared_ms {int}
    ) {strict}""",
    "CREATE UNIQUE INDEX alerts_open ON alerts (code, subject) WHERE state = 'open'",
    """CREATE TABLE job_runs (
        id {id},
        job {text} NOT NULL,
        session_id {int},
        state {text} NOT NULL CHECK (state IN ('running', 'ok', 'failed', 'dead')),
        started_ms {int} NOT NULL,
        heartbeat_ms {int} NOT NULL,
        ended_ms {int},
        result {text} NOT NULL,
        error {text} NOT NULL
    ) {strict}""",
    "CREATE INDEX job_runs_job ON job_runs (job, id)",
)

STOCK: tuple[str, ...] = (
    """CREATE TABLE products (
        sku {text} PRIMARY KEY,
        title {text} NOT NULL,
        kind {text} NOT NULL CHECK (kind IN ('key', 'topup', 'text', 'bundle')),
        state {text} NOT NULL CHECK (state IN ('on', 'off')),
        currency {text} NOT NULL,
        price_minor {int},
        floor_minor {int},
        low_stock {int},
        buffer {int} NOT NULL,
        guide {text} NOT NULL,
        created_ms {int} NOT NULL
    ) {strict}""",
    """CREATE TABLE bundle_items (
        bundle_sku {text} NOT NULL REFERENCES products (sku),
        sku {text} NOT NULL REFERENCES products (sku),
        units {int} NOT NULL CHECK (units > 0),
        PRIMARY KEY (bundle_sku, sku)
    ) {strict}""",
    """CREATE TABLE listings (
        id {id},
        channel {text} NOT NULL,
        item_id {text} NOT NULL,
        variant_id {text} NOT NULL,
        title {text} NOT NULL,
        sku {text} NOT NULL REFERENCES products (sku),
        units {int} NOT NULL CHECK (units > 0),
        price_minor {int},
        state {text} NOT NULL CHECK (state IN ('on', 'off')),
        pushed {int},
        pushed_ms {int},
        UNIQUE (channel, item_id, variant_id)
    ) {strict}""",
    """CREATE TABLE suppliers (
        code {text} PRIMARY KEY,
        name {text} NOT NULL,
        mode {text} NOT NULL CHECK (mode IN ('consignment', 'buyout')),
        settle_days {int} NOT NULL,
        currency {text} NOT NULL,
        payee {text} NOT NULL,
        created_ms {int} NOT NULL
    ) {strict}""",
    """CREATE TABLE batches (
        id {id},
        number {text} NOT NULL UNIQUE,
        sku {text} NOT NULL REFERENCES products (sku),
        supplier {text} NOT NULL REFERENCES suppliers (code),
        mode {text} NOT NULL CHECK (mode IN ('consignment', 'buyout')),
        kind {text} NOT NULL CHECK (kind IN ('stock', 'history')),
        state {text} NOT NULL CHECK (state IN ('accepted', 'undone')),
        cost_e5 {int} NOT NULL,
        currency {text} NOT NULL,
        file_name {text} NOT NULL,
        file_sha256 {text} NOT NULL,
        rows {int} NOT NULL,
        accepted {int} NOT NULL,
        duplicates {int} NOT NULL,
        rejected {int} NOT NULL,
        removed {int} NOT NULL,
        expires_ms {int} NOT NULL,
        imported_ms {int} NOT NULL
    ) {strict}""",
    "CREATE INDEX batches_file ON batches (file_sha256)",
    """CREATE TABLE keys (
        id {id},
        fingerprint {blob} NOT NULL UNIQUE,
        sealed {blob} NOT NULL,
        data_key_id {int} NOT NULL REFERENCES data_keys (id),
        tail {text} NOT NULL,
        sku {text} NOT NULL REFERENCES products (sku),
        batch_id {int} NOT NULL REFERENCES batches (id),
        line_no {int} NOT NULL,
        state {text} NOT NULL CHECK (state IN ('free', 'reserved', 'exposed', 'delivered',
            'defective', 'lent', 'quarantine', 'void', 'expired', 'returned')),
        uses_left {int} NOT NULL CHECK (uses_left >= 0),
        expires_ms {int} NOT NULL,
        state_ms {int} NOT NULL
    ) {strict}""",
    "CREATE INDEX keys_free ON keys (sku, expires_ms, batch_id, line_no) WHERE state = 'free'",
    "CREATE INDEX keys_batch ON keys (batch_id, line_no)",
    """CREATE TABLE stock (
        sku {text} PRIMARY KEY REFERENCES products (sku),
        free {int} NOT NULL CHECK (free >= 0)
    ) {strict}""",
)

MIGRATIONS: tuple[tuple[str, tuple[str | dict[str, str], ...]], ...] = (
    ("0001_house", HOUSE),
    ("0002_stock", STOCK),
    ("0003_delivery", DELIVERY),
    ("0004_statements", STATEMENTS),
    ("0005_settlement", SETTLEMENT),
    ("0006_views", VIEWS),
    ("0007_audit", AUDIT),
    ("0008_rollups", ROLLUPS),
    ("0009_kinds", KINDS),
    ("0010_refunds", REFUNDS),
    ("0011_routes", ROUTES),
    ("0012_machines", MACHINES),
    ("0013_holds", HOLDS),
    ("0014_lending", LENDING),
    ("0015_watching", WATCHING),
    ("0016_replaced", REPLACED),
)
