"""What must hold of the books: every invariant can fail, and random days keep them all."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from kmtool.errors import ExampleConfig
from kmtool.operations import recon
from kmtool.operations.reconcile import reconcile
from kmtool.operations.statements import Answers, take_in
from kmtool.shop import Shop
from kmtool.store import recon_checks
from tests.operations import recon_kit as kit
from tests.operations.reconcile_books.runs import run

BREAKS = [
    ("I1", "UPDATE statement_files SET rows = rows + 1"),
    ("I1", "UPDATE statement_files SET net_minor = net_minor + 1"),
    ("I3", "UPDATE statement_totals SET parsed_sum_e5 = parsed_sum_e5 + 1"),
    ("I4", "UPDATE ledger_postings SET amount_minor = amount_minor + 1 WHERE account LIKE 'inc%'"),
    ("I6", "UPDATE order_buckets SET refunded_minor = settled_minor + 1"),
    ("I7", "UPDATE order_buckets SET settled_minor = settled_minor - 1"),
    ("I7", "UPDATE line_matches SET ended_ms = 1"),
    ("I10 every line", "UPDATE statement_lines SET bucket = ''"),
    ("I10 every order", "DELETE FROM order_buckets"),
]


@pytest.mark.parametrize(("name", "harm"), BREAKS)
def test_every_invariant_can_fail(shop: Shop, tmp_path: Path, name: str, harm: str) -> None:
    kit.put_order(shop.db, "A1")
    run(shop, kit.flow(tmp_path, kit.sale("A1")))
    scope = recon_checks.Scope("main", "CNY", False, True, False, 0, "t")
    assert recon_checks.broken(shop.db, scope, 0, 0) == []
    shop.db.run(harm)
    assert any(text.startswith(name) for text in recon_checks.broken(shop.db, scope, 0, 0))


def test_a_rehearsal_leaves_nothing(shop: Shop, tmp_path: Path) -> None:
    kit.put_order(shop.db, "A1")
    before = kit.counts(shop.db)
    with shop.db.rehearsal():
        assert run(shop, kit.flow(tmp_path, kit.sale("A1"))).orders == {"SETTLED": 1}
    assert kit.counts(shop.db) == before


def test_the_example_is_not_written_to(shop: Shop) -> None:
    from dataclasses import replace

    with pytest.raises(ExampleConfig):
        reconcile(replace(shop, config=replace(shop.config, example=True)))


def test_random_days_keep_what_must_hold(shop: Shop, tmp_path: Path) -> None:
    """Import, decide, change and run in random order: every run passes its own invariants."""
    rand = random.Random(20261122)
    for step in range(14):
        n = rand.randrange(6)
        match rand.randrange(5):
            case 0:
                if shop.db.value("SELECT 1 FROM orders WHERE number = :n", n=f"A{n}") is None:
                    kit.put_order(shop.db, f"A{n}", rand.choice([500, 1000]))
            case 1:
                kind = rand.choice([kit.sale, kit.refund])
                take_in(shop, [kit.flow(tmp_path, kind(f"A{n}"), name=f"r{step}.csv")], Answers())
            case 2:
                shop.db.run("UPDATE orders SET expected_gross_minor = 700 WHERE number = :n",
                            n=f"A{n}")  # fmt: skip
            case _:
                _decide(shop, rand)
        found = run(shop)
        assert run(shop).accounts[0].changes == 0
        m = found.money
        parts = (m.received_minor, m.fees_minor, m.refunded_minor, m.not_due_minor)
        assert m.due_minor == sum(parts) + m.missing_minor + m.unexplained_minor


def _decide(shop: Shop, rand: random.Random) -> None:
    lines = shop.db.all("SELECT id FROM statement_lines ORDER BY id")
    numbers = shop.db.all("SELECT number FROM orders ORDER BY id")
    if lines and numbers:
        line, order = rand.choice(lines)["id"], rand.choice(numbers)["number"]
        choice = rand.randrange(3)
        if choice == 0:
            recon.link(shop, line, order, "random")
        elif choice == 1:
            recon.write_off(shop, line, "random")
        elif shop.db.value(
            "SELECT 1 FROM line_matches WHERE line_id = :l AND ended_ms IS NULL", l=line
        ):
            recon.unlink(shop, line, "random")
