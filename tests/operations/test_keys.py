"""Keys are found without opening, opened only on record; an undo takes out no more than is here."""

from __future__ import annotations

import pytest

from kmtool.domain.secret import Secret
from kmtool.errors import NotFound, Refused, UsageError
from kmtool.operations import keys
from kmtool.shop import Shop
from kmtool.store import keys as store
from tests.operations.import_kit import balances, bring, free, stored


def give_away(shop: Shop, text: str, state: str = "delivered") -> int:
    """Bind a key to an order line as a delivery does."""
    row = store.find_by_fingerprint(shop.db, shop.vault.fingerprint(text.encode()))
    assert row is not None
    with shop.db.tx():
        order = shop.db.value(
            "INSERT INTO orders (channel, number, account, status, refund, refunded_minor,"
            " revision_ms, created_ms, currency, total_minor, expected_gross_minor, ext_txn_id,"
            " risk, note, buyer_ref, buyer_name, buyer_email, buyer_phone, fact_hash, facts_ms,"
            " seen_ms, code, history) VALUES ('shop1', :n, '', 'paid', 'none', 0, 1, 1, 'CNY', 1,"
            " 1, '', '', '', '', '', '', '', '', 1, 1, :n, 0) RETURNING id",
            n=f"O-{row['id']}",
        )
        line = shop.db.value(
            "INSERT INTO lines (order_id, line_no, item_id, variant_id, title, quantity,"
            " amount_minor, account, kind, sku, needed, state, gate, reason, since_ms)"
            " VALUES (:o, '1', 'i1', '', '', 1, 1, '', 'key', 'S1', 1, 'delivered', '', '', 1)"
            " RETURNING id",
            o=order,
        )
        shop.db.run(
            "INSERT INTO allocations (line_id, key_id, batch_id, sku, state, exclusive, mode,"
            " cost_e5, currency, reserved_ms) VALUES (:l, :k, :b, 'S1', :s, 1, 'consignment', 0,"
            " 'CNY', 1)",
            l=line,
            k=row["id"],
            b=row["batch_id"],
            s="withdrawn" if state == "free" else state,
        )
        if state != "free":
            shop.db.run("UPDATE keys SET state = :s WHERE id = :k", s=state, k=row["id"])
            store.add_stock(shop.db, "S1", -1)
    return int(row["id"])


def test_a_key_is_found_by_its_exact_text(shop: Shop) -> None:
    bring(shop, "AAAA-1111\nBBBB-2222\n")
    found = keys.find_exact(shop, Secret("BBBB-2222"))
    assert (found.key.key, found.key.batch, found.key.line_no) == ("…2222", "B20261122-01", 2)


def test_a_key_that_is_not_here_is_named_by_its_ending_only(shop: Shop) -> None:
    with pytest.raises(NotFound) as caught:
        keys.find_exact(shop, Secret("SECRET-9999"))
    assert "SECRET" not in str(caught.value) + caught.value.next_step()
    assert "kmtool key find --tail 9999" in caught.value.next_step()


@pytest.mark.parametrize("tail", ["1111", "A-1111", "…1111"])
def test_keys_are_found_by_their_ending(shop: Shop, tail: str) -> None:
    bring(shop, "AAAA-1111\nBBBB-2222\n")
    assert [key.line_no for key in keys.find_tail(shop, tail, 50).keys] == [1]


def test_where_a_key_went_is_shown(shop: Shop) -> None:
    bring(shop, "AAAA-1111\n")
    key_id = give_away(shop, "AAAA-1111")
    page = keys.show(shop, key_id)
    assert [(at.channel, at.order, at.state) for at in page.lines] == [
        ("shop1", f"O-{key_id}", "delivered")
    ]


def test_opening_a_key_is_on_record_with_its_reason(shop: Shop) -> None:
    bring(shop, "AAAA-1111\n")
    assert keys.reveal(shop, 1, "buyer asks again").text() == "AAAA-1111"
    row = shop.db.one("SELECT * FROM audit WHERE action = 'key.reveal'")
    assert row is not None and (row["object"], row["detail"]) == ("key:1", "buyer asks again")


def test_opening_a_key_without_a_reason_is_refused(shop: Shop) -> None:
    bring(shop, "AAAA-1111\n")
    with pytest.raises(UsageError):
        keys.reveal(shop, 1, " ")
    assert shop.db.value("SELECT count(*) FROM audit WHERE action = 'key.reveal'") == 0


def test_keys_are_listed_by_product_and_state(shop: Shop) -> None:
    bring(shop, "AAAA-1111\nBBBB-2222\n")
    bring(shop, "CCCC-3333\n", sku="S2")
    give_away(shop, "AAAA-1111")
    found = keys.every(shop, 50, sku="S1", state="free")
    assert ([key.key for key in found.keys], found.total) == (["…2222"], 1)
    assert keys.every(shop, 2).total == 3
    assert len(keys.every(shop, 2).keys) == 2


def test_an_unknown_state_is_named_with_those_there_are(shop: Shop) -> None:
    with pytest.raises(UsageError) as caught:
        keys.every(shop, 50, state="sold")
    assert "delivered" in caught.value.next_step()


