"""`kmtool job`: what runs by itself, when, and how it went."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kmtool.cli import doors, out
from kmtool.cli.blocks import Block, Column, Marked, Moment, Table
from kmtool.cli.run import runs_view
from kmtool.errors import Stored, told
from kmtool.words import _

app = doors.noun(_("what runs by itself"))


@dataclass(frozen=True, slots=True)
class JobShown:
    """A job, its time (off when there is none) and its last run."""

    job: str
    does: str
    schedule: str
    state: str
    ended_ms: int | None
    error: str


@dataclass(frozen=True, slots=True)
class JobList:
    """All jobs."""

    jobs: tuple[JobShown, ...]


@app.command("list", help=_("all jobs, their times and last runs"))
def list_() -> None:
    """List the jobs."""
    from jobs import catalog
    from kmtool.operations import job_runs

    with doors.open_shop() as shop:
        times, last = catalog.schedules(shop.config), job_runs.latest(shop)
    shown = []
    for job in catalog.JOBS:
        run, when = last.get(job.name), str(times[job.name] or "off")
        if job.name in catalog.FOLLOWS and job.name not in shop.config.jobs:
            when = told("after {job}", job=catalog.FOLLOWS[job.name])
        state, ended = (run.state, run.ended_ms) if run else ("", None)
        shown.append(
            JobShown(job.name, told(job.line), when, state, ended, Stored(run.error) if run else "")
        )
    out.show(JobList(tuple(shown)), _view)
    out.hint(_("another time: [jobs] in kmtool.toml; the runs: kmtool job show JOB"))


@app.command("show", help=_("the last runs of a job"))
def show(job: str) -> None:
    """Show the runs of one job."""
    from jobs import catalog
    from kmtool.errors import NotFound
    from kmtool.operations import job_runs

    if catalog.find(job) is None:
        raise NotFound(kind="job", name=job)
    with doors.open_shop() as shop:
        result = job_runs.runs(shop, out.row_limit(), job)
    out.show(result, runs_view)


def _view(result: JobList) -> Iterable[Block]:
    yield Table(
        columns=(
            Column("job", _("Job")),
            Column("schedule", _("When")),
            Column("state", _("Last run")),
            Column("ended", _("Ended")),
            Column("does", _("Does")),
            Column("error", _("Trouble")),
        ),
        rows=[
            (
                one.job,
                one.schedule,
                Marked(one.state, "good" if one.state == "ok" else "bad"),
                Moment(one.ended_ms),
                one.does,
                one.error,
            )
            for one in result.jobs
        ],
    )
