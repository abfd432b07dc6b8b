"""Words for people: complete in both languages, the same facts in both, and printable under GBK."""

from __future__ import annotations

import ast
import gettext
import io
import re
from pathlib import Path

import pytest

from kmtool import errors
from tests.house import source
from tools import build_hook, words

CATALOGUES = sorted((source.ROOT / "data/locale").glob("*/LC_MESSAGES/*.po"))
FACTS = re.compile(r"\{\w*[^{}]*\}")


@pytest.mark.parametrize("path", CATALOGUES, ids=source.name)
def test_every_marked_text_is_translated(path: Path) -> None:
    known = build_hook.read_po(path.read_text(encoding="utf-8"))
    missing = [f"{place} {text!r}" for text, place in words.ids().items() if text not in known]
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("path", CATALOGUES, ids=source.name)
def test_a_catalogue_holds_what_the_program_says(path: Path) -> None:
    old = path.read_text(encoding="utf-8")
    assert words.catalogue(path.parts[-3], words.ids(), build_hook.read_po(old)) == old


@pytest.mark.parametrize("path", CATALOGUES, ids=source.name)
def test_a_translation_can_be_printed_under_gbk(path: Path) -> None:
    for value in build_hook.read_po(path.read_text(encoding="utf-8")).values():
        value.encode("gbk")


def test_no_error_is_raised_with_a_finished_sentence() -> None:
    """An f-string knows one language; a text of the outside might hold braces of its own."""
    classes = {cls.__name__ for cls in errors.every()}
    found = [
        f"{source.name(path)}:{node.lineno} {keyword.arg}"
        for path in source.files()
        for node in ast.walk(source.tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in classes
        for keyword in node.keywords
        if keyword.arg in {"detail", "mend"} and isinstance(keyword.value, ast.JoinedStr)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", CATALOGUES, ids=source.name)
def test_a_translation_names_the_same_facts(path: Path) -> None:
    odd = []
    for key, value in build_hook.read_po(path.read_text(encoding="utf-8")).items():
        allowed = set(FACTS.findall(key))
        told = set(FACTS.findall(value))
        if key and (told - allowed or ("\x00" not in key and allowed - told)):
            odd.append(f"{key!r} → {value!r}")
    assert not odd, "\n".join(odd)


@pytest.mark.parametrize("path", source.files(), ids=source.name)
def test_every_text_can_be_printed_under_gbk(path: Path) -> None:
    """A Chinese Windows console prints GBK; what it lacks comes out as a question mark.

    Patterns and sets of signs are for reading and may hold anything.
    """
    lost = []
    patterns = set(source.patterns(path))
    for line, text in source.texts(path):
        if text in patterns or not any(glyph.isalpha() for glyph in text):
            continue
        for glyph in set(text) - {"\ufeff"}:
            try:
                glyph.encode("gbk")
            except UnicodeEncodeError:
                lost.append(f"line {line}: {glyph!r} in {text.strip()[:50]!r}")
    assert not lost, "\n".join(lost)


PO = """
# A comment
msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\\n"
"Plural-Forms: nplurals=1; plural=0;\\n"

#: kmtool/cli/out.py:1
msgid "done"
msgstr "完"
"成"

msgid "{n} order"
msgid_plural "{n} orders"
msgstr[0] "{n} 单"

msgctxt "menu"
msgid "done"
msgstr "好了"

#, fuzzy
msgid "guessed"
msgstr "猜的"

msgid "not yet"
msgstr ""
"""


def test_the_compiler_writes_what_gettext_reads() -> None:
    compiled = gettext.GNUTranslations(io.BytesIO(build_hook.mo_bytes(build_hook.read_po(PO))))
    assert compiled.gettext("done") == "完成"
    assert compiled.ngettext("{n} order", "{n} orders", 7) == "{n} 单"
    assert compiled.pgettext("menu", "done") == "好了"
    assert compiled.gettext("guessed") == "guessed"
    assert compiled.gettext("not yet") == "not yet"


@pytest.mark.parametrize(
    "bad", ['msgid "a\n', "msgid 7\n", 'massage "a"\n', 'msgid "a"\nmsgid "b"\n']
)
def test_a_broken_catalogue_is_refused_with_its_line(bad: str) -> None:
    with pytest.raises(ValueError, match="line"):
        build_hook.read_po(bad)
