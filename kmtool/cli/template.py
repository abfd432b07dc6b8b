"""`kmtool template`: what buyers read, per channel, product and language."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool.cli import doors, out
from kmtool.words import _

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block
    from kmtool.operations.templates import (
        TemplateChange,
        TemplateList,
        TemplateShown,
        TemplateTried,
    )

app = doors.noun(_("what buyers read, per channel, product and language"))

Kind = Annotated[str, typer.Option(help=_("message or subject"))]
Channel = Annotated[str, typer.Option(help=_("only for this channel"))]
Sku = Annotated[str, typer.Option(help=_("only for this product"))]
Language = Annotated[str, typer.Option(help=_("zh_CN, en …; the channel's by default"))]


@app.command("list", help=_("all templates: yours, files of the shop folder, the shipped ones"))
def list_() -> None:
    """List templates."""
    from kmtool.operations import templates

    with doors.open_shop() as shop:
        result = templates.every(shop)
    out.show(result, _list)
    out.hint(_("what a message reads like: kmtool template test"))


@app.command("show", help=_("the template in force, ready to be changed"))
def show(
    kind: Kind = "message", channel: Channel = "", sku: Sku = "", language: Language = ""
) -> None:
    """Show a template."""
    from kmtool.operations import templates

    with doors.open_shop() as shop:
        result = templates.show(shop, templates.Place(kind, channel, sku, language))
    out.show(result, _show)


@app.command("set", help=_("store a template of your own; it is tried first"))
def set_(
    file: Annotated[str, typer.Argument(metavar="FILE", help=_("a text file; - reads stdin"))],
    kind: Kind = "message",
    channel: Channel = "",
    sku: Sku = "",
    language: Language = "",
    dry_run: doors.DryRun = False,
) -> None:
    """Store a template."""
    from kmtool.operations import templates

    doors.load_config(writes=True)
    body = templates.decoded(sys.stdin.buffer.read()) if file == "-" else _file(file)
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        result = templates.put(shop, templates.Place(kind, channel, sku, language), body)
    out.show(result, _changed)
    out.hint(_("what a message reads like now: kmtool template test"))


@app.command("remove", help=_("delete a template of your own"))
def remove(
    kind: Kind = "message",
    channel: Channel = "",
    sku: Sku = "",
    language: Language = "",
    dry_run: doors.DryRun = False,
) -> None:
    """Delete a template."""
    from kmtool.operations import templates

    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        if not dry_run:
            out.confirm(_("Delete this template?"))
        result = templates.remove(shop, templates.Place(kind, channel, sku, language))
    out.show(result, _changed)


@app.command("test", help=_("what a message reads like, without a key in the clear"))
def test(
    order: Annotated[str, typer.Argument(metavar="[ORDER]", help=_("the message of it"))] = "",
    channel: Channel = "",
    sku: Sku = "",
    language: Language = "",
) -> None:
    """Show a message."""
    from kmtool.operations import templates

    with doors.open_shop() as shop:
        if order:
            result = templates.tried_order(shop, order, language)
        else:
            place = templates.Place("message", channel, sku, language)
            result = templates.tried_sample(shop, place)
    out.show(result, _tried)


def _file(name: str) -> str:
    from kmtool.operations import templates

    return templates.read_file(Path(name))


def _list(result: TemplateList) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Moment, Table

    yield Table(
        columns=(
            Column("kind", _("Kind")), Column("channel", _("Channel")), Column("sku", _("SKU")),
            Column("language", _("Language")), Column("origin", _("From")),
            Column("length", _("Characters")), Column("updated", _("Stored"), spare=True),
        ),
        rows=[
            (
                one.kind, one.channel or _("all"), one.sku or _("all"), one.language,
                _origin(one.origin), one.length, Moment(one.updated_ms),
            )
            for one in result.templates
        ],
    )  # fmt: skip


def _show(result: TemplateShown) -> Iterable[Block]:
    from kmtool.cli.blocks import Line

    out.note(
        _("{kind}, {language}: {origin}").format(
            kind=result.kind, language=result.language, origin=_origin(result.origin)
        )
    )
    yield from (Line(line) for line in result.body.rstrip("\n").split("\n"))


def _tried(result: TemplateTried) -> Iterable[Block]:
    from kmtool.cli.blocks import Facts, Line

    yield Facts(
        (
            (_("Channel"), result.channel),
            (_("Language"), result.language),
            (_("Subject"), result.subject),
            (_("Characters"), result.length),
        )
    )
    yield Line("")
    yield from (Line(line) for line in result.text.rstrip("\n").split("\n"))


def _changed(result: TemplateChange) -> Iterable[Block]:
    from kmtool.cli.blocks import Line

    told = {
        "stored": _("The {kind} template ({language}) is stored."),
        "replaced": _("The {kind} template ({language}) is replaced."),
        "removed": _("The {kind} template ({language}) is deleted; the next closest is in force."),
    }[result.action]
    yield Line(told.format(kind=result.kind, language=result.language), "good")


def _origin(origin: str) -> str:
    return {"own": _("yours"), "file": _("your folder"), "shipped": _("shipped")}[origin]
