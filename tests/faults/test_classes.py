"""Every act of every adapter that speaks to the outside, through every way in which it goes wrong.

What it has to be taken for stands in `rules`; whether it was done is looked up over there.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from adapters.http import Client, Site, write_json
from kmtool import registry
from kmtool.clock import ManualClock
from kmtool.errors import Unknown
from kmtool.ports import OrderRef, Verdict
from tests.faults import rules
from tests.faults.desks import MAKERS, desk, message
from tests.faults.doors import DOORS
from tests.faults.front import PHASES, Front
from tests.faults.matrix import run
from tests.faults.rules import ACTS, HTTP, SMTP, TLS, Nature


def test_what_goes_wrong_is_taken_for_what_it_means(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = run(tmp_path)
    wanted = {(act, phase) for act in ACTS for phase in act.phases()}
    assert {(pair.act, pair.phase) for pair in pairs} == wanted
    assert [pair.trouble for pair in pairs if pair.trouble] == []
    with capsys.disabled():
        sys.stdout.write(f" [{len(wanted)} pairs, {len(pairs)} tries, all classified] ")


@pytest.mark.parametrize("phase", ["closed_after_head", "closed_in_request", "reset_at_once"])
def test_a_request_that_breaks_while_it_is_written_is_unclear(phase: str) -> None:
    """Larger than any buffer on the way, so that the writing itself fails."""
    front = Front(1, (400, b"{}"))
    client = Client(Site(who="it", base=front.url, clock=ManualClock(), read_s=0.5))
    with front.failing(phase), pytest.raises(Unknown):
        client.send(write_json("POST", "/notes", {"text": "x" * 8_000_000}))
    client.close()
    front.close()


@pytest.mark.parametrize("adapter", ["channel/woocommerce", "channel/demo"])
def test_of_an_order_that_is_gone_nobody_can_tell(adapter: str, tmp_path: Path) -> None:
    with desk(adapter, tmp_path) as there:
        assert there.patient.query_shipped(OrderRef("404404", "e-1")) is Verdict.UNCLEAR
        assert there.patient.find_note(message("404404", 1)) is Verdict.UNCLEAR


def test_each_way_to_go_wrong_can_be_played() -> None:
    assert {*PHASES, *DOORS} == {"", *(phase.name for phase in HTTP)}
    for phases in (HTTP, TLS, SMTP):
        assert len({phase.name for phase in phases}) == len(phases)
    assert set(MAKERS) >= {(act.adapter, act.name) for act in ACTS if act.wire == "http"}


def test_no_adapter_is_left_out() -> None:
    there = {
        f"{kind}/{name}"
        for kind in registry.FOLDERS
        if kind != "statement"
        for name in registry.names(kind)
    }
    assert {act.adapter for act in ACTS} | set(rules.SILENT) == there


@pytest.mark.parametrize("name", sorted({act.adapter for act in ACTS}))
def test_no_act_is_left_out(name: str) -> None:
    kind, _, adapter = name.partition("/")
    features = registry.features(kind, adapter)
    acts = {act.name for act in ACTS if act.adapter == name}
    wanted = {
        "pull": ["pull orders"],
        "reread": ["read an order"],
        "notes": ["write a message", "find a message"],
        "mark_shipped": ["mark shipped", "ask whether shipped"],
        "push_stock": ["push stock"],
        "shelf": ["list the items", "move a listing on the shelf"],
        "refund_reply": ["answer a refund", "ask about the answer"],
    }
    for feature, names in wanted.items():
        if kind == "channel" and getattr(features, feature):
            assert acts.issuperset(names), feature
    if kind == "courier":
        assert ("ask" in acts) is (features.repeat == "queryable")
    if kind == "supplier":
        assert ("ask about a purchase" in acts) is bool(features.query_by)


def test_no_rule_calls_a_deed_undone() -> None:
    for phase in (*HTTP, *TLS, *SMTP):
        if phase.acted:
            assert phase.means(Nature.WRITE) in (rules.Means.UNKNOWN, rules.Means.DONE)
