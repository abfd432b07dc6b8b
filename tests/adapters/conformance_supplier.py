"""What every supplier must keep. A test file imports all of it and gives the fixture `world`."""

from __future__ import annotations

import time

import pytest

from kmtool.errors import NeedsOperator, Rejected, Retriable
from kmtool.ports import Idempotency, Progress
from tests.adapters.channel_world import Fault
from tests.adapters.supplier_world import SupplierWorld, wish

NUMBER = "KMTEST2345-1-1"


def test_what_is_bought_is_confirmed_with_its_price(world: SupplierWorld) -> None:
    bought = world.supplier.place(wish(world, quantity=2, cap_minor=2 * world.price_minor))
    assert bought.progress is Progress.DONE and bought.their_no
    assert bought.agreed_minor == bought.charged_minor == 2 * world.price_minor
    assert bought.proof and bought.at_ms is not None


def test_the_price_is_taken_from_the_balance(world: SupplierWorld) -> None:
    before = world.supplier.balance()
    world.supplier.place(wish(world))
    assert world.supplier.balance() == before - world.price_minor
    assert world.supplier.auth_check().ok


def test_the_same_number_never_buys_twice(world: SupplierWorld) -> None:
    first = world.supplier.place(wish(world))
    match world.supplier.features.idempotency:
        case Idempotency.REPLAY:
            assert world.supplier.place(wish(world)).their_no == first.their_no
        case Idempotency.REFUSE:
            with pytest.raises(Rejected):
                world.supplier.place(wish(world))
        case _:
            pytest.skip("this supplier knows no numbers of ours; kmtool never places twice there")
    assert world.bought(NUMBER) == 1


def test_a_number_serves_one_order_only(world: SupplierWorld) -> None:
    world.supplier.place(wish(world))
    with pytest.raises(Rejected):
        world.supplier.place(wish(world, quantity=2, cap_minor=2 * world.price_minor))
    assert world.bought(NUMBER) == 1


def test_an_order_is_found_by_our_number(world: SupplierWorld) -> None:
    placed = world.supplier.place(wish(world))
    found = world.supplier.query(NUMBER)
    assert found is not None and found.their_no == placed.their_no
    assert world.supplier.query("KMTEST2345-9-9") is None


def test_what_takes_time_is_processing_until_it_is_done(world: SupplierWorld) -> None:
    world.set_delay(60_000)
    placed = world.supplier.place(wish(world))
    assert placed.progress is Progress.PROCESSING and placed.charged_minor is None
    world.clock.advance(60_000)
    done = world.supplier.query(NUMBER)
    assert done is not None and done.progress is Progress.DONE and done.their_no == placed.their_no


def test_what_fails_there_is_said_to_have_failed(world: SupplierWorld) -> None:
    world.fail_next()
    world.supplier.place(wish(world))
    found = world.supplier.query(NUMBER)
    assert found is not None and found.progress is Progress.FAILED


def test_what_was_charged_is_told_as_it_is(world: SupplierWorld) -> None:
    world.set_surcharge(50)
    done = world.supplier.place(wish(world))
    assert done.agreed_minor == world.price_minor
    assert done.charged_minor == world.price_minor + 50


@pytest.mark.parametrize("what", ["account", "sold_out", "product", "price", "balance"])
def test_a_documented_refusal_buys_nothing(world: SupplierWorld, what: str) -> None:
    other: dict[str, object] = {
        "account": {"account": world.bad_account},
        "sold_out": {"product": world.sold_out},
        "product": {"product": "no-such-product"},
        "price": {"cap_minor": world.price_minor - 1},
        "balance": {},
    }[what]
    if what == "price" and not world.supplier.features.price_guard:
        pytest.skip("this supplier has no price guard; kmtool checks its quote before")
    if what == "balance":
        world.set_balance(world.price_minor - 1)
    with pytest.raises(Rejected) as refused:
        world.supplier.place(wish(world, **other))
    assert world.bought(NUMBER) == 0
    assert world.account not in str(refused.value) and world.bad_account not in str(refused.value)


@pytest.mark.parametrize("fault", list(Fault))
def test_a_purchase_that_goes_wrong_is_told_for_what_it_is(
    world: SupplierWorld, fault: Fault
) -> None:
    if fault not in world.faults:
        pytest.skip(f"this supplier's world cannot do {fault.name}")
    world.fail("place", fault)
    with pytest.raises(fault.error):
        world.supplier.place(wish(world))
    for _ in range(40):  # a slow one acts after we have turned away
        if world.bought(NUMBER) == int(fault.acts):
            break
        time.sleep(0.05)
    assert world.bought(NUMBER) == int(fault.acts)
    found = world.supplier.query(NUMBER)
    assert (found is not None) is fault.acts, "asking clears it up"


@pytest.mark.parametrize("fault", [Fault.DROPPED, Fault.ERROR, Fault.BUSY])
def test_asking_that_goes_wrong_is_tried_again(world: SupplierWorld, fault: Fault) -> None:
    if fault not in world.faults:
        pytest.skip(f"this supplier's world cannot do {fault.name}")
    world.supplier.place(wish(world))
    for _ in range(10):
        world.fail("query", fault)
    with pytest.raises(Retriable):
        world.supplier.query(NUMBER)


def test_a_supplier_that_is_away_bought_nothing(world: SupplierWorld) -> None:
    with world.offline(), pytest.raises(Retriable):
        world.supplier.place(wish(world))
    assert world.bought(NUMBER) == 0


def test_wrong_credentials_need_a_person(world: SupplierWorld) -> None:
    with pytest.raises(NeedsOperator):
        world.stranger().auth_check()
    with pytest.raises(NeedsOperator):
        world.stranger().place(wish(world))
    assert world.bought(NUMBER) == 0
