"""Many rows in one statement: counts are exact, long lists are parted, repeats change nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmtool.clock import ManualClock
from kmtool.store import ledger, migrations, rollups
from kmtool.store.db import Db, Moved, all_in, all_moved, connect, in_clause, run_in, values_clause
from kmtool.store.migrations import migrate
from kmtool.store.schema import MIGRATIONS

DAY_MS = 86_400_000


def fill(db: Db, n: int) -> None:
    with db.tx():
        marks, params = values_clause(
            ("name", "value"), [{"name": f"n{i:04d}", "value": "a"} for i in range(n)]
        )
        db.run(f"INSERT INTO meta (name, value) VALUES {marks}", **params)


@pytest.mark.parametrize("n", [1, 8, 9, 33, 100, 101, 499, 500])
def test_a_list_of_any_length_finds_exactly_its_rows(db: Db, n: int) -> None:
    fill(db, 600)
    names = [f"n{i:04d}" for i in range(n)]
    marks, params = in_clause(names)
    assert db.value(f"SELECT count(*) FROM meta WHERE name IN {marks}", **params) == n
    assert len(params) >= n


def test_long_lists_are_parted_and_counted_together(db: Db) -> None:
    fill(db, 1_200)
    names = [f"n{i:04d}" for i in range(1_200)]
    assert len(all_in(db, "SELECT name FROM meta WHERE name IN {in}", names)) == 1_200
    with db.tx():
        sql = "UPDATE meta SET value = 'b' WHERE value = :was AND name IN {in}"
        assert run_in(db, sql, names, was="a") == 1_200
        assert run_in(db, sql, names, was="a") == 0
    assert all_in(db, "SELECT name FROM meta WHERE name IN {in}", []) == []


def test_many_tells_how_many_rows_it_touched(db: Db) -> None:
    fill(db, 3)
    rows = [{"name": f"n{i:04d}", "was": "a"} for i in range(5)]
    with db.tx():
        sql = "UPDATE meta SET value = 'b' WHERE name = :name AND value = :was"
        assert db.many(sql, rows) == 3
        assert db.many(sql, iter(rows)) == 0
        assert db.many("DELETE FROM meta WHERE name = :name", [{"name": "n0001"}]) == 1
    with pytest.raises(Moved):
        all_moved(2, 3)


def test_the_same_entries_are_posted_once(db: Db) -> None:
    entries = [
        ledger.Entry("sold", f"r{i}", "", [("a", "CNY", i), ("b", "CNY", -i)]) for i in range(250)
    ]
    with db.tx():
        assert ledger.post_many(db, 1, entries[:120]) == 120
        assert ledger.post_many(db, 1, entries) == 130
        assert not ledger.post(db, 1, "sold", "r7", "", [("a", "CNY", 7), ("b", "CNY", -7)])
    assert ledger.balance(db, "a", "CNY") == sum(range(250))
    assert db.value("SELECT count(*) FROM ledger_postings") == 2 * 249, "nothing is posted as zero"
    with pytest.raises(AssertionError), db.tx():
        ledger.post_many(db, 1, [ledger.Entry("sold", "x", "", [("a", "CNY", 1)])])


def test_minutes_add_up_and_are_dropped_after_a_day(db: Db) -> None:
    now = 1_795_305_600_000
    with db.tx():
        for at in (now - DAY_MS - 60_000, now - 90_000, now, now + 30_000):
            rollups.count(db, at, {"S1": (2, 500), "S2": (1, 0)}, {("shop1", "b1"): 3})
        found = rollups.sku_figures(db, ["S1", "S2", "S3"], now - 60_000)
        assert found == {"S1": (4, 1000), "S2": (2, 0)}
        assert rollups.buyer_figures(db, [("shop1", "b1"), ("x", "b1")], now - 90_000) == {
            ("shop1", "b1"): 9
        }
        rollups.prune(db, now)
    assert db.value("SELECT min(minute_ms) FROM sku_minutes") == rollups.minute_of(now - 90_000)
    assert db.value("SELECT count(*) FROM buyer_minutes") == 2


@pytest.mark.empty
def test_an_old_database_brings_what_it_reserved_in_its_last_day(
    database: str | Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = connect(database, create=True)
    monkeypatch.setattr(migrations, "MIGRATIONS", MIGRATIONS[:7])
    migrate(db, clock)
    now = 1_795_305_600_000
    with db.tx():
        db.run(
            "INSERT INTO products (sku, title, kind, state, currency, buffer, guide, created_ms)"
            " VALUES ('S1', 't', 'key', 'on', 'CNY', 0, '', 1)"
        )
        for i, at in enumerate((now - 2 * DAY_MS, now - 59_000, now - 1_000, None), 1):
            db.run(
                "INSERT INTO orders (id, channel, number, account, status, refund, refunded_minor,"
                " revision_ms, created_ms, currency, total_minor, expected_gross_minor,"
                " ext_txn_id, risk, note, buyer_ref, buyer_name, buyer_email, buyer_phone,"
                " fact_hash, facts_ms, seen_ms, code, history) VALUES (:i, 'shop1', :n, '',"
                " 'paid', 'none', 0, 1, 1, 'CNY', 900, 900, '', '', '', :ref, 'demo_name', '', '',"
                " '', 1, 1, :n, 0)",
                i=i, n=f"A{i}", ref="" if i == 2 else "b1",
            )  # fmt: skip
            db.run(
                "INSERT INTO lines (order_id, line_no, item_id, variant_id, title, quantity,"
                " amount_minor, account, kind, sku, needed, state, gate, reason, since_ms,"
                " reserved_ms) VALUES (:i, '1', 'i', '', '', 2, 900, '', 'key', 'S1', 2, 'held',"
                " '', '', 1, :at)",
                i=i, at=at,
            )  # fmt: skip
    monkeypatch.undo()
    migrate(db, clock)
    assert rollups.sku_figures(db, ["S1"], 0) == {"S1": (4, 1800)}
    asked = [("shop1", "b1"), ("shop1", "demo_name")]
    assert rollups.buyer_figures(db, asked, 0) == dict.fromkeys(asked, 2)
    db.close()


@pytest.mark.parametrize("n", [0, 1, 99, 100, 101, 250])
def test_rows_are_inserted_many_at_once_and_counted(db: Db, n: int) -> None:
    rows = [{"name": f"n{i:04d}", "value": f"{i} %s ? :x"} for i in range(n)]
    head, row, tail = "INSERT INTO meta (name, value)", "(:name, :value)", "ON CONFLICT DO NOTHING"
    with db.tx():
        assert db.insert(head, row, rows[:50], tail) == len(rows[:50])
        found = db.insert_all(head, row, rows, f"{tail} RETURNING name, value")
    assert sorted(found, key=lambda one: str(one["name"])) == rows[50:]
    kept = all_in(db, "SELECT name, value FROM meta WHERE name IN {in}", [r["name"] for r in rows])
    assert sorted(kept, key=lambda one: str(one["name"])) == rows
