"""Real processes are killed with SIGKILL; the buyers must not notice (bench/crash.py in short)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_eight_kills_lose_nothing_and_sell_nothing_twice(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.crash", "--kills", "8", "--folder", str(tmp_path / "shop")],
        cwd=ROOT,
        env={**os.environ, "PYTHONUTF8": "1"},
        capture_output=True,
        timeout=280,
        check=False,
    )
    told = done.stdout.decode()
    assert done.returncode == 0, told + done.stderr.decode()
    assert "keys with two buyers                 0" in told
    assert "paid orders forgotten                0" in told
