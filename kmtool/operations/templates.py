"""Templates of buyers' messages: what is in force where, a new one, a look at what it gives.

A template is tried before it is stored: it must render for one line and for several, with and
without a guide, and hold every key. Nothing here opens a key; what is shown has made-up ones, or
the endings of those that are bound.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kmtool.domain.ids import OrderId
from kmtool.domain.secret import Secret
from kmtool.errors import ConfigError, FileMissing, InputRefused, NotFound, UsageError
from kmtool.operations import messages
from kmtool.operations.find_order import named
from kmtool.operations.messages import LANGUAGE, MessageLine, Written
from kmtool.shop import Shop
from kmtool.store import deliveries, orders, products
from kmtool.store import templates as store
from kmtool.store.db import Row

KINDS = ("message", "subject")
LENGTH_MAX = 20_000
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_SAMPLE = ("SAMPLE-KEY-0001", "SAMPLE-KEY-0002", "SAMPLE-KEY-00021")


@dataclass(frozen=True, slots=True)
class Place:
    """What a template is for; empty is for all of them."""

    kind: str
    channel: str = ""
    sku: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class TemplateRow:
    """One template. `origin`: own (database), file (shop folder) or shipped."""

    kind: str
    channel: str
    sku: str
    language: str
    origin: str
    length: int
    updated_ms: int | None


@dataclass(frozen=True, slots=True)
class TemplateList:
    """All templates, the shop's own first."""

    templates: tuple[TemplateRow, ...]


@dataclass(frozen=True, slots=True)
class TemplateShown:
    """The template in force at a place, and where it comes from."""

    kind: str
    channel: str
    sku: str
    language: str
    origin: str
    body: str


@dataclass(frozen=True, slots=True)
class TemplateChange:
    """What was done to a template: stored, replaced or removed."""

    kind: str
    channel: str
    sku: str
    language: str
    action: str


@dataclass(frozen=True, slots=True)
class TemplateTried:
    """What a message would read like; no key in the clear."""

    channel: str
    language: str
    subject: str
    text: str
    length: int


def every(shop: Shop) -> TemplateList:
    """Return all templates: those of the database, the files of the shop, the shipped ones."""
    rows = [
        TemplateRow(
            row["kind"], row["channel"], row["sku"], row["language"], "own", len(row["body"]),
            row["updated_ms"],
        )
        for row in store.listing(shop.db)
    ]  # fmt: skip
    languages = sorted({shop.config.shop.language, *(r.language for r in rows), "en", "zh_CN"})
    languages += [
        one.language
        for one in shop.config.channels.values()
        if one.language and one.language not in languages
    ]
    for kind in KINDS:
        for language in languages:
            path = next((p for p in messages.files(shop, kind, language) if p.exists()), None)
            if path is not None:
                body = messages.read(path)
                rows.append(TemplateRow(kind, "", "", language, "file", len(body), None))
        for language in ("zh_CN", "en"):
            body = messages.shipped(kind, language).body
            rows.append(TemplateRow(kind, "", "", language, "shipped", len(body), None))
    return TemplateList(tuple(rows))


def show(shop: Shop, place: Place) -> TemplateShown:
    """Return the template that is in force at a place."""
    place = _checked(shop, place)
    found = messages.find(shop, place.kind, place.channel, place.sku, place.language)
    return TemplateShown(
        place.kind, found.channel, found.sku, found.language, found.origin, found.body
    )


def put(shop: Shop, place: Place, body: str) -> TemplateChange:
    """Store a template after it has been tried; raises `InputRefused` when it does not do."""
    shop.must_be_writable()
    place = _checked(shop, place)
    body = body.removeprefix("\ufeff").replace("\r\n", "\n")
    if not body.strip() or len(body) > LENGTH_MAX or _CONTROLS.search(body):
        raise InputRefused(
            detail="a template is text of 1 to {most} characters without control characters",
            most=LENGTH_MAX,
            mend="kmtool template show --kind {kind} shows the one in force",
            kind=place.kind,
        )
    try:
        _try(shop, place, body)
    except ConfigError as error:
        raise InputRefused(
            detail="the template is not stored: {problem}",
            problem=error.facts.get("detail", error.message()),
            where=error.where,
            mend="mend it, and try again; {hint}",
            hint=error.next_step() if "{%" in error.next_step() else "nothing was changed",
        ) from None
    with shop.db.tx():
        there = store.exact(shop.db, place.kind, place.channel, place.sku, place.language)
        store.put(
            shop.db, place.kind, place.channel, place.sku, place.language, body, shop.now_ms()
        )
        shop.audit("template_set", _name(place), f"{len(body)} characters")
    return _change(place, "replaced" if there else "stored")


def remove(shop: Shop, place: Place) -> TemplateChange:
    """Delete a template of the database; the next closest is in force from then on."""
    shop.must_be_writable()
    place = _checked(shop, place)
    with shop.db.tx():
        if not store.remove(shop.db, place.kind, place.channel, place.sku, place.language):
            raise NotFound(kind="template", name=_name(place))
        shop.audit("template_removed", _name(place))
    return _change(place, "removed")


