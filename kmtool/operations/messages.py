"""Writes what the buyer reads: sandboxed templates, the shop's own before the shipped ones.

The language is the channel's, else the shop's. A template of it is looked for in the database
(channel and SKU, then SKU, then channel, then neither), then in the shop folder as
`templates/message.en.txt.j2` (`templates/message.txt.j2` is of the shop's language), then among the
shipped ones. One that does not render, or leaves a key out, is an error before any key is bound.
The variables are `shop`, `channel`, `number`, `code` and `lines` (each with `title`, `sku`,
`guide`, `keys`); a product's guide may use the first four.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from kmtool import resources
from kmtool.domain.secret import Secret
from kmtool.errors import ConfigError
from kmtool.ports import Attachment
from kmtool.shop import Shop
from kmtool.store import templates

_WRONG = (TypeError, ValueError, AttributeError, RecursionError, MemoryError)
"""What a template may trip over besides jinja2's own errors."""
LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[_-][A-Za-z0-9]{2,8})?")
CHINESE = "zh"
MARK = "发货编号：{marker}"
"""The last line of every message: the mark by which it is found again on the other side."""
_MARKS = {CHINESE: (MARK, "（第 {part}/{parts} 条）"),
          "en": ("Delivery number: {marker}", " (message {part} of {parts})")}  # fmt: skip


