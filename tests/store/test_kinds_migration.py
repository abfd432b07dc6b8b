"""A shop from before the stock kinds opens with all its rows meaning what they meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kmtool.clock import ManualClock
from kmtool.store import migrations, uses
from kmtool.store.db import Db, connect
from kmtool.store.migrations import migrate
from kmtool.store.schema import MIGRATIONS

pytestmark = pytest.mark.empty

OLD = tuple(m for m in MIGRATIONS if m[0] <= "0006_views")


@pytest.fixture
def old(database: str | Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Any:
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", OLD)
        db = connect(database, create=True)
        migrate(db, clock)
    for sql in (
        "INSERT INTO products VALUES ('S1', 'one', 'key', 'on', 'CNY', NULL, NULL, NULL, 0, '', 1)",
        "INSERT INTO suppliers VALUES ('sup1', 's', 'consignment', 3, 'CNY', '', 1)",
        "INSERT INTO data_keys (wrapped, records, created_ms) VALUES (:b, 0, 1)",
        "INSERT INTO batches (number, sku, supplier, mode, kind, state, cost_e5, currency,"
        " file_name, file_sha256, rows, accepted, duplicates, rejected, removed, expires_ms,"
        " imported_ms) VALUES ('B1', 'S1', 'sup1', 'consignment', 'stock', 'accepted', 1, 'CNY',"
        " 'f', 'h', 1, 1, 0, 0, 0, 9, 1)",
        "INSERT INTO keys (fingerprint, sealed, data_key_id, tail, sku, batch_id, line_no, state,"
        " uses_left, expires_ms, state_ms) VALUES (:b, :b, 1, 'tail', 'S1', 1, 1, 'free', 1, 9, 1)",
        "INSERT INTO stock (sku, free) VALUES ('S1', 1)",
    ):
        with db.tx():
            db.run(sql, **({"b": b"1"} if ":b" in sql else {}))
    yield db
    db.close()


def test_keys_of_an_old_shop_serve_one_buyer(old: Db, clock: ManualClock) -> None:
    assert "0009_kinds" in migrate(old, clock)
    key = old.one("SELECT uses, uses_left, media, state FROM keys")
    assert key == {"uses": 1, "uses_left": 1, "media": "", "state": "free"}
    product = old.one("SELECT uses, shared, account_rule, supplier, cap_minor FROM products")
    assert product == {
        "uses": 1, "shared": 0, "account_rule": "", "supplier": "", "cap_minor": None,
    }  # fmt: skip
    assert uses.shared_skus(old, ["S1"]) == {}
    assert old.value("SELECT count(*) FROM purchases") == 0
