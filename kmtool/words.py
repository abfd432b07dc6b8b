"""The words people read, through gettext: English in the code, Chinese in `data/locale`.

Rule: English text in the code is the message id. Workbooks and buyers' messages do not pass here;
they follow the shop's language and live in templates.
"""

from __future__ import annotations

import gettext
import locale
import os

from kmtool import resources

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
    return _active.gettext(text)


def plural(one: str, many: str, n: int) -> str:
    """Return the form for `n`, in the language in use."""
    return _active.ngettext(one, many, n)
