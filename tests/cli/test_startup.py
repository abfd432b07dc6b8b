"""What each light command loads: nothing of the libraries it does not need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROBE = """
import json, sys
from kmtool.cli.main import main
code = main(json.loads(sys.argv[1]))
sys.stderr.write("\\n" + json.dumps({"code": code, "modules": sorted(sys.modules)}))
"""
HEAVY = {
    "apscheduler", "click", "httpx", "jinja2", "numpy", "openpyxl", "pandas", "psycopg",
    "python_calamine", "rich", "sqlite_utils", "xlsxwriter",
}  # fmt: skip
SHOP = {"sqlite3", "pysqlite3", "cryptography", "kmtool.app", "kmtool.store"}
TYPER = {"typer", "inspect", "dataclasses", "kmtool.config"}


@pytest.mark.parametrize(
    ("words", "without", "most"),
    [
        (["--version"], HEAVY | SHOP | TYPER, 110),
        (["--help"], HEAVY | SHOP | TYPER, 110),
        (["nosuch"], HEAVY | SHOP | {"typer", "kmtool.config"}, 130),
        (["config", "path"], HEAVY | {"cryptography", "kmtool.app"}, 300),
        (["pause", "--help"], HEAVY, 320),
        (["audit", "list"], HEAVY, 330),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_light_command_loads_little(
    words: list[str], without: set[str], most: int, shop_folder: Path
) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(words)],
        capture_output=True, check=True, timeout=60, encoding="utf-8",
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PYTHONUTF8": "1"},
    )  # fmt: skip
    told = json.loads(run.stderr.splitlines()[-1])
    modules: list[str] = told["modules"]
    assert {m for m in modules if m in without or m.split(".")[0] in without} == set()
    assert len(modules) <= most, len(modules)
