"""Lives with top-ups that once broke a promise: what is charged, told and booked when a shop is
set back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kmtool.sim.driver import play
from kmtool.sim.ground import Ground, prepared


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with prepared(Path(tmp_path_factory.mktemp("lives"))) as found:
        yield found


@pytest.mark.parametrize(
    ("seed", "what"),
    [
        (5000075, "charged again after a restore without the journal"),
        (5000171, "the day's limit forgot what was bought since; a product was mapped late"),
        (5000379, "a refusal of the repetition was taken for a proof"),
        (1002779, "it stood still behind its intent, another bought it, and it woke and bought it"),
        (5002827, "nobody was asked what came of a purchase"),
        (2100253, "a notice that was perhaps told before went to another address on its next try"),
        (1210189, "the clock was set back, and who had looked was asked once more"),
        (806413, "a number was repeated that nobody had looked for since the journal was lost"),
        (900013, "a refund called off what had been charged before the journal was lost"),
        (600765, "who had looked at all suppliers was asked once more"),
    ],
)
def test_no_account_is_charged_twice_when_a_shop_is_set_back(
    ground: Ground, seed: int, what: str
) -> None:
    life = play(seed, ground)
    assert not life.rule, f"{what}: {life.rule}: {life.told}"
