"""A shop moves between SQLite and PostgreSQL with every row, number and promise."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.config import load
from kmtool.domain.secret import Secret
from kmtool.errors import AwayFromHome, Broken, InputRefused, Locked, Refused
from kmtool.operations import doctor, move, sender
from kmtool.operations.adopt import adopt
from kmtool.operations.copy import copy
from kmtool.operations.deliver import deliver
from kmtool.operations.sell import SaleWish, sell
from kmtool.shop import Shop
from kmtool.store import transfer
from kmtool.store.db import connect
from tests.fakes import order
from tests.operations.delivery_kit import broken, keys_at, outside, pull, run_on, tick
from tests.operations.stock import shelf


@pytest.fixture
def target(shop: Shop, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database of the other kind."""
    if shop.db.dialect == "postgresql":
        yield str(tmp_path / "other" / "shop.db")
        return
    uri = request.getfixturevalue("postgres_uri")
    name = f"c{uuid.uuid4().hex[:12]}"
    admin = connect(uri)
    admin.run(f'CREATE DATABASE "{name}"')
    yield uri.replace("/postgres?", f"/{name}?", 1)
    admin.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    admin.close()


def full(shop: Shop) -> None:
    """Let a shop live a little: deliveries, a refund case, an unclear outcome, a counter sale."""
    shelf(shop, n=12)
    shelf(shop, "S2", n=3, item="i2", mode="buyout")
    for n in range(4):
        pull(shop, order(f"A{n}"))
    outside().faults += ["ok", "unknown"]
    deliver(shop)
    sell(shop, SaleWish("S2", to="张三", price_minor=4800), lambda _message: None)
    pull(shop, order("B1", item="i9"), order("B2", quantity=3))


def test_every_row_and_number_arrives_and_delivery_goes_on(
    shop: Shop, target: str, clock: ManualClock
) -> None:
    full(shop)
    known = {key for n in range(4) for key in keys_at(f"A{n}")}
    shop.db.run("DELETE FROM job_runs")
    last = shop.db.value("SELECT max(id) FROM orders")
    done = copy(shop, target, switch=True)
    assert done.switched and done.rows > 100
    assert {one.table for one in done.tables} >= {"keys", "orders", "audit", "sessions", "homes"}
    config = load(shop.config.path)
    assert str(config.database) == target
    with open_shop(config, clock=clock) as there:
        assert there.db.dialect != shop.db.dialect
        assert [c.name for c in doctor.ledger_checks(there) if not c.ok] == []
        assert [c.name for c in doctor.opening_checks(there) if not c.ok] == []
        for _ in range(3):
            tick(there, 130_000)
            deliver(there)
        pull(there, order("N1"))
        assert deliver(there).delivered == 1
        assert there.db.value("SELECT id FROM orders WHERE number = 'N1'") > last
        assert not known & keys_at("N1")
        assert broken(there) == []
    tick(shop, 1000)
    with pytest.raises(AwayFromHome, match="moved to"):
        deliver(shop)


def test_without_switch_the_source_goes_on_and_the_copy_asks_first(
    shop: Shop, target: str, clock: ManualClock
) -> None:
    full(shop)
    done = copy(shop, target)
    assert not done.switched
    config = replace(shop.config, data=replace(shop.config.data, database=target))
    with open_shop(config, clock=clock) as there, pytest.raises(AwayFromHome):
        deliver(there)
    assert deliver(shop).failed == 0


def test_a_copy_that_may_not_send_is_not_switched_to_another_database(
    shop: Shop, clock: ManualClock, target: str, tmp_path: Path
) -> None:
    """Only `adopt` brings a copy up to the journal: the switch would make it the home as it is."""
    if shop.db.dialect == "postgresql":
        pytest.skip("there a copy is another database")
    full(shop)
    old = tmp_path / "old.db"
    copy(shop, str(old))
    config = replace(shop.config, data=replace(shop.config.data, database=str(old)))
    with open_shop(config, clock=clock) as there:
        with pytest.raises(AwayFromHome):
            copy(there, target, switch=True)
        with pytest.raises(AwayFromHome):
            move.move(there, tmp_path / "elsewhere", open_shop)
    assert not (tmp_path / "elsewhere").exists()
    assert deliver(shop).failed == 0


def test_a_copy_in_the_same_folder_is_let_be_at_home(
    shop: Shop, clock: ManualClock, tmp_path: Path
) -> None:
    """Seed 140: both databases have one sender lock; it was taken for somebody else's."""
    if shop.db.dialect == "postgresql":
        pytest.skip("there a copy is another database")
    full(shop)
    assert isinstance(shop.config.database, Path)
    path = shop.config.database.with_name("other.db")
    copy(shop, str(path))
    config = replace(shop.config, data=replace(shop.config.data, database=str(path)))
    with open_shop(config, clock=clock) as there:
        with sender.sending(shop, "deliver"), pytest.raises(Locked):
            adopt(there)
        assert adopt(there).retired
        assert deliver(there).failed == 0
    with pytest.raises(AwayFromHome):
        deliver(shop)


