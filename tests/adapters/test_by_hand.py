"""The courier by hand sends nothing by itself and claims nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.couriers import by_hand
from kmtool.clock import ManualClock
from kmtool.domain.secret import Secret
from kmtool.errors import NeedsOperator
from kmtool.ports import AdapterSettings, Buyer, Message, Repeat, Verdict


def test_only_a_person_sends_by_hand(clock: ManualClock, tmp_path: Path) -> None:
    settings = AdapterSettings("by_hand", {}, {}, clock, "UTC", "CNY", tmp_path, tmp_path)
    courier = by_hand.build(settings)
    message = Message("e-1", "leaf", "A1", "", Secret("卡密 AAAA-1111"), "e-1", Buyer())
    assert courier.refusal(message) == ""
    with pytest.raises(NeedsOperator) as raised:
        courier.send(message)
    assert "A1" in str(raised.value)
    assert raised.value.next_step() == "kmtool deliver --by-hand"
    assert "AAAA" not in str(raised.value)
    assert courier.query(message) is Verdict.UNCLEAR
    assert courier.features.by_hand
    assert courier.features.repeat is Repeat.NONE
