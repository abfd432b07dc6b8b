"""The words people read, through gettext: English in the code, Chinese in `data/locale`.

Rule: English text in the code is the message id. Workbooks and buyers' messages do not pass here;
they follow the shop's language and live in templates. `tools/words.py` collects the ids.
"""

from __future__ import annotations

import gettext
import locale
import os
import re
from functools import cache

from kmtool import resources
from kmtool.errors import Stored, Told, fill

LITERAL_MIN = 8
"""A template with fewer letters of its own fits too much."""

_active: gettext.NullTranslations = gettext.NullTranslations()


def use(language: str | None = None) -> None:
    """Choose the language: the argument, else KMTOOL_LANG, else the locale, else English."""
    global _active
    wanted = language or os.environ.get("KMTOOL_LANG") or locale.getlocale()[0] or "en"
    if wanted.replace("-", "_").lower().startswith(("zh", "chinese")):
        wanted = "zh_CN"
    folder = resources.data_root() / "locale"
    _active = gettext.translation("kmtool", str(folder), [wanted], fallback=True)


def _(text: str) -> str:
    """Return `text` in the language in use."""
    return _Template(_active.gettext(text))


def plural(one: str, many: str, n: int) -> str:
    """Return the form for `n`, in the language in use."""
    return _Template(_active.ngettext(one, many, n))


class _Template(str):
    """A text of the catalogue; facts that are sentences themselves are told as well."""

    def format(self, *args: object, **facts: object) -> str:
        told = {name: tell(fact) if isinstance(fact, str) else fact for name, fact in facts.items()}
        return super().format(*args, **told)


def tell(text: str) -> str:
    """Return a `Told` in the language in use, its facts as well; any other text as it is."""
    if isinstance(text, Stored):
        return again(text)
    if not isinstance(text, Told):
        return text
    return fill(_(text.template), {name: tell(fact) for name, fact in text.facts.items()})


def again(text: str) -> str:
    """Tell an English text of the database: find the template it was made of, and its facts."""
    exact = _(text) if text else text
    if exact != text:
        return exact
    for pattern, template in _patterns(_active):
        found = pattern.fullmatch(text)
        if found:
            return fill(
                _(template), {name: again(fact) for name, fact in found.groupdict().items()}
            )
    return text


@cache
def _patterns(active: gettext.NullTranslations) -> list[tuple[re.Pattern[str], str]]:
    """Return what the templates of a language look like when filled, the most telling first."""
    catalogue: dict[object, str] = getattr(active, "_catalog", {})
    templates = [key for key in catalogue if isinstance(key, str) and "{" in key]
    found = []
    for template in templates:
        parts = re.split(r"\{(\w+)\}", template)
        words, names = parts[::2], parts[1::2]
        if len("".join(words)) >= LITERAL_MIN and len(set(names)) == len(names):
            pattern = re.escape(words[0])
            for name, after in zip(names, words[1:], strict=True):
                pattern += f"(?P<{name}>.+?)" + re.escape(after)
            found.append((len("".join(words)), re.compile(pattern, re.DOTALL), template))
    return [(pattern, template) for _n, pattern, template in sorted(found, key=lambda x: -x[0])]
