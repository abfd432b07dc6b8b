"""Doctor: every promise is broken on purpose, and exactly its check notices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kmtool.clock import ManualClock
from kmtool.errors import Broken, OlderThanJournal
from kmtool.journal import JournalEntry
from kmtool.operations import audit, backup, doctor, sender
from kmtool.operations.deliver import deliver, deliver_all
from kmtool.operations.recovery import recovered
from kmtool.operations.reserve import reserve_due
from kmtool.operations.sync import sync
from kmtool.shop import Shop
from kmtool.store import doctor as store
from kmtool.store import house, jobs, maintenance, sessions
from kmtool.store.doctor import INVARIANTS
from tests.fakes import order, world
from tests.operations.broken_promises import (
    BREAKERS,
    FREE,
    HANDED,
    KEY,
    LINE,
    START,
    failing,
    journalled_but_free,
    run,
    same_fingerprint,
)
from tests.operations.stock import shelf


@pytest.fixture
def scene(shop: Shop, clock: ManualClock) -> Shop:
    """Two delivered orders (A1, A2), one with its key reserved (A3), free keys beside them."""
    shelf(shop, n=8)
    clock.advance(10_000)
    for number in ("A1", "A2"):
        world().orders[number] = order(number, at_ms=START + 1_000)
    clock.advance(5_000)
    sync(shop)
    assert deliver(shop).delivered == 2
    world().orders["A3"] = order("A3", at_ms=START + 16_000)
    clock.advance(5_000)
    sync(shop)
    assert reserve_due(shop).reserved == 1
    assert failing(shop) == set()
    return shop


def test_a_broken_promise_fails_exactly_its_check(scene: Shop, clock: ManualClock) -> None:
    now, journal = clock.now_ms(), scene.journal.path.read_bytes()
    for what, (breaker, expected) in BREAKERS.items():
        with scene.db.rehearsal():  # each is undone before the next
            breaker(scene)
            assert failing(scene) == expected, what
        clock.set(now)
        scene.journal.path.write_bytes(journal)
    assert failing(scene) == set()


def test_the_same_key_twice_is_noticed(scene: Shop) -> None:
    same_fingerprint(scene)
    assert failing(scene) == {"one_fingerprint"}


def test_every_invariant_is_broken_by_some_test() -> None:
    broken = {"one_fingerprint"}.union(*(expected for _, expected in BREAKERS.values()))
    assert {invariant.name for invariant in INVARIANTS} <= broken


def test_a_bundle_needs_the_keys_of_all_its_parts(scene: Shop) -> None:
    shelf(scene, "S2", n=1, item=None)
    run(
        scene,
        "INSERT INTO products (sku, title, kind, state, currency, buffer, guide, created_ms)"
        " SELECT 'B1', 'bundle', 'bundle', state, currency, 0, '', created_ms FROM products"
        " WHERE sku = 'S1'",
        "INSERT INTO bundle_items VALUES ('B1', 'S1', 1)",
        f"UPDATE lines SET kind = 'bundle', sku = 'B1' WHERE id = {LINE.format('A1')}",
    )
    assert failing(scene) == set()
    run(scene, "INSERT INTO bundle_items VALUES ('B1', 'S2', 1)")
    assert failing(scene) == {"delivered_whole"}


def test_a_release_takes_a_send_of_the_journal_back(scene: Shop) -> None:
    journalled_but_free(scene)
    value = scene.db.value(f"SELECT fingerprint FROM keys WHERE id = {FREE}")
    scene.journal.append([JournalEntry("RELEASE", "shop1", "X9", "1", bytes(value).hex(), 1)])
    assert failing(scene) == set()


def test_a_journal_record_of_two_orders_or_changed_or_gone_is_noticed(scene: Shop) -> None:
    value = scene.db.value(f"SELECT fingerprint FROM keys WHERE id = {KEY.format('A1')}")
    kept = scene.journal.path.read_bytes()
    scene.journal.append([JournalEntry("SEND", "shop1", "X9", "1", bytes(value).hex(), 1)])
    assert failing(scene) == {"journal"}
    scene.journal.path.write_bytes(kept.replace(b'"A1"', b'"A9"'))
    assert failing(scene) == {"journal"}
    scene.journal.path.write_bytes(b"")
    assert failing(scene) == {"journal"}
    scene.journal.path.write_bytes(kept)
    assert failing(scene) == set()


def test_an_older_database_does_not_know_what_the_journal_sent(scene: Shop) -> None:
    scene.journal.append([JournalEntry("SEND", "shop1", "X9", "1", "00" * 16, 1)])
    check = doctor.journal_check(scene)
    assert (check.ok, check.broken, check.blocks) == (False, True, True)


def test_fix_counts_stock_anew_and_buries_the_dead(scene: Shop) -> None:
    free = scene.db.value("SELECT free FROM stock")
    with scene.db.tx():
        sessions.start(scene.db, "run", 77, "nowhere", 1, 1)
        scene.db.run("UPDATE stock SET free = free + 3")
        scene.db.run(f"UPDATE attempts SET state = 'intent' WHERE effect_id = {HANDED}")
    health = doctor.doctor(scene, fix=True)
    assert len(health.fixed) == 2
    assert scene.db.value("SELECT free FROM stock") == free
    assert [row for row in sessions.live(scene.db) if row["token"] == 77] == []
    assert scene.db.value("SELECT count(*) FROM attempts WHERE state = 'intent'") == 0
    assert scene.db.value("SELECT count(*) FROM audit WHERE action = 'stock_recount'") == 1
    assert doctor.doctor(scene, fix=True).fixed == ()


def test_fix_leaves_a_living_sender_alone(scene: Shop) -> None:
    with sender.sending(scene, "run") as mine:
        assert doctor.doctor(replace(mine, session=None), fix=True).fixed == () or (
            scene.db.dialect == "postgresql"  # the same connection holds the same lock twice
        )


def checks(shop: Shop) -> dict[str, doctor.Check]:
    return {check.name: check for check in doctor.doctor(shop).checks}


def test_a_shop_after_its_first_backup_is_well(scene: Shop, clock: ManualClock) -> None:
    if scene.db.dialect == "sqlite":
        assert not checks(scene)["backup"].ok
        backup.backup(scene)
        assert doctor.doctor(scene).problems == ()
        clock.advance(37 * 3_600_000)
        assert checks(scene)["backup"].mend == "kmtool db backup"


def test_references_and_structure_are_checked(scene: Shop) -> None:
    assert checks(scene)["references"].ok and checks(scene)["structure"].ok
    if scene.db.dialect == "sqlite":
        scene.db.run("PRAGMA foreign_keys = OFF")
        run(scene, "INSERT INTO refunds VALUES (999, 'R1', 1, 'open', 1, 1)")
    else:
        run(
            scene,
            "ALTER TABLE refunds ADD CONSTRAINT loose FOREIGN KEY (order_id)"
            " REFERENCES orders (id) NOT VALID",
        )
    run(scene, "DROP INDEX orders_paid")
    found = checks(scene)
    assert not found["references"].ok
    assert "orders_paid" in found["structure"].figure


def test_a_full_disk_another_host_and_plain_credentials(scene: Shop) -> None:
    config = replace(scene.config, data=replace(scene.config.data, disk_min_mb=10**9))
    channel = replace(config.channels["shop1"], credentials={"token": "abc"})
    config = replace(config, channels={"shop1": channel})
    run(scene, "DELETE FROM homes")
    with scene.db.tx():
        house.set_meta(scene.db, "host", "the-old-machine")
    found = checks(replace(scene, config=config))
    assert not found["disk"].ok
    assert "the-old-machine" in found["host"].figure
    assert "channels.shop1.token" in found["credentials"].figure
    assert "abc" not in found["credentials"].figure


def test_a_configuration_in_gbk_is_told(scene: Shop) -> None:
    path: Path = scene.config.path
    path.write_bytes(path.read_text(encoding="utf-8").encode("gb18030"))
    assert not checks(scene)["encoding"].ok


def test_a_daemon_that_died_and_a_failed_job_are_told(scene: Shop) -> None:
    with scene.db.tx():
        number = sessions.start(scene.db, "run", 78, "nowhere", 1, 1)
        run_id = jobs.start(scene.db, "sync", None, 1)
        jobs.finish(scene.db, run_id, "failed", "", "no route", 2)
    found = checks(scene)
    assert not found["sessions"].ok
    assert found["jobs"].figure == "sync: no route"
    with scene.db.tx():
        sessions.finish(scene.db, number, "dead", 3)
    assert not checks(scene)["daemon"].ok


def test_recovery_lets_nothing_out_over_a_broken_promise(scene: Shop) -> None:
    breaker, _ = BREAKERS["a delivered line lacks a key"]
    breaker(scene)
    with recovered(scene, "once") as found:
        assert [check.name for check in found.broken] == ["delivered_whole"]


def test_a_key_that_was_sent_and_is_free_again_lets_nobody_send(scene: Shop) -> None:
    journalled_but_free(scene)
    with pytest.raises(OlderThanJournal) as refused, recovered(scene, "once"):
        pass
    assert refused.value.next_step() == "kmtool db restore --replay"


def test_recovery_asks_about_what_a_dead_sender_left(scene: Shop) -> None:
    world().faults = ["crash"]
    with pytest.raises(KeyboardInterrupt), sender.sending(scene, "run") as mine:
        deliver_all(mine)
    run(
        scene,  # as if the process had been killed before it could say so
        "UPDATE sessions SET state = 'live' WHERE id = (SELECT max(id) FROM sessions)",
        "UPDATE attempts SET state = 'intent' WHERE state = 'unknown'",
        "UPDATE effects SET state = 'inflight' WHERE state = 'retry_at'",
        f"UPDATE lines SET state = 'sending' WHERE id = {LINE.format('A3')}",
    )
    with recovered(scene, "once") as found:
        assert found.broken == ()
        assert found.notes[0] == "1 sessions ended without saying so"
        assert (
            scene.db.value(f"SELECT state FROM lines WHERE id = {LINE.format('A3')}") == "unknown"
        )
        scene.clock.advance(3_000)  # type: ignore[attr-defined]
        assert deliver_all(found.shop).delivered == 1
    assert len(world().received["A3"]) == 1
    assert failing(scene) == set()


def test_a_damaged_database_sends_nothing_after_an_unclean_end(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "integrity", lambda _db, quick: ["page 7 is torn"])
    with recovered(shop, "once") as found:
        assert found.broken == ()
    with shop.db.tx():
        sessions.start(shop.db, "run", 79, "nowhere", 1, 1)
    with pytest.raises(Broken, match="page 7"), recovered(shop, "once"):
        pass


def test_the_sample_moves_from_day_to_day(scene: Shop) -> None:
    seen: set[int] = set()
    for day in range(4):
        seen |= {row["id"] for row in store.sample_keys(scene.db, 2, day)}
    assert len(seen) == 8


def test_a_tampered_record_is_a_problem(shop: Shop) -> None:
    with shop.db.tx():
        shop.audit("did", "x")
    audit.anchor(shop)
    assert doctor.audit_check(shop).ok
    on = "" if shop.db.dialect == "sqlite" else " ON audit"
    shop.db.run(f"DROP TRIGGER audit_no_delete{on}")
    shop.db.run("DELETE FROM audit")
    shop.db.run("DELETE FROM audit_heads")
    found = doctor.audit_check(shop)
    assert (found.ok, found.broken, found.mend) == (False, True, "kmtool audit verify")
    assert "there are fewer" in found.figure
