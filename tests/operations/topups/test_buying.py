"""Top-ups: the account is checked, the money guarded, one number for all tries, proof kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adapters.demo_shop import DemoShop
from adapters.demo_shop.truth import Refusal
from adapters.suppliers import demo
from kmtool.errors import NotFound, Refused
from kmtool.operations import orders, products, purchase_records, routes, topup
from kmtool.operations.deliver import deliver
from kmtool.operations.order_changes import redeliver, release
from kmtool.operations.products import Fields, Mapping
from kmtool.operations.status import status
from kmtool.ports import Idempotency
from kmtool.shop import Shop
from kmtool.store import purchases
from tests.fakes import order
from tests.operations.delivery_kit import broken, line, outside, pull, tick
from tests.operations.import_kit import balances
from tests.operations.topups.kit import PHONE, bought, refunded, settled, told, wish


def test_an_account_is_charged_and_the_buyer_told(shop: Shop, lab: DemoShop) -> None:
    pull(shop, wish())
    assert deliver(shop).delivered == 1
    settled(shop, 2)
    assert lab.supply.charged(PHONE) == 1
    (row,) = bought(shop)
    assert (row["state"], row["charged_minor"], row["agreed_minor"]) == ("done", 980, 980)
    assert row["our_no"].isascii() and row["our_no"].startswith("KM") and len(row["our_no"]) <= 40
    assert line(shop)["state"] == "delivered" and "A1" in outside().shipped
    assert PHONE in told() and "到账" in told() and row["their_no"] in told()
    assert balances(shop)["cost:topup"] == 980 and balances(shop)["asset:supplier:toplab"] == -980
    (shown,) = orders.show(shop, "A1").purchases
    assert (shown.their_no, shown.proof, shown.difference) == (row["their_no"], row["proof"], "")
    assert broken(shop) == []


def test_several_pieces_are_one_purchase(shop: Shop, lab: DemoShop) -> None:
    pull(shop, wish(quantity=3))
    settled(shop, 2)
    assert lab.supply.charged(PHONE) == 3 and len(bought(shop)) == 1
    assert bought(shop)[0]["charged_minor"] == 2940


@pytest.mark.parametrize("account", ["", "12345", "not a phone"])
def test_an_account_that_does_not_fit_waits_for_a_word(
    shop: Shop, lab: DemoShop, account: str
) -> None:
    pull(shop, wish(account=account))
    assert deliver(shop).held == {"address": 1}
    with pytest.raises(Refused):
        topup.set_account(shop, "A1", "123")
    done = topup.set_account(shop, "A1", "+86 138-0013-8000")
    assert done.account == PHONE
    pull(shop, wish(account=account, revision_ms=shop.now_ms()))
    settled(shop, 2)
    assert lab.supply.charged(PHONE) == 1 and line(shop)["state"] == "delivered"
    with pytest.raises(Refused, match="its account stands"):
        topup.set_account(shop, "A1", "13900139000")
    with pytest.raises(NotFound):
        topup.set_account(shop, "A1", PHONE, "7")


def test_what_takes_time_is_waited_for(shop: Shop, lab: DemoShop) -> None:
    lab.supply.delay_ms = 90_000
    pull(shop, wish())
    assert deliver(shop).delivered == 0
    assert line(shop)["state"] == "sending" and bought(shop)[0]["state"] == "accepted"
    assert told() == "" and broken(shop) == []
    settled(shop)
    assert line(shop)["state"] == "delivered" and lab.supply.charged(PHONE) == 1
    assert len(lab.supply.orders) == 1 and broken(shop) == []


FAULTS = ["lost_reply", "half_reply", "error_after", "nonsense", "error_before", "closed_before",
          "nonsense_before", "undocumented", "busy", "denied"]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_purchase_is_made_once_whatever_becomes_of_the_answer(
    shop: Shop, lab: DemoShop, fault: str
) -> None:
    lab.fail("place", fault)
    pull(shop, wish())
    deliver(shop)
    assert broken(shop) == []
    settled(shop, 30)
    assert lab.supply.charged(PHONE) == 1 and len(lab.supply.orders) == 1
    assert len({row["our_no"] for row in bought(shop)}) == 1
    assert line(shop)["state"] == "delivered" and broken(shop) == []
    assert balances(shop)["cost:topup"] == 980


@pytest.mark.parametrize("fault", ["closed_before", "error_before", "nonsense_before"])
def test_what_is_not_found_is_tried_again_after_the_grace_period(
    shop: Shop, lab: DemoShop, fault: str
) -> None:
    lab.fail("place", fault)
    pull(shop, wish())
    deliver(shop)
    tick(shop, 3_000)
    deliver(shop)
    assert lab.calls.count("place") == 1 and line(shop)["state"] == "unknown"
    tick(shop, 10_000)
    deliver(shop)
    assert lab.calls.count("place") == 2 and lab.supply.charged(PHONE) == 1


def test_a_slow_answer_is_of_the_moment_it_was_asked_for(
    shop: Shop, lab: DemoShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not found before the grace period was over is no proof, though the answer came after it."""
    lab.fail("place", "closed_before")
    pull(shop, wish())
    deliver(shop)
    asked = routes.bought

    def slow(*what: Any) -> Any:
        answer = asked(*what)
        tick(shop, 10_000)
        return answer

    tick(shop, 3_000)
    with monkeypatch.context() as patch:
        patch.setattr(routes, "bought", slow)
        deliver(shop)
    assert lab.calls.count("place") == 1 and line(shop)["state"] == "unknown"
    tick(shop, 3_000)
    deliver(shop)
    assert lab.calls.count("place") == 2 and lab.supply.charged(PHONE) == 1


