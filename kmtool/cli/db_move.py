"""`kmtool db move|copy`: another folder, another machine, another kind of database."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool.cli import doors, out
from kmtool.cli.blocks import Block, Column, Facts, Line, Table
from kmtool.cli.db_restore import opener
from kmtool.errors import Refused, UsageError
from kmtool.words import _

if TYPE_CHECKING:
    from kmtool.domain.secret import Secret
    from kmtool.operations.copy import Copied
    from kmtool.operations.move import Moved

Target = Annotated[Path, typer.Argument(help=_("a new folder, or a file named ….kmmove"))]
In = Annotated[
    Path | None, typer.Option("--in", metavar="FILE", help=_("unpack a shop on its new machine"))
]
NoKey = Annotated[
    bool, typer.Option("--without-key", help=_("leave the master key out: it is there already"))
]
To = Annotated[str, typer.Option("--to", help=_("a file, or postgresql://user@host/name"))]
Switch = Annotated[bool, typer.Option("--switch", help=_("use the copy from now on"))]


def move(
    target: Target = Path(), in_: In = None, without_key: NoKey = False,
    dry_run: doors.DryRun = False,
) -> None:  # fmt: skip
    """Move the shop; the old place sends nothing any more."""
    from kmtool.operations import move as operation

    if in_ is not None:
        _unpack(in_, target, dry_run)
        return
    if target == Path():
        raise UsageError(detail="where to?", mend="kmtool db move FOLDER, or FILE.kmmove")
    with doors.open_shop(writes=True) as shop:
        if not dry_run:
            out.note(_("The old place {place} will send nothing any more.").format(
                place=shop.config.root))  # fmt: skip
            out.confirm(_("Move the shop to {target}?").format(target=target))
        if operation.is_folder(target):
            result = operation.move(shop, target, opener(), keep=not dry_run)
        else:
            words = None if without_key else _passphrase(twice=True)
            result = operation.pack(shop, target, words, keep=not dry_run)
    out.show(result, _moved)


def copy(to: To, switch: Switch = False, dry_run: doors.DryRun = False) -> None:
    """Copy the shop into an empty database of either kind."""
    from kmtool.operations import copy as operation

    with doors.open_shop(writes=True) as shop:
        if switch and not dry_run:
            told = _("Use {target} from now on? The present database sends nothing any more.")
            out.confirm(told.format(target=_without_password(to)))
        result = operation.copy(shop, to, switch=switch, keep=not dry_run)
    out.show(result, _copied)


COMMANDS = (
    ("move", move, _("to another folder, or packed for another machine")),
    ("copy", copy, _("to PostgreSQL or back to a file, every row compared")),
)


def _unpack(file: Path, folder: Path, dry_run: bool) -> None:
    from kmtool.operations import move as operation

    folder = Path(file.stem) if folder == Path() else folder
    if not dry_run:
        out.confirm(_("Unpack the shop into {folder} and let it be at home here?").format(
            folder=folder))  # fmt: skip
    result = operation.unpack(file, folder, opener(), _passphrase, keep=not dry_run)
    out.show(result, _moved)


def _passphrase(*, twice: bool = False) -> Secret:
    given = out.secret_prompt(_("passphrase of the packed shop"))
    if twice and out.can_ask() and out.secret_prompt(_("the same again")) != given:
        raise Refused(detail="the two passphrases differ; nothing was done", mend="type it again")
    return given


def _moved(result: Moved) -> Iterable[Block]:
    if not result.kept:
        yield Line(_("--dry-run: nothing was done"), "dim")
    elif result.packed:
        yield Line(_("The shop is packed; nothing is sent from here any more."), "good")
    else:
        yield Line(_("The shop is at home there now."), "good")
    yield Facts(
        (
            (_("place"), result.place),
            (_("files"), result.files),
            (_("orders"), f"{result.figures.orders:,}"),
            (_("keys"), f"{result.figures.keys:,}"),
        )
    )
    if result.packed:
        told = _("on the other machine: kmtool db move --in {file} FOLDER")
        yield Line(told.format(file=Path(result.place).name))
        key = _("The master key is in it, sealed with your passphrase.")
        yield Line(key if result.with_key else _("The master key is not in it."), "warn")
    elif result.kept:
        out.hint(f'cd "{result.place}"')


def _copied(result: Copied) -> Iterable[Block]:
    yield Table(
        columns=(Column("table", _("Table")), Column("rows", _("Rows"))),
        rows=[(one.table, one.rows) for one in result.tables if one.rows],
    )
    yield Line(
        _("{rows} rows in {n} tables, every count and sum the same.").format(
            rows=f"{result.rows:,}", n=len(result.tables)
        ),
        "good",
    )
    if not result.kept:
        yield Line(_("--dry-run: nothing was kept"), "dim")
    elif result.switched:
        yield Line(_("kmtool.toml names it now; the old database sends nothing any more."), "good")
    else:
        target = _without_password(result.target)
        yield Line(_("To use it: stop kmtool, write into [data] of kmtool.toml:"))
        yield Line(f'  database = "{target}"')
        yield Line(_("then: kmtool db adopt"))
        yield Line(_("(all of it at once, into an empty database: kmtool db copy --to … --switch)"))


def _without_password(target: str) -> str:
    from kmtool.operations.backup import without_password

    return without_password(target)[0] if "://" in target else target
