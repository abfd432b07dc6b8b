"""A real limit on files (RLIMIT_FSIZE): the operating system itself refuses to write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from adapters.demo_shop import Sold
from kmtool.app import open_shop
from kmtool.operations import doctor
from tests.cli.bad_inputs import NEW, books, environment
from tests.cli.conftest import shop_folder as shop_folder
from tests.jobs.shop_on_loopback import ITEM, daemon, make, simulated, wait_for

resource = pytest.importorskip("resource", reason="Windows has no such limit")
PROGRAM = (
    "import resource, sys; from kmtool.cli.main import main;"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2);"
    "sys.exit(main(sys.argv[2:]))"
)


def limited(folder: Path, size: int, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(size), *words],
        cwd=folder, env=environment(), stdin=subprocess.DEVNULL,
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("size", [0, 4096, 40_000, 200_000])
def test_an_import_that_meets_the_limit_takes_all_or_nothing(shop_folder: Path, size: int) -> None:
    keys = "".join(f"MANY-{n:06d}-KEY\n" for n in range(3_000))
    (shop_folder / "keys.txt").write_text(keys, encoding="utf-8")
    before = books(shop_folder)
    done = limited(shop_folder, size, "import", "keys.txt", *NEW)
    told = done.stderr.decode()
    assert done.returncode == 1 and "Traceback" not in told, told
    assert "KM-E101" in told and "KM-E100 " not in told, told
    assert books(shop_folder)["keys"] == before["keys"] == []
    assert limited(shop_folder, 1 << 30, "import", "keys.txt", *NEW).returncode == 0
    assert len(books(shop_folder)["keys"]) == 3_000


def test_the_daemon_waits_for_room_and_goes_on(tmp_path: Path) -> None:
    with simulated() as outside:
        config = make(tmp_path, outside)
        first = outside.add_order([Sold(ITEM, 1)])
        with open_shop(config) as shop, daemon(tmp_path) as process:
            wait_for(lambda: outside.orders[first].shipped_ms, process)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            second = outside.add_order([Sold(ITEM, 1)])
            shop.clock.sleep(4)
            assert process.poll() is None and not outside.orders[second].messages
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            wait_for(lambda: outside.orders[second].shipped_ms, process)
            told = [outside.orders[number].messages for number in (first, second)]
            assert [len(messages) for messages in told] == [1, 1]
            process.terminate()
            process.wait(60)
            assert [check.name for check in doctor.ledger_checks(shop) if not check.ok] == []
        assert "Traceback" not in (tmp_path / "daemon.out").read_text(encoding="utf-8")
