"""What the simulated owner found in the program, each kept as a test of the operation itself."""

from __future__ import annotations

from kmtool.operations.deliver import deliver
from kmtool.operations.order_changes import redeliver
from kmtool.operations.order_replace import ReplaceWish, replace
from kmtool.shop import Shop
from tests.fakes import order
from tests.operations.delivery_kit import broken, keys_at, line, pull
from tests.operations.import_kit import bring
from tests.operations.stock import shelf

BAD = ReplaceWish(reason="dead on arrival", key="0000")


def test_old_keys_sent_again_do_not_end_a_wait_for_another_key(shop: Shop) -> None:
    shelf(shop, n=2)
    pull(shop, order("A1", quantity=2, amount=2000))
    deliver(shop)
    redeliver(shop, "A1")
    assert replace(shop, "A1", BAD).waiting == 1
    deliver(shop)
    assert line(shop)["state"] == "human"
    assert broken(shop) == []
    bring(shop, "KEY-NEW-1\n", cost_e5=500_000)
    deliver(shop)
    assert line(shop)["state"] == "delivered"
    assert len(keys_at("A1")) == 3
    assert broken(shop) == []
