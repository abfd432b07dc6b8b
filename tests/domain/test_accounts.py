"""An account that a top-up charges fits its product's rule, or is refused with the reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmtool.domain.accounts import LENGTH_MAX, refusal, rule_problem, tidy


@pytest.mark.parametrize(
    ("rule", "typed", "account"),
    [
        ("phone-cn", "13800138000", "13800138000"),
        ("phone-cn", " 138-0013 8000 ", "13800138000"),
        ("phone-cn", "+86 13800138000", "13800138000"),
        ("phone-cn", "１３８００１３８０００", "13800138000"),
        ("qq", "10001", "10001"),
        ("email", "demo_buyer@example.com", "demo_buyer@example.com"),
        ("digits:6-12", "00123456", "00123456"),
        ("regex:3-8:[A-Z]+[0-9]*", "ABC12", "ABC12"),
    ],
)
def test_an_account_that_fits_goes_through_tidied(rule: str, typed: str, account: str) -> None:
    assert rule_problem(rule) == ""
    assert tidy(rule, typed) == account
    assert refusal(rule, account) == ""


@pytest.mark.parametrize(
    ("rule", "account"),
    [
        ("phone-cn", ""),
        ("phone-cn", "12800138000"),
        ("phone-cn", "1380013800"),
        ("phone-cn", "138001380001"),
        ("qq", "0123456"),
        ("qq", "12\n345"),
        ("email", "nobody"),
        ("digits:6-12", "12345"),
        ("digits:6-12", "٣٤٥٦٧٨٩"),
        ("regex:3-8:[A-Z]+[0-9]*", "ABC12\x1b"),
        ("regex:3-8:[A-Z]+[0-9]*", "ABCDEFGH1"),
        ("", "10001"),
    ],
)
def test_an_account_that_does_not_fit_is_refused(rule: str, account: str) -> None:
    why = refusal(rule, account)
    assert why and "\x1b" not in why and "\n" not in why


@pytest.mark.parametrize(
    "rule", ["", "phone", "digits:9-3", "digits:0-5", f"digits:1-{LENGTH_MAX + 1}", "regex:1-5:("]
)
def test_a_rule_that_cannot_be_used_is_said_at_once(rule: str) -> None:
    assert rule_problem(rule)


@given(st.sampled_from(["phone-cn", "qq", "email", "digits:1-20", "regex:1-9:.*"]), st.text())
def test_tidying_twice_changes_nothing_and_refusing_never_fails(rule: str, text: str) -> None:
    once = tidy(rule, text)
    assert tidy(rule, once) == once
    refusal(rule, once)
