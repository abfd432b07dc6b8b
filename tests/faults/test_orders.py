"""What becomes of an order whose send goes wrong: in every state, by every route, to its rest.

By default each walk meets one fault of each kind and those whose turn it is; `python -m bench
sendfaults` meets all of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kmtool.domain.states import EffectKind
from tests.faults.walks import STATES, WALKS, run


@pytest.mark.parametrize("route", sorted({walk.route for walk in WALKS}))
def test_a_send_that_goes_wrong_ends_well(
    route: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = run([walk for walk in WALKS if walk.route == route], tmp_path, every=False)
    assert [step.trouble for step in steps if step.trouble] == []
    with capsys.disabled():
        sys.stdout.write(f" [{route}: {len(steps)} sends] ")


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_it_does_on_postgresql(tmp_path: Path, database: str) -> None:
    walks = [w for w in WALKS if w.route == "demo" and w.kind is EffectKind.HAND_OVER]
    steps = run(walks, tmp_path, database, every=False)
    assert [step.trouble for step in steps if step.trouble] == []


def test_every_state_is_walked() -> None:
    states = {walk.state for walk in WALKS if walk.kind is EffectKind.HAND_OVER}
    assert states == set(STATES)
    carried = {walk.kind for walk in WALKS}
    # A replacement and a word to the buyer go by the same couriers as what is handed over first.
    assert set(EffectKind) - carried == {EffectKind.REPLACE, EffectKind.NOTIFY}
