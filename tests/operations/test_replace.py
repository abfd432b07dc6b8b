"""Another key for a bad one: on the same line, sent like the first, charged to its supplier."""

from __future__ import annotations

from dataclasses import replace as changed

import pytest

from kmtool.domain.states import RefundState
from kmtool.errors import NeedsAnswer, Refused
from kmtool.operations import settle
from kmtool.operations.debits import drop, listing
from kmtool.operations.deliver import deliver
from kmtool.operations.order_changes import redeliver, release
from kmtool.operations.order_replace import ReplaceWish, plan, replace
from kmtool.operations.orders import show
from kmtool.operations.status import status
from kmtool.operations.sync import sync
from kmtool.ports import Buyer, LineFact
from kmtool.shop import Shop
from kmtool.store import seen_keys
from tests.fakes import order
from tests.operations.delivery_kit import (
    KEY,
    broken,
    effects,
    keys_at,
    line,
    outside,
    pull,
    states,
    tick,
)
from tests.operations.refund_kit import AT, balance, key_states, refund
from tests.operations.stock import shelf

DAY_MS = 86_400_000
BAD = ReplaceWish(reason="dead on arrival")


def sold(shop: Shop, n: int = 5, quantity: int = 1) -> None:
    shelf(shop, n=n)
    pull(shop, order("A1", quantity=quantity, amount=1000 * quantity, at_ms=AT))
    assert deliver(shop).delivered == 1


def test_a_bad_key_is_replaced_on_the_same_line(shop: Shop) -> None:
    sold(shop)
    first = keys_at("A1")
    made = replace(shop, "A1", BAD)
    assert (made.bad_keys, made.new_keys, made.waiting) == (("…0000",), ("…0001",), 0)
    assert line(shop)["state"] == "reserved"
    assert deliver(shop).delivered == 1
    assert line(shop)["state"] == "delivered"
    assert key_states(shop) == [("replaced", "defective"), ("delivered", "delivered")]
    text = outside().received["A1"][-1]
    assert "补发" in text and set(KEY.findall(text)).isdisjoint(first)
    assert balance(shop, "cost:keys") == 1000, "both keys cost money until the sheet"
    (debit,) = listing(shop, "sup1")
    assert (debit.cause, debit.ask, debit.amount_minor) == ("defective", "credit", 500)
    assert len(outside().received["A1"]) == 2
    assert broken(shop) == []


def test_the_supplier_pays_for_the_bad_key_on_the_next_sheet(shop: Shop) -> None:
    sold(shop)
    replace(shop, "A1", BAD)
    deliver(shop)
    tick(shop, 4 * DAY_MS)
    shown = settle.preview(shop, "sup1")
    assert (shown.keys, shown.clawbacks, shown.payable_minor, shown.difference_minor) == (
        2, 1, 500, 0,
    )  # fmt: skip
    settle.close(shop, "sup1")
    assert balance(shop, "cost:keys") == 500
    assert listing(shop, "sup1") == ()


@pytest.mark.parametrize("is_settled", [False, True])
def test_a_replaced_use_of_a_shared_key_is_withheld_alone(shop: Shop, is_settled: bool) -> None:
    """The others of the same key were used: their supplier is paid for them."""
    shelf(shop, n=2, cost_e5=1_000_000)
    shop.db.run("UPDATE keys SET uses = 4, uses_left = 4")
    shop.db.run("UPDATE products SET shared = 1")
    shop.db.run("UPDATE stock SET free = 8")
    other = changed(order("A2", at_ms=AT), buyer=Buyer(ref="b-2", name="another_buyer"))
    pull(shop, order("A1", at_ms=AT), other)
    assert deliver(shop).delivered == 2
    if is_settled:
        tick(shop, 4 * DAY_MS)
        assert settle.close(shop, "sup1").payable_minor == 500
    made = replace(shop, "A1", BAD)
    assert (made.bad_keys, made.new_keys, made.debits) == (("…0000",), ("…0001",), 1)
    assert deliver(shop).delivered == 1
    tick(shop, 4 * DAY_MS)
    shown = settle.preview(shop, "sup1")
    assert (shown.waiting, shown.clawbacks, shown.difference_minor) == ((), 1, 0)
    assert shown.payable_minor == (0 if is_settled else 500), "A2's use and the new one of A1"
    (debit,) = listing(shop, "sup1")
    drop(shop, "sup1", debit.id)
    shown = settle.preview(shop, "sup1")
    assert shown.payable_minor == (250 if is_settled else 750), "the shop bears the bad use"
    assert balance(shop, "cost:refunds") == 250
    assert broken(shop) == []


