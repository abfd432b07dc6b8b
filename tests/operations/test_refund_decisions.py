"""Decisions on refunds at operation level, on both databases: the ledger, the lines, the sheets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kmtool.domain.ids import OrderId
from kmtool.errors import Refused, StateMoved
from kmtool.operations import settle
from kmtool.operations.debits import accept, drop, listing
from kmtool.operations.deliver import deliver
from kmtool.operations.order_changes import redeliver, release
from kmtool.operations.order_close import close
from kmtool.operations.order_refund import decide
from kmtool.operations.refund_case import case
from kmtool.operations.refund_records import Answer, Bearer, Decision, Fate, Stage
from kmtool.operations.reserve import reserve_due
from kmtool.operations.send import begin
from kmtool.operations.sender import sending
from kmtool.operations.status import status
from kmtool.operations.sync import sync
from kmtool.ports import Verdict
from kmtool.shop import Shop
from kmtool.store import effects
from tests.fakes import order
from tests.operations.delivery_kit import broken, line, lines, outside, pull, states, tick
from tests.operations.refund_kit import AT, balance, key_states, refund
from tests.operations.stock import shelf

DAY_MS = 86_400_000


def not_reserved(shop: Shop) -> None:
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))


def reserved(shop: Shop) -> None:
    not_reserved(shop)
    reserve_due(shop)


def unclear(shop: Shop) -> None:
    not_reserved(shop)
    outside().faults, outside().probe = ["unknown"], Verdict.UNCLEAR
    deliver(shop)


def delivered(shop: Shop) -> None:
    not_reserved(shop)
    assert deliver(shop).delivered == 1


def settled(shop: Shop) -> None:
    delivered(shop)
    tick(shop, 4 * DAY_MS)
    assert settle.close(shop, "sup1").number


@pytest.mark.parametrize(
    ("stage", "says", "state", "keys"),
    [
        (not_reserved, "done", "cancelled", {"free": 5}),
        (reserved, "done", "cancelled", {"free": 5}),
        (unclear, "done", "refund_case", {"exposed": 1, "free": 4}),
        (delivered, "done", "refund_case", {"delivered": 1, "free": 4}),
        (settled, "done", "refund_case", {"delivered": 1, "free": 4}),
        (unclear, "open", "refund_case", {"exposed": 1, "free": 4}),
        (delivered, "open", "refund_case", {"delivered": 1, "free": 4}),
    ],
)  # fmt: skip
def test_the_table_happens_by_itself(
    shop: Shop, stage: object, says: str, state: str, keys: dict[str, int]
) -> None:
    stage(shop)  # type: ignore[operator]
    refund(shop, says)
    assert (line(shop)["state"], states(shop)) == (state, keys)
    sent = list(outside().received.get("A1", []))
    tick(shop, 600_000)
    deliver(shop)
    assert outside().received.get("A1", []) == sent
    assert broken(shop) == []


@pytest.mark.parametrize(
    ("stage", "wish", "state", "bond", "borne"),
    [
        (unclear, Decision(Answer.AGREE), "closed", ("delivered", "delivered"), 500),
        (unclear, Decision(Answer.AGREE, keys=Fate.VOID), "closed", ("exposed", "void"), 0),
        (unclear, Decision(Answer.REFUSE), "refund_case", ("exposed", "exposed"), 0),
        (delivered, Decision(Answer.AGREE), "closed", ("delivered", "delivered"), 500),
        (delivered, Decision(Answer.AGREE, keys=Fate.VOID), "closed", ("delivered", "void"), 0),
        (delivered, Decision(Answer.AGREE, bearer=Bearer.SUPPLIER), "closed",
         ("delivered", "defective"), 0),
        (delivered, Decision(Answer.REFUSE), "delivered", ("delivered", "delivered"), 0),
        (delivered, Decision(Answer.RECORD), "closed", ("delivered", "delivered"), 500),
        (settled, Decision(Answer.AGREE), "closed", ("delivered", "delivered"), 500),
    ],
)  # fmt: skip
def test_a_decision_moves_line_key_and_cost(
    shop: Shop, stage: object, wish: Decision, state: str, bond: tuple[str, str], borne: int
) -> None:
    stage(shop)  # type: ignore[operator]
    refund(shop)
    made = decide(shop, "A1", wish)
    assert made.n == 1
    assert line(shop)["state"] == state
    assert key_states(shop) == [bond]
    assert balance(shop, "cost:refunds") == borne
    tick(shop, 60_000)
    deliver(shop)
    refund(shop, "done" if wish.answer is not Answer.REFUSE else "ended")
    expected = "delivered" if wish.answer is Answer.REFUSE and stage is delivered else state
    if wish.answer is Answer.REFUSE and stage is unclear:
        expected = "unknown"
    assert line(shop)["state"] == expected
    assert broken(shop) == []


def test_every_sum_adds_up_after_every_decision(shop: Shop) -> None:
    shelf(shop, n=20)
    wishes = [
        Decision(Answer.AGREE), Decision(Answer.AGREE, keys=Fate.VOID),
        Decision(Answer.AGREE, bearer=Bearer.SUPPLIER), Decision(Answer.REFUSE),
        Decision(Answer.AGREE, keys=Fate.VOID, bearer=Bearer.SHOP),
    ]  # fmt: skip
    numbers = [f"A{n}" for n in range(len(wishes))]
    pull(shop, *(order(number, at_ms=AT) for number in numbers))
    assert deliver(shop).delivered == len(wishes)
    for number, wish in zip(numbers, wishes, strict=True):
        refund(shop, number=number)
        decide(shop, number, wish)
        refund(shop, "ended" if wish.answer is Answer.REFUSE else "done", number=number)
    tick(shop, 4 * DAY_MS)
    shown = settle.preview(shop, "sup1")
    assert (shown.difference_minor, shown.clawbacks, shown.payable_minor) == (0, 2, 1500)
    assert settle.close(shop, "sup1").payable_minor == 1500
    assert listing(shop, "sup1") == ()
    assert broken(shop) == []


def test_a_bought_key_goes_on_the_sheet_only_when_the_supplier_agreed(shop: Shop) -> None:
    from tests.operations.make_ledger import Books

    books = Books(shop)
    books.supplier("buy", mode="buyout")
    batch = books.batch("buy", "S1", 4)
    from kmtool.store import products

    with shop.db.tx():
        products.put_listing(
            shop.db, channel="shop1", item_id="i1", variant_id="", title="", sku="S1", units=1,
            price_minor=None,
        )  # fmt: skip
    pull(shop, order("A1", at_ms=AT))
    assert deliver(shop).delivered == 1
    refund(shop)
    decide(shop, "A1", Decision(Answer.AGREE, bearer=Bearer.SUPPLIER))
    (debit,) = listing(shop, "buy")
    assert (debit.mode, debit.state, debit.amount_minor) == ("buyout", "open", 350)
    first = settle.close(shop, "buy")
    assert first.payable_minor == 4 * 350, "a batch is paid whole"
    assert settle.close(shop, "buy").number is None
    accept(shop, "buy", debit.id)
    second = settle.close(shop, "buy")
    assert (second.payable_minor, second.carried_minor) == (0, -350)
    assert listing(shop, "buy") == ()
    with pytest.raises(Refused):
        accept(shop, "buy", debit.id)
    assert (batch.number, broken(shop)) == ("B20261122-01", [])


def test_nothing_is_decided_while_something_is_on_its_way(shop: Shop) -> None:
    not_reserved(shop)
    reserve_due(shop)
    with sending(shop, "deliver") as mine:
        begin(mine, effects.due_effects(mine.db, mine.now_ms(), 10))
        with pytest.raises(StateMoved):
            decide(shop, "A1", Decision(Answer.RECORD))
        with pytest.raises(StateMoved):
            redeliver(shop, "A1")
    assert shop.db.value("SELECT count(*) FROM refund_decisions") == 0


def test_the_same_refund_is_decided_once_and_a_bigger_one_asks_anew(shop: Shop) -> None:
    shelf(shop)
    pull(shop, order("A1", quantity=3, amount=3000, at_ms=AT))
    deliver(shop)
    refund(shop, "open", 1000)
    decide(shop, "A1", Decision(Answer.REFUSE))
    assert line(shop)["state"] == "delivered"
    refund(shop, "open", 1000)
    assert line(shop)["state"] == "delivered"
    with pytest.raises(Refused, match="nothing left"):
        decide(shop, "A1", Decision(Answer.AGREE))
    refund(shop, "open", 2000)
    assert line(shop)["state"] == "refund_case"
    found = case(shop, "A1")
    assert (found.undecided, found.stage, found.asked_minor) == (True, Stage.DELIVERED, 2000)
    assert len(found.decisions) == 1


def test_a_key_that_arrives_after_all_is_booked_once(shop: Shop) -> None:
    """The shop bore a key of unclear outcome; then the route finds the message."""
    unclear(shop)
    refund(shop)
    decide(shop, "A1", Decision(Answer.AGREE))
    outside().probe = Verdict.DONE
    for _ in range(3):
        tick(shop, 60_000)
        deliver(shop)
    assert (line(shop)["state"], key_states(shop)) == ("closed", [("delivered", "delivered")])
    assert balance(shop, "payable:supplier:sup1") == -500
    assert balance(shop, "cost:refunds") + balance(shop, "cost:keys") == 500
    assert broken(shop) == []


def test_a_void_key_that_arrives_after_all_cancels_out_on_the_sheet(shop: Shop) -> None:
    unclear(shop)
    refund(shop)
    decide(shop, "A1", Decision(Answer.AGREE, keys=Fate.VOID))
    outside().probe = Verdict.DONE
    for _ in range(3):
        tick(shop, 60_000)
        deliver(shop)
    refund(shop, "done")
    tick(shop, 4 * DAY_MS)
    shown = settle.preview(shop, "sup1")
    assert (shown.payable_minor, shown.difference_minor) == (0, 0)
    assert broken(shop) == []


def test_a_bought_key_that_arrives_after_all_is_not_booked_twice(shop: Shop) -> None:
    """Its cost was booked when it was made void; the late proof books nothing more."""
    shelf(shop, mode="buyout")
    pull(shop, order("A1", at_ms=AT))
    outside().faults, outside().probe = ["unknown"], Verdict.UNCLEAR
    deliver(shop)
    refund(shop)
    decide(shop, "A1", Decision(Answer.AGREE, keys=Fate.VOID))
    outside().probe = Verdict.DONE
    for _ in range(3):
        tick(shop, 60_000)
        deliver(shop)
    assert (line(shop)["state"], key_states(shop)) == ("closed", [("delivered", "void")])
    assert (balance(shop, "cost:keys"), balance(shop, "asset:stock")) == (500, -500)
    assert broken(shop) == []


@pytest.mark.parametrize("is_settled", [False, True])
def test_a_use_that_its_supplier_bears_is_taken_back_and_the_others_are_paid(
    shop: Shop, is_settled: bool
) -> None:
    """The key goes on serving other buyers: only the refunded use is charged."""
    shelf(shop, n=1, cost_e5=1_000_000)
    shop.db.run("UPDATE keys SET uses = 4, uses_left = 4")
    shop.db.run("UPDATE products SET shared = 1")
    shop.db.run("UPDATE stock SET free = 4")
    pull(shop, order("A1", at_ms=AT))
    deliver(shop)
    if is_settled:
        tick(shop, 4 * DAY_MS)
        settle.close(shop, "sup1")
    refund(shop)
    decide(shop, "A1", Decision(Answer.AGREE, bearer=Bearer.SUPPLIER))
    deliver(shop)
    refund(shop, "done")
    tick(shop, 4 * DAY_MS)
    shown = settle.preview(shop, "sup1")
    assert (shown.closing_minor, shown.clawbacks, shown.difference_minor) == (0, 1, 0)
    drop(shop, "sup1", 1)
    shown = settle.preview(shop, "sup1")
    assert (shown.closing_minor, shown.clawbacks, shown.difference_minor) == (250, 0, 0)
    assert (balance(shop, "cost:refunds"), balance(shop, "cost:keys")) == (250, 0)
    assert broken(shop) == []


@pytest.mark.parametrize("answer", [Answer.AGREE, Answer.REFUSE])
def test_what_a_person_should_have_sent_ends_with_its_line(shop: Shop, answer: Answer) -> None:
    unclear(shop)
    for _ in range(30):
        tick(shop, 4 * 3_600_000)
        deliver(shop)
    assert (line(shop)["state"], hand_over(shop)) == ("human", "human")
    refund(shop)
    assert (line(shop)["state"], hand_over(shop)) == ("refund_case", "human"), "it may have left"
    decide(shop, "A1", Decision(answer))
    ended = ("closed", "cancelled") if answer is Answer.AGREE else ("refund_case", "human")
    assert (line(shop)["state"], hand_over(shop)) == ended
    assert broken(shop) == []


def test_what_is_asked_about_ends_with_its_line_when_nobody_can_tell(shop: Shop) -> None:
    unclear(shop)
    refund(shop)
    decide(shop, "A1", Decision(Answer.AGREE))
    assert (line(shop)["state"], hand_over(shop)) == ("closed", "retry_at"), "a proof may come"
    for _ in range(30):
        tick(shop, 4 * 3_600_000)
        assert deliver(shop).needs_you == 0
    assert (line(shop)["state"], hand_over(shop)) == ("closed", "cancelled")
    assert broken(shop) == []


def hand_over(shop: Shop) -> str:
    (effect,) = (x for x in effects.effects_of(shop.db, OrderId(1)) if x["kind"] == "hand_over")
    return str(effect["state"])


@pytest.mark.parametrize("pieces", [0, 1])
def test_a_part_refund_of_what_waits_leaves_what_was_delivered_alone(
    shop: Shop, pieces: int
) -> None:
    """The waiting line is cut or left out: the refund was for it, not for the delivered one."""
    shelf(shop)
    shelf(shop, "S2", n=1, item="i2")
    pull(shop, order("A1", at_ms=AT, lines=lines(("i1", 1), ("i2", 2))))
    tick(shop, 1_900_000)
    deliver(shop)
    refund(shop, "done", 1000 * (2 - pieces))
    assert (line(shop)["state"], line(shop, line_no="2")["state"]) == ("refund_case", "held")
    release(shop, "A1", pieces, "2")
    assert line(shop)["state"] == "delivered"
    assert deliver(shop).delivered == pieces
    assert line(shop, line_no="2")["state"] == ("delivered" if pieces else "closed")
    assert (outside().shipped, [item.command for item in status(shop).needs_you]) == ({"A1"}, [])
    assert broken(shop) == []


def test_a_part_refund_of_what_was_delivered_stays_a_case_when_the_rest_goes_out(
    shop: Shop,
) -> None:
    shelf(shop)
    shelf(shop, "S2", n=0, item="i2")
    pull(shop, order("A1", at_ms=AT, lines=lines(("i1", 1), ("i2", 1))))
    tick(shop, 1_900_000)
    deliver(shop)
    refund(shop, "done", 1000)
    release(shop, "A1", 1, "2")
    tick(shop, 60_000)
    outside().orders["A1"] = replace(outside().orders["A1"], revision_ms=shop.now_ms())
    sync(shop, ["shop1"])
    assert line(shop)["state"] == "refund_case", "a later look changes nothing of it"
    decide(shop, "A1", Decision(Answer.RECORD, lines=("1",)))
    assert (line(shop)["state"], line(shop, line_no="2")["state"]) == ("closed", "held")
    assert broken(shop) == []


@pytest.mark.parametrize("way", ["record", "agree", "close", "leave_out"])
def test_an_order_whose_last_line_a_person_ended_is_marked_shipped(shop: Shop, way: str) -> None:
    """One line was delivered, one never was: else its channel would wait for it for ever."""
    shelf(shop)
    shelf(shop, "S2", n=0, item="i2")
    pull(shop, order("A1", at_ms=AT, lines=lines(("i1", 1), ("i2", 1))))
    tick(shop, 1_900_000)
    deliver(shop)
    assert (line(shop)["state"], line(shop, line_no="2")["state"]) == ("delivered", "held")
    if way == "record":
        refund(shop, "done", 1000)
        decide(shop, "A1", Decision(Answer.RECORD, lines=("2",)))
    elif way == "agree":
        refund(shop, "open", 1000)
        decide(shop, "A1", Decision(Answer.AGREE, lines=("2",)))
        deliver(shop)
        assert outside().shipped == set()
        refund(shop, "done", 1000)
    elif way == "close":
        close(shop, "A1", "gone")
    else:
        release(shop, "A1", 0, "2")
    deliver(shop)
    assert line(shop)["state"] == "delivered"
    assert outside().shipped == {"A1"}
    refund(shop, "done", 2000)
    assert line(shop)["state"] == "refund_case"
    assert broken(shop) == []
