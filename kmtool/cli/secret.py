"""`kmtool secret`: credentials sealed in the database; typed or piped, never an argument."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from kmtool.cli import doors, out
from kmtool.cli.blocks import Block, Column, Line, Marked, Moment, Table
from kmtool.operations import house
from kmtool.operations.house import SecretChange, SecretList
from kmtool.words import _

app = doors.noun(_("credentials, sealed in the database"))
Name = Annotated[str, typer.Argument(help=_("its name; kmtool.toml says secret:NAME"))]


@app.command("list", help=_("names and ages, never a value"))
def list_() -> None:
    """List names."""
    with doors.open_shop() as shop:
        result = house.secrets(shop)
    out.show(result, _list)


@app.command("set", help=_("store a value: typed without echo, or the first line of stdin"))
def set_(name: Name, dry_run: doors.DryRun = False) -> None:
    """Store a value."""
    doors.load_config(writes=True)
    value = out.secret_prompt(name)  # before the shop is open: typing takes its time
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        result = house.set_secret(shop, name, value)
    out.show(result, _changed)


@app.command("rm", help=_("delete a value"))
def remove(name: Name, dry_run: doors.DryRun = False) -> None:
    """Delete a value."""
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        if not dry_run:
            out.confirm(_("Delete the credential {name}?").format(name=name))
        result = house.remove_secret(shop, name)
    out.show(result, _changed)


def _list(result: SecretList) -> Iterable[Block]:
    yield Table(
        columns=(
            Column("name", _("Name")),
            Column("updated", _("Stored")),
            Column("used_by", _("Used by")),
        ),
        rows=[
            (
                one.name,
                Marked(_("missing"), "bad") if one.updated_ms is None else Moment(one.updated_ms),
                ", ".join(one.used_by),
            )
            for one in result.secrets
        ],
        empty=_("No credentials are stored."),
    )


def _changed(result: SecretChange) -> Iterable[Block]:
    told = {
        "stored": _("{name} is stored, sealed."),
        "replaced": _("{name} is replaced."),
        "removed": _("{name} is deleted."),
    }[result.action]
    yield Line(told.format(name=result.name), "good")
