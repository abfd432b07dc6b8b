"""A delivery day set back to a past point: the buyers are asked at its end (bench/restore.py)."""

from __future__ import annotations

import pytest

from bench import restore


@pytest.mark.parametrize("how", restore.HOWS)
def test_nothing_is_sold_twice_or_forgotten(how: str) -> None:
    found = restore.run(2, 77, (how,))
    assert found.wrong == []
    assert found.points[how] == 2 and found.keys > 50
    assert found.bound_again > 0, "the point was no past one: this would prove nothing"