def test_only_the_named_key_of_several_is_replaced(shop: Shop) -> None:
    sold(shop, quantity=3)
    with pytest.raises(Refused, match="which key"):
        replace(shop, "A1", BAD)
    with pytest.raises(Refused, match="which key"):
        replace(shop, "A1", changed(BAD, key="9999"))
    made = replace(shop, "A1", changed(BAD, key="…0001"))
    assert made.bad_keys == ("…0001",)
    deliver(shop)
    assert set(KEY.findall(outside().received["A1"][-1])) == {"KEY-S1-00003"}
    assert states(shop) == {"delivered": 3, "defective": 1, "free": 1}
    assert broken(shop) == []


def test_all_keys_of_a_line_can_be_replaced_and_replaced_again(shop: Shop) -> None:
    sold(shop, n=8, quantity=2)
    every = changed(BAD, all_keys=True)
    replace(shop, "A1", every)
    deliver(shop)
    with pytest.raises(NeedsAnswer):
        replace(shop, "A1", every)
    assert plan(shop, "A1", every).often
    replace(shop, "A1", every, sure=True)
    deliver(shop)
    assert len(outside().received["A1"]) == 3
    assert states(shop) == {"delivered": 2, "defective": 4, "free": 2}
    assert broken(shop) == []


def test_without_stock_it_waits_says_so_and_goes_on_by_itself(shop: Shop) -> None:
    sold(shop, n=1)
    made = replace(shop, "A1", BAD)
    assert (made.new_keys, made.waiting) == ((), 1)
    found = line(shop)
    assert (found["state"], found["gate"], found["reason"]) == (
        "human", "stock", "1 keys to be replaced, 0 of S1 in stock",
    )  # fmt: skip
    deliver(shop)
    assert len(outside().received["A1"]) == 1
    assert replace(shop, "A1", BAD).waiting == 1
    more(shop)
    assert deliver(shop).delivered == 1
    assert line(shop)["state"] == "delivered"
    assert KEY.findall(outside().received["A1"][-1]) == ["KEY-MORE-1"]
    assert broken(shop) == []


def more(shop: Shop) -> None:
    """Bring one more key of S1 in, through the operation an owner uses."""
    from kmtool.clock import NEVER_MS
    from kmtool.domain.secret import Secret
    from kmtool.store import keys

    text = "KEY-MORE-1"
    fingerprint = shop.vault.fingerprint(text.encode())
    sealed, number = shop.vault.seal(Secret(text), fingerprint)
    with shop.db.tx():
        batch = keys.add_batch(
            shop.db, number="B-MORE", sku="S1", supplier="sup1", mode="consignment", kind="stock",
            cost_e5=500_000, currency="CNY", file_name="m", file_sha256="m", rows=1, accepted=1,
            duplicates=0, rejected=0, expires_ms=NEVER_MS, imported_ms=shop.now_ms(),
        )  # fmt: skip
        keys.insert_keys(
            shop.db,
            [{"fingerprint": fingerprint, "sealed": sealed, "data_key_id": number, "tail": "RE-1",
              "sku": "S1", "batch_id": batch, "line_no": 1, "state": "free", "uses_left": 1,
              "expires_ms": NEVER_MS, "state_ms": shop.now_ms(), "uses": 1, "media": ""}],
        )  # fmt: skip
        keys.add_stock(shop.db, "S1", 1)


def test_nothing_is_replaced_while_a_refund_is_open_or_nothing_was_sent(shop: Shop) -> None:
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    with pytest.raises(Refused, match="no key that the buyer has"):
        replace(shop, "A1", BAD)
    deliver(shop)
    refund(shop)
    with pytest.raises(Refused, match="refund"):
        replace(shop, "A1", BAD)
    assert states(shop) == {"delivered": 1, "free": 4}


