"""`kmtool selftest`: whole lives of a made-up shop, with everything that can go wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool.cli import options, out
from kmtool.errors import EXIT_BROKEN
from kmtool.words import _, plural

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block
    from kmtool.sim.runner import Failure, Selftest

EVENTS = 30_000
SEEDS = 10**9


def selftest(
    events: Annotated[
        int | None, typer.Option(min=1, help=_("how many events are played at least"))
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help=_("the first life; alone: only this one, again"))
    ] = None,
    cores: Annotated[
        int, typer.Option(min=0, help=_("how many processors are used; 0: all there are"))
    ] = 0,
) -> None:
    """Play made-up shops through crashes, lost replies and restores, and ask their buyers."""
    import random

    from kmtool.sim import runner

    wanted = events or (EVENTS if seed is None else 1)
    first = random.SystemRandom().randrange(SEEDS) if seed is None else seed

    def shown(steps: Iterator[int], total: int) -> Iterator[int]:
        return out.progress(steps, _("events"), total)

    result = runner.run(wanted, first, cores=cores, shown=shown)
    out.show(result, _view)
    if result.violations:
        out.finish(EXIT_BROKEN)


def _view(result: Selftest) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Heading, Line, Table

    told = plural("{n} life of a made-up shop", "{n} lives of a made-up shop", result.lives)
    yield Heading(told.format(n=f"{result.lives:,}"))
    rows = [
        (_("events"), result.events),
        (_("crashes and power cuts"), result.crashes),
        (_("restores, copies and moves"), result.restores),
        (_("orders"), result.orders),
        (_("keys that left"), result.keys),
        (_("messages that came twice, with the same keys"), result.repeated),
    ]
    if options.current().verbose:
        rows += sorted(result.breakdown.items())
    yield Table(
        columns=(Column("what", _("What")), Column("figure", _("Figure"))),
        rows=[(name, f"{n:,}") for name, n in rows],
        id_key="what",
    )
    yield Line(
        _("{duplicate} duplicate, {lost} lost, {unrecorded} unrecorded").format(
            duplicate=result.duplicate, lost=result.lost, unrecorded=result.unrecorded
        )
        + " · "
        + _("{seconds} s, from seed {seed}").format(seconds=result.seconds, seed=result.seed),
        "bad" if result.violations else "good",
    )
    for one in result.failures:
        yield from _failure(one)


def _failure(failure: Failure) -> Iterable[Block]:
    from kmtool.cli.blocks import Heading, Line

    yield Heading(_("Broken: {rule}").format(rule=failure.rule))
    yield Line(failure.told, "bad")
    steps = " ".join(str(n) for n in failure.steps)
    yield Line(_("seed {seed}, steps {steps}").format(seed=failure.seed, steps=steps))
    for fault in failure.faults:
        yield Line("  " + fault)
    yield Line(_("the last events:"))
    for event in failure.last:
        yield Line("  " + event)
    yield Line(_("again: {command}").format(command=failure.command))
