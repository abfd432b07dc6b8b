"""Shared fixtures: a shop on a real temporary database, on SQLite and on PostgreSQL.

PostgreSQL comes from the package `pgserver` (a real server, no root, no service). Where it has no
wheel those tests are skipped, and say so. Time stands still unless a test moves it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.config import Config, load
from kmtool.shop import Shop
from kmtool.store.db import Db, connect
from kmtool.store.migrations import migrate
from tests import fakes

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it complains of a machine without XDG_RUNTIME_DIR
    try:
        import pgserver
    except ImportError:
        pgserver = None

TEMPLATE = "kmtool_template"
LEAVING = ThreadPoolExecutor(1)
"""Where databases that are over are dropped."""
START_MS = 1_795_305_600_000
"""2026-11-22T00:00:00Z: where the clock of every test starts."""

TOML = """schema = 1
[shop]
name = "测试小店"
[data]
private = ".private"
{database}
[channels.shop1]
adapter = "{adapter}"
mode = "auto"
couriers = ["{courier}"]
{extra}
"""


@pytest.fixture(scope="session")
def postgres_uri() -> Iterator[str]:
    """A running PostgreSQL; one server per test process, in a folder of its own.

    Not in pytest's folder: that one is cleared by whichever run comes fourth.
    """
    if pgserver is None:
        pytest.skip("PostgreSQL is NOT tested here: pgserver has no wheel for this Python")
    memory = Path("/dev/shm")  # checkpoints cost nothing there
    folder = tempfile.mkdtemp(prefix="kmtool-pg-", dir=memory if _has_room(memory) else None)
    server = pgserver.get_server(folder, cleanup_mode="stop")
    uri: str = server.get_uri()
    _do_not_wait_for_the_disk(uri)
    _make_template(uri)
    yield uri
    LEAVING.shutdown()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def _do_not_wait_for_the_disk(uri: str) -> None:
    """No test pulls the plug of PostgreSQL itself; its databases live for one test each."""
    admin = connect(uri)
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        admin.run(f"ALTER SYSTEM SET {setting} = off")
    admin.run("ALTER SYSTEM SET autovacuum = off")
    admin.value("SELECT pg_reload_conf()")
    admin.close()


def _make_template(uri: str) -> None:
    """Bring one database up to date; those of the tests are copies of it."""
    admin = connect(uri)
    admin.run(f"CREATE DATABASE {TEMPLATE}")
    admin.close()
    db = connect(uri.replace("/postgres?", f"/{TEMPLATE}?", 1))
    migrate(db, ManualClock(START_MS))
    db.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | Path]:
    """A database without a shop of each kind: a path, or an address.

    On PostgreSQL its tables are there already, but for tests marked `empty`.
    """
    if request.param == "sqlite":
        yield tmp_path / "shop" / "shop.db"
        return
    uri = request.getfixturevalue("postgres_uri")
    name = f"t{uuid.uuid4().hex[:12]}"
    admin = connect(uri)
    is_empty = request.node.get_closest_marker("empty") is not None
    admin.run(f'CREATE DATABASE "{name}"' + ("" if is_empty else f" TEMPLATE {TEMPLATE}"))
    yield uri.replace("/postgres?", f"/{name}?", 1)
    admin.close()
    LEAVING.submit(_drop, uri, name)


def _drop(uri: str, name: str) -> None:
    """Dropping waits for a checkpoint; the next test does not."""
    admin = connect(uri)
    admin.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    admin.close()


def _has_room(folder: Path) -> bool:
    return os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > 4_000_000_000


@pytest.fixture
def clock() -> ManualClock:
    """A clock that moves only when told to."""
    return ManualClock(START_MS)


@pytest.fixture
def make_config(tmp_path: Path, database: str | Path) -> Any:
    """Return a function that writes kmtool.toml and loads it."""

    def make(extra: str = "", adapter: str = "tests.fakes", courier: str = "tests.fakes") -> Config:
        line = f'database = "{database}"' if isinstance(database, str) else ""
        path = tmp_path / "kmtool.toml"
        path.write_text(
            TOML.format(database=line, adapter=adapter, courier=courier, extra=extra),
            encoding="utf-8",
        )
        return load(path)

    return make


@pytest.fixture
def shop(make_config: Any, clock: ManualClock) -> Iterator[Shop]:
    """An open, empty shop with one channel `shop1` and the fake courier (tests/fakes.py)."""
    config = make_config()
    create_shop(config, clock)
    with open_shop(config, clock=clock) as opened:
        yield opened


@pytest.fixture
def db(shop: Shop) -> Db:
    """The database of `shop`."""
    return shop.db


@pytest.fixture(autouse=True)
def _fresh_worlds() -> None:
    """What a test left outside does not reach the next one."""
    fakes.WORLDS.clear()


@pytest.fixture(autouse=True)
def _no_leaks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test touches the user's own folder or configuration."""
    monkeypatch.setenv("KMTOOL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KMTOOL_CONFIG", raising=False)
    monkeypatch.delenv("KMTOOL_MASTER_KEY", raising=False)
    monkeypatch.setenv("KMTOOL_LANG", "en")
    assert os.environ["KMTOOL_HOME"]
