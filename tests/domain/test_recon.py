"""What an order's figures mean: one case per row of the table of group checks."""

from __future__ import annotations

from datetime import date

import pytest

from kmtool.domain.recon import EXCEPTIONS, FACTS, Situation, due_day, judge, spans, uncovered

RIPE = {"due": True, "covered": True, "refund_due": True, "refund_covered": True}
PAID = {"settled": True, "refunds_equal_sales": False}

CASES: list[tuple[str, dict[str, bool], tuple[str, str]]] = [
    ("nothing expected", {"in_scope": False}, ("OUT_OF_SCOPE", "")),
    ("not due", {"too_little": True}, ("NOT_DUE", "lag")),
    ("not covered", {"too_little": True, "due": True}, ("NOT_DUE", "coverage")),
    (
        "never paid, never delivered",
        {"paid": False, "delivered": False},
        ("OUT_OF_SCOPE", "unpaid"),
    ),
    ("cancelled", RIPE | {"cancelled": True, "delivered": False}, ("OUT_OF_SCOPE", "cancelled")),
    ("held a while", RIPE | {"delivered": False}, ("NOT_DUE", "delivery")),
    (
        "paid twice",
        PAID | {"paid_twice": True, "too_much": True},
        ("EXCEPTION", "DUPLICATE_PAYOUT"),
    ),
    ("too much", PAID | {"too_much": True}, ("EXCEPTION", "AMOUNT_MISMATCH")),
    ("too little at once", PAID | {"too_little": True}, ("EXCEPTION", "AMOUNT_MISMATCH")),
    ("split, early", PAID | {"too_little": True, "split": True}, ("PARTLY_SETTLED", "")),
    (
        "split, late",
        PAID | {"too_little": True, "split": True, "due": True},
        ("EXCEPTION", "AMOUNT_MISMATCH"),
    ),
    (
        "more back than came",
        PAID | {"refunds_seen": True, "refunds_above_sales": True},
        ("EXCEPTION", "AMOUNT_MISMATCH"),
    ),
    (
        "refund unknown here",
        PAID | {"refunds_seen": True, "refunds_above_record": True},
        ("EXCEPTION", "REFUND_NOT_RECORDED"),
    ),
    (
        "refund missing there",
        PAID | RIPE | {"refunds_below_record": True},
        ("EXCEPTION", "REFUND_MISSING"),
    ),
    ("refund not due", PAID | {"refunds_below_record": True, "due": True}, ("SETTLED", "")),
    ("paid there, not here", PAID | {"paid": False}, ("EXCEPTION", "STATUS_MISMATCH")),
    ("paid there, cancelled here", PAID | {"cancelled": True}, ("EXCEPTION", "STATUS_MISMATCH")),
    (
        "paid, not delivered",
        PAID | {"delivered": False, "overdue_delivery": True},
        ("EXCEPTION", "PAID_UNDELIVERED"),
    ),
    (
        "paid here only, not delivered",
        {"delivered": False, "overdue_delivery": True},
        ("EXCEPTION", "PAID_UNDELIVERED"),
    ),
    (
        "charged back",
        PAID | {"refunds_seen": True, "refunds_equal_sales": True, "charged_back": True},
        ("EXCEPTION", "CHARGEBACK"),
    ),
    ("all back", PAID | {"refunds_seen": True, "refunds_equal_sales": True}, ("REFUNDED", "")),
    ("all came", PAID, ("SETTLED", "")),
    ("no money", RIPE | {"too_little": True}, ("EXCEPTION", "MISSING_PAYOUT")),
    ("no money ever", RIPE | {"paid": False}, ("EXCEPTION", "DELIVERED_UNPAID")),
]


@pytest.mark.parametrize(("facts", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_situation_has_one_verdict(facts: dict[str, bool], expected: tuple[str, str]) -> None:
    verdict = judge(Situation(**facts))
    assert (verdict.bucket, verdict.code or verdict.reason) == expected


def test_every_code_that_holds_is_told_and_the_worst_is_the_bucket() -> None:
    verdict = judge(Situation(settled=True, too_much=True, paid_twice=True, paid=False))
    assert verdict.codes == ("DUPLICATE_PAYOUT", "AMOUNT_MISMATCH", "STATUS_MISMATCH")
    assert verdict.code == "DUPLICATE_PAYOUT"


def test_a_situation_survives_its_bits() -> None:
    for name in FACTS:
        s = Situation(**{fact: fact == name for fact in FACTS})
        assert Situation.of(s.bits()) == s


def test_every_code_names_a_command() -> None:
    assert all(kind.command.startswith("kmtool ") for kind in EXCEPTIONS.values())
    severities = [kind.severity.value for kind in EXCEPTIONS.values()]
    order = ["critical", "high", "medium", "low"]
    assert severities == sorted(severities, key=order.index), "the table is sorted by severity"


def test_days() -> None:
    first = date(2026, 10, 31)
    assert due_day(first, 1, 1) == date(2026, 11, 2)
    covered = {date(2026, 11, 1)}
    assert uncovered(first, date(2026, 11, 2), covered) == [first, date(2026, 11, 2)]
    assert spans([date(2026, 11, 2), first, date(2026, 11, 1), date(2026, 12, 1)]) == [
        (first, date(2026, 11, 2)),
        (date(2026, 12, 1), date(2026, 12, 1)),
    ]
