"""The commands of what runs by itself: run, status, doctor, job, alert."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.catalog import JOBS
from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.config import load
from kmtool.shop import Shop
from tests.cli.conftest import Told
from tests.fakes import order, world
from tests.operations.stock import shelf

START = 1_795_305_600_000
Cli = Callable[..., Told]


@pytest.fixture
def stocked(shop_folder: Path, clock: ManualClock) -> Path:
    """The shop folder with 30 keys and one paid order at the channel."""
    with open_shop(load(shop_folder / "kmtool.toml"), clock=clock) as shop:
        shelf(shop, n=30)
    clock.advance(10_000)
    world().orders["A1"] = order("A1", at_ms=START + 1_000)
    clock.advance(5_000)
    return shop_folder


def opened(folder: Path, clock: ManualClock) -> Shop:
    with open_shop(load(folder / "kmtool.toml"), clock=clock) as shop:
        return shop


def test_run_once_does_a_whole_round(cli: Cli, stocked: Path) -> None:
    told = cli("run", "--once")
    assert told.code == 0
    names = [line.split()[0] for line in told.lines()[1:]]
    assert names[:4] == ["sync", "stock", "shelf", "deliver"]
    assert names == [job.name for job in JOBS]
    assert len(world().received["A1"]) == 1
    assert list((stocked / "shop" / "backups").glob("shop-*.db"))
    assert "deliver ok" in (stocked / "logs" / "kmtool.log").read_text(encoding="utf-8")


def test_run_once_answers_in_json(cli: Cli, stocked: Path) -> None:
    document = cli("run", "--once", "--only", "deliver", "--json").json()
    assert document["jobs"][0]["job"] == "deliver"
    assert document["jobs"][0]["result"]["delivered"] == 0


def test_only_needs_once_and_a_known_job(cli: Cli, stocked: Path) -> None:
    assert cli("run", "--only", "sync").code == 2
    told = cli("run", "--once", "--only", "sink")
    assert (told.code, "one of: sync, stock, shelf, deliver" in told.err) == (5, True)


def test_a_wrong_time_in_the_settings_is_told(cli: Cli, shop_folder: Path) -> None:
    path = shop_folder / "kmtool.toml"
    path.write_text(path.read_text(encoding="utf-8") + '[jobs]\nsync = "soon"\n', encoding="utf-8")
    told = cli("run", "--once")
    assert told.code == 4
    assert "jobs.sync" in told.err and "Traceback" not in told.err


def test_run_stop_without_a_daemon_is_fine(cli: Cli, shop_folder: Path) -> None:
    told = cli("run", "stop")
    assert (told.code, told.out) == (0, "No daemon is running.\n")


def test_the_log_the_list_and_one_job(cli: Cli, stocked: Path) -> None:
    assert "Nothing ran by itself yet" in cli("run", "log").out
    cli("run", "--once")
    assert len(cli("run", "log", "--json").json()["runs"]) == len(JOBS)
    assert cli("run", "log", "sync", "--count").out == "1\n"
    assert len(cli("job", "show", "sync", "--json").json()["runs"]) == 1
    assert cli("job", "show", "nothing").code == 5
    rows = {one["job"]: one for one in cli("job", "list", "--json").json()["jobs"]}
    assert (rows["sync"]["schedule"], rows["sync"]["state"]) == ("1m", "ok")
    assert rows["stock"]["schedule"] == "after sync"
    assert rows["backup"]["schedule"] == "04:30"


def test_status_is_what_kmtool_alone_shows(cli: Cli, stocked: Path) -> None:
    cli("run", "--once")
    told = cli()
    assert told.code == 0
    assert told.lines()[0] == "24 h: 1 order, 1 delivered, 0 wait for you; net ￥10.00"
    assert told.out == cli("status").out


def test_status_in_json_has_its_stable_keys(cli: Cli, stocked: Path) -> None:
    world().orders["A2"] = order("A2", item="i9", at_ms=START + 2_000)
    cli("run", "--once")
    document = cli("status", "--json").json()
    assert set(document["checks"][0]) >= {"name", "ok", "figure", "mend"}
    (item,) = document["needs_you"]
    assert set(item) >= {"what", "amount", "currency", "since", "command"}
    assert (item["amount"], item["currency"]) == (1000, "CNY")
    assert item["command"] == "kmtool product map shop1 i9 SKU"
    assert document["day"]["net"] == [{"amount": 2000, "currency": "CNY"}]


def test_watching_shows_it_again_until_it_is_interrupted(
    cli: Cli, stocked: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []

    def sleep(seconds: float) -> None:
        shown.append(seconds)
        if len(shown) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(clock, "sleep", sleep)
    told = cli("status", "-w")
    assert told.code == 130
    assert told.out.count("24 h:") == 3


def test_doctor_says_clean_problem_and_broken(cli: Cli, stocked: Path, clock: ManualClock) -> None:
    assert cli("doctor").code == 8  # there is no backup yet
    cli("run", "--once")
    told = cli("doctor")
    assert told.code == 0
    assert told.lines()[-1] == "All is well."
    with open_shop(load(stocked / "kmtool.toml"), clock=clock) as shop, shop.db.tx():
        shop.db.run("UPDATE stock SET free = free + 1")
    told = cli("doctor", "--json")
    assert told.code == 1
    bad = [check for check in told.json()["checks"] if not check["ok"]]
    assert [check["name"] for check in bad] == ["stock_counter"]
    assert bad[0]["mend"] == "kmtool doctor --fix"
    told = cli("doctor", "--fix")
    assert told.code == 0
    assert "mended: stock of S1 counted anew: 30 → 29" in told.out


def test_open_alerts_and_all_of_them(cli: Cli, stocked: Path) -> None:
    assert "No alert is open." in cli("alert", "list").out
    cli("run", "--once", "--only", "low_stock")
    assert "backup" in cli("alert", "list").out
    cli("db", "backup")
    cli("run", "--once", "--only", "low_stock")
    assert cli("alert", "list", "--count").out == "0\n"
    assert cli("alert", "list", "--count", "--all").out == "1\n"