def test_stock_says_what_is_low_and_when_it_expires(shop: Shop) -> None:
    bring(shop, "AAAA-1111\nBBBB-2222\n")
    (row,) = keys.stock(shop, "S1").products
    assert (row.free, row.low, row.keys, row.first_expiry_ms) == (2, True, {"free": 2}, None)
    assert keys.stock(shop).products[0].keys is None
    with pytest.raises(NotFound):
        keys.stock(shop, "none")


def test_batches_are_listed_newest_first(shop: Shop) -> None:
    bring(shop, "A1\n")
    bring(shop, "A2\nA3\n", supplier="sup2")
    found = keys.batches(shop, 50)
    assert [b.number for b in found.batches] == ["B20261122-02", "B20261122-01"]
    assert found.batches[0].keys == {"free": 2}
    assert keys.batches(shop, 1).more
    assert [b.supplier for b in keys.batches(shop, 50, supplier="sup1").batches] == ["sup1"]


def test_an_undone_batch_leaves_neither_keys_nor_stock_nor_debt(shop: Shop) -> None:
    bring(shop, "A1\nA2\nA3\n", cost_e5=33_333, mode="buyout")
    undone = keys.undo(shop, "B20261122-01")
    assert (undone.removed, undone.state, undone.amount_minor) == (3, "undone", 100)
    assert stored(shop) == []
    assert free(shop) == 0
    assert balances(shop) == {"asset:stock": 0, "payable:supplier:sup1": 0}
    assert bring(shop, "A1\nA2\nA3\n").accepted == 3


def test_keys_that_were_given_to_buyers_stay_and_are_named(shop: Shop) -> None:
    bring(shop, "AAAA-1111\nBBBB-2222\nCCCC-3333\n", cost_e5=33_333, mode="buyout")
    give_away(shop, "BBBB-2222", "exposed")
    undone = keys.undo(shop, "B20261122-01")
    assert (undone.removed, undone.stay, undone.state) == (2, {"exposed": 1}, "accepted")
    assert [key.key for key in undone.staying] == ["…2222"]
    assert free(shop) == 0
    assert balances(shop) == {"asset:stock": 33, "payable:supplier:sup1": -33}
    batch = keys.batch(shop, "B20261122-01")
    assert batch.accepted - batch.removed == sum(batch.keys.values()) == 1


def test_a_free_key_that_was_reserved_once_stays(shop: Shop) -> None:
    bring(shop, "AAAA-1111\nBBBB-2222\n")
    give_away(shop, "AAAA-1111", "free")
    assert keys.undo(shop, "B20261122-01").removed == 1
    assert stored(shop) == ["AAAA-1111"]
    assert free(shop) == 1


def test_undos_in_two_steps_book_back_exactly_what_was_booked(shop: Shop) -> None:
    bring(shop, "AAAA-1111\nBBBB-2222\nCCCC-3333\n", cost_e5=33_333, mode="buyout")
    key_id = give_away(shop, "BBBB-2222", "reserved")
    keys.undo(shop, "B20261122-01")
    with shop.db.tx():
        shop.db.run("DELETE FROM allocations WHERE key_id = :k", k=key_id)
        shop.db.run("UPDATE keys SET state = 'free' WHERE id = :k", k=key_id)
        store.add_stock(shop.db, "S1", 1)
    assert keys.undo(shop, "B20261122-01").state == "undone"
    assert balances(shop) == {"asset:stock": 0, "payable:supplier:sup1": 0}


def test_a_batch_is_not_undone_twice(shop: Shop) -> None:
    bring(shop, "A1\n")
    keys.undo(shop, "B20261122-01")
    with pytest.raises(Refused, match="undone already"):
        keys.undo(shop, "B20261122-01")


def test_a_batch_that_is_all_sold_is_not_undone(shop: Shop) -> None:
    bring(shop, "AAAA-1111\n")
    give_away(shop, "AAAA-1111")
    with pytest.raises(Refused, match="given to buyers"):
        keys.undo(shop, "B20261122-01")


def test_history_is_undone_without_touching_stock(shop: Shop) -> None:
    bring(shop, "FREE-1\n")
    bring(shop, "OLD-1\nOLD-2\n", history=True)
    assert keys.undoable(shop, "B20261122-02").removable == 2
    assert keys.undo(shop, "B20261122-02").removed == 2
    assert free(shop) == 1


def test_a_dry_undo_leaves_everything(shop: Shop) -> None:
    bring(shop, "A1\nA2\n")
    with shop.db.rehearsal():
        assert keys.undo(shop, "B20261122-01").removed == 2
    assert len(stored(shop)) == 2
    assert free(shop) == 2


def test_an_unknown_batch_or_key_is_not_found(shop: Shop) -> None:
    for call in (
        lambda: keys.batch(shop, "B1"),
        lambda: keys.undo(shop, "B1"),
        lambda: keys.show(shop, 7),
        lambda: keys.reveal(shop, 7, "why"),
    ):
        with pytest.raises(NotFound):
            call()
