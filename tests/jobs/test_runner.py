"""One run of a job: its row, its lock, its alert; and all jobs once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Event, Thread

import pytest

from jobs import runner
from jobs.catalog import JOBS, Given, Job
from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.errors import Broken, Locked, NotFound, Retriable
from kmtool.operations import alerts, sender
from kmtool.shop import Shop
from kmtool.store import jobs as store
from tests.fakes import Fake, order, world
from tests.operations.stock import shelf

START = 1_795_305_600_000
EVERYTHING = [job.name for job in JOBS]


def job(work: Callable[[Shop, Given], object], name: str = "sync") -> Job:
    return Job(name, "a test", work, lambda _: None, 1_000)


def fails(error: Exception) -> Job:
    def work(_shop: Shop, _given: Given) -> object:
        raise error

    return job(work)


def states(shop: Shop) -> list[tuple[str, str]]:
    return [(row["job"], row["state"]) for row in store.runs(shop.db, 50)]


def alarms(shop: Shop) -> list[str]:
    return [one.subject for one in alerts.listing(shop, None).alerts if one.code == "job_failed"]


def test_all_jobs_run_once_in_order_and_deliver(shop: Shop, clock: ManualClock) -> None:
    shelf(shop, n=30)
    clock.advance(10_000)
    world().orders["A1"] = order("A1", at_ms=START + 1_000)
    clock.advance(5_000)
    config = replace(shop.config, jobs={"backup": "off"})
    once = runner.once(replace(shop, config=config))
    assert [ran.job for ran in once.jobs] == [name for name in EVERYTHING if name != "backup"]
    assert {ran.state for ran in once.jobs} == {"ok"}
    assert once.exit_code == 0
    assert len(world().received["A1"]) == 1
    assert world().stock["i1", ""] == 29
    assert EVERYTHING[:4] == ["sync", "stock", "shelf", "deliver"]


def test_one_job_only(shop: Shop) -> None:
    assert [ran.job for ran in runner.once(shop, "deliver").jobs] == ["deliver"]
    assert [ran.job for ran in runner.once(shop, "stock").jobs] == ["sync", "stock", "shelf"]
    with pytest.raises(NotFound, match="job"):
        runner.once(shop, "sink")


def test_an_unreachable_channel_is_seven_and_an_alert_only_when_it_lasts(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(_self: Fake, _window: object) -> object:
        raise Retriable(who="fake", detail="no route")

    with monkeypatch.context() as patch:
        patch.setattr(Fake, "list_changed", down)
        once = runner.once(shop, "sync")
        assert [(ran.job, ran.state) for ran in once.jobs] == [("sync", "failed")]
        assert once.exit_code == 7
        runner.once(shop, "sync")
        assert alarms(shop) == []
        runner.once(shop, "sync")
        assert alarms(shop) == ["sync"]
    assert runner.once(shop, "sync").exit_code == 0
    assert alarms(shop) == []


def test_our_own_failure_is_three_and_an_alert_at_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_shop: Shop) -> object:
        raise Broken(detail="no room")

    monkeypatch.setattr("kmtool.operations.deliver.disk_must_have_room", no_room)
    once = runner.once(replace(shop, config=replace(shop.config, jobs={"backup": "off"})))
    assert [ran.job for ran in once.jobs if ran.state == "failed"] == ["deliver"]
    assert once.exit_code == 3
    assert alarms(shop) == ["deliver"]


def test_a_broken_promise_is_one_and_only_sending_stops(shop: Shop, clock: ManualClock) -> None:
    shelf(shop, n=30)
    with shop.db.tx():
        shop.db.run("UPDATE batches SET accepted = accepted + 1")
    clock.advance(10_000)
    world().orders["A1"] = order("A1", at_ms=START + 1_000)
    clock.advance(5_000)
    once = runner.once(replace(shop, config=replace(shop.config, jobs={"backup": "off"})))
    ended = {ran.job: ran.state for ran in once.jobs}
    assert (ended["sync"], ended["deliver"], ended["doctor"]) == ("ok", "failed", "failed")
    assert once.exit_code == 1
    assert world().received == {}
    assert shop.db.value("SELECT count(*) FROM orders") == 1


def test_a_job_never_runs_twice_at_once(shop: Shop) -> None:
    begun, go = Event(), Event()

    def wait(_shop: Shop, _given: Given) -> object:
        begun.set()
        assert go.wait(60)
        return None

    def other() -> None:
        with open_shop(shop.config, clock=shop.clock) as own:
            runner.run_job(own, job(wait))

    thread = Thread(target=other)
    thread.start()
    try:
        assert begun.wait(60)
        assert runner.run_job(shop, job(lambda *_: None)).state == "skipped"
        assert runner.run_job(shop, job(lambda *_: None, "inbox")).state == "ok"
        assert runner.bury_dead(shop) == 0
    finally:
        go.set()
        thread.join(60)
    assert runner.run_job(shop, job(lambda *_: None)).state == "ok"


def test_workers_deliver_side_by_side_where_row_locks_keep_them_apart(shop: Shop) -> None:
    if shop.db.dialect != "postgresql":
        pytest.skip("on SQLite one process sends")
    inner: list[runner.Ran] = []

    def beside(_shop: Shop, _given: Given) -> None:
        with open_shop(shop.config, clock=shop.clock) as other, sender.sending(other, "run") as two:
            inner.append(runner.run_job(two, sends(lambda _s, _g: None)))

    def sends(work: Callable[[Shop, Given], object]) -> Job:
        return replace(job(work, "deliver"), sends=True)

    with sender.sending(shop, "run") as one:
        outer = runner.run_job(one, sends(beside))
        assert runner.run_job(one, sends(lambda _s, _g: None)).state == "ok"
    assert (outer.state, inner[0].state) == ("ok", "ok")
    assert states(shop) == [("deliver", "ok")] * 3


def test_a_run_whose_process_is_gone_becomes_dead(shop: Shop) -> None:
    with shop.db.tx():
        store.start(shop.db, "sync", None, 1)
        store.start(shop.db, "inbox", None, 1)
    runner.run_job(shop, job(lambda *_: None))
    assert states(shop) == [("sync", "ok"), ("inbox", "running"), ("sync", "dead")]
    assert runner.bury_dead(shop) == 1
    assert states(shop)[1] == ("inbox", "dead")


@pytest.mark.parametrize("error", [Broken(detail="no room"), ValueError("'KEY-SECRET-1'")])
def test_what_a_job_throws_ends_as_a_failed_row(
    shop: Shop, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    ran = runner.run_job(shop, fails(error))
    assert ran.state == "failed"
    row = store.runs(shop.db, 1)[0]
    assert (row["state"], row["error"]) == ("failed", ran.error)
    assert alarms(shop) == ["sync"]
    assert "KEY-SECRET" not in caplog.text + row["error"] + row["result"]


def test_ctrl_c_in_a_job_goes_through_and_leaves_no_running_row(shop: Shop) -> None:
    def interrupted(_shop: Shop, _given: Given) -> object:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.run_job(shop, job(interrupted))
    assert states(shop) == [("sync", "failed")]


def test_old_runs_are_pruned(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "KEEP_RUNS", 3)
    for _ in range(6):
        runner.run_job(shop, job(lambda *_: None))
    assert len(states(shop)) == 3


def test_once_beside_a_daemon_does_not_send(shop: Shop) -> None:
    if shop.db.dialect != "sqlite":
        return
    with sender.sending(shop, "run"):
        with pytest.raises(Locked):
            runner.once(shop)
        assert runner.once(shop, "sync").exit_code == 0