def tried_order(shop: Shop, number: str, language: str = "") -> TemplateTried:
    """Return what the message of an order reads like; of its keys only the endings are shown."""
    order = named(shop, number)
    bound: dict[int, list[Row]] = {}
    lines = orders.lines(shop.db, OrderId(order["id"]))
    for row in deliveries.allocations(shop.db, [line["id"] for line in lines]):
        bound.setdefault(row["line_id"], []).append(row)
    shown = []
    for line in lines:
        product = products.product(shop.db, line["sku"]) if line["sku"] else None
        tails = [f"…{row['tail']}" for row in bound.get(line["id"], [])]
        keys = tails or [f"{_SAMPLE[0]}-{n}" for n in range(1, line["needed"] + 1)]
        shown.append(
            MessageLine(
                line["title"] or (product["title"] if product else ""),
                line["sku"] or "",
                product["guide"] if product else "",
                tuple(Secret(key) for key in keys),
            )
        )
    of = (order["channel"], order["number"], order["code"])
    return _tried(shop, of, shown, language or messages.language_of(shop, order["channel"]))


def tried_sample(shop: Shop, place: Place) -> TemplateTried:
    """Return what a message at a place reads like, with made-up keys."""
    place = _checked(shop, place)
    of = (place.channel or next(iter(shop.config.channels), "channel"), "A-1001", "KM1A2B3C4D")
    return _tried(shop, of, _lines(shop, place)[0], place.language)


def _tried(
    shop: Shop, of: tuple[str, str, str], lines: list[MessageLine], language: str
) -> TemplateTried:
    sku = lines[0].sku if len(lines) == 1 else ""
    subject, body = (messages.find(shop, kind, of[0], sku, language) for kind in reversed(KINDS))
    written = messages.rendered(shop, of, lines, subject.body, body.body)
    mark = messages.mark(language).replace("{marker}", f"{of[2]}-1")
    text = f"{written.text.text()}{mark}\n"
    return TemplateTried(of[0], language, written.subject, text, len(text))


def _try(shop: Shop, place: Place, body: str) -> list[Written]:
    """Render a template as it will be used: one line, several, with a guide and without."""
    of = (place.channel or "channel", "A-1001", "KM1A2B3C4D")
    plain = {kind: messages.shipped(kind, place.language).body for kind in KINDS}
    plain[place.kind] = body
    return [
        messages.rendered(shop, of, lines, plain["subject"], plain["message"])
        for lines in _lines(shop, place)
    ]


def _lines(shop: Shop, place: Place) -> list[list[MessageLine]]:
    product = products.product(shop.db, place.sku) if place.sku else None
    title, guide = (product["title"], product["guide"]) if product else ("Sample 示例商品", "")
    sku = place.sku or "SAMPLE"
    keys = tuple(Secret(key) for key in _SAMPLE)
    one = MessageLine(title, sku, guide, keys[:1])
    many = MessageLine(title, sku, guide or "A guide 使用说明 {{ code }}", keys)
    lines = [[one], [many]]
    if not place.sku:
        lines.append([many, MessageLine("Other 另一件", "OTHER", "", keys[:1])])
    return lines


def _checked(shop: Shop, place: Place) -> Place:
    language = place.language or messages.language_of(shop, place.channel)
    if place.kind not in KINDS:
        raise UsageError(
            detail="{kind} is no kind of template: message or subject",
            kind=place.kind,
            mend="--kind message",
        )
    if not LANGUAGE.fullmatch(language):
        raise UsageError(
            detail="{language} is no language such as zh_CN or en",
            language=language,
            mend="--language en",
        )
    if place.channel and place.channel not in shop.config.channels:
        raise NotFound(kind="channel", name=place.channel)
    if place.sku and products.product(shop.db, place.sku) is None:
        raise NotFound(kind="product", name=place.sku)
    return Place(place.kind, place.channel, place.sku, language)


def _name(place: Place) -> str:
    return f"template:{place.kind}:{place.channel}:{place.sku}:{place.language}"


def _change(place: Place, action: str) -> TemplateChange:
    return TemplateChange(place.kind, place.channel, place.sku, place.language, action)


def read_file(path: Path) -> str:
    """Return the text of a file; raises `FileMissing`, `InputRefused`."""
    try:
        return decoded(path.read_bytes(), path.name)
    except FileNotFoundError:
        raise FileMissing(name=path) from None
    except OSError:
        raise InputRefused(
            detail="{name} cannot be read", name=path.name, mend="look at the name again"
        ) from None


def decoded(data: bytes, name: str = "stdin") -> str:
    """Return bytes as text; raises `InputRefused` when they are no UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputRefused(
            detail="{name} is no UTF-8 text", name=name, mend="save it as UTF-8, then try again"
        ) from None
