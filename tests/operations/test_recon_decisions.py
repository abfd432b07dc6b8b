"""A decision about a line is taken back whole, whether or not a run acted on it before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.errors import StateMoved
from kmtool.operations import recon
from kmtool.operations.reconcile import Reconciliation, reconcile
from kmtool.shop import Shop
from kmtool.store import recon_checks
from tests.operations import recon_kit as kit


@pytest.fixture
def shop(make_config: Any, clock: ManualClock) -> Iterator[Shop]:
    """A shop with one wallet that prints flows."""
    config = make_config(kit.ACCOUNTS)
    create_shop(config, clock)
    with open_shop(config, clock=clock) as opened:
        yield opened


def run(shop: Shop, *paths: Path) -> Reconciliation:
    return reconcile(shop, paths)


@pytest.mark.parametrize("ran_between", [False, True])
@pytest.mark.parametrize("how", ["link", "write_off"])
def test_unlink_takes_back_the_decision_with_or_without_a_run(
    shop: Shop, tmp_path: Path, how: str, ran_between: bool
) -> None:
    kit.put_order(shop.db, "A1")
    kit.put_order(shop.db, "A2")
    run(shop, kit.flow(tmp_path, kit.sale("A1"), kit.sale("A2")))
    before = recon_checks.digest(shop.db, "main")
    line = shop.db.value(
        "SELECT l.id FROM statement_lines l JOIN orders o ON o.id = l.order_id"
        " WHERE o.number = 'A1'"
    )
    if how == "link":
        recon.link(shop, line, "A2", "it looked so")
    else:
        recon.write_off(shop, line, "it looked so")
    if ran_between:
        run(shop)
        assert recon_checks.digest(shop.db, "main") != before
    assert recon.unlink(shop, line, "it was not so").what == "undone"
    undone, reversal = shop.db.all(
        "SELECT id, pass, order_id, evidence, reason, ended_ms FROM line_matches"
        " WHERE line_id = :l AND actor <> 'rule' ORDER BY id",
        l=line,
    )
    assert reversal["evidence"] == f"undo:{undone['id']}"
    assert reversal["reason"] == "it was not so"
    assert all(undone[k] == reversal[k] for k in ("pass", "order_id"))
    assert None not in {undone["ended_ms"], reversal["ended_ms"]}
    if ran_between:  # the line still shows the decision, which is not there any more
        with pytest.raises(StateMoved):
            recon.unlink(shop, line, "twice")
    assert run(shop).exit_code == 0
    assert recon_checks.digest(shop.db, "main") == before
    assert recon.unlink(shop, line, "now the match itself").what == "unlinked"
    assert recon.unlink(shop, line, "no, it was right").what == "undone"
    assert run(shop).exit_code == 0
    assert recon_checks.digest(shop.db, "main") == before


def test_unlink_of_a_line_without_order_says_so_after_a_write_off(
    shop: Shop, tmp_path: Path
) -> None:
    run(shop, kit.flow(tmp_path, kit.sale("??")))
    before = recon_checks.digest(shop.db, "main")
    line = shop.db.value("SELECT id FROM statement_lines")
    recon.write_off(shop, line, "a friend's money")
    recon.unlink(shop, line, "a buyer's money")
    with pytest.raises(StateMoved):
        recon.unlink(shop, line, "twice")
    run(shop)
    assert recon_checks.digest(shop.db, "main") == before
