"""Key import (fingerprint, seal, refuse twins of all history) beside sqlite-utils' plain insert.

    python -m bench.import_keys --rows 100000

The peer is `sqlite-utils insert --csv --ignore` of the same rows, in the clear, with a unique
index: it does less. Both run in processes of their own on the same disk.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


def write(path: Path, rows: int) -> None:
    """Write invented keys, one a line below a header."""
    chance = random.Random(1)
    lines = ["key", *("".join(chance.choices(LETTERS, k=16)) for _ in range(rows))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def timed(command: list[str], folder: Path) -> float:
    """Return the seconds a command takes."""
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    return time.perf_counter() - start


def main() -> int:
    """Print rows per second of both and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "keys.csv", rows)
        (folder / "kmtool.toml").write_text(
            'schema = 1\n[data]\nprivate = ".private"\n', encoding="utf-8"
        )
        from kmtool.app import create_shop
        from kmtool.config import load

        create_shop(load(folder / "kmtool.toml"))
        peer = [sys.executable, "-m", "sqlite_utils"]
        subprocess.run(
            [*peer, "create-table", "peer.db", "keys", "key", "text", "--pk", "key"],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
        theirs = timed(
            [*peer, "insert", "peer.db", "keys", "keys.csv", "--csv", "--ignore"], folder
        )
        ours = timed(
            [sys.executable, "-m", "kmtool", "import", "keys.csv", "--sku", "S", "--new", "--yes"],
            folder,
        )
    print(f"sqlite-utils insert --csv --ignore  {rows / theirs:9,.0f} rows/s, in the clear")
    print(f"kmtool import                       {rows / ours:9,.0f} rows/s, sealed")
    print(f"ratio                               {theirs / ours:9.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
