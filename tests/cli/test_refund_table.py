"""The refund table of the design, cell by cell, at the command line.

Each case brings an order to a stage, lets its refund be seen by a sync, and names what happened by
itself and what becomes of line, key and cost when the operator answers.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.refund_desk import (
    COST,
    Desk,
    delivered,
    desk,
    not_reserved,
    reserved,
    settled,
    unclear,
)

__all__ = ["desk"]

AGREE, REFUSE, RECORD = "--agree", "--refuse", "--record"
VOID, BAD = ("--key", "void"), ("--bearer", "supplier")

# stage, what the channel says → line and key by themselves
BY_ITSELF = [
    (not_reserved, "open", ("held", "free")),
    (not_reserved, "done", ("cancelled", "free")),
    (reserved, "open", ("held", "free")),
    (reserved, "done", ("cancelled", "free")),
    (unclear, "open", ("refund_case", "exposed")),
    (unclear, "done", ("refund_case", "exposed")),
    (delivered, "open", ("refund_case", "delivered")),
    (delivered, "done", ("refund_case", "delivered")),
    (settled, "open", ("refund_case", "delivered")),
    (settled, "done", ("refund_case", "delivered")),
]


@pytest.mark.parametrize(("stage", "says", "then"), BY_ITSELF)
def test_what_happens_by_itself(
    desk: Desk, stage: Callable[[Desk], None], says: str, then: tuple[str, str]
) -> None:
    stage(desk)
    desk.refund(says)
    desk.run("resume", "shop1")
    desk.run("deliver")
    assert desk.line() == then
    sent = len(desk.outside.received.get("A1", []))
    desk.clock.advance(600_000)
    desk.run("deliver")
    assert len(desk.outside.received.get("A1", [])) == sent, "nothing is sent after a refund"
    case = desk.cli("order", "refund", "A1", "--json").json()
    stages = {"not_reserved": "not_reserved", "reserved": "not_reserved",
              "unclear": "outcome_unclear"}  # fmt: skip
    assert case["stage"] == stages.get(stage.__name__, stage.__name__)
    if then[0] == "refund_case":
        (item,) = desk.needs_you().values()
        assert item["command"] == "kmtool order refund A1"
        assert (item["amount"], item["currency"], bool(item["since"])) == (1000, "CNY", True)
    if then[0] == "cancelled":
        assert desk.needs_you() == {}


# stage, channel says, answer → line, key, what the shop bears, what the supplier is asked for,
# what the channel hears
DECIDED = [
    (not_reserved, "open", (AGREE,), "cancelled", "free", 0, "", True),
    (not_reserved, "open", (REFUSE,), "held", "free", 0, "", False),
    (not_reserved, "", (RECORD,), "closed", "free", 0, "", None),
    (reserved, "open", (AGREE,), "cancelled", "free", 0, "", True),
    (reserved, "", (RECORD,), "closed", "free", 0, "", None),
    (unclear, "open", (AGREE,), "closed", "delivered", COST, "", True),
    (unclear, "open", (AGREE, *VOID), "closed", "void", 0, "", True),
    (unclear, "open", (REFUSE,), "refund_case", "exposed", 0, "", False),
    (unclear, "done", (RECORD,), "closed", "delivered", COST, "", None),
    (unclear, "", (RECORD,), "closed", "delivered", COST, "", None),
    (delivered, "open", (AGREE,), "closed", "delivered", COST, "", True),
    (delivered, "open", (AGREE, *VOID), "closed", "void", 0, "void", True),
    (delivered, "open", (AGREE, *VOID, "--bearer", "shop"), "closed", "void", COST, "", True),
    (delivered, "open", (AGREE, *BAD), "closed", "defective", 0, "credit", True),
    (delivered, "open", (REFUSE,), "delivered", "delivered", 0, "", False),
    (delivered, "done", (RECORD,), "closed", "delivered", COST, "", None),
    (delivered, "done", (AGREE,), "closed", "delivered", COST, "", None),
    (delivered, "done", (RECORD, *VOID), "closed", "void", 0, "void", None),
    (delivered, "", (RECORD,), "closed", "delivered", COST, "", None),
    (settled, "open", (AGREE,), "closed", "delivered", COST, "", True),
    (settled, "open", (AGREE, *BAD), "closed", "defective", 0, "credit", True),
    (settled, "done", (RECORD, *VOID), "closed", "void", 0, "void", None),
    (settled, "open", (REFUSE,), "delivered", "delivered", 0, "", False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("stage", "says", "answer", "line", "key", "borne", "asked", "heard"), DECIDED
)
def test_what_the_operator_decides(
    desk: Desk, stage: Callable[[Desk], None], says: str, answer: tuple[str, ...], line: str,
    key: str, borne: int, asked: str, heard: bool | None,
) -> None:  # fmt: skip
    stage(desk)
    if says:
        desk.refund(says)
        desk.run("resume", "shop1")
        desk.run("deliver")
    told = desk.run("order", "refund", "A1", *answer, "--reason", "不能用", "--yes", "--json")
    assert told.code == 0, told.err
    found = told.json()
    assert (found["answer"], found["amount"]) == (answer[0][2:], 1000)
    assert found["told"] == ("nobody" if heard is None else "channel")
    assert desk.line() == (line, key)
    replies = [] if heard is None else [("A1", "R1", heard, "不能用")]
    assert desk.outside.replies == replies
    assert desk.balance("cost:refunds") == borne
    debits = desk.cli("settle", "adjust", "sup1", "--json").json()["debits"]
    assert [d["ask"] for d in debits] == ([asked] if asked else [])
    desk.sync()
    assert desk.line()[1] == key, "the channel's echo of the answer changes no key"
    if heard is not False or stage is delivered:
        assert desk.needs_you() == {}, "what was decided is off the morning screen"
