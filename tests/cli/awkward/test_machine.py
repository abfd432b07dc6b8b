"""A machine nobody would wish for: full disks, lost files, closed streams end in three lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kmtool.app import create_shop
from kmtool.clock import ManualClock
from kmtool.config import load
from tests.cli.bad_inputs import NEW, books, environment, start, three_lines, tiny_disk
from tests.cli.conftest import TOML
from tests.jobs.shop_on_loopback import wait_for

Cli = Callable[..., Any]


def test_a_full_disk_leaves_all_of_a_file_or_nothing(cli: Cli, stocked: Path) -> None:
    with tiny_disk(stocked / "tiny", "64k") as mounted:
        if not mounted:
            pytest.skip("a disk of its own may not be mounted here")
        (stocked / "tiny" / "filler").write_bytes(b"x" * 60_000)
        for name in ("k.json", "k.csv", "k.xlsx"):
            told = cli("config", "show", "-o", stocked / "tiny" / name)
            assert told.code == 0 or three_lines(told, 9), told
            assert (stocked / "tiny" / name).exists() == (told.code == 0)


def test_a_full_disk_in_the_middle_of_an_import_rolls_it_back(
    cli: Cli, tmp_path: Path, clock: ManualClock
) -> None:
    with tiny_disk(tmp_path / "tiny", "4m") as mounted:
        if not mounted:
            pytest.skip("a disk of its own may not be mounted here")
        folder = tmp_path / "tiny"
        (folder / "kmtool.toml").write_text(TOML, encoding="utf-8")
        create_shop(load(folder / "kmtool.toml"), clock)
        (tmp_path / "many.txt").write_text("".join(f"FULL-{i:06d}\n" for i in range(60_000)))
        before = books(folder)
        told = cli("import", tmp_path / "many.txt", *NEW, cwd=folder)
        assert "room on the disk" in three_lines(told, 1, 9)
        assert books(folder) == before
        assert cli("db", "check", cwd=folder).code in {0, 8}


@pytest.mark.parametrize(
    "content", [b"", b"not a database, but text that is long enough to be looked at" * 20, None]
)
def test_an_awkward_database_is_left_alone(cli: Cli, stocked: Path, content: bytes | None) -> None:
    path = stocked / "shop" / "shop.db"
    for part in path.parent.glob("shop.db*"):
        part.unlink()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    for words in (("sell", "S1"), ("order", "list"), ("status",), ("import", "keys.txt", *NEW)):
        three_lines(cli(*words), 1, 10)
    assert content is None or path.read_bytes() == content


@pytest.mark.parametrize("content", [None, b"", b"short", b"\xff" * 200])
def test_a_lost_or_broken_master_key_is_named(
    cli: Cli, stocked: Path, content: bytes | None
) -> None:
    path = next((stocked / ".private" / "keys").glob("*.key"))
    path.unlink()
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    before = books(stocked)
    for words in (("sell", "S1"), ("import", "keys.txt", *NEW), ("order", "list")):
        three_lines(cli(*words), 4)
    assert books(stocked) == before


def run(folder: Path, *words: str | bytes, **more: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "kmtool", *words],
        cwd=folder, env=environment(), timeout=60, check=False,
        **{"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, **more},
    )  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="a command line of Windows is always text")
@pytest.mark.parametrize(
    "words",
    [("sell", b"\xff\xfe"), ("import", b"\xff.txt", "--sku", "S1"), (b"\xff",), ("sync", b"\xd6"),
     ("order", "list", "-o", b"\xff\xfe.csv"), ("order", "list", "--buyer", b"\xff")],
)  # fmt: skip
def test_words_that_are_no_utf8(stocked: Path, words: tuple[str | bytes, ...]) -> None:
    done = run(stocked, *words)
    assert b"Traceback" not in done.stderr and b"KM-E100" not in done.stderr, done.stderr
    assert done.returncode in {0, 2, 5, 9}


@pytest.mark.skipif(sys.platform == "win32", reason="closes descriptors as a POSIX shell does")
@pytest.mark.parametrize(
    ("closed", "words", "codes"),
    [
        ("0", ("import", "-", "--sku", "S1"), {0, 2, 6, 9}),
        ("0", ("sell", "S1"), {0}),
        ("0", ("key", "find", "-"), {2, 5, 6}),
        ("0", ("deliver", "--by-hand"), {0, 6}),
        ("0", ("init", "new"), {6}),
        ("1", ("order", "list"), {0}),
        ("1", ("order", "list", "--json"), {0}),
        ("2", ("sell", "NONE"), {5}),
        ("2", ("--nonsense",), {2}),
    ],
)
def test_closed_streams_end_in_an_exit_code(
    stocked: Path, closed: str, words: tuple[str, ...], codes: set[int]
) -> None:
    line = f'exec "$0" -m kmtool "$@" {closed}>&-'
    done = subprocess.run(
        ["/bin/sh", "-c", line, sys.executable, *words],
        cwd=stocked, env=environment(), capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode in codes, done.stderr
    assert b"Traceback" not in done.stderr and b"KM-E100" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_pipe_is_no_bug(stocked: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run(stocked, "config", "show", stdout=full)
    assert b"Traceback" not in done.stderr and b"KM-E100" not in done.stderr, done.stderr


def test_a_second_daemon_is_told_who_runs(stocked: Path) -> None:
    with start(stocked, "run") as first:
        try:
            wait_for(lambda: b"1" in run(stocked, "db", "query",
                     "select count(*) n from sessions where state = 'live'").stdout
                     or first.poll() is not None)  # fmt: skip
            second = run(stocked, "run")
            assert second.returncode == 11, second
            assert b"KM-E1100" in second.stderr and b"Traceback" not in second.stderr
            assert run(stocked, "run", "stop").returncode == 0
            first.communicate(timeout=60)
            assert first.returncode == 0
        finally:
            first.kill()


def test_the_folder_of_another_program_is_no_shop(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "repo" / "src"
    folder.mkdir(parents=True)
    (tmp_path / "repo" / ".git").mkdir()
    (tmp_path / "repo" / "kmtool.toml").write_text("[tool.other]\nx = 1\n", encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    for words in (("sell", "S1"), ("import", "x.txt", *NEW), ("status",), ()):
        three_lines(cli(*words, cwd=folder), 4)
    assert [p for p in sorted(tmp_path.rglob("*")) if "home" not in p.parts] == before


def test_json_of_every_error_keeps_stdout_empty(cli: Cli, stocked: Path) -> None:
    for words in (("sell", "NONE"), ("order", "show", "X"), ("sync", "nowhere")):
        told = cli(*words, "--json")
        assert told.out == "" or json.loads(told.out)
        assert os.linesep in told.err or "\n" in told.err
