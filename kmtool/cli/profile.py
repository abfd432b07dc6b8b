"""`kmtool profile`: which statement files can be read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from kmtool.cli import doors, out
from kmtool.cli.blocks import Block, Column, Facts, Table
from kmtool.operations import profiles
from kmtool.operations.profiles import Profiles, ProfileText
from kmtool.words import _

app = doors.noun(_("how statement files are read"))


@app.command("list", help=_("which statement files can be read"))
def list_() -> None:
    """List the profiles in use."""
    result = profiles.listing(doors.load_config().root / "statements")
    out.show(result, _listed)


@app.command("show", help=_("one profile with its columns"))
def show(profile: Annotated[str, typer.Argument(help=_("its id"))]) -> None:
    """Show the columns of a profile; its whole text is in --json."""
    result = profiles.show(doors.load_config().root / "statements", profile)
    out.show(result, _shown)


def _listed(result: Profiles) -> Iterable[Block]:
    yield Table(
        columns=(
            Column("profile", _("Profile")),
            Column("title", _("Title")),
            Column("channel", _("Channel")),
            Column("plane", _("Plane")),
            Column("certainty", _("Certainty")),
            Column("whose", _("Whose")),
        ),
        rows=[
            (
                one.id,
                one.title,
                one.channel,
                one.plane if one.role == "detail" else one.role,
                one.certainty,
                _("your own") if one.own else _("shipped"),
            )
            for one in result.profiles
        ],
    )


def _shown(result: ProfileText) -> Iterable[Block]:
    one = result.profile
    yield Facts(
        [
            (_("Profile"), one.id),
            (_("Title"), one.title),
            (_("Channel"), one.channel),
            (_("Plane"), one.plane),
            (_("Certainty"), one.certainty),
        ]
    )
    yield Table(
        columns=(
            Column("role", _("Role")),
            Column("type", _("Type")),
            Column("required", _("Required")),
            Column("names", _("Names")),
        ),
        rows=[
            (
                column.role,
                column.type,
                _("yes") if column.required else "",
                " | ".join(column.names),
            )
            for column in result.columns
        ],
    )
