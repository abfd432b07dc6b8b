"""Every word people may read can be shown by a Chinese Windows console (GBK)."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmtool import errors
from tests.house import source

# The words of a workbook stand in xlsx, which carries every glyph.
WORKBOOKS = ("kmtool/operations/settle_",)
# Signs that are only read, in files of others: money, and what a bad decoder leaves.
ONLY_READ = set("¥€£\ufffd")


def _ungettable(text: str) -> str:
    """Return the visible glyphs that GBK lacks; what patterns cut out of hostile text has none."""
    lacking = (c for c in text if not c.encode("gbk", "ignore"))
    return "".join(c for c in lacking if c.isprintable() and c not in ONLY_READ)


@pytest.mark.parametrize("path", source.files(), ids=source.name)
def test_a_string_has_only_glyphs_of_gbk(path: Path) -> None:
    if source.name(path).startswith(WORKBOOKS):
        pytest.skip("its words go into a workbook")
    found = [
        f"{line}: {_ungettable(text)!r} in {text[:60]!r}"
        for line, text in source.texts(path)
        if _ungettable(text)
    ]
    assert not found, "\n".join(found)


def test_an_error_has_only_glyphs_of_gbk() -> None:
    for cls in errors.every():
        assert not _ungettable(cls.template() + cls.mend), cls.__name__


def test_a_glyph_outside_is_noticed() -> None:
    assert _ungettable("ok ✓ «x»") == "✓«»"
