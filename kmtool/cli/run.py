"""`kmtool run`: the daemon; `run --once` for cron; `run stop` and `run log`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool.cli import doors, out
from kmtool.errors import UsageError
from kmtool.words import _

if TYPE_CHECKING:
    from jobs.daemon import Started, Stopped
    from jobs.runner import Once
    from kmtool.cli.blocks import Block, Marked
    from kmtool.operations.job_runs import JobRuns

app = doors.noun(_("sync, deliver and all else by itself"), invoke_without_command=True)
JobName = Annotated[str, typer.Argument(metavar="[JOB]", help=_("only this job"))]


@app.callback()
def run(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help=_("run all jobs once, then end"))] = False,
    only: Annotated[
        str, typer.Option("--only", metavar="JOB", help=_("with --once: only this job"))
    ] = "",
    take_over: Annotated[
        bool, typer.Option("--take-over", help=_("fence off a sender that hangs, and send instead"))
    ] = False,
) -> None:
    """Keep the shop going until it is stopped (Ctrl-C, or `kmtool run stop`)."""
    if context.invoked_subcommand:
        return
    if only and not once:
        raise UsageError(
            detail="--only needs --once", mend="kmtool run --once --only {only}", only=only
        )
    from jobs import logs

    config = doors.load_config(writes=True)
    with logs.to_file(config):
        if take_over:
            _take_over()
        if not once:
            from jobs.daemon import Daemon

            Daemon(config, doors.clock()).serve(_begun)
            out.note(_("The daemon has stopped."))
            return
        _run_once(only)


@app.command("stop", help=_("ask the daemon to stop and wait until it has"))
def stop() -> None:
    """Stop the daemon in an orderly way."""
    from jobs import daemon

    with doors.open_shop(writes=True) as shop:
        result = daemon.stop(shop)
    out.show(result, _stopped)


@app.command("log", help=_("the last runs of the jobs"))
def log(job: JobName = "") -> None:
    """Show what ran."""
    from kmtool.operations import job_runs

    with doors.open_shop() as shop:
        result = job_runs.runs(shop, out.row_limit(), job)
    out.show(result, runs_view)


def _take_over() -> None:
    """Ask, then fence off whoever sends; it notices at its next step and ends."""
    from kmtool.operations import sender

    with doors.open_shop(writes=True) as shop:
        found = sender.senders(shop)
        for row in found:
            told = _("`kmtool {kind}`, process {pid} on {host}, last seen {when}")
            out.note(told.format(kind=row["kind"], pid=row["pid"], host=row["host"],
                                 when=out.when(row["heartbeat_ms"])))  # fmt: skip
        if found:
            out.confirm(_("Fence it off and send from here?"))
        sender.take_over(shop)


def _run_once(only: str) -> None:
    from jobs import runner

    with doors.open_shop(writes=True) as shop:
        result = runner.once(shop, only)
    out.show(result, _once)
    if result.exit_code:
        out.finish(result.exit_code)


def _begun(started: Started) -> None:
    for told in started.notes:
        out.note(told)
    jobs = ", ".join(f"{name} {when}" for name, when in started.jobs if when != "None")
    out.note(_("The daemon runs: {jobs}").format(jobs=jobs))
    out.note(_("Stop it with Ctrl-C or: kmtool run stop"))


def _stopped(result: Stopped) -> Iterable[Block]:
    from kmtool.cli.blocks import Line

    yield Line(_("The daemon has stopped.") if result.asked else _("No daemon is running."), "good")


def _once(result: Once) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Line, Table

    for told in result.notes:
        yield Line(told, "warn")
    yield Table(
        columns=(
            Column("job", _("Job")),
            Column("state", _("State")),
            Column("error", _("Trouble")),
        ),
        rows=[(ran.job, _state(ran.state), ran.error) for ran in result.jobs],
    )
    for ran in result.jobs:
        if ran.mend:
            yield Line(_("to do for {job}: {mend}").format(job=ran.job, mend=ran.mend), "warn")


def runs_view(result: JobRuns) -> Iterable[Block]:
    """Return the runs as a table."""
    from kmtool.cli.blocks import Column, Moment, Table

    yield Table(
        columns=(
            Column("started", _("Started")),
            Column("job", _("Job")),
            Column("state", _("State")),
            Column("seconds", _("Seconds")),
            Column("error", _("Trouble")),
        ),
        rows=[
            (
                Moment(one.started_ms),
                one.job,
                _state(one.state),
                None if one.ended_ms is None else round((one.ended_ms - one.started_ms) / 1000, 1),
                one.error,
            )
            for one in result.runs
        ],
        total=result.total,
        empty=_("Nothing ran by itself yet: kmtool run"),
    )


def _state(state: str) -> Marked:
    from kmtool.cli.blocks import Marked

    style = {"ok": "good", "failed": "bad", "dead": "bad"}.get(state, "dim")
    return Marked(state, style)
