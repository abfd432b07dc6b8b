"""Is the database whole, what does it say, is it up to date."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kmtool.clock import ManualClock
from kmtool.domain.secret import Secret
from kmtool.errors import InputRefused
from kmtool.operations import backup, database, house
from kmtool.shop import Shop
from kmtool.store import maintenance, migrations


def _named(found: database.DatabaseCheck) -> dict[str, database.Check]:
    return {one.name: one for one in found.checks}


def test_a_new_database_is_whole_and_wants_a_backup(shop: Shop) -> None:
    found = database.check(shop)
    checks = _named(found)
    assert {name for name, one in checks.items() if not one.ok} == {"backup"}
    assert checks["backup"].mend == "kmtool db backup"
    assert not found.ok
    assert found.bytes > 0
    assert {one.table: one.rows for one in found.tables}["data_keys"] == 1


def test_the_newest_backup_is_opened(shop: Shop, clock: ManualClock) -> None:
    if shop.db.dialect == "postgresql":
        pytest.skip("its backup is tested with the programs that make it")
    done = backup.backup(shop)
    clock.advance(5 * 3_600_000)
    found = database.check(shop)
    assert found.ok
    assert _named(found)["backup"].figure.endswith("opens, 5 h old")
    Path(done.file).write_bytes(b"torn")
    assert not database.check(shop).ok


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("DROP INDEX audit_object", "index audit_object is missing"),
        ("CREATE VIEW v_mine AS SELECT sku FROM products", ""),
        ("CREATE TABLE mine (id INTEGER)", ""),
        ("DROP VIEW v_ledger", "view v_ledger is missing"),
    ],
)
def test_a_changed_structure_is_named_and_additions_are_left_alone(
    shop: Shop, change: str, told: str
) -> None:
    before = _named(database.check(shop))["structure"]
    assert (before.ok, before.figure) == (True, "ok")
    shop.db.run(change)
    after = _named(database.check(shop))["structure"]
    assert after.ok is (told == "")
    assert told in after.figure


def test_a_column_that_was_added_is_noticed(shop: Shop) -> None:
    shop.db.run("ALTER TABLE meta ADD COLUMN extra INTEGER")
    figure = _named(database.check(shop))["structure"].figure
    assert ("meta is different" in figure) is (shop.db.dialect == "sqlite")


def test_a_trigger_on_our_tables_is_noticed(shop: Shop) -> None:
    if shop.db.dialect == "postgresql":
        shop.db.run(
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
        )
        shop.db.run("CREATE TRIGGER sly BEFORE INSERT ON meta FOR EACH ROW EXECUTE FUNCTION f()")
    else:
        shop.db.run("CREATE TRIGGER sly AFTER INSERT ON meta BEGIN SELECT 1; END")
    assert "sly does not belong there" in _named(database.check(shop))["structure"].figure


def test_a_row_that_points_at_nothing_is_named(shop: Shop) -> None:
    if shop.db.dialect == "postgresql":
        pytest.skip("PostgreSQL does not let such a row in")
    shop.db.run("PRAGMA foreign_keys = OFF")
    shop.db.run("INSERT INTO stock (sku, free) VALUES ('ghost', 1)")
    found = _named(database.check(shop))["references"]
    assert not found.ok
    assert "stock" in found.figure


def test_a_question_is_answered_and_limited(shop: Shop) -> None:
    for name in ("a", "b", "c"):
        house.set_secret(shop, name, Secret("v"))
    sql = "SELECT name FROM secrets ORDER BY name"
    some = database.query(shop.config, sql, 2)
    assert (some.columns, some.rows, some.more) == (("name",), (("a",), ("b",)), True)
    every = database.query(shop.config, sql, None)
    assert (len(every.rows), every.more) == (3, False)
    assert database.query(shop.config, "SELECT name FROM secrets WHERE name LIKE 'a%'", 9).rows == (
        ("a",),
    )


def test_a_question_never_shows_what_is_sealed(shop: Shop) -> None:
    house.set_secret(shop, "a", Secret("v"))
    sealed = bytes(shop.db.value("SELECT sealed FROM secrets"))
    for sql in (
        "SELECT * FROM secrets",
        "SELECT sealed FROM secrets",
        "SELECT hex(sealed) FROM secrets",
        "SELECT encode(sealed, 'hex') FROM secrets",
        "SELECT wrapped FROM data_keys",
        'SELECT s."SEALED" FROM secrets s',
    ):
        try:
            told = repr(database.query(shop.config, sql, None)).lower()
        except InputRefused:
            continue
        assert sealed.hex() not in told
        assert repr(sealed).lower() not in told


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM audit",
        "UPDATE meta SET value = 'x'",
        "INSERT INTO meta (name, value) VALUES ('x', 'y')",
        "DROP TABLE audit",
        "SELECT 1; DELETE FROM meta",
        "SELECT 1; COMMIT; DELETE FROM meta",
        "WITH gone AS (DELETE FROM meta RETURNING name) SELECT name FROM gone",
        "ATTACH 'other.db' AS other",
        "PRAGMA user_version = 7",
        "VACUUM INTO 'copy.db'",
        "SELECT load_extension('x')",
        "SELECT nothing FROM nowhere",
        "",
        "COPY meta TO PROGRAM 'cat'",
    ],
)
def test_a_question_cannot_change_anything(shop: Shop, sql: str) -> None:
    before = shop.db.all("SELECT name, value FROM meta ORDER BY name")
    with pytest.raises(InputRefused):
        database.query(shop.config, sql, 10)
    assert shop.db.all("SELECT name, value FROM meta ORDER BY name") == before


def test_up_to_date_is_told_and_a_pending_migration_runs_after_a_copy(
    shop: Shop, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert database.bring_up_to_date(shop.config, clock) == database.Migrated((), None)
    step: Any = ("9999_more", ("CREATE TABLE more (id {int}) {strict}",))
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, step))
    done = database.bring_up_to_date(shop.config, clock)
    assert done.ran == ("9999_more",)
    if shop.db.dialect == "sqlite":
        assert done.backup is not None
        assert backup.verify(Path(done.backup)) == "ok"
    assert shop.db.value("SELECT count(*) FROM more") == 0


def test_more_than_three_problems_are_counted(shop: Shop) -> None:
    for name in ("v_orders", "v_lines", "v_keys", "v_ledger"):
        shop.db.run(f"DROP VIEW {name}")
    assert "and 1 more" in _named(database.check(shop))["structure"].figure
    assert replace(shop).db is shop.db


def test_a_damaged_file_is_checked_no_further(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "integrity", lambda _db: ["page 7 is never used"])
    found = database.check(shop)
    assert not found.ok
    assert (found.tables, found.schema) == ((), "")
    assert "page 7" in _named(found)["integrity"].figure
    assert "references" not in _named(found)
