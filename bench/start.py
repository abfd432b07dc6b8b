"""How much CPU a light command costs, beside bare Python and `sqlite-utils --help` in the same run.

python -m bench.start
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

RUNS = 10


def cpu_ms(command: list[str], folder: Path) -> float:
    """Return the mean user and system CPU of a command in milliseconds."""
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    before = os.times()
    for _ in range(RUNS):
        subprocess.run(command, cwd=folder, capture_output=True, check=True)
    after = os.times()
    spent = after.children_user + after.children_system
    spent -= before.children_user + before.children_system
    return spent / RUNS * 1000


def main() -> int:
    """Print the table; 1 when a bar is missed."""
    from kmtool.demo.day import run

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "demo"
        run(folder, lambda _line: None)
        kmtool = [sys.executable, "-m", "kmtool"]
        rows: list[tuple[str, list[str], float | None]] = [
            ("python -c pass", [sys.executable, "-c", "pass"], None),
            ("sqlite-utils --help", [sys.executable, "-m", "sqlite_utils", "--help"], None),
            ("kmtool --version", [*kmtool, "--version"], 90),
            ("kmtool --help", [*kmtool, "--help"], 100),
            ("kmtool order list", [*kmtool, "order", "list"], 200),
            ("kmtool status", [*kmtool, "status"], None),
        ]
        missed = 0
        bare = 0.0
        for title, command, bar in rows:
            spent = cpu_ms(command, folder)
            bare = bare or spent
            told = f"bar {bar:.0f} ms" if bar else ""
            print(f"{title:22} {spent:6.0f} ms  {spent / bare:5.1f} × bare Python  {told}")
            missed += bool(bar and spent > bar)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