@dataclass(slots=True)  # one for each line: a frozen one takes four times as long to make
class MessageLine:
    """One line of an order as the buyer sees it."""

    title: str
    sku: str
    guide: str
    keys: tuple[Secret, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Written:
    """A rendered message. `text` holds keys; `mark` is its last line, with `{marker}` in it."""

    subject: str
    text: Secret
    mark: str = MARK
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """A template with where it stands: `own` (database), `file` (shop folder) or `shipped`."""

    body: str
    origin: str
    channel: str = ""
    sku: str = ""
    language: str = ""


def write(
    shop: Shop,
    channel: str,
    number: str,
    code: str,
    lines: Sequence[MessageLine],
    part: tuple[int, int] = (1, 1),
) -> Written:
    """Render subject and text of a parcel; see `Templates.write`."""
    return Templates(shop).write(channel, number, code, lines, part)


def language_of(shop: Shop, channel: str) -> str:
    """Return the language of a channel's buyers."""
    found = shop.config.channels.get(channel)
    return (found.language if found else "") or shop.config.shop.language


def rendered(
    shop: Shop,
    order: tuple[str, str, str],
    lines: Sequence[MessageLine],
    subject_template: str,
    text_template: str,
) -> Written:
    """Render two templates for an order (channel, number, code); every key must be in the text."""
    channel, number, code = order
    facts: dict[str, Any] = {
        "shop": shop.config.shop.name,
        "channel": channel,
        "number": number,
        "code": code,
    }
    shown = [
        {
            "title": " ".join(line.title.split()),
            "sku": line.sku,
            "guide": render(line.guide, facts) if "{" in line.guide else line.guide,
            "keys": [key.text() for key in line.keys],
        }
        for line in lines
    ]
    subject = render(subject_template, {**facts, "lines": []})
    text = render(text_template, {**facts, "lines": shown})
    if not _holds_all(text, [key.text() for line in lines for key in line.keys]):
        raise ConfigError(
            detail="the message template leaves a key out",
            where="templates/message.txt.j2",
            mend="use {sample} in the template",
            sample="{% for key in line['keys'] %}{{ key }}{% endfor %}",
        )
    return Written(" ".join(subject.split()), Secret(text.strip() + "\n"))


def _holds_all(text: str, keys: list[str]) -> bool:
    """Tell whether every key stands in the text on its own, not only inside a longer one."""
    for key in sorted(keys, key=len, reverse=True):
        if key not in text:
            return False
        text = text.replace(key, "\0", 1)
    return True


class Templates:
    """The templates in force, each looked for once. Make one for a chunk; never keep it longer."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._bodies: dict[tuple[str, str, str, str], str] = {}
        self._files: dict[tuple[str, str], Source] = {}

    def write(
        self,
        channel: str,
        number: str,
        code: str,
        lines: Sequence[MessageLine],
        part: tuple[int, int] = (1, 1),
    ) -> Written:
        """Render subject and text of a parcel; `ConfigError` names a template that does not render.

        Of a message in several parts (`part` is n of all) each says which one it is, in its subject
        and in its last line.
        """
        sku = lines[0].sku if len(lines) == 1 else ""
        language = language_of(self._shop, channel)
        subject = self.body("subject", channel, sku, language)
        text = self.body("message", channel, sku, language)
        written = rendered(self._shop, (channel, number, code), lines, subject, text)
        last = mark(language, part)
        which = last.partition("{marker}")[2]
        return Written(written.subject + which, written.text, last)

    def body(self, kind: str, channel: str, sku: str, language: str) -> str:
        """Return the template text for a channel and product."""
        name = (kind, channel, sku, language)
        if name not in self._bodies:
            self._bodies[name] = self._find(*name).body
        return self._bodies[name]

    def _find(self, kind: str, channel: str, sku: str, language: str) -> Source:
        own = stored(self._shop, kind, channel, sku, language)
        if own is not None:
            return own
        if (kind, language) not in self._files:
            self._files[kind, language] = laid(self._shop, kind, language)
        return self._files[kind, language]


def source(shop: Shop, kind: str, channel: str, sku: str, language: str = "") -> str:
    """Return the template text for a channel and product."""
    return find(shop, kind, channel, sku, language or language_of(shop, channel)).body


def find(shop: Shop, kind: str, channel: str, sku: str, language: str) -> Source:
    """Return the template in force: the closest of the database, a file of the shop, a shipped."""
    return stored(shop, kind, channel, sku, language) or laid(shop, kind, language)


def stored(shop: Shop, kind: str, channel: str, sku: str, language: str) -> Source | None:
    """Return the closest template of the database, if there is one."""
    row = templates.best(shop.db, kind, channel, sku, language)
    if row is None:
        return None
    return Source(row["body"], "own", row["channel"], row["sku"], row["language"])


def laid(shop: Shop, kind: str, language: str) -> Source:
    """Return the template of the shop folder, else the shipped one."""
    for path in files(shop, kind, language):
        if path.exists():
            return Source(read(path), "file", language=language)
    return shipped(kind, language)


def shipped(kind: str, language: str) -> Source:
    """Return the template that comes with the program: Chinese, or English for all others."""
    short = "" if language[:2].lower() == CHINESE else ".en"
    path = resources.data_path("messages", f"{kind}{short}.txt.j2")
    return Source(read(path), "shipped", language="en" if short else "zh_CN")


def mark(language: str, part: tuple[int, int] = (1, 1)) -> str:
    """Return the last line of a message, with `{marker}` in it; of a part it says which one."""
    line, which = _MARKS.get(language[:2].lower(), _MARKS["en"])
    return line + (which.format(part=part[0], parts=part[1]) if part[1] > 1 else "")


def files(shop: Shop, kind: str, language: str) -> list[Path]:
    """Return where a template of a language may lie in the shop folder, the closest first."""
    if not LANGUAGE.fullmatch(language):
        raise ConfigError(
            detail="{language} is no language such as zh_CN or en", language=repr(language)
        )
    folder = shop.config.root / "templates"
    found = [folder / f"{kind}.{name}.txt.j2" for name in dict.fromkeys((language, language[:2]))]
    if language == shop.config.shop.language:
        found.append(folder / f"{kind}.txt.j2")
    return found


def read(path: Path) -> str:
    """Return a template of a file; `ConfigError` when it is no text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            detail="the message template cannot be read: {problem}",
            problem=error,
            where=str(path),
            mend="save {name} as UTF-8, or delete it to use the shipped one",
            name=path.name,
        ) from None


def render(template: str, facts: dict[str, Any]) -> str:
    """Render a template in the sandbox (no attributes of objects, no files)."""
    from jinja2 import TemplateError

    try:
        return _compile(template).render(facts)  # type: ignore[no-any-return]
    except (TemplateError, ArithmeticError, LookupError, *_WRONG) as error:
        line = getattr(error, "lineno", None)
        raise ConfigError(
            detail="the message template does not render: {problem}",
            problem=error,
            where=f"line {line}" if line else "",
            mend="mend templates/message.txt.j2, or delete it to use the shipped one",
        ) from None


@cache
def _compile(template: str) -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, trim_blocks=True, keep_trailing_newline=True
    )
    compiled = environment.from_string(template)
    compiled.globals = dict(compiled.globals)  # a chain of dicts is walked anew at every rendering
    return compiled
