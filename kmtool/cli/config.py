"""`kmtool config`: which kmtool.toml, what is in force, what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from kmtool import config as configuration_file
from kmtool.cli import doors, options, out
from kmtool.cli.blocks import Block, Column, Line, Marked, Table
from kmtool.errors import NotSetUp
from kmtool.operations import configuration
from kmtool.operations.configuration import ConfigCheck, Found, Setting, Settings
from kmtool.words import _

app = doors.noun(_("kmtool.toml: which one, what is in force, what is wrong"))
Name = Annotated[str, typer.Argument(help=_("its dotted name, such as data.backups_keep"))]
EXIT_CONFIG = 4


@app.command("show", help=_("every setting in force"))
def show() -> None:
    """Show all settings."""
    out.show(configuration.settings(doors.load_config()), _show)


@app.command("path", help=_("which kmtool.toml is used, and why"))
def path() -> None:
    """Show the path."""
    found, because = configuration_file.find(options.current().config or None)
    out.show(Found(str(found), because), _path)


@app.command("get", help=_("one setting"))
def get(name: Name) -> None:
    """Show one setting."""
    out.show(configuration.setting(doors.load_config(), name), _get)


@app.command("check", help=_("look it over: adapters, credentials, names"))
def check() -> None:
    """Check the file."""
    config = doors.load_config()
    try:
        with doors.open_shop() as shop:
            result = configuration.check(config, shop)
    except NotSetUp:  # the file can be looked over before there is a database
        result = configuration.check(config, None)
    out.show(result, _check)
    if not result.ok:
        out.finish(EXIT_CONFIG)


def _show(result: Settings) -> Iterable[Block]:
    yield Line(result.path, "dim")
    yield Table(
        columns=(
            Column("name", _("Setting")),
            Column("value", _("Value")),
            Column("given", _("From")),
        ),
        rows=[
            (one.name, one.value, _("kmtool.toml") if one.given else Marked(_("default"), "dim"))
            for one in result.settings
        ],
    )


def _path(result: Found) -> Iterable[Block]:
    yield Line(result.path)
    out.note(_("because: {why}").format(why=result.because))


def _get(result: Setting) -> Iterable[Block]:
    yield Line(result.value)


def _check(result: ConfigCheck) -> Iterable[Block]:
    if result.problems:
        yield Table(
            columns=(
                Column("where", _("Where")),
                Column("what", _("What")),
                Column("mend", _("To do")),
            ),
            rows=[
                (one.where, Marked(one.what, "bad" if one.grave else "warn"), one.mend)
                for one in result.problems
            ],
        )
        return
    told = _("{path} is in order; channels: {n}.")
    yield Line(told.format(path=result.path, n=result.channels), "good")