def test_a_refund_before_the_new_key_left_takes_it_back(shop: Shop) -> None:
    sold(shop)
    replace(shop, "A1", BAD)
    refund(shop)
    assert line(shop)["state"] == "refund_case"
    assert states(shop) == {"defective": 1, "free": 4}
    tick(shop, 60_000)
    deliver(shop)
    assert len(outside().received["A1"]) == 1
    refund(shop, "ended")
    assert line(shop)["state"] == "human"
    assert deliver(shop).delivered == 1, "the replacement goes on when the refund is over"
    assert len(outside().received["A1"]) == 2
    assert broken(shop) == []


@pytest.mark.parametrize("fault", ["lost", "unknown", "down"])
def test_a_replacement_whose_outcome_is_unclear_is_asked_about(shop: Shop, fault: str) -> None:
    sold(shop)
    outside().faults = [fault]
    replace(shop, "A1", BAD)
    for _ in range(4):
        deliver(shop)
        tick(shop, 200_000)
        sync(shop)
    assert line(shop)["state"] == "delivered"
    assert len(outside().received["A1"]) == 2
    assert len(keys_at("A1")) == 2
    assert states(shop) == {"delivered": 1, "defective": 1, "free": 3}
    assert broken(shop) == []


def test_redeliver_sends_what_is_bound_now(shop: Shop) -> None:
    sold(shop, quantity=2)
    replace(shop, "A1", changed(BAD, key="0000"))
    deliver(shop)
    assert redeliver(shop, "A1").lines == 2
    deliver(shop)
    texts = outside().received["A1"][2:]
    assert [KEY.findall(text) for text in texts] == [
        ["KEY-S1-00000", "KEY-S1-00001"], ["KEY-S1-00002"],
    ]  # fmt: skip
    replace(shop, "A1", changed(BAD, all_keys=True), sure=True)
    deliver(shop)
    sent = len(outside().received["A1"])
    assert redeliver(shop, "A1").lines == 1, "only the newest parcel still has its keys"
    deliver(shop)
    assert len(outside().received["A1"]) == sent + 1
    assert [e["kind"] for e in effects(shop, "replace")][-1] == "replace"
    assert broken(shop) == []


def test_a_line_of_unclear_outcome_is_replaced_whole_or_not(shop: Shop) -> None:
    shelf(shop)
    pull(shop, order("A1", quantity=2, amount=2000, at_ms=AT))
    outside().faults = ["rejected"]
    deliver(shop)
    assert line(shop)["state"] == "human"
    with pytest.raises(Refused, match="not proved"):
        replace(shop, "A1", changed(BAD, key="0000"))
    replace(shop, "A1", changed(BAD, all_keys=True))
    assert deliver(shop).delivered == 1
    assert states(shop) == {"defective": 2, "delivered": 2, "free": 1}
    assert (line(shop)["state"], broken(shop)) == ("delivered", [])


def test_several_lines_name_one(shop: Shop) -> None:
    shelf(shop)
    two = (LineFact("1", "i1", "", "月卡", 1, 1000), LineFact("2", "i1", "", "月卡", 1, 1000))
    pull(shop, order("A1", lines=two, at_ms=AT))
    deliver(shop)
    with pytest.raises(Refused, match="several lines"):
        replace(shop, "A1", BAD)
    made = replace(shop, "A1", changed(BAD, key="0001"))
    assert made.line == "2"
    deliver(shop)
    made = replace(shop, "A1", changed(BAD, line="1"))
    deliver(shop)
    assert {line(shop)["state"], line(shop, line_no="2")["state"]} == {"delivered"}
    assert broken(shop) == []


def test_what_was_replaced_is_shown_with_the_order(shop: Shop) -> None:
    sold(shop)
    replace(shop, "A1", BAD)
    deliver(shop)
    shown = show(shop, "A1")
    assert [(r.bad_key, r.new_key, r.reason) for r in shown.replaced] == [
        ("…0000", "…0001", "dead on arrival")
    ]
    assert shown.lines[0].keys == ("…0001",)


def test_a_change_at_the_channel_stops_a_replacement_that_is_not_out_yet(shop: Shop) -> None:
    sold(shop)
    replace(shop, "A1", BAD)
    fact = outside().orders["A1"]
    more_of_it = (changed(fact.lines[0], quantity=2, amount_minor=2000),)
    pull(shop, changed(fact, lines=more_of_it, total_minor=2000, revision_ms=shop.now_ms()))
    deliver(shop)
    assert len(outside().received["A1"]) == 1
    assert (line(shop)["state"], broken(shop)) == ("human", [])


