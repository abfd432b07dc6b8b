"""`kmtool key lend|lent|lend-back|lend-lost`: keys placed into a platform's own pool."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool.cli import doors, out
from kmtool.cli.export import take_output
from kmtool.errors import EXIT_DIFFERENCES, UsageError
from kmtool.words import _, plural

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block
    from kmtool.operations.lending import Lendings, Lent
    from kmtool.operations.lending_back import ReadBack

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A lending whose keys were given up."""

    number: str
    keys: int


def lend(  # noqa: PLR0913, PLR0917  (the options of one command)
    sku: Annotated[str, typer.Argument(metavar="[SKU]")] = "",
    pool: Annotated[str, typer.Option(help=_("the pool's name: what you call it"))] = "",
    count: Annotated[int, typer.Option("--keys", "-n", help=_("how many keys"))] = 0,
    form: Annotated[str, typer.Option(help=_("the platform's form (presets/pools)"))] = "",
    channel: Annotated[str, typer.Option(help=_("where the pool's orders are pulled"))] = "",
    again: Annotated[str, typer.Option(help=_("write the file of this lending once more"))] = "",
    dry_run: doors.DryRun = False,
) -> None:
    """Place free keys into a platform's pool: they are its to give out, no more ours to sell."""
    from kmtool.operations import lending

    name = take_output()
    if not name or not (again or (sku and pool and count)):
        mend = "kmtool key lend SKU --pool NAME --keys N --form FORM -o FILE"
        raise UsageError(detail="what is lent where, and into which file?", mend=mend)
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        if again:
            result = lending.again(shop, again, Path(name))
        else:
            wish = lending.LendWish(sku, pool, count, form, channel)
            result = lending.lend(shop, wish, Path(name))
    out.show(result, _lent)
    if result.file:
        out.hint(_("upload it, then delete it; later: kmtool key lend-back POOL FILE"))


def lent(pool: Annotated[str, typer.Argument(metavar="[POOL]")] = "") -> None:
    """List what is lent where."""
    from kmtool.operations import lending

    with doors.open_shop() as shop:
        result = lending.lent(shop, pool)
    out.show(result, _lendings)
    if result.lendings:
        out.hint(_("read a pool's export: kmtool key lend-back POOL FILE"))


def lend_back(  # noqa: PLR0913, PLR0917  (the options of one command)
    pool: str,
    file: Annotated[Path, typer.Argument(help=_("the pool's export of its keys"))],
    take_back: Annotated[
        bool, typer.Option("--take-back", help=_("set the unused free: they are out of the pool"))
    ] = False,
    used: Annotated[bool, typer.Option("--used", help=_("the file lists only used keys"))] = False,
    unused: Annotated[
        bool, typer.Option("--unused", help=_("the file lists only unused keys"))
    ] = False,
    form: Annotated[str, typer.Option(help=_("its form, if not that of the lending"))] = "",
    dry_run: doors.DryRun = False,
) -> None:
    """Read what a pool did with its keys: book the used, take the unused back on its proof."""
    from kmtool.operations import lending_back

    if used and unused:
        raise UsageError(detail="a file lists used keys or unused ones", mend="--used or --unused")
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        assume = "used" if used else "unused" if unused else ""
        seen = lending_back.look(shop, pool, file, assume, form)
        if take_back and seen.unused and not dry_run:
            question = _("Are {n} unused keys worth {money} out of the pool {pool} by now?")
            money = out.money(seen.unused_minor, seen.currency)
            out.confirm(question.format(n=len(seen.unused), money=money, pool=pool))
        result = lending_back.settle(shop, seen, take_back=take_back)
    out.show(result, _read_back)
    if result.unused and not take_back:
        out.hint(_("take them out of the pool, export again, then add --take-back"))
    if result.clashes or result.unclear or result.strange:
        out.finish(EXIT_DIFFERENCES)


def lend_lost(
    number: str,
    reason: Annotated[str, typer.Option(help=_("why they cannot be read back"))] = "",
    dry_run: doors.DryRun = False,
) -> None:
    """Give up the keys of a lending: they go into quarantine and are never sold."""
    from kmtool.operations import lending_back

    asked = reason or out.ask(_("Why can they not be read back?"), flag="--reason TEXT")
    if not dry_run:
        out.confirm(_("Give up what is still lent of {number} for good?").format(number=number))
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        result = GivenUp(number, lending_back.lost(shop, number, asked))
    out.show(result, _given_up)


def _lent(result: Lent) -> Iterable[Block]:
    from kmtool.cli.blocks import Facts, Line, Money

    told = plural(
        "{n} key of {sku} is lent to {pool}", "{n} keys of {sku} are lent to {pool}", result.keys
    )
    yield Line(told.format(n=result.keys, sku=result.sku, pool=result.pool), "good")
    yield Facts(
        [
            (_("Lending"), result.number),
            (_("Cost"), Money(result.cost_minor, result.currency)),
            (_("Form"), result.form),
            (_("File"), result.file),
            ("SHA-256", result.sha256),
            (_("Free"), result.left),
        ]
    )
    if result.check:
        yield Line(_("No real upload has confirmed this form yet: try it with one key."), "warn")


def _lendings(result: Lendings) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Money, Table

    yield Table(
        columns=(
            Column("number", _("Lending")), Column("pool", _("Pool")), Column("sku", _("SKU")),
            Column("keys", _("Keys")), Column("lent", _("Lent")), Column("used", _("Used")),
            Column("returned", _("Back")), Column("lost", _("Lost")),
            Column("cost", _("Cost of what is lent")), Column("days", _("Days")),
            Column("file", _("File"), spare=True),
        ),
        rows=[
            (one.number, one.pool, one.sku, one.keys, one.lent, one.used, one.returned, one.lost,
             Money(one.cost_minor, one.currency), (result.at_ms - one.since_ms) // DAY_MS,
             one.file)
            for one in result.lendings
        ],
        empty=_("No key is lent: kmtool key lend SKU --pool NAME --keys N --form FORM -o FILE"),
    )  # fmt: skip


def _read_back(result: ReadBack) -> Iterable[Block]:
    from kmtool.cli.blocks import Facts, Line

    money = out.money(result.cost_minor, result.currency)
    pairs = [
        (_("used, booked now"), f"{result.used} ({money})" if result.used else 0),
        (_("known before"), result.known),
        (_("unused"), result.unused),
        (_("taken back"), result.returned),
        (_("still lent"), result.still_lent),
        (_("not named in the file"), result.missing),
    ]
    yield Facts([pair for n, pair in enumerate(pairs) if pair[1] or n == 0])
    if result.orders:
        yield Line(_("orders: {names}").format(names=", ".join(result.orders)), "dim")
    for told, rows in (
        (_("given out there although taken back: {keys}; see kmtool status"), result.clashes),
        (_("a word nobody knows, these stay lent: {keys}"), result.unclear),
        (_("never lent to this pool: {keys}"), result.strange),
    ):
        if rows:
            yield Line(told.format(keys="; ".join(_told(row) for row in rows)), "bad")


def _told(row: str) -> str:
    from kmtool.words import tell

    return tell(row)


def _given_up(result: GivenUp) -> Iterable[Block]:
    from kmtool.cli.blocks import Line

    told = plural(
        "{n} key of {number} is given up", "{n} keys of {number} are given up", result.keys
    )
    yield Line(told.format(n=result.keys, number=result.number), "warn")
