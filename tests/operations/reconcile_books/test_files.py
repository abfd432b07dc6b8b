"""Files that overlap, change, disagree, come twice or belong to nobody."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import pytest

from adapters.statements.synthetic import AlipayMove
from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.errors import NotFound, Refused
from kmtool.operations import recon
from kmtool.operations.reconcile import reconcile
from kmtool.operations.statements import Answers, take_in
from kmtool.shop import Shop
from kmtool.store import ledger, recon_checks
from tests.operations import recon_kit as kit
from tests.operations.reconcile_books.runs import run


def _moves(seed: int = 7) -> list[AlipayMove]:
    rand = random.Random(seed)
    moves = []
    for n in range(12):
        at = kit.day(n % 6, 9 + n)
        moves.append(kit.sale(f"A{n}", 1000 + n, at_ms=at))
        if rand.random() < 0.3:
            moves.append(kit.refund(f"A{n}", 1000 + n, at_ms=at + 60_000))
    moves.append(kit.sale("X", 77, at_ms=kit.day(3)))
    return sorted(moves, key=lambda m: m.at_ms)


def _windows(folder: Path, moves: list[AlipayMove]) -> list[Path]:
    """Three overlapping files; the last one says something else of one line."""
    paths = []
    for n, (first, last) in enumerate([(0, 4), (2, 8), (0, 8)]):
        low, high = kit.day(first, 0), kit.day(last, 0)
        chosen = [m for m in moves if low <= m.at_ms < high]
        if n == 2:
            chosen = [
                AlipayMove(m.at_ms, m.amount_minor, m.type, m.serial, m.txn, m.order_no,
                           m.item, m.counterparty, "note added") if m is moves[3] else m
                for m in chosen
            ]  # fmt: skip
        opening = sum(m.amount_minor for m in moves if m.at_ms < low)
        paths.append(
            kit.flow(folder, *chosen, days=(first, last), opening_minor=opening,
                     exported_ms=kit.day(last + n))
        )  # fmt: skip
    return paths


def test_the_order_of_files_does_not_matter(
    make_config: Any, clock: ManualClock, tmp_path: Path
) -> None:
    moves = _moves()
    digests, balances = set(), set()
    for n, order in enumerate(itertools.permutations(_windows(tmp_path, moves))):
        if not isinstance(make_config().database, Path) and n:
            pytest.skip("one database per test; SQLite has done it")
        config = _fresh(make_config, n)
        create_shop(config, clock)
        with open_shop(config, clock=clock) as shop:
            for number in range(12):
                kit.put_order(shop.db, f"A{number}", 1000 + number, at=kit.day(number % 6))
            for path in order:
                run(shop, path)
            for path in order:
                run(shop, path)
            digests.add(recon_checks.digest(shop.db, "main"))
            rows = ledger.balances(shop.db)
            balances.add(tuple((r["account"], r["balance_minor"]) for r in rows))
            assert "LINE_CHANGED" in kit.open_codes(shop)
    assert len(digests) == 1
    assert len(balances) == 1


def _fresh(make_config: Any, n: int) -> Any:
    config = make_config(kit.ACCOUNTS)
    if isinstance(config.database, Path):
        text = config.path.read_text(encoding="utf-8")
        config.path.write_text(
            text.replace("[data]", f'[data]\ndatabase = "db{n}/shop.db"'), encoding="utf-8"
        )
        from kmtool.config import load

        config = load(config.path)
    return config


def test_a_line_that_changes_is_told_and_the_later_file_counts(shop: Shop, tmp_path: Path) -> None:
    kit.put_order(shop.db, "A1")
    move = kit.sale("A1")
    run(shop, kit.flow(tmp_path, move, exported_ms=kit.day(15)))
    changed = AlipayMove(move.at_ms, 900, move.type, move.serial, move.txn, move.order_no)
    later = kit.flow(tmp_path, changed, exported_ms=kit.day(16))
    found = run(shop, later)
    assert found.files[0].changed == 1
    assert kit.open_codes(shop) == ["AMOUNT_MISMATCH", "LINE_CHANGED"]
    assert ledger.balance(shop.db, "wallet:main", "CNY") == 900
    assert ledger.balance(shop.db, "clearing:main", "CNY") == 100
    changes = next(p for p in found.problems if p.code == "LINE_CHANGED")
    versions = recon.show(shop, changes.id).versions
    assert [(v.gross_minor, v.effective) for v in versions] == [(900, True), (1000, False)]


def test_whose_file_it_is(shop: Shop, tmp_path: Path) -> None:
    mine = kit.flow(tmp_path, kit.sale("A1"))
    take_in(shop, [mine], Answers())
    other = kit.flow(tmp_path, kit.sale("A2"), number="2088999999990000")
    report = take_in(shop, [other], Answers()).files[0]
    assert report.refusal is not None
    assert report.refusal.code == "WRONG_ACCOUNT"
    assert "2088…0000" in report.refusal.text
    assert "2088…0156" in report.refusal.text
    again = take_in(shop, [mine], Answers(account="wx")).files[0]
    assert again.refusal is not None
    assert again.refusal.code == "WRONG_ACCOUNT"
    newer = kit.flow(tmp_path, kit.sale("A3"))
    bound = take_in(shop, [newer], Answers(account="wx")).files[0]
    assert bound.refusal is not None
    with pytest.raises(NotFound):
        take_in(shop, [mine], Answers(account="nobody"))


def test_an_unclear_account_is_asked_for(
    make_config: Any, clock: ManualClock, tmp_path: Path
) -> None:
    config = make_config(kit.ACCOUNTS + '[accounts.second]\nkind = "alipay"\n')
    create_shop(config, clock)
    with open_shop(config, clock=clock) as shop:
        path = kit.flow(tmp_path, kit.sale("A1"))
        with pytest.raises(Refused) as told:
            take_in(shop, [path], Answers())
        assert "main, second, wx" in told.value.message()
        assert shop.db.value("SELECT count(*) FROM statement_files") == 0
        assert take_in(shop, [path], Answers(account="second")).files[0].into == "second"
        known = kit.flow(tmp_path, kit.sale("A2"))
        assert take_in(shop, [known], Answers()).files[0].into == "second", "bound by its number"


def test_a_shop_without_accounts_is_told_what_to_write(
    make_config: Any, clock: ManualClock, tmp_path: Path
) -> None:
    config = make_config()
    create_shop(config, clock)
    with open_shop(config, clock=clock) as shop:
        with pytest.raises(Refused, match="no channel says yet where its money arrives"):
            reconcile(shop)
        with pytest.raises(Refused, match="no account"):
            take_in(shop, [kit.flow(tmp_path)], Answers())


def test_totals_that_disagree_are_refused_or_accepted_with_a_reason(
    shop: Shop, tmp_path: Path
) -> None:
    kit.put_order(shop.db, "A1")
    path = kit.flow(tmp_path, kit.sale("A1"))
    path.write_bytes(
        path.read_bytes().replace("共10.00元".encode("gb18030"), b"\xb9\xb210.01\xd4\xaa")
    )
    found = run(shop, path)
    assert found.exit_code == 6
    assert not found.accounts
    assert shop.db.value("SELECT state FROM statement_files") == "refused"
    found = run(shop, path, accept_summary_mismatch="the vendor says so")
    assert kit.open_codes(shop) == ["SUMMARY_MISMATCH"]
    assert shop.db.all("SELECT state, accepted FROM statement_files") == [
        {"state": "ok", "accepted": "the vendor says so"}
    ]
    assert shop.db.value("SELECT count(*) FROM audit WHERE action = 'statement.accept'") == 1


def test_one_refused_file_of_two_is_done_in_part(shop: Shop, tmp_path: Path) -> None:
    junk = tmp_path / "junk.csv"
    junk.write_text("a,b\n1,2\n", encoding="utf-8")
    assert run(shop, kit.flow(tmp_path, kit.sale("A1")), junk).exit_code == 3
    empty = tmp_path / "broken.csv"
    empty.write_bytes(b"\xff\xfe\x00")
    assert run(shop, empty).exit_code == 9


def test_the_same_file_twice_in_one_call(shop: Shop, tmp_path: Path) -> None:
    path = kit.flow(tmp_path, kit.sale("A1"))
    found = run(shop, path, path)
    assert [(f.new, f.known) for f in found.files] == [(1, 0), (0, 1)]


def test_a_damaged_file_gives_way_to_a_good_one(shop: Shop, tmp_path: Path) -> None:
    kit.put_order(shop.db, "A1")
    good = kit.flow(tmp_path, kit.sale("A1", serial="2026110200000001"))
    damaged = tmp_path / "damaged.csv"
    damaged.write_bytes(good.read_bytes().replace(b"2026110200000001\t", b"2.02611E+15\t"))
    assert run(shop, damaged).exit_code == 6
    found = run(shop, damaged, accept_lossy=True)
    assert found.files[0].state == "provisional"
    assert kit.bucket(shop, "A1") == ("SETTLED", "")
    run(shop, good)
    assert kit.bucket(shop, "A1") == ("SETTLED", "")
    states = shop.db.all("SELECT state FROM statement_files ORDER BY id")
    assert [row["state"] for row in states] == ["superseded", "ok"]
    assert ledger.balance(shop.db, "wallet:main", "CNY") == 1000
