"""`kmtool db`: is the database whole, copy it, ask it, bring it up to date."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from kmtool.cli import db_move, db_restore, doors, out
from kmtool.cli.blocks import Block, Column, Facts, Heading, Line, Marked, Moment, Table
from kmtool.errors import EXIT_DIFFERENCES
from kmtool.operations import backup, database
from kmtool.operations.backup import BackupList, BackupResult
from kmtool.operations.database import Answer, DatabaseCheck, Migrated
from kmtool.words import _

app = doors.noun(_("the database: check, copy, ask"))
Sql = Annotated[str, typer.Argument(help=_("a SELECT; the views v_orders, v_lines, v_keys help"))]


@app.command("check", help=_("integrity, references, structure, newest backup"))
def check() -> None:
    """Check the database."""
    with doors.open_shop() as shop:
        result = database.check(shop)
    out.show(result, _check)
    if not result.ok:
        out.finish(EXIT_DIFFERENCES)


@app.command("backup", help=_("a copy beside busy writers, opened to prove it"))
def backup_() -> None:
    """Copy the database."""
    with doors.open_shop(writes=True) as shop:
        result = backup.backup(shop)
    out.show(result, _backup)


@app.command("backups", help=_("the backups there are, and why each is kept"))
def backups() -> None:
    """List the backups."""
    result = backup.listed(doors.load_config())
    out.show(result, _backups)


@app.command("query", help=_("a read-only question in SQL; sealed values are not shown"))
def query(sql: Sql) -> None:
    """Ask the database."""
    result = database.query(doors.load_config(), sql, out.row_limit())
    out.show(result, _answer)


@app.command("migrate", help=_("bring the database up to date, after a backup"))
def migrate() -> None:
    """Bring the database up to date."""
    result = database.bring_up_to_date(doors.load_config(writes=True), doors.clock())
    out.show(result, _migrated)


def _check(result: DatabaseCheck) -> Iterable[Block]:
    size = f"{result.bytes / 1_000_000:,.1f} MB"
    yield Facts(
        (
            (_("database"), result.database),
            (_("kind"), result.kind),
            (_("size"), size),
            (_("structure"), result.schema),
        )
    )
    yield Table(
        columns=(
            Column("name", _("Check")),
            Column("ok", _("State")),
            Column("figure", _("Found")),
            Column("mend", _("To do")),
        ),
        rows=[
            (
                one.name,
                Marked(_("ok"), "good") if one.ok else Marked(_("PROBLEM"), "bad"),
                one.figure,
                one.mend,
            )
            for one in result.checks
        ],
    )
    yield Heading(_("Rows"))
    yield Facts([(one.table, f"{one.rows:,}") for one in result.tables if one.rows])


def _backup(result: BackupResult) -> Iterable[Block]:
    yield Line(_("The copy is written and opens."), "good")
    yield Facts(
        (
            (_("file"), result.file),
            (_("size"), f"{result.bytes / 1_000_000:,.1f} MB"),
            (_("send journal"), result.journal or _("empty")),
            (_("kept"), result.kept),
            (_("removed"), result.removed),
        )
    )
    yield Line(_("The master key is not in it; keep that apart."), "dim")


def _backups(result: BackupList) -> Iterable[Block]:
    yield Table(
        columns=(
            Column("at", _("Made")),
            Column("file", _("File")),
            Column("megabytes", _("MB")),
            Column("journal", _("Journal")),
            Column("kept_for", _("Kept as")),
        ),
        rows=[
            (
                Moment(one.at_ms),
                one.file,
                round(one.bytes / 1_000_000, 1),
                Marked(_("yes"), "good") if one.journal else Marked(_("no"), "warn"),
                one.kept_for,
            )
            for one in result.backups
        ],
        empty=_("There is no backup yet: kmtool db backup"),
        id_key="file",
    )


def _answer(result: Answer) -> Iterable[Block]:
    yield Table(
        columns=[Column(name, name) for name in result.columns],
        rows=result.rows,
        empty=_("No rows."),
    )
    if result.more:
        yield Line(_("There are more rows: add --all."), "dim")


def _migrated(result: Migrated) -> Iterable[Block]:
    if not result.ran:
        yield Line(_("The database is up to date."), "good")
        return
    yield Line(_("Brought up to date: {names}").format(names=", ".join(result.ran)), "good")
    if result.backup:
        yield Facts(((_("backup before"), result.backup),))


for _name, _command, _line in (*db_restore.COMMANDS, *db_move.COMMANDS):
    app.command(_name, help=_line)(_command)
