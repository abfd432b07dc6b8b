"""The disk is full, or fails, at the n-th write, for n = 1, 2, 3 …, in every command that writes.

Whatever it is: three lines that say so, all of a business fact or nothing of it, no cut file under
its own name, nothing sent that is not on record; with room again the same command does it.

Every command of the tree is a `Case` or in `READS`; a new one without either fails here by name.
KMTOOL_DISK=all lets every single write fail (some minutes); else a few of every command's.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kmtool.errors import Broken
from kmtool.store.db import connect
from tests import fakes
from tests.cli.test_canary import leaves
from tests.conftest import _has_room
from tests.disk.cases import CASES, READS, Case
from tests.disk.faulty import ERROR, FULL, Disk
from tests.disk.stage import Stage
from tests.disk.trial import Trial

MOST = 10_000 if os.environ.get("KMTOOL_DISK") == "all" else 3


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """In memory where there is room: every trial begins with a copy, and ends many an fsync."""
    memory = Path("/dev/shm")
    place = memory if _has_room(memory) else None
    with tempfile.TemporaryDirectory(prefix="kmtool-disk-", dir=place) as folder:
        yield Stage(Path(folder))
    fakes.WORLDS.clear()


def commands() -> list[str]:
    from kmtool.cli import main

    return list(leaves(main.app))


def is_of(line: str, command: str) -> bool:
    return line == command or line.startswith(command + " ")


def test_every_command_is_tried_or_known_to_write_nothing() -> None:
    lines = [*(case.line for case in CASES), *READS]
    missing = [name for name in commands() if not any(is_of(line, name) for line in lines)]
    assert missing == [], "give each a Case, or put it into READS"


def test_the_disk_counts_and_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with Disk(tmp_path) as disk:
        path.write_text("1234")
    assert disk.writes == 2 and path.read_text() == "1234"
    with Disk(tmp_path, at=2), pytest.raises(OSError, match="No space"):
        path.write_text("5678")
    assert path.read_text().startswith("56") and path.read_text() != "5678"
    with Disk(tmp_path, at=2):
        db = connect(tmp_path / "a.db", create=True)
        db.run("CREATE TABLE t (n INTEGER)")
        with pytest.raises(Broken, match="full"), db.tx():
            db.run("INSERT INTO t VALUES (1)")
        db.close()


def test_what_follows_a_lost_transaction_is_not_kept(tmp_path: Path) -> None:
    with Disk(tmp_path, at=3, kind=ERROR):
        db = connect(tmp_path / "a.db", create=True)
        db.run("CREATE TABLE t (n INTEGER)")
        with pytest.raises(Broken, match="took back"), db.tx():
            db.run("INSERT INTO t VALUES (1)")
            with pytest.raises(Broken, match="I/O"):
                db.run("INSERT INTO t VALUES (2)")
            db.run("INSERT INTO t VALUES (3)")
        with db.tx():
            db.run("INSERT INTO t VALUES (4)")
        assert db.all("SELECT n FROM t") == [{"n": 4}]
        db.close()


def test_what_only_reads_writes_nothing(stage: Stage) -> None:
    wrote: dict[str, Any] = {}
    for line in READS:
        stage.back()
        with Disk(stage.live) as disk:
            told = stage.say(line.replace("+", " ") if "query" not in line else line)
        assert told.code in {0, 2, 8}, (line, told)
        if disk.writes:
            wrote[line] = disk.writes
    assert wrote == {}, "these write: give each a Case"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.line.replace("/", "|"))
def test_no_write_that_fails_leaves_half_a_thing(stage: Stage, case: Case) -> None:
    trial = Trial(stage, case)
    trial.clean()
    assert trial.writes, "it writes nothing: put it into READS"
    wrong = [
        complaint
        for kind in (FULL, ERROR)
        for at in trial.places(MOST)
        for complaint in trial.wrong(at, kind)
    ]
    assert wrong == [], "\n".join(wrong)
