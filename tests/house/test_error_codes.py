"""Every error code and every exit code is named by a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kmtool import errors

TESTS = Path(__file__).resolve().parents[1]
TEXT = "\n".join(
    path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py") if path != Path(__file__)
)


@pytest.mark.parametrize("cls", errors.every(), ids=lambda cls: cls.code)
def test_an_error_is_named_by_a_test(cls: type[errors.KmError]) -> None:
    assert cls.code in TEXT or re.search(rf"\b{cls.__name__}\b", TEXT), cls.code


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 130])
def test_an_exit_code_is_seen_by_a_test(code: int) -> None:
    seen = rf"(\.code|exit_code|returncode|code) (==|in|!=) [({{]?[^\n]*\b{code}\b"
    assert re.search(seen, TEXT), code
