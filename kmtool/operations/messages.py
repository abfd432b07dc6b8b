"""Writes what the buyer reads: sandboxed templates, the shop's own before the shipped ones.

A template is looked for in the database (channel and SKU, then SKU, then channel, then neither),
then as `templates/message.txt.j2` of the shop folder, then among the shipped ones. One that does
not render, or leaves a key out, is an error before any key is bound. The variables are `shop`,
`channel`, `number`, `code` and `lines` (each with `title`, `sku`, `guide`, `keys`); a product's
guide may use the first four.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from kmtool import resources
from kmtool.domain.secret import Secret
from kmtool.errors import ConfigError
from kmtool.shop import Shop
from kmtool.store import templates

_WRONG = (TypeError, ValueError, AttributeError, RecursionError, MemoryError)
"""What a template may trip over besides jinja2's own errors."""


@dataclass(frozen=True, slots=True)
class MessageLine:
    """One line of an order as the buyer sees it."""

    title: str
    sku: str
    guide: str
    keys: tuple[Secret, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Written:
    """A rendered message. `text` holds keys."""

    subject: str
    text: Secret


def write(shop: Shop, channel: str, number: str, code: str, lines: list[MessageLine]) -> Written:
    """Render subject and text of a parcel; `ConfigError` names a template that does not render."""
    sku = lines[0].sku if len(lines) == 1 else ""
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
    subject = render(source(shop, "subject", channel, sku), {**facts, "lines": []})
    text = render(source(shop, "message", channel, sku), {**facts, "lines": shown})
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


def source(shop: Shop, kind: str, channel: str, sku: str) -> str:
    """Return the template text for a channel and product."""
    found = templates.best(shop.db, kind, channel, sku)
    if found is not None:
        return found
    own: Path = shop.config.root / "templates" / f"{kind}.txt.j2"
    path = own if own.exists() else resources.data_path("messages", f"{kind}.txt.j2")
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
    return environment.from_string(template)