def test_what_only_the_old_place_knows_is_on_record_before_the_copy_goes_on(
    shop: Shop, clock: ManualClock
) -> None:
    """Seed 37: the journal was lost while the old place had sent more than the copy knew."""
    if shop.db.dialect == "postgresql":
        pytest.skip("there a copy is another database")
    full(shop)
    assert isinstance(shop.config.database, Path)
    path = shop.config.database.with_name("other.db")
    copy(shop, str(path))
    pull(shop, order("C1"))
    deliver(shop)
    before = keys_at("C1")
    shop.journal.path.unlink()
    config = replace(shop.config, data=replace(shop.config.data, database=str(path)))
    with open_shop(config, clock=clock) as there:
        adopt(there)
        pull(there, order("C1"), *(order(f"D{n}") for n in range(3)))
        run_on(there)
        assert keys_at("C1") == before and len(before) == 1
        others = [key for n in range(3) for key in keys_at(f"D{n}")]
        assert len(others) == 3 and not before & set(others)
        assert broken(there) == []


def test_a_rehearsal_leaves_nothing(shop: Shop, target: str) -> None:
    full(shop)
    done = copy(shop, target, keep=False)
    assert done.rows > 100 and not done.kept
    if "://" in target:
        other = connect(target)
        assert transfer.is_empty(other)
        other.close()
    else:
        assert not Path(target).exists()


def test_numbers_that_were_given_out_are_not_given_again(shop: Shop, target: str) -> None:
    with shop.db.tx():
        shop.db.run("INSERT INTO alerts (code, subject, state, text, raised_ms)"
                    " VALUES ('a', 'b', 'open', 'x', 1)")  # fmt: skip
        shop.db.run("INSERT INTO alerts (code, subject, state, text, raised_ms)"
                    " VALUES ('a', 'c', 'open', 'x', 1)")  # fmt: skip
        shop.db.run("DELETE FROM alerts")
    copy(shop, target)
    other = connect(target)
    number = other.value(
        "INSERT INTO alerts (code, subject, state, text, raised_ms)"
        " VALUES ('a', 'd', 'open', 'x', 1) RETURNING id"
    )
    other.close()
    assert number == 3


def test_a_target_that_holds_a_shop_or_is_the_source_is_refused(
    shop: Shop, target: str, tmp_path: Path
) -> None:
    copy(shop, target)
    with pytest.raises(Refused, match="holds a shop"):
        copy(shop, target)
    with pytest.raises(Refused, match="own database"):
        copy(shop, str(shop.config.database))
    with pytest.raises(InputRefused, match="folder"):
        copy(shop, str(tmp_path))


def test_nothing_is_copied_while_somebody_sends(shop: Shop, target: str) -> None:
    with (
        open_shop(shop.config, clock=shop.clock) as other,
        sender.sending(other, "run"),
        pytest.raises(Locked),
    ):
        copy(shop, target)


def test_a_difference_is_noticed_and_nothing_kept(
    shop: Shop, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    full(shop)
    carry = transfer.carry

    def lossy(source, other, progress):  # type: ignore[no-untyped-def]
        yield from carry(source, other, progress)
        other.run("UPDATE orders SET total_minor = total_minor + 1 WHERE number = 'A1'")

    monkeypatch.setattr(transfer, "carry", lossy)
    with pytest.raises(Broken, match="orders differs"):
        copy(shop, target)
    if "://" not in target:
        assert not Path(target).exists()


@pytest.mark.parametrize("how", ["move", "pack", "copy"])
def test_what_the_journal_lost_is_on_record_before_the_shop_leaves(
    shop: Shop, clock: ManualClock, tmp_path: Path, how: str
) -> None:
    """Seed 1005183: it was cut, then the shop moved; a later restore sold the keys again."""
    if shop.db.dialect == "postgresql":
        pytest.skip("there a shop is no file that moves")
    full(shop)
    pull(shop, order("LAST"))
    assert deliver(shop).delivered == 1
    whole = shop.journal.path.read_bytes().splitlines(keepends=True)
    shop.journal.path.write_bytes(b"".join(whole[:-1]))
    if how == "move":
        move.move(
            shop,
            tmp_path.parent / f"{tmp_path.name}-there",
            lambda config: open_shop(config, clock=clock),
        )
    elif how == "pack":
        move.pack(shop, tmp_path / "shop.kmmove", Secret("a made-up pass"))
    else:
        copy(shop, "shop/other.db", switch=True)
    assert "LAST" in {entry.order for entry in shop.journal.read()}
