"""Quotas look back over any stretch of time; parts are as few as fit and lose nothing."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmtool.domain.packing import (
    DAY_MS,
    HOUR_MS,
    ORDER,
    PARTS_MAX,
    PLENTY,
    ROUTE,
    Quota,
    Room,
    limits,
    room,
    split,
)

NOW = 1_795_305_600_000
FIVE = Quota(5, 0, ORDER)
THREE = Quota(3, 10 * DAY_MS, ORDER)


def test_without_a_quota_there_is_plenty() -> None:
    assert room((), (NOW,), (NOW,), NOW) == Room(PLENTY)


def test_an_order_has_so_many_messages_for_ever() -> None:
    assert room((FIVE,), (NOW, NOW), (), NOW) == Room(3)
    assert room((FIVE,), (NOW,) * 5, (), NOW) == Room(0, None)
    assert room((FIVE,), (), (), NOW, wanted=6) == Room(5, None)


def test_a_quota_of_a_period_opens_when_the_oldest_use_leaves_it() -> None:
    uses = (NOW - 1, NOW - DAY_MS, NOW - 9 * DAY_MS)
    assert room((THREE,), uses, (), NOW) == Room(0, NOW + DAY_MS)
    assert room((THREE,), uses, (), NOW, wanted=2) == Room(0, NOW + 9 * DAY_MS)
    assert room((THREE,), uses, (), NOW + DAY_MS) == Room(1)


def test_the_tightest_quota_decides_and_the_last_one_opens() -> None:
    quotas = (Quota(2, HOUR_MS, ROUTE), Quota(3, DAY_MS, ROUTE), FIVE)
    assert room(quotas, (), (NOW, NOW - 10), NOW) == Room(0, NOW - 10 + HOUR_MS)
    uses = (NOW, NOW - 10, NOW - 2 * HOUR_MS)
    assert room(quotas, (), uses, NOW) == Room(0, NOW - 2 * HOUR_MS + DAY_MS)
    assert room((*quotas, Quota(1, 0, ORDER)), (NOW,), uses, NOW) == Room(0, None)


@given(st.lists(st.integers(0, 3 * DAY_MS), max_size=12), st.integers(1, 6), st.integers(1, 3))
def test_what_opens_is_open_then_and_not_before(ago: list[int], limit: int, wanted: int) -> None:
    quota = Quota(limit, DAY_MS, ROUTE)
    uses = sorted((NOW - one for one in ago), reverse=True)
    found = room((quota,), (), uses, NOW, wanted)
    assert found.left == max(0, limit - sum(NOW - one < DAY_MS for one in uses))
    if found.left < wanted <= limit:
        assert found.opens_ms is not None
        assert room((quota,), (), uses, found.opens_ms, wanted).left >= wanted
        assert room((quota,), (), uses, found.opens_ms - 1, wanted).left < wanted


def test_the_shop_may_set_limits_of_its_own() -> None:
    declared = (THREE, Quota(500, DAY_MS, ROUTE))
    assert limits(1000, declared).quotas == declared
    own = limits(1000, declared, own_text_max=400, per_order=2, per_day=9, per_hour=4)
    assert own.text_max == 400
    assert set(own.quotas) == {
        Quota(2, 10 * DAY_MS, ORDER),
        Quota(9, DAY_MS, ROUTE),
        Quota(4, HOUR_MS, ROUTE),
    }
    assert limits(1000, (), own_text_max=5000, per_order=1).text_max == 1000
    assert limits(None, (), per_order=1).quotas == (Quota(1, 0, ORDER),)


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(20, 90))
def test_parts_hold_everything_once_in_order_and_fit(sizes: list[int], most: int) -> None:
    def fits(start: int, end: int) -> bool:
        return sum(sizes[start:end]) <= most

    pieces = split(len(sizes), fits)
    if pieces is None:
        assert max(sizes) > most
        return
    assert [n for start, end in pieces for n in range(start, end)] == list(range(len(sizes)))
    assert all(fits(start, end) for start, end in pieces)
    for (start, _), (after, _) in pairwise(pieces):
        assert not fits(start, after + 1), "a part is as full as it can be"


@pytest.mark.parametrize(("items", "most"), [(PARTS_MAX, 1), (PARTS_MAX * 7, 7)])
def test_there_is_an_end_to_parts(items: int, most: int) -> None:
    assert len(split(items, lambda start, end: end - start <= most) or ()) == PARTS_MAX
    assert split(items + 1, lambda start, end: end - start <= most) is None
