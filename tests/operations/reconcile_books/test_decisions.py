"""What a person decides about a line or an exception, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmtool.errors import NotFound, Refused, StateMoved, UsageError
from kmtool.operations import recon
from kmtool.shop import Shop
from kmtool.store import ledger
from tests.operations import recon_kit as kit
from tests.operations.reconcile_books.runs import run


def test_a_line_without_order_is_linked_by_hand_and_back(shop: Shop, tmp_path: Path) -> None:
    kit.put_order(shop.db, "A1")
    found = run(shop, kit.flow(tmp_path, kit.sale("??")))
    assert kit.open_codes(shop) == ["MISSING_ORDER", "MISSING_PAYOUT"]
    assert ledger.balance(shop.db, "suspense:recon", "CNY") == -1000
    line = next(p.line_id for p in found.problems if p.code == "MISSING_ORDER")
    assert line is not None
    recon.link(shop, line, "A1", "the buyer sent a picture")
    assert run(shop).exit_code == 0
    assert kit.bucket(shop, "A1") == ("SETTLED", "")
    assert ledger.balance(shop.db, "suspense:recon", "CNY") == 0
    recon.unlink(shop, line, "wrong picture")
    run(shop)
    assert kit.open_codes(shop) == ["MISSING_ORDER", "MISSING_PAYOUT"]
    states = shop.db.all("SELECT state, moves FROM exceptions")
    assert all((row["state"], row["moves"]) == ("reopened", 3) for row in states)
    assert shop.db.value("SELECT count(*) FROM exception_moves") == 6
    with pytest.raises(StateMoved):
        recon.unlink(shop, line, "again")


def test_an_automatic_match_is_kept_apart(shop: Shop, tmp_path: Path) -> None:
    kit.put_order(shop.db, "A1")
    run(shop, kit.flow(tmp_path, kit.sale("A1")))
    line = shop.db.value("SELECT id FROM statement_lines")
    recon.unlink(shop, line, "it is not ours")
    run(shop)
    assert kit.open_codes(shop) == ["MISSING_ORDER", "MISSING_PAYOUT"]
    recon.write_off(shop, line, "a friend's money")
    found = run(shop)
    assert found.lines == {"WRITTEN_OFF": 1}
    assert kit.open_codes(shop) == ["MISSING_PAYOUT"]
    assert ledger.balance(shop.db, "expense:write_off", "CNY") == -1000
    recon.unlink(shop, line, "it was ours after all")
    assert run(shop).exit_code == 0


def test_what_a_person_resolved_returns_only_with_new_evidence(shop: Shop, tmp_path: Path) -> None:
    kit.put_order(shop.db, "A1")
    found = run(shop, kit.flow(tmp_path, kit.sale("A1", 900)))
    number = found.problems[0].id
    recon.resolve(shop, number, "a discount by chat")
    assert run(shop).exit_code == 0
    with pytest.raises(StateMoved):
        recon.resolve(shop, number, "once more")
    found = run(shop, kit.flow(tmp_path, kit.sale("A1", 50)))
    assert [(p.code, p.state, p.amount_minor) for p in found.problems] == [
        ("AMOUNT_MISMATCH", "reopened", -50)
    ]
    history = [(m.state, m.resolution, m.actor) for m in recon.show(shop, number).moves]
    assert [h[0] for h in history] == ["open", "resolved", "reopened"]
    assert history[1][1] == "manual"


def test_decisions_are_checked(shop: Shop, tmp_path: Path) -> None:
    kit.put_order(shop.db, "A1")
    kit.put_order(shop.db, "W1", account="wx")
    run(shop, kit.flow(tmp_path, kit.sale("A1")))
    line = shop.db.value("SELECT id FROM statement_lines")
    for call, error in (
        (lambda: recon.link(shop, 999, "A1", "x"), NotFound),
        (lambda: recon.link(shop, line, "nothing", "x"), NotFound),
        (lambda: recon.link(shop, line, "W1", "x"), Refused),
        (lambda: recon.link(shop, line, "A1", " "), UsageError),
        (lambda: recon.show(shop, 999), NotFound),
        (lambda: recon.problems(shop, code="NONSENSE"), UsageError),
    ):
        with pytest.raises(error):
            call()
    kit.put_order(shop.db, "A1", channel="shop2")
    with pytest.raises(Refused, match="more than one"):
        recon.link(shop, line, "A1", "x")
    assert recon.link(shop, line, "shop2:A1", "x").order == "shop2:A1"
