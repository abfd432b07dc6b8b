"""Every act of every adapter that speaks HTTP, through every way in which HTTP goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.front import PHASES
from tests.faults.matrix import run_http
from tests.faults.rules import ACTS, HTTP, SMTP


def test_what_goes_wrong_is_taken_for_what_it_means(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    acts = [act for act in ACTS if act.wire == "http"]
    pairs = run_http(acts, tmp_path)
    assert {(pair.act, pair.phase) for pair in pairs} == {(a, p) for a in acts for p in HTTP}
    assert [pair.trouble for pair in pairs if pair.trouble] == []
    with capsys.disabled():
        print(f" {len(acts)} acts × {len(HTTP)} faults, {len(pairs)} tries, all classified ")  # noqa: T201


def test_each_way_to_go_wrong_can_be_played() -> None:
    assert set(PHASES) | {"refused", "connect_timeout"} == {"", *(phase.name for phase in HTTP)}
    assert len({phase.name for phase in SMTP}) == len(SMTP)