def test_a_supplier_that_is_away_is_asked_later(shop: Shop, lab: DemoShop) -> None:
    with lab.offline():
        pull(shop, wish())
        assert deliver(shop).failed == 1
        assert line(shop)["state"] == "reserved" and bought(shop)[0]["state"] == "planned"
    settled(shop)
    assert lab.supply.charged(PHONE) == 1


@pytest.mark.parametrize("at", ["before", "after"])
def test_a_crash_never_buys_twice(
    shop: Shop, lab: DemoShop, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    place = type(shop.adapters.supplier("toplab")).place

    def die(self: Any, wish: Any) -> Any:
        if at == "after":
            place(self, wish)
        raise KeyboardInterrupt

    pull(shop, wish())
    with monkeypatch.context() as patch:
        patch.setattr(type(shop.adapters.supplier("toplab")), "place", die)
        with pytest.raises(KeyboardInterrupt):
            deliver(shop)
    assert bought(shop)[0]["state"] == "intent"
    settled(shop)
    assert lab.supply.charged(PHONE) == 1 and len(lab.supply.orders) == 1
    assert line(shop)["state"] == "delivered" and broken(shop) == []


def test_a_refusal_needs_a_person_and_then_another_number(shop: Shop, lab: DemoShop) -> None:
    lab.supply.goods["TEL-10"].left = 0
    pull(shop, wish())
    assert deliver(shop).needs_you == 1
    assert line(shop)["state"] == "human" and "sold out" in line(shop)["reason"]
    lab.supply.goods["TEL-10"].left = 5
    redeliver(shop, "A1")
    settled(shop, 3)
    assert [row["state"] for row in bought(shop)] == ["rejected", "done"]
    assert len({row["our_no"] for row in bought(shop)}) == 2
    assert lab.supply.charged(PHONE) == 1 and broken(shop) == []


def test_what_fails_there_is_paid_back_and_may_be_tried_anew(shop: Shop, lab: DemoShop) -> None:
    lab.supply.fail_next = 1
    pull(shop, wish())
    assert deliver(shop).needs_you == 1
    assert [row["state"] for row in bought(shop)] == ["failed"]
    assert "cost:topup" not in balances(shop)
    redeliver(shop, "A1")
    settled(shop, 3)
    assert [row["state"] for row in bought(shop)] == ["failed", "done"]
    assert lab.supply.charged(PHONE) == 1 and broken(shop) == []


def test_the_price_may_not_pass_the_cap(shop: Shop, lab: DemoShop) -> None:
    lab.supply.goods["TEL-10"].price_minor = 981
    pull(shop, wish())
    assert deliver(shop).needs_you == 1
    assert "above the cap" in line(shop)["reason"] and lab.supply.balance_minor == 100_000


def test_another_amount_than_agreed_is_looked_at(shop: Shop, lab: DemoShop) -> None:
    lab.supply.surcharge_minor = 30
    pull(shop, wish())
    settled(shop, 2)
    (shown,) = orders.show(shop, "A1").purchases
    assert "10.10" in shown.difference and balances(shop)["cost:topup"] == 1010
    assert purchase_records.settle_charged(shop, "A1", "their fee").purchases == 1
    assert orders.show(shop, "A1").purchases[0].difference == ""
    with pytest.raises(Refused, match="as agreed"):
        purchase_records.settle_charged(shop, "A1", "again")


@pytest.mark.parametrize("limits", [("19.60", "100.00")])
def test_the_limit_of_a_day_counts_what_is_unclear(shop: Shop, lab: DemoShop) -> None:
    lab.fail("place", "lost_reply")
    pull(shop, *(wish(f"A{n}", f"1380013800{n}") for n in range(3)))
    result = deliver(shop)
    assert result.held == {"price": 1} or len(lab.supply.orders) == 2
    settled(shop, 4)
    assert len(lab.supply.orders) == 2
    waiting = shop.db.all("SELECT gate, reason FROM lines WHERE state = 'held'")
    assert [row["gate"] for row in waiting] == ["price"] and "limit" in waiting[0]["reason"]
    tick(shop, 86_400_000)
    settled(shop, 3)
    assert len(lab.supply.orders) == 3 and broken(shop) == []


@pytest.mark.parametrize("limits", [("500.00", "9.79"), ("0.00", "0.00")])
def test_the_limit_of_one_purchase_holds(shop: Shop, lab: DemoShop) -> None:
    pull(shop, wish())
    assert deliver(shop).held == {"price": 1}
    release(shop, "A1")
    assert deliver(shop).held == {"price": 1}
    assert lab.supply.orders == {}


def test_terms_that_are_missing_shut_the_product_gate(shop: Shop) -> None:
    products.add(shop, "U1", Fields(kind="topup"))
    products.map_listing(shop, Mapping("shop1", "u1", "", "U1"))
    pull(shop, order("A1", item="u1"))
    assert deliver(shop).held == {"product": 1}
    assert "no supplier" in line(shop)["reason"]


def cannot_be_asked(shop: Shop, monkeypatch: pytest.MonkeyPatch, rule: Idempotency) -> None:
    kind = type(shop.adapters.supplier("toplab"))
    monkeypatch.setattr(kind, "features", replace(demo.FEATURES, query_by="", idempotency=rule))


def test_a_supplier_that_cannot_be_asked_but_replays_gets_the_number_again(
    shop: Shop, lab: DemoShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    cannot_be_asked(shop, monkeypatch, Idempotency.REPLAY)
    lab.fail("place", "lost_reply")
    pull(shop, wish())
    settled(shop, 3)
    assert lab.calls.count("place") == 2 and lab.calls.count("purchase") == 0
    assert len(lab.supply.orders) == 1 and line(shop)["state"] == "delivered"
    assert broken(shop) == []


@pytest.mark.parametrize("rule", [Idempotency.NONE, Idempotency.REFUSE])
def test_what_can_neither_be_asked_nor_repeated_is_for_a_person(
    shop: Shop, lab: DemoShop, monkeypatch: pytest.MonkeyPatch, rule: Idempotency
) -> None:
    cannot_be_asked(shop, monkeypatch, rule)
    lab.fail("place", "lost_reply")
    pull(shop, wish())
    settled(shop, 3)
    assert lab.calls.count("place") == 1 and line(shop)["state"] == "human"
    (row,) = bought(shop)
    assert row["state"] == "unknown" and purchases.spent(shop.db, "toplab", 0) == 980
    redeliver(shop, "A1")
    settled(shop, 2)
    assert [r["our_no"] for r in bought(shop)] == [row["our_no"]], "a person repeats the number"
    assert len(lab.supply.orders) == 1 and broken(shop) == []


def _sold_out(_given: dict[str, Any]) -> dict[str, Any]:
    raise Refusal(409, 5006, "sold out")


def test_a_refusal_of_the_repetition_is_no_proof_of_the_first(
    shop: Shop, lab: DemoShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed 5000379: it was bought a second time, under another number."""
    cannot_be_asked(shop, monkeypatch, Idempotency.REPLAY)
    lab.fail("place", "lost_reply")
    pull(shop, wish())
    deliver(shop)
    monkeypatch.setattr(lab.supply, "place", _sold_out)
    settled(shop, 3)
    (row,) = bought(shop)
    assert row["state"] == "unknown" and line(shop)["state"] == "human"
    assert "perhaps before" in line(shop)["reason"]
    assert purchases.spent(shop.db, "toplab", 0) == 980 and broken(shop) == []
    with pytest.raises(Refused, match="say which was made"):
        purchase_records.settle_charged(shop, "A1", "look")
    purchase_records.settle_charged(shop, "A1", "it is there", 980)
    settled(shop, 2)
    assert line(shop)["state"] == "delivered" and balances(shop)["cost:topup"] == 980
    assert len(lab.supply.orders) == 1 and broken(shop) == []


def test_what_was_refused_and_not_made_before_gets_another_number(
    shop: Shop, lab: DemoShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    cannot_be_asked(shop, monkeypatch, Idempotency.REPLAY)
    lab.fail("place", "closed_before")
    lab.supply.goods["TEL-10"].left = 0
    pull(shop, wish())
    settled(shop, 3)
    assert bought(shop)[0]["state"] == "unknown" and line(shop)["state"] == "human"
    purchase_records.settle_charged(shop, "A1", "not there", 0)
    assert bought(shop)[0]["state"] == "rejected"
    redeliver(shop, "A1")
    settled(shop, 2)
    assert [row["state"] for row in bought(shop)] == ["rejected", "rejected"]
    lab.supply.goods["TEL-10"].left = 1
    redeliver(shop, "A1")
    settled(shop, 2)
    assert [row["generation"] for row in bought(shop)] == [1, 2, 3]
    assert lab.supply.charged(PHONE) == 1 and broken(shop) == []


def test_a_refund_while_it_is_unclear_is_never_placed_again(
    shop: Shop, lab: DemoShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it can only be repeated, a repetition would charge what was refunded."""
    cannot_be_asked(shop, monkeypatch, Idempotency.REPLAY)
    lab.fail("place", "lost_reply")
    pull(shop, wish())
    deliver(shop)
    pull(shop, refunded(shop))
    settled(shop, 3)
    assert lab.calls.count("place") == 1 and line(shop)["state"] == "refund_case"
    command = "kmtool order charged A1 --amount AMOUNT"
    assert any(command in one.command for one in status(shop).needs_you)
    purchase_records.settle_charged(shop, "A1", "seen there", 980)
    assert balances(shop)["cost:topup"] == 980 and line(shop)["state"] == "refund_case"
    assert broken(shop) == []
