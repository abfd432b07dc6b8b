"""What asking the ledger in simulated lives found, each kept as a test of the operation itself."""

from __future__ import annotations

from kmtool.journal import JournalEntry
from kmtool.operations import products
from kmtool.operations.products import Fields, Mapping
from kmtool.operations.replay import replay
from kmtool.shop import Shop
from tests.fakes import order
from tests.operations.delivery_kit import pull
from tests.operations.import_kit import bring


def test_uses_of_a_shared_key_found_in_the_journal_cost_a_share_each(shop: Shop) -> None:
    """Seed 6 of the simulated owner: after a restore every use was booked as a whole key."""
    products.add(shop, "S1", Fields(uses=3))
    products.map_listing(shop, Mapping("shop1", "i1", "", "S1"))
    bring(shop, "KEY-SHARED-1\n", cost_e5=100_000)
    mark = shop.vault.fingerprint(b"KEY-SHARED-1").hex()
    numbers = ("A1", "A2", "A3")
    shop.journal.append(
        [JournalEntry("SEND", "shop1", number, "1", mark, 1, parcel=1) for number in numbers]
    )
    replay(shop)
    pull(shop, *(order(number) for number in numbers))
    bound = shop.db.all("SELECT cost_e5 FROM allocations ORDER BY id")
    assert [row["cost_e5"] for row in bound] == [34_000, 33_000, 33_000]
