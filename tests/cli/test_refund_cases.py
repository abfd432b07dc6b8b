"""Refund cases at the command line beside the table: sheets, parts, answers that get lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kmtool.domain.states import RefundState
from kmtool.ports import RefundFact
from tests.cli.refund_desk import AT, COST, DAY_MS, Desk, delivered, desk, settled, unclear
from tests.fakes import order

__all__ = ["desk"]

AGREE, REFUSE, RECORD = "--agree", "--refuse", "--record"
VOID, BAD = ("--key", "void"), ("--bearer", "supplier")


@pytest.mark.parametrize(
    ("answer", "payable", "clawbacks"),
    [((AGREE,), 500, 0), ((AGREE, *BAD), 0, 1), ((AGREE, *VOID), 0, 1),
     ((AGREE, *VOID, "--bearer", "shop"), 500, 0)],
)  # fmt: skip
def test_the_next_sheet_follows_the_decision(
    desk: Desk, answer: tuple[str, ...], payable: int, clawbacks: int
) -> None:
    delivered(desk)
    desk.refund("open")
    desk.run("order", "refund", "A1", *answer, "--yes")
    desk.sync()
    desk.clock.advance(4 * DAY_MS)
    told = desk.cli("settle", "preview", "sup1", "--json").json()
    assert (told["payable"], told["clawbacks"], told["difference"]) == (payable, clawbacks, 0)
    assert desk.cli("settle", "close", "sup1", "--yes").code == 0
    assert desk.cli("settle", "verify", "--all").code == 0


def test_after_settlement_a_bad_key_is_taken_back_on_the_next_sheet(desk: Desk) -> None:
    settled(desk)
    desk.refund("open")
    case = desk.cli("order", "refund", "A1", "--json").json()
    assert case["keys"][0]["sheet"].startswith("JS-sup1-")
    desk.run("order", "refund", "A1", AGREE, *BAD, "--yes")
    told = desk.cli("settle", "preview", "sup1", "--json").json()
    assert (told["clawbacks"], told["payable"], told["carried"]) == (1, 0, -500)
    assert told["debits"][0]["cause"] == "refund"


def test_a_debit_can_be_dropped_before_the_sheet(desk: Desk) -> None:
    delivered(desk)
    desk.refund("open")
    desk.run("order", "refund", "A1", AGREE, *VOID, "--yes")
    (debit,) = desk.cli("settle", "adjust", "sup1", "--json").json()["debits"]
    told = desk.run("settle", "adjust", "sup1")
    assert f"kmtool settle adjust sup1 --accept {debit['id']}; " in told.err
    assert desk.run("settle", "adjust", "sup1", "--drop", debit["id"]).code == 0
    assert desk.balance("cost:refunds") == COST
    desk.clock.advance(4 * DAY_MS)
    told = desk.cli("settle", "preview", "sup1", "--json").json()
    assert (told["payable"], told["clawbacks"], told["debits"]) == (500, 0, [])
    assert desk.run("settle", "adjust", "sup1", "--drop", debit["id"]).code == 6
    assert desk.run("settle", "adjust", "sup1", "--accept", "99").code == 5


def test_a_partial_refund_before_the_delivery_holds_until_a_quantity_is_named(desk: Desk) -> None:
    desk.outside.orders["A1"] = order("A1", quantity=3, amount=3000, at_ms=AT)
    desk.run("pause", "shop1")
    desk.sync()
    desk.refund("done", 1000)
    desk.run("resume", "shop1")
    desk.run("deliver")
    assert desk.line() == ("held", "free")
    case = desk.cli("order", "refund", "A1", "--json").json()
    assert "kmtool order release A1 --quantity N" in [a["command"] for a in case["answers"]]
    assert desk.run("order", "release", "A1", "--quantity", "2").code == 0
    assert desk.run("deliver", "A1").code == 0
    assert desk.line()[0] == "delivered"
    assert desk.shop.db.value("SELECT count(*) FROM keys WHERE state = 'delivered'") == 2


def test_a_partial_refund_of_one_line_leaves_the_other(desk: Desk) -> None:
    from kmtool.ports import LineFact

    two = (LineFact("1", "i1", "", "月卡", 1, 1000), LineFact("2", "i1", "", "月卡", 1, 1000))
    desk.outside.orders["A1"] = order("A1", lines=two, at_ms=AT)
    delivered(desk)
    desk.refund("open", 1000)
    told = desk.run("order", "refund", "A1", AGREE, "--line", "2", "--yes", "--json")
    assert told.json()["amount"] == 1000
    for _ in range(2):
        lines = desk.cli("order", "show", "A1", "--json").json()["lines"]
        assert [x["state"] for x in lines] == ["delivered", "closed"]
        desk.sync()
    desk.outside.orders["A1"] = replace(
        desk.outside.orders["A1"],
        refunds=(*desk.outside.orders["A1"].refunds, RefundFact("R2", 1000, "open", AT)),
        refund=RefundState.OPEN,
        revision_ms=desk.clock.now_ms(),
    )
    desk.sync()
    lines = desk.cli("order", "show", "A1", "--json").json()["lines"]
    assert [x["state"] for x in lines] == ["refund_case", "closed"], "another refund asks anew"


def test_what_the_channel_overrules_asks_anew(desk: Desk) -> None:
    delivered(desk)
    desk.refund("open")
    desk.outside.reply_faults = ["rejected"]
    desk.run("order", "refund", "A1", REFUSE, "--reason", "x")
    assert desk.line()[0] == "delivered"
    desk.refund("done")
    assert desk.line()[0] == "refund_case"


def test_a_refused_refund_waits_for_the_channel_and_then_is_over(desk: Desk) -> None:
    unclear(desk)
    desk.refund("open")
    desk.run("order", "refund", "A1", REFUSE)
    assert desk.line()[0] == "refund_case"
    asked = desk.cli("status", "--json").json()["needs_you"]
    (command,) = (item["command"] for item in asked if item["amount"] == 1000)
    assert command.startswith("kmtool sync")
    desk.sync()
    assert desk.line()[0] in {"unknown", "human"}


def test_an_answer_that_does_not_get_through_is_tried_again_and_then_asked_about(
    desk: Desk,
) -> None:
    delivered(desk)
    desk.refund("open")
    desk.outside.reply_faults = ["down"]
    desk.run("order", "refund", "A1", AGREE, "--yes")
    assert desk.outside.replies == []
    desk.clock.advance(60_000)
    desk.run("deliver")
    assert [r[2] for r in desk.outside.replies] == [True]


@pytest.mark.parametrize("fault", ["lost", "unknown"])
def test_an_answer_whose_outcome_is_unclear_is_looked_for(desk: Desk, fault: str) -> None:
    delivered(desk)
    desk.refund("open")
    desk.outside.reply_faults = [fault]
    desk.run("order", "refund", "A1", AGREE, "--yes")
    for _ in range(3):
        desk.clock.advance(200_000)
        desk.run("deliver")
    assert len(desk.outside.replies) == 1
    effects = desk.shop.db.all("SELECT state FROM effects WHERE kind = 'refund_reply'")
    assert [row["state"] for row in effects] == ["done"]


def test_an_answer_that_is_refused_there_is_a_thing_for_a_person(desk: Desk) -> None:
    delivered(desk)
    desk.refund("open")
    desk.outside.reply_faults = ["rejected"]
    desk.run("order", "refund", "A1", AGREE, "--yes")
    ((command, item),) = desk.needs_you().items()
    assert (command, item["amount"]) == ("kmtool order refund A1", 1000)
    assert desk.run("order", "refund", "A1", RECORD).code == 0
    assert desk.needs_you() == {}


def test_a_refund_that_is_asked_for_can_be_answered_at_the_screen(desk: Desk) -> None:
    delivered(desk)
    desk.refund("open")
    told = desk.cli("order", "refund", "A1", input="a\ny\n", tty=True)
    assert told.code == 0, told.err
    assert desk.line()[0] == "closed"
    assert desk.outside.replies[0][2] is True


def test_looking_at_a_case_writes_nothing(desk: Desk) -> None:
    delivered(desk)
    desk.refund("open")
    told = desk.cli("order", "refund", "A1")
    assert told.code == 0
    for words in ("--agree", "--refuse", "order evidence A1", "￥10.00", "￥5.00", "sup1"):
        assert words in told.out, words
    assert "KEY-" not in told.out
    assert desk.cli("order", "refund", "A1", input="\n", tty=True).code == 0
    assert desk.line()[0] == "refund_case"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((AGREE, REFUSE), 2),
        ((AGREE,), 6),
        ((REFUSE, *VOID), 6),
        ((AGREE, "--yes", "--key", "burn"), 2),
        ((AGREE, "--yes", "--amount", "99"), 6),
        ((AGREE, "--yes", "--amount", "x"), 2),
        ((AGREE, "--yes", "--line", "7"), 6),
    ],
)
def test_what_is_no_answer_changes_nothing(desk: Desk, words: tuple[str, ...], code: int) -> None:
    delivered(desk)
    desk.refund("open")
    told = desk.cli("order", "refund", "A1", *words)
    assert (told.code, "Traceback" in told.err) == (code, False), told.err
    assert desk.line() == ("refund_case", "delivered")
    assert desk.outside.replies == []


def test_an_order_without_a_refund_is_not_answered(desk: Desk) -> None:
    delivered(desk)
    assert desk.cli("order", "refund", "A1", AGREE, "--yes").code == 6
    assert desk.cli("order", "refund", "none").code == 5
    assert desk.cli("order", "refund", "A1", RECORD, "--dry-run").code == 0
    assert desk.line()[0] == "delivered"
    assert desk.cli("order", "refund", "A1", RECORD).code == 0
    assert desk.cli("order", "refund", "A1", RECORD).code == 6
    assert desk.cli("order", "redeliver", "A1").code == 6


def test_a_channel_that_takes_no_answer_says_what_to_do(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests import fakes

    delivered(desk)
    desk.refund("open")
    monkeypatch.setattr(fakes.Fake, "features", replace(fakes.FEATURES, refund_reply=False))
    told = desk.cli("order", "refund", "A1", AGREE)
    assert told.code == 0
    assert "at shop1 too, order A1" in told.err
    assert desk.outside.replies == []
    desk.refund("done")
    assert desk.line()[0] == "closed"


def test_why_names_the_refund_and_what_a_replacement_waits_for(desk: Desk) -> None:
    delivered(desk)
    desk.shop.db.run("UPDATE keys SET state = 'expired' WHERE state = 'free'")
    desk.shop.db.run("UPDATE stock SET free = 0")
    told = desk.run("order", "replace", "A1", "--reason", "坏卡", "--json")
    assert (told.code, told.json()["waiting"]) == (0, 1)
    assert desk.line()[0] == "human"
    (line,) = desk.cli("order", "why", "A1", "--json").json()["lines"]
    assert line["command"] == "kmtool import FILE --sku S1"
    assert "0 of S1 in stock" in line["answer"]
    asked = desk.cli("status", "--json").json()["needs_you"]
    assert [item["command"] for item in asked if item["amount"]] == ["kmtool import FILE --sku S1"]
    desk.refund("open")
    (line,) = desk.cli("order", "why", "A1", "--json").json()["lines"]
    assert line["command"] == "kmtool order refund A1"


def test_many_replacements_ask_first(desk: Desk) -> None:
    desk.outside.orders["A1"] = order("A1", quantity=1, at_ms=AT)
    delivered(desk)
    toml = desk.shop.config.path
    toml.write_text(toml.read_text("utf-8") + "[brakes]\nreplacements = 1\n", "utf-8")
    assert desk.run("order", "replace", "A1", "--reason", "x").code == 0
    assert desk.line()[0] == "delivered"
    assert desk.run("order", "replace", "A1", "--reason", "x").code == 6
    assert desk.run("order", "replace", "A1", "--reason", "x", "--dry-run").code == 0
    assert desk.run("order", "replace", "A1", "--reason", "x", "--yes").code == 0
    assert len(desk.outside.received["A1"]) == 3


def test_notes_orders_by_hand_and_evidence_at_the_command_line(desk: Desk) -> None:
    told = desk.run("order", "add", "--channel", "shop1", "--number", "C1", "--sku", "S1",
                    "--amount", "10", "--buyer", "demo_cy", "--note", "via chat")  # fmt: skip
    assert told.code == 0, told.err
    assert desk.run("order", "note", "C1", "paid by transfer").code == 0
    shown = desk.cli("order", "show", "C1").out
    assert "via chat" in shown and "paid by transfer" in shown
    assert desk.run("deliver").code == 0
    told = desk.cli("order", "evidence", "C1", "-o", "e.html", "--json")
    assert (told.code, told.json()["revealed"]) == (0, False)
    assert "transfer" not in (desk.shop.config.root / "e.html").read_text("utf-8")
    assert desk.cli("order", "evidence", "C1").code == 2
    assert desk.cli("order", "evidence", "C1", "-o", "e.xlsx").code == 2
    assert desk.cli("order", "evidence", "C1", "-o", "r.txt", "--reveal").code == 6
    assert desk.cli("order", "evidence", "C1", "-o", "r.txt", "--reveal", "--yes").code == 0
    assert desk.run("order", "add", "--channel", "shop1", "--number", "C1", "--sku", "S1",
                    "--amount", "10").code == 6  # fmt: skip
    assert desk.run("order", "add", "--sku", "S1", "--amount", "x").code == 2
    assert desk.run("order", "note", "C1", " ").code == 2
