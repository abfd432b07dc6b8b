"""The drill as a job: restores on trial by itself, tells when it fails."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from jobs import catalog, runner
from jobs.schedule import Daily
from kmtool.operations import backup
from kmtool.shop import Shop
from kmtool.store import alerts
from tests.operations.stock import shelf


@pytest.fixture(autouse=True)
def dump_tools(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's own programs, where the test server brings them along."""
    if shop.db.dialect == "sqlite":
        return
    import pgserver

    folder = Path(pgserver.__file__).parent / "pginstall" / "bin"
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    if shutil.which("pg_dump") is None:
        pytest.skip("PostgreSQL's restore is NOT tested here: there is no pg_dump")


def test_it_runs_on_sundays_and_says_when_a_backup_does_not_restore(shop: Shop) -> None:
    job = catalog.find("drill")
    assert job is not None
    assert job.default(shop.config) == Daily(5, 0, ("sun",))
    assert runner.run_job(shop, job).state == "ok"
    assert backup.drilled(shop).at_ms is None
    shelf(shop)
    backup.backup(shop)
    assert runner.run_job(shop, job).state == "ok"
    assert backup.drilled(shop).ok and backup.drilled(shop).at_ms == shop.now_ms()
    with shop.db.tx():
        shop.db.run("UPDATE batches SET accepted = accepted + 1")
    shop.clock.sleep(2)
    backup.backup(shop)
    runner.run_job(shop, job)
    assert not backup.drilled(shop).ok
    told = [row["text"] for row in alerts.listing(shop.db, 10, cleared=False)]
    assert any("batch_sum" in text for text in told)
