"""Daemons stopped, taken over and woken, and a crowd of commands (bench/crowd.py, in short)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
unix = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGSTOP")


def bench(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONUTF8": "1"},
        capture_output=True,
        timeout=280,
        check=False,
    )
    told = done.stdout.decode()
    assert done.returncode == 0, told + done.stderr.decode()
    return told


@unix
@pytest.mark.timeout(300)
@pytest.mark.parametrize("more", [[], ["--postgres"]], ids=["sqlite", "postgresql"])
def test_a_crowd_gives_every_buyer_his_keys(tmp_path: Path, more: list[str]) -> None:
    if more:
        pytest.importorskip("pgserver", reason="PostgreSQL is NOT tested here")
    told = bench("bench.crowd", "--minutes", "0.1", "--folder", str(tmp_path / "shop"), *more)
    assert "keys with two buyers                 0" in told
    assert "paid orders forgotten                0" in told
    assert "stopped daemons" in told


@unix
@pytest.mark.timeout(300)
def test_a_kill_in_everything_else_loses_nothing() -> None:
    assert "nothing lost, nothing sold twice" in bench("bench.crash_rest", "--kills", "12")
