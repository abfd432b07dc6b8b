"""Keys that were replaced since a backup: the journal names them, and no others count as bad."""

from __future__ import annotations

import pytest

from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.operations import keys, order_replace
from kmtool.operations.deliver import deliver
from kmtool.operations.order_replace import ReplaceWish, replace
from kmtool.shop import Shop
from tests.fakes import order, world
from tests.operations.delivery_kit import broken, keys_at, line, lines, outside, pull, run_on, tick
from tests.operations.import_kit import bring
from tests.operations.stock import shelf
from tests.operations.test_restore import Opener, back, saved
from tests.operations.test_restore import dump_tools as dump_tools


@pytest.fixture
def opener(clock: ManualClock) -> Opener:
    return lambda config: open_shop(config, clock=clock)


def tails(shop: Shop, state: str) -> set[str]:
    """Return the endings of the keys whose bond is in a state."""
    rows = shop.db.all(
        "SELECT k.tail FROM allocations a JOIN keys k ON k.id = a.key_id WHERE a.state = :s",
        s=state,
    )
    return {str(row["tail"]) for row in rows}


def bad(shop: Shop, tail: str) -> None:
    """Replace a key, and let the other one arrive."""
    replace(shop, "A1", ReplaceWish(reason="dead", key=tail))
    assert deliver(shop).delivered == 1


@pytest.mark.parametrize("known", ["no order", "unclear", "delivered"])
def test_what_was_replaced_since_the_copy_is_what_is_bad_after_it(
    shop: Shop, opener: Opener, known: str
) -> None:
    """Simulator: the oldest keys were taken for the bad ones, so a buyer who asked again for the
    bad one got another. Seed 6004559: in the copy the first message was still unclear."""
    shelf(shop, n=5)
    one = order("A1", quantity=2, amount=2000)
    file = saved(shop)
    if known != "no order":
        outside().faults = ["unknown"] if known == "unclear" else []
        pull(shop, one)
        deliver(shop)
        file = saved(shop)
        tick(shop, 130_000)
    else:
        pull(shop, one)
    for _ in range(3):
        deliver(shop)
        tick(shop, 130_000)
    assert line(shop)["state"] == "delivered"
    bad(shop, "0001")
    bad(shop, "0002")
    before = keys_at("A1")
    assert len(before) == 4
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, one)
        run_on(again)
        assert line(again)["state"] == "delivered"
        assert tails(again, "delivered") == {"0000", "0003"}
        assert tails(again, "replaced") == {"0001", "0002"}
        assert keys_at("A1") == before and broken(again) == []


@pytest.mark.parametrize("copies", [1, 2])
def test_another_replacement_went_than_the_copy_had_reserved(
    shop: Shop, opener: Opener, copies: int
) -> None:
    """Seed 1002128: the one that was reserved counted, so the buyer got one more."""
    shelf(shop, n=copies)
    reserved = bring(shop, "".join(f"KEY-LATE-900{n}\n" for n in range(copies)))
    bring(shop, "KEY-LATE-9010\nKEY-LATE-9011\n")
    one = order("A1", quantity=copies, amount=copies * 1000)
    pull(shop, one)
    deliver(shop)
    first = saved(shop)
    replace(shop, "A1", ReplaceWish(reason="dead", key="0000"))
    second = saved(shop)
    back(shop, first, opener)
    with opener(shop.config) as another:
        keys.undo(another, str(reserved.files[0].batch))
        bad(another, "0000")
        before = keys_at("A1")
    back(shop, second, opener)
    with opener(shop.config) as again:
        run_on(again)
        assert line(again)["state"] == "delivered"
        assert tails(again, "replaced") == {"0000"} and tails(again, "delivered") >= {"9010"}
        assert keys_at("A1") == before and broken(again) == []


def test_a_journal_made_whole_names_what_was_replaced(shop: Shop, opener: Opener) -> None:
    shelf(shop, n=4)
    file = saved(shop)
    pull(shop, order("A1", quantity=2, amount=2000))
    deliver(shop)
    bad(shop, "0001")
    shop.journal.path.unlink()
    with opener(shop.config) as mended:
        deliver(mended)
        assert [one.kind for one in mended.journal.read()].count("BAD") == 1
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, order("A1", quantity=2, amount=2000))
        run_on(again)
        assert tails(again, "replaced") == {"0001"} and broken(again) == []


def test_a_bad_key_may_lie_in_a_file_that_is_brought_in_later(shop: Shop, opener: Opener) -> None:
    shelf(shop, n=1)
    file = saved(shop)
    keys = "KEY-LATE-9000\nKEY-LATE-9001\n"
    bring(shop, keys)
    pull(shop, order("A1", quantity=2, amount=2000))
    deliver(shop)
    bad(shop, "9000")
    before = keys_at("A1")
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, order("A1", quantity=2, amount=2000))
        run_on(again)
        assert line(again)["state"] == "human"
        bring(again, keys)
        run_on(again)
        assert tails(again, "replaced") == {"9000"} and keys_at("A1") == before
        assert line(again)["state"] == "delivered" and broken(again) == []


def test_what_waits_for_its_order_is_named_by_a_journal_that_is_made_whole(
    shop: Shop, opener: Opener
) -> None:
    """Set back twice, and the journal lost in between: the keys went to somebody else."""
    shelf(shop, n=4)
    file = saved(shop)
    one = order("A1", quantity=2, amount=2000)
    pull(shop, one)
    deliver(shop)
    bad(shop, "0001")
    before = keys_at("A1")
    del world("shop1").orders["A1"]
    back(shop, file, opener)
    shop.journal.path.unlink()
    with opener(shop.config) as mended:
        pull(mended, order("A2"))
        deliver(mended)
        assert keys_at("A2").isdisjoint(before)
        kinds = [entry.kind for entry in mended.journal.read() if entry.order == "A1"]
        assert sorted(kinds) == ["BAD", "SEND", "SEND", "SEND"]
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, one)
        run_on(again)
        assert tails(again, "replaced") == {"0001"} and keys_at("A1") == before
        assert broken(again) == []


def test_many_that_wait_for_one_product_do_not_stop_another(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 lines that waited for a product that is sold out kept all later ones waiting."""
    monkeypatch.setattr(order_replace, "LINES_MAX", 2)
    shelf(shop, n=2)
    shelf(shop, "S2", n=1, item="i2", supplier="sup2")
    pull(shop, order("A1"), order("A2"), order("B1", lines=lines(("i2", 1))))
    deliver(shop)
    for number in ("A1", "A2", "B1"):
        replace(shop, number, ReplaceWish(reason="dead"))
    bring(shop, "KEY-S2-09999\n", sku="S2")
    run_on(shop)
    assert line(shop, "B1")["state"] == "delivered"
