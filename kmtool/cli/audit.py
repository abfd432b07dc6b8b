"""`kmtool audit`: who did what and when, proof that the record is whole, who saw which key."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool.cli import doors, options, out
from kmtool.cli.values import day
from kmtool.errors import EXIT_DIFFERENCES, UsageError
from kmtool.words import _

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block
    from kmtool.operations.audit import Anchored, AuditFile, AuditList, SeenKeys
    from kmtool.operations.audit_verify import Verified
    from kmtool.store.audit import Wanted

app = doors.noun(_("the record of who did what"))
Of = Annotated[
    str, typer.Option("--of", "--object", help=_("only about this order, key, channel …"))
]
Actor = Annotated[str, typer.Option("--actor", help=_("only what this person did"))]
Action = Annotated[
    str, typer.Option("--action", help=_("only this kind of deed: pause, key.reveal, settle.* …"))
]
Since = Annotated[str, typer.Option("--since", help=_("from this day on"))]


@app.command("list", help=_("what was done, newest first"))
def list_(
    of: Of = "",
    actor: Actor = "",
    action: Action = "",
    since: Since = "",
    limit: Annotated[int, typer.Option("--limit", min=0, help=_("how many rows at most"))] = 0,
) -> None:
    """List the record."""
    from kmtool.operations import audit

    with doors.open_shop() as shop:
        wanted = _wanted(shop.config.shop.timezone, of, actor, action, since)
        result = audit.listing(shop, wanted, limit or out.row_limit())
    out.show(result, _view)


@app.command("verify", help=_("recompute the whole record; exit 8 when it was tampered with"))
def verify() -> None:
    """Verify the record."""
    from kmtool.operations import audit_verify

    with doors.open_shop() as shop:
        result = audit_verify.verify(shop)
    out.show(result, _verified)
    if not result.ok:
        out.hint(_("after a backup was put back on purpose: kmtool audit anchor --accept REASON"))
        out.finish(EXIT_DIFFERENCES)


@app.command("anchor", help=_("note the heads of the record outside the shop folder"))
def anchor(
    accept: Annotated[
        str, typer.Option(metavar="REASON", help=_("older anchors no longer count; say why"))
    ] = "",
    dry_run: doors.DryRun = False,
) -> None:
    """Write an anchor."""
    from kmtool.operations import audit

    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        if accept and not dry_run:
            out.confirm(_("Take the record as it is now, whatever was anchored before?"))
        result = audit.anchor(shop, accept=accept)
    out.show(result, _anchored)


@app.command("export", help=_("take the record away with its hashes: -o FILE.json, .csv, .xlsx"))
def export(
    of: Of = "",
    actor: Actor = "",
    action: Action = "",
    since: Since = "",
    raw: Annotated[bool, typer.Option("--raw", help=_("csv for programs: cells as is"))] = False,
    key_file: Annotated[
        str, typer.Option(metavar="FILE", help=_("also the key that recomputes the hashes"))
    ] = "",
) -> None:
    """Export the record."""
    from kmtool.operations import audit

    asked = options.current()
    name, asked.output = asked.output, ""
    if not name:
        raise UsageError(detail="export where?", mend="kmtool audit export -o audit.json")
    with doors.open_shop(writes=bool(key_file)) as shop:
        wanted = _wanted(shop.config.shop.timezone, of, actor, action, since)
        result = audit.export(shop, Path(name), wanted, raw=raw, key_file=key_file)
    out.show(result, _written)


@app.command("seen", help=_("who saw a key: screens, exports, sends"))
def seen(
    key: Annotated[int | None, typer.Argument(metavar="[ID]")] = None,
    tail: Annotated[str, typer.Option(help=_("last characters, as shown: 7QX2"))] = "",
    order: Annotated[str, typer.Option(help=_("all keys of this order"))] = "",
) -> None:
    """Show who saw a key."""
    from kmtool.operations import audit

    with doors.open_shop() as shop:
        result = audit.who_saw(shop, key_id=key, tail=tail, order=order)
    out.show(result, _seen)


def _wanted(zone: str, of: str, actor: str, action: str, since: str) -> Wanted:
    from kmtool.clock import day_start_ms
    from kmtool.store.audit import Wanted

    first = day(since, "--since")
    return Wanted(of, actor, action, day_start_ms(first, zone) if first else 0)


def _view(result: AuditList) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Moment, Table

    yield Table(
        columns=(
            Column("seq", _("No.")),
            Column("at", _("When")),
            Column("actor", _("Who")),
            Column("action", _("What")),
            Column("object", _("Of")),
            Column("detail", _("Detail")),
        ),
        rows=[
            (one.seq, Moment(one.at_ms), one.actor, one.action, one.object, one.detail)
            for one in result.entries
        ],
        total=result.total,
        empty=_("Nothing is on record yet."),
    )


def _verified(result: Verified) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Facts, Line, Moment, Table

    yield Facts(
        (
            (_("rows"), result.rows),
            (_("chains"), result.chains),
            (_("from before the chain"), result.old_rows),
            (_("anchors"), result.anchors),
            (_("last anchor"), Moment(result.anchored_ms)),
        )
    )
    if result.ok:
        yield Line(_("The record is whole: every row is as it was written."), "good")
        return
    told = _("The record was tampered with or damaged: {n} places do not fit.")
    yield Line(told.format(n=result.broken), "bad")
    yield Table(
        columns=(
            Column("chain", _("Chain")),
            Column("n", _("Row")),
            Column("seq", _("No.")),
            Column("what", _("What")),
        ),
        rows=[(one.chain, one.n, one.seq, one.what) for one in result.breaks],
        total=result.broken,
    )


def _anchored(result: Anchored) -> Iterable[Block]:
    from kmtool.cli.blocks import Facts, Line, Moment

    if not result.new:
        yield Line(_("Nothing was written since the last anchor."), "dim")
    yield Facts(
        (
            (_("Anchor"), result.short),
            (_("at"), Moment(result.at_ms)),
            (_("rows"), result.rows),
            (_("chains"), result.chains),
            (_("hash"), result.hash),
            (_("File"), result.file),
        )
    )


def _written(result: AuditFile) -> Iterable[Block]:
    from kmtool.cli.blocks import Facts

    pairs: list[tuple[str, str | int]] = [
        (_("written"), result.file),
        (_("rows"), result.rows),
        ("SHA-256", result.sha256),
    ]
    if result.key_file:
        pairs.append((_("key of the hashes"), result.key_file))
    yield Facts(pairs)


def _seen(result: SeenKeys) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Heading, Moment, Table

    if len(result.keys) > 1:
        yield Heading(_("{n} keys").format(n=len(result.keys)))
    yield Table(
        columns=(
            Column("id", _("Id")),
            Column("key", _("Key")),
            Column("at", _("When")),
            Column("who", _("Who")),
            Column("how", _("How")),
            Column("where", _("Order")),
            Column("why", _("Why")),
            Column("state", _("State"), spare=True),
        ),
        rows=[
            (str(key.id), key.key, Moment(one.at_ms), one.who, one.how, one.where, one.why,
             one.state)
            for key in result.keys
            for one in key.seen
        ],
        empty=_("Nobody saw it."),
    )  # fmt: skip