def test_a_partly_refunded_order_is_replaced_after_its_release(shop: Shop) -> None:
    shelf(shop)
    fact = order("A1", quantity=3, amount=3000, at_ms=AT)
    pull(shop, changed(fact, refund=RefundState.PARTIAL))
    release(shop, "A1", 2)
    deliver(shop)
    made = replace(shop, "A1", changed(BAD, key="0000"))
    assert made.new_keys
    deliver(shop)
    assert (states(shop), broken(shop)) == ({"delivered": 2, "defective": 1, "free": 2}, [])


def test_all_keys_of_a_line_with_more_than_it_wants_are_replaced_by_as_many_as_were_paid(
    shop: Shop,
) -> None:
    """Before a restore another key was sent in place of the first; both are bound now."""
    shelf(shop, n=4)
    pull(shop, order("A1"))
    deliver(shop)
    here = line(shop)
    with shop.db.tx():
        key = shop.db.one("SELECT * FROM keys WHERE state = 'free' ORDER BY id LIMIT 1")
        assert key is not None
        seen_keys.take_out(shop.db, key["id"], shop.now_ms())
        bond = {name: key[name] for name in ("batch_id", "sku")}
        bond |= {"line_id": here["id"], "key_id": key["id"], "exclusive": 1, "now": shop.now_ms()}
        seen_keys.bind(shop.db, {**bond, "mode": "consignment", "currency": "CNY", "cost_e5": 0})
    done = replace(shop, "A1", ReplaceWish(reason="both are dead", all_keys=True))
    assert (len(done.bad_keys), len(done.new_keys)) == (1, 1)
    deliver(shop)
    assert len(keys_at("A1")) == 2
    assert broken(shop) == []


def test_a_key_that_is_no_good_any_more_is_replaced_before_its_message_goes(shop: Shop) -> None:
    """Simulator, seeds 466, 1001078: the command that was named for it never helped."""
    shelf(shop, n=3)
    shelf(shop, "S2", n=1, item="i2")
    two = order("A1", at_ms=AT, lines=(LineFact("1", "i1", "", "t", 1, 1000),
                                       LineFact("2", "i2", "", "t", 1, 1000)))  # fmt: skip
    pull(shop, two)
    outside().faults = ["lost"]
    deliver(shop)
    outside().received.clear()
    bad = "SELECT k.id FROM keys k JOIN allocations a ON a.key_id = k.id WHERE k.sku = 'S1'"
    shop.db.run(f"UPDATE keys SET state = 'void' WHERE id IN ({bad})")
    for _ in range(4):
        tick(shop, 200_000)
        deliver(shop)
    assert "no longer good: …0000 (void)" in line(shop)["reason"]
    assert "another line" in line(shop, line_no="2")["reason"]
    commands = [item.command for item in status(shop).needs_you]
    assert "kmtool order replace A1 --line 1 --all --reason TEXT" in commands
    replace(shop, "A1", changed(BAD, all_keys=True, line="1"))
    deliver(shop)
    redeliver(shop, "A1")
    deliver(shop)
    assert {line(shop, line_no=n)["state"] for n in ("1", "2")} == {"delivered"}
    assert broken(shop) == []


def test_an_old_message_sent_again_does_not_stand_for_the_replacement(shop: Shop) -> None:
    """Simulator, seed 51: the line counted as delivered, and the other key was never shown."""
    shelf(shop, n=2)
    shelf(shop, "S2", n=1, item="i2")
    two = order("A1", at_ms=AT, lines=(LineFact("1", "i1", "", "t", 1, 1000),
                                       LineFact("2", "i2", "", "t", 1, 1000)))  # fmt: skip
    pull(shop, two)
    outside().faults = ["rejected"]
    deliver(shop)
    replace(shop, "A1", changed(BAD, all_keys=True, line="1"))
    shop.db.run("UPDATE effects SET due_ms = due_ms + 1000000 WHERE kind = 'replace'")
    redeliver(shop, "A1")
    shop.db.run("UPDATE effects SET due_ms = due_ms + 1000000 WHERE kind = 'replace'")
    deliver(shop)
    assert line(shop, line_no="2")["state"] == "delivered"
    assert line(shop)["state"] == "reserved"
    tick(shop, 3_000_000)
    deliver(shop)
    assert line(shop)["state"] == "delivered" and broken(shop) == []
    assert states(shop) == {"delivered": 2, "defective": 1}
