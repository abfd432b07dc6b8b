"""Every gate: what shuts it, the command that opens it, and whether a release does."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from kmtool.cli import main
from kmtool.domain.gates import GATES, Limits, Situation, first_shut, walk
from kmtool.domain.states import (
    KEY_ARROWS,
    LINE_ARROWS,
    Gate,
    KeyState,
    LineState,
    Mode,
    OrderStatus,
    RefundState,
)

OPEN = Situation(
    channel="shop1", number="A1", status=OrderStatus.PAID, refund=RefundState.NONE,
    currency="CNY", shop_currency="CNY", history=False, hold_reason="", released=False, risk="",
    mode=Mode.AUTO, title="item", kind="key", sku="S1", product_on=True, listing_on=True,
    quantity=1, needed=1, amount_minor=1000, listing_price_minor=1000, floor_minor=900,
    cost_e5=900_000, free=5, sku_pieces_hour=0, sku_value_hour_minor=0, buyer_pieces_hour=0,
    paused="", route_refusal="",
    limits=Limits(below_cost=True, sku_pieces=10, sku_value_minor=100_000, buyer_pieces=5),
)  # fmt: skip
SHUT: list[tuple[str, dict[str, object], Gate, bool]] = [
    ("history", {"history": True}, Gate.PAID, False),
    ("unpaid", {"status": OrderStatus.UNPAID}, Gate.PAID, False),
    ("closed", {"status": OrderStatus.CLOSED}, Gate.CLOSED, False),
    ("refund asked", {"refund": RefundState.OPEN}, Gate.REFUND, False),
    ("refund in part", {"refund": RefundState.PARTIAL}, Gate.REFUND, True),
    ("refunded", {"refund": RefundState.FULL}, Gate.REFUND, False),
    ("no pieces", {"quantity": 0}, Gate.AMOUNT, False),
    ("fewer than none", {"quantity": -1, "needed": -1}, Gate.AMOUNT, False),
    ("currency", {"currency": "USD"}, Gate.AMOUNT, True),
    ("too little", {"amount_minor": 999}, Gate.AMOUNT, True),
    ("shipped", {"status": OrderStatus.SHIPPED}, Gate.SHIPPED, True),
    ("done", {"status": OrderStatus.DONE}, Gate.SHIPPED, True),
    ("unmapped", {"sku": None}, Gate.MAPPED, False),
    ("product off", {"product_on": False}, Gate.PRODUCT, False),
    ("listing off", {"listing_on": False}, Gate.PRODUCT, False),
    ("top-up", {"kind": "topup", "terms_refusal": "no supplier"}, Gate.PRODUCT, False),
    ("account", {"kind": "topup", "account_refusal": "no phone"}, Gate.ADDRESS, False),
    ("spend", {"kind": "topup", "spend_refusal": "too much today"}, Gate.PRICE, False),
    ("no text", {"kind": "text", "free": 0}, Gate.STOCK, False),
    ("hold", {"hold_reason": "look"}, Gate.RISK, False),
    ("floor", {"floor_minor": 1001}, Gate.PRICE, True),
    ("below cost", {"cost_e5": 1_001_000}, Gate.PRICE, True),
    ("burst pieces", {"sku_pieces_hour": 10}, Gate.BURST, True),
    ("burst value", {"sku_value_hour_minor": 99_001}, Gate.BURST, True),
    ("burst buyer", {"buyer_pieces_hour": 5}, Gate.BURST, True),
    ("flag", {"risk": "odd"}, Gate.RISK, True),
    ("blocked", {"blocked": True}, Gate.RISK, True),
    ("review", {"status": OrderStatus.REVIEW}, Gate.RISK, True),
    ("watch", {"mode": Mode.WATCH}, Gate.MODE, False),
    ("ask", {"mode": Mode.ASK}, Gate.MODE, True),
    ("stock", {"free": 0}, Gate.STOCK, False),
    ("address", {"route_refusal": "no address"}, Gate.ROUTE, False),
    ("route", {"route_refusal": "x", "route_broken": True}, Gate.ROUTE, False),
    ("pause", {"paused": "all"}, Gate.PAUSE, False),
]


def test_without_a_product_only_the_mapping_is_asked_for() -> None:
    lost = replace(OPEN, sku=None, product_on=False, free=0)
    assert [shut.gate for _, shut in walk(lost) if shut] == [Gate.MAPPED]


def test_all_open_lets_a_line_go() -> None:
    assert first_shut(OPEN) is None
    assert all(shut is None for _, shut in walk(OPEN))


@pytest.mark.parametrize(("name", "facts", "gate", "opens"), SHUT, ids=[s[0] for s in SHUT])
def test_a_gate_shuts_says_why_and_names_what_opens_it(
    name: str, facts: dict[str, object], gate: Gate, opens: bool
) -> None:
    situation = replace(OPEN, **facts)  # type: ignore[arg-type]
    shut = first_shut(situation)
    assert shut is not None
    assert (shut.gate, bool(shut.reason)) == (gate, True)
    assert shut.command.startswith("kmtool ")
    assert (first_shut(replace(situation, released=True)) is None) is opens


@pytest.mark.parametrize(("name", "facts", "gate", "opens"), SHUT, ids=[s[0] for s in SHUT])
def test_the_command_of_a_gate_exists(
    name: str, facts: dict[str, object], gate: Gate, opens: bool
) -> None:
    shut = first_shut(replace(OPEN, **facts))  # type: ignore[arg-type]
    assert shut is not None
    noun, verb = [*shut.command.split(), ""][1:3]
    below = getattr(main.app.commands[noun], "commands", {})
    assert not below or verb in below


def test_every_gate_is_tried_here() -> None:
    assert {gate for gate, _, _ in GATES} == {gate for _, _, gate, _ in SHUT}


def test_brakes_that_are_off_do_not_shut() -> None:
    off = Limits(below_cost=False, sku_pieces=0, sku_value_minor=0, buyer_pieces=0)
    wild = replace(OPEN, limits=off, cost_e5=9_000_000, sku_pieces_hour=999,
                   sku_value_hour_minor=10**9, buyer_pieces_hour=999)  # fmt: skip
    assert first_shut(wild) is None


def test_no_automatic_arrow_leads_from_exposed_to_free() -> None:
    assert KeyState.FREE not in KEY_ARROWS[KeyState.EXPOSED] | KEY_ARROWS[KeyState.DELIVERED]
    assert LINE_ARROWS[LineState.CLOSED] == frozenset()


def test_every_state_has_its_arrows() -> None:
    assert set(LINE_ARROWS) == set(LineState)
    assert set(KEY_ARROWS) == set(KeyState)
    reached = {LineState.NEW} | {s for targets in LINE_ARROWS.values() for s in targets}
    assert reached == set(LineState)


def test_the_code_names_no_arrow_that_is_not_in_the_table() -> None:
    """Every literal `LineState.A, LineState.B` of a move stands in LINE_ARROWS."""
    found = 0
    for path in (Path(__file__).parents[2] / "kmtool" / "operations").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not ast.unparse(node.func).endswith("move_line"):
                continue
            pair = [ast.unparse(arg) for arg in node.args[2:4]]
            if all(name.startswith("LineState.") for name in pair):
                source, target = (LineState[name.split(".")[1]] for name in pair)
                found += 1
                assert target in LINE_ARROWS[source], f"{path.name}: {source} → {target}"
    assert found >= 8
