"""Keys the shop had already: an asset against its owner's account, never a debt to anybody."""

from __future__ import annotations

import pytest

from kmtool.errors import Refused, UsageError
from kmtool.operations import import_keys, settle, suppliers
from kmtool.operations import keys as key_operations
from kmtool.operations.deliver import deliver
from kmtool.operations.import_records import Terms
from kmtool.operations.key_sources import Source
from kmtool.operations.order_refund import decide
from kmtool.operations.order_replace import ReplaceWish, replace
from kmtool.operations.refund_records import Answer, Bearer, Decision, Fate
from kmtool.shop import Shop
from kmtool.store import products
from tests.fakes import order
from tests.operations.delivery_kit import broken, pull
from tests.operations.import_kit import balances, bring
from tests.operations.refund_kit import AT, key_states, refund
from tests.operations.stock import shelf


def owned(shop: Shop, n: int = 3) -> None:
    """Keys of S1 without a supplier, at 5.00 each, and their listing."""
    bring(shop, "".join(f"KEY-{i}\n" for i in range(n)), supplier="", cost_e5=500_000)
    with shop.db.tx():
        products.put_listing(
            shop.db, channel="shop1", item_id="i1", variant_id="", title="", sku="S1", units=1,
            price_minor=None,
        )  # fmt: skip


def sold(shop: Shop) -> None:
    owned(shop)
    pull(shop, order("A1", at_ms=AT))
    assert deliver(shop).delivered == 1


def test_what_the_owner_had_is_owed_to_nobody(shop: Shop) -> None:
    sold(shop)
    assert balances(shop) == {"asset:stock": 1000, "equity:own": -1500, "cost:keys": 500}
    with pytest.raises(Refused, match="owed to nobody"):
        settle.preview(shop, "own")
    with pytest.raises(Refused, match="owed to nobody"):
        settle.close(shop, "own")
    key_operations.undo(shop, "B20261122-01")
    assert balances(shop) == {"asset:stock": 0, "equity:own": -500, "cost:keys": 500}
    assert broken(shop) == []


def test_a_named_supplier_is_taken_as_before_and_asking_sees_who_is_known(shop: Shop) -> None:
    owned(shop)
    bring(shop, "Z1\n", supplier="zhang")
    seen: list[list[str]] = []

    def whose(known: object) -> str:
        seen.append(list(known))  # type: ignore[call-overload]
        return "zhang"

    import_keys.run(
        shop, [Source("k.txt", b"Z2\n")], Terms("S1", ""), agree=lambda _: True,
        create=lambda *_: True, whose=whose,
    )  # fmt: skip
    assert seen == [["zhang"]]
    assert {one.code: one.keys for one in suppliers.every(shop).suppliers} == {
        "own": 3, "zhang": 2,
    }  # fmt: skip


def test_what_the_owner_had_has_no_mode(shop: Shop) -> None:
    with pytest.raises(UsageError, match="owed to nobody"):
        bring(shop, "A\n", supplier="own", mode="consignment")
    with pytest.raises(UsageError, match="owed to nobody"):
        suppliers.add(shop, "own", mode="consignment")
    assert suppliers.every(shop).suppliers == ()


def test_a_bad_key_of_ones_own_is_charged_to_nobody(shop: Shop) -> None:
    sold(shop)
    made = replace(shop, "A1", ReplaceWish(reason="dead"))
    assert (made.debits, made.new_keys) == (0, ("…-1",))
    assert deliver(shop).delivered == 1
    assert shop.db.value("SELECT count(*) FROM supplier_debits") == 0
    after = balances(shop)
    assert (after["cost:refunds"], after["cost:keys"], after["asset:stock"]) == (500, 500, 500)
    assert broken(shop) == []


@pytest.mark.parametrize("fate", [Fate.KEEP, Fate.VOID])
def test_a_refund_of_ones_own_key_is_borne_by_the_shop(shop: Shop, fate: Fate) -> None:
    sold(shop)
    refund(shop, "done")
    decided = decide(shop, "A1", Decision(Answer.RECORD, keys=fate, bearer=Bearer.SUPPLIER))
    assert decided.debits == ()
    after = balances(shop)
    assert (after["cost:refunds"], after["cost:keys"]) == (500, 0)
    state = "void" if fate is Fate.VOID else "delivered"
    assert key_states(shop) == [("delivered", state)]
    assert broken(shop) == []


def test_keys_of_before_stay_readable_and_make_no_debt(shop: Shop) -> None:
    """A shop that kept its own keys as on consignment goes on selling them."""
    shelf(shop, supplier="own")
    pull(shop, order("A1", at_ms=AT))
    assert deliver(shop).delivered == 1
    after = balances(shop)
    assert after["equity:own"] == -500
    assert "payable:supplier:own" not in after
    assert suppliers.show(shop, "own").mode == suppliers.OWN_MODE
    made = replace(shop, "A1", ReplaceWish(reason="dead"))
    assert made.debits == 0
    assert balances(shop)["cost:refunds"] == 500
    assert broken(shop) == []
