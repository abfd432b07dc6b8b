"""Supplier settlement: what is due, what stays open, numbers, balances, payments, clawbacks."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

from kmtool.app import open_shop
from kmtool.errors import NotFound, Refused, SheetUnbalanced, UsageError
from kmtool.operations import keys as key_operations
from kmtool.operations import settle, settle_paid, settle_sheets
from kmtool.operations.settle_sheets import Payment
from kmtool.shop import Shop
from kmtool.store import ledger, settlements
from tests.operations.make_ledger import Books, payable

NUMBER = "JS-sup1-202611-01"


@pytest.fixture
def books(shop: Shop) -> Books:
    """A shop with one consignment supplier (T+0) and a batch of ten keys at 3.50 sold twice."""
    made = Books(shop)
    made.supplier("sup1")
    return made


def pay(amount_minor: int, voucher: str = "V1", paid_on: str = "2026-11-22") -> Payment:
    return Payment(voucher, amount_minor, "CNY", paid_on, "", "")


def test_a_sheet_pays_what_was_delivered(shop: Shop, books: Books) -> None:
    batch = books.batch("sup1", "S1", 10)
    books.sell(batch, 2)
    books.sell(batch, 1)
    closed = settle.close(shop, "sup1")
    assert (closed.number, closed.keys, closed.payable_minor, closed.carried_minor) == (
        NUMBER, 3, 1050, 0,
    )  # fmt: skip
    assert closed.workbook is not None
    data = Path(closed.workbook).read_bytes()
    assert hashlib.sha256(data).hexdigest() == closed.sha256
    assert Path(closed.workbook).parent == shop.config.folder("exports") / "settlements"
    page = settle_sheets.show(shop, NUMBER)
    assert page.closing_minor == books.owed("sup1") == 1050
    assert [line.line_no for line in page.lines] == [2, 3, 4]


def test_preview_writes_nothing(shop: Shop, books: Books) -> None:
    books.sell(books.batch("sup1", "S1", 10), 2)
    shown = settle.preview(shop, "sup1")
    assert (shown.keys, shown.payable_minor, shown.difference_minor) == (2, 700, 0)
    assert settle_sheets.listing(shop).sheets == ()
    assert not (shop.config.folder("exports") / "settlements").exists()


def test_a_dry_run_leaves_neither_sheet_nor_file(shop: Shop, books: Books) -> None:
    books.sell(books.batch("sup1", "S1", 10), 2)
    with shop.db.rehearsal():
        assert settle.close(shop, "sup1").number == NUMBER
    assert settle_sheets.listing(shop).sheets == ()
    assert not (shop.config.folder("exports") / "settlements").exists()


def test_nothing_due_makes_no_sheet(shop: Shop, books: Books) -> None:
    closed = settle.close(shop, "sup1")
    assert (closed.number, closed.keys, closed.workbook) == (None, 0, None)
    assert settle_sheets.listing(shop).sheets == ()


def test_closing_twice_gives_nothing_new(shop: Shop, books: Books) -> None:
    books.sell(books.batch("sup1", "S1", 10), 2)
    cut = date(2026, 11, 22)
    assert settle.close(shop, "sup1", cut).number == NUMBER
    assert settle.close(shop, "sup1", cut).number is None
    assert settle_sheets.listing(shop).total == 1


def test_a_key_is_due_n_natural_days_after_its_day(shop: Shop, books: Books) -> None:
    books.supplier("late", days=3)
    books.sell(books.batch("late", "S2", 5), 1)  # 08:00 on 2026-11-22 in the shop's zone
    books.later(2)
    early = settle.preview(shop, "late")
    assert (early.keys, early.carried_minor) == (0, 350)
    assert [(w.reason, w.lines) for w in early.waiting] == [("未到结算日", 1)]
    books.later(1)
    assert settle.preview(shop, "late").keys == 1
    assert settle.preview(shop, "late", date(2026, 11, 24)).keys == 0


def test_a_cut_in_the_future_is_refused(shop: Shop, books: Books) -> None:
    with pytest.raises(UsageError, match="has not come yet"):
        settle.close(shop, "sup1", date(2026, 11, 23))


def test_an_unknown_supplier_is_said_so(shop: Shop) -> None:
    with pytest.raises(NotFound, match="supplier nobody"):
        settle.preview(shop, "nobody")


def test_a_later_price_changes_nothing(shop: Shop, books: Books) -> None:
    batch = books.batch("sup1", "S1", 10, cost="3.50")
    books.sell(batch, 2)
    shop.db.run("UPDATE batches SET cost_e5 = 999999 WHERE id = :b", b=batch.id)
    assert settle.close(shop, "sup1").payable_minor == 700


def test_a_line_is_rounded_once(shop: Shop, books: Books) -> None:
    batch = books.batch("sup1", "S1", 10, cost="0.33335")
    books.sell(batch, 3)  # 1.00005 → 1.00
    books.sell(batch, 3)
    closed = settle.close(shop, "sup1")
    assert closed.payable_minor == 200 == books.owed("sup1")


def test_a_refund_case_is_held_and_taken_after_its_release(shop: Shop, books: Books) -> None:
    batch = books.batch("sup1", "S1", 10)
    line = books.sell(batch, 1)
    books.sell(batch, 1)
    books.set_line(line, "refund_case")
    first = settle.close(shop, "sup1")
    assert (first.keys, first.carried_minor) == (1, 350)
    books.close_case(line, key_state="delivered")
    second = settle.close(shop, "sup1")
    assert (second.number, second.keys, second.carried_minor) == ("JS-sup1-202611-02", 1, 0)


@pytest.mark.parametrize("column", ["refund = 'open'", "hold_reason = 'wait'"])
def test_an_open_refund_or_a_hold_keeps_a_key_off(shop: Shop, books: Books, column: str) -> None:
    books.sell(books.batch("sup1", "S1", 10), 1)
    shop.db.run(f"UPDATE orders SET {column}")
    shown = settle.preview(shop, "sup1")
    assert (shown.keys, shown.carried_minor) == (0, 350)


def test_a_key_that_went_bad_after_closing_is_taken_back(shop: Shop, books: Books) -> None:
    batch = books.batch("sup1", "S1", 10)
    bad, _good = books.sell(batch, 1), books.sell(batch, 1)
    first = settle.close(shop, "sup1")
    before = Path(str(first.workbook)).read_bytes()
    books.close_case(bad)
    books.sell(batch, 1)
    second = settle.close(shop, "sup1")
    assert (second.keys, second.payable_minor) == (1, 0)
    page = settle_sheets.show(shop, str(second.number))
    taken = page.lines[-1]
    assert (taken.amount_minor, taken.ref_number, taken.ref_seq) == (-350, NUMBER, 1)
    assert page.closing_minor == books.owed("sup1") == 700
    assert ledger.balance(shop.db, "cost:keys", "CNY") == 700
    assert Path(str(settle.export(shop, NUMBER).workbook)).read_bytes() == before
    assert settle.close(shop, "sup1").number is None


def test_a_total_below_zero_is_carried_on(shop: Shop, books: Books) -> None:
    batch = books.batch("sup1", "S1", 10)
    line = books.sell(batch, 2)
    settle.close(shop, "sup1")
    books.close_case(line)
    second = settle.close(shop, "sup1")
    assert (second.payable_minor, second.carried_minor) == (0, -700)
    books.sell(batch, 3)
    third = settle.close(shop, "sup1")
    assert (third.payable_minor, third.carried_minor) == (350, 0)
    assert books.owed("sup1") == 1050


def test_a_key_bad_before_its_sheet_costs_nothing(shop: Shop, books: Books) -> None:
    batch = books.batch("sup1", "S1", 10)
    books.close_case(books.sell(batch, 1))
    books.sell(batch, 1)
    closed = settle.close(shop, "sup1")
    assert closed.payable_minor == 350 == books.owed("sup1")
    lines = settle_sheets.show(shop, NUMBER).lines
    assert [(x.amount_minor, x.ref_number, x.ref_seq) for x in lines] == [
        (350, "", None), (350, "", None), (-350, NUMBER, 1),
    ]  # fmt: skip


def test_bought_batches_are_paid_at_acceptance(shop: Shop, books: Books) -> None:
    books.supplier("buy", mode="buyout")
    batch = books.batch("buy", "S2", 10, cost="1.005")
    books.sell(batch, 4)
    shown = settle.preview(shop, "buy")
    assert [(b.batch, b.quantity, b.sold, b.left) for b in shown.batches] == [
        (batch.number, 10, 4, 6)
    ]
    closed = settle.close(shop, "buy")
    assert (closed.keys, closed.payable_minor) == (10, 1005)
    assert books.owed("buy") == 1005
    books.sell(batch, 1)
    assert settle.close(shop, "buy").number is None


def test_a_bought_batch_waits_for_its_day(shop: Shop, books: Books) -> None:
    books.supplier("buy", mode="buyout", days=3)
    books.batch("buy", "S2", 10, cost="1.005")
    shown = settle.preview(shop, "buy")
    assert (shown.keys, shown.carried_minor, shown.difference_minor) == (0, 1005, 0)
    books.later(3)
    assert settle.preview(shop, "buy").keys == 10


def test_a_batch_in_another_currency_closes_nothing(shop: Shop, books: Books) -> None:
    books.sell(books.batch("sup1", "S1", 10), 2)
    other = books.batch("sup1", "S2", 10)
    shop.db.run("UPDATE batches SET currency = 'USD' WHERE id = :b", b=other.id)
    with pytest.raises(SheetUnbalanced, match="batches in USD"):
        settle.close(shop, "sup1")


def test_undoing_a_paid_batch_is_a_line_of_the_next_sheet(shop: Shop, books: Books) -> None:
    books.supplier("buy", mode="buyout")
    batch = books.batch("buy", "S2", 10, cost="1.005")
    books.sell(batch, 4)
    settle.close(shop, "buy")
    key_operations.undo(shop, batch.number)
    closed = settle.close(shop, "buy")
    assert closed.payable_minor == 0
    page = settle_sheets.show(shop, str(closed.number))
    assert [(line.amount_minor, line.ref_seq) for line in page.lines] == [(-603, 1)]
    assert page.closing_minor == books.owed("buy") == 402


def test_a_ledger_that_differs_closes_nothing(shop: Shop, books: Books) -> None:
    books.sell(books.batch("sup1", "S1", 10), 2)
    with shop.db.tx():
        ledger.post(
            shop.db, 0, "oops", "1", "", [(payable("sup1"), "CNY", 1), ("suspense", "CNY", -1)]
        )
    with pytest.raises(SheetUnbalanced, match=r"￥7.00.*￥7.00.*￥6.99"):
        settle.close(shop, "sup1")
    assert settle_sheets.listing(shop).sheets == ()


def test_a_batch_that_lost_a_key_closes_nothing(shop: Shop, books: Books) -> None:
    batch = books.batch("sup1", "S1", 10)
    books.sell(batch, 2)
    shop.db.run("DELETE FROM keys WHERE id = :k", k=batch.free[0])
    with pytest.raises(SheetUnbalanced, match=batch.number):
        settle.close(shop, "sup1")


def test_payments_are_booked_and_counted_once(shop: Shop, books: Books) -> None:
    batch = books.batch("sup1", "S1", 10)
    books.sell(batch, 2)
    settle.close(shop, "sup1")
    part = settle_paid.paid(shop, NUMBER, pay(300))
    assert (part.state, part.paid_minor, part.new) == ("part_paid", 300, True)
    assert settle_paid.paid(shop, NUMBER, pay(300)).new is False
    with pytest.raises(Refused, match="V1 is noted"):
        settle_paid.paid(shop, NUMBER, pay(301))
    with pytest.raises(Refused, match=r"more than the ￥4\.00"):
        settle_paid.paid(shop, NUMBER, pay(401, "V2"))
    assert settle_paid.paid(shop, NUMBER, pay(400, "V2")).state == "paid"
    assert books.owed("sup1") == 0
    assert ledger.balance(shop.db, "bank:main", "CNY") == -700
    books.sell(batch, 1)
    second = settle.close(shop, "sup1")
    page = settle_sheets.show(shop, str(second.number))
    assert (page.opening_minor, page.due_minor, page.settled_minor, page.closing_minor) == (
        700, 350, 700, 350,
    )  # fmt: skip


@pytest.mark.parametrize(
    "payment", [pay(0), pay(-5), pay(1, ""), pay(1, paid_on="2026-11-23")], ids=str
)
def test_a_payment_that_makes_no_sense_is_refused(
    shop: Shop, books: Books, payment: Payment
) -> None:
    books.sell(books.batch("sup1", "S1", 10), 2)
    settle.close(shop, "sup1")
    with pytest.raises(UsageError):
        settle_paid.paid(shop, NUMBER, payment)


def test_an_unknown_sheet_is_said_so(shop: Shop) -> None:
    for call in (
        lambda: settle.export(shop, "JS-x"),
        lambda: settle_sheets.show(shop, "JS-x"),
        lambda: settle_paid.paid(shop, "JS-x", pay(1)),
    ):
        with pytest.raises(NotFound, match="JS-x"):
            call()


FORBIDDEN = (
    "UPDATE settlements SET payable_minor = payable_minor + 1",
    "DELETE FROM settlements",
    "UPDATE settlement_lines SET amount_minor = amount_minor + 1",
    "DELETE FROM settlement_lines",
    "UPDATE settlement_batches SET sold = 0",
    "DELETE FROM settlement_batches",
    "UPDATE settlement_open SET reason = ''",
    "DELETE FROM settlement_open",
    "UPDATE settlement_payments SET note = ''",
    "DELETE FROM settlement_payments",
)


def test_a_closed_sheet_cannot_be_changed(shop: Shop, books: Books) -> None:
    batch = books.batch("sup1", "S1", 10)
    line = books.sell(batch, 2)
    books.set_line(line, "refund_case")
    books.sell(batch, 2)
    settle.close(shop, "sup1")
    settle_paid.paid(shop, NUMBER, pay(300))
    for sql in FORBIDDEN:
        with (
            shop.db.rehearsal(),
            pytest.raises(Exception, match="a closed settlement does not change"),
        ):
            shop.db.run(sql)


def test_two_that_close_at_once_make_one_sheet(shop: Shop, books: Books) -> None:
    batch = books.batch("sup1", "S1", 10)
    for _ in range(5):
        books.sell(batch, 1)

    def run() -> str | None:
        with open_shop(shop.config, clock=shop.clock) as mine:
            return settle.close(mine, "sup1").number

    with ThreadPoolExecutor(3) as pool:
        numbers = [future.result() for future in [pool.submit(run) for _ in range(3)]]
    assert sorted(numbers, key=str) == [NUMBER, None, None]
    assert settle_sheets.listing(shop).total == 1


def test_twelve_months_add_up_to_the_ledger(shop: Shop, books: Books) -> None:
    books.supplier("late", days=3)
    batch = books.batch("late", "S2", 60, cost="0.77777")
    lines = []
    for month in range(12):
        for _ in range(2):
            lines.append(books.sell(batch, 2))
            books.later(4)
        if month % 3 == 2:
            books.close_case(lines[-2])
        closed = settle.close(shop, "late")
        if closed.number and closed.payable_minor and month % 2:
            settle_paid.paid(shop, closed.number, pay(closed.payable_minor, "V", "2026-11-22"))
        books.later(22)
    shown = settle.preview(shop, "late")
    payables, paid = settlements.totals(shop.db, "late", "CNY")
    assert payables - paid + shown.payable_minor + shown.carried_minor == shown.closing_minor
    assert shown.closing_minor == shown.ledger_minor
    assert settle_sheets.listing(shop, "late").total == 12
