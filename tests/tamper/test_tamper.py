"""What changed behind the program's back is found; `bench/tamper.py` does it a thousand times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import tamper, tamper_kinds


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tamper_kinds.Place]:
    """A shop after a day, in memory."""
    yield tamper.prepare(tmp_path_factory.mktemp("tamper") / "shop", seed=1)


def test_all_that_is_promised_is_found(place: tamper_kinds.Place, tmp_path: Path) -> None:
    for kind in tamper_kinds.PROMISED:
        found = tamper.tamper(place, {kind: 1}, 2)
        assert found.times.total() == 2
        assert not found.missed, found.missed
        assert not found.bugs, found.bugs


def test_a_damaged_file_never_ends_in_a_traceback(place: tamper_kinds.Place) -> None:
    found = tamper.tamper(place, tamper_kinds.MEASURED, 15)
    assert found.times.total() == 15
    assert not found.bugs, found.bugs


def test_what_is_not_tampered_with_is_well(place: tamper_kinds.Place) -> None:
    place.put_back()
    assert tamper.look(place) == place.normal
