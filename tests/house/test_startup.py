"""Start-up is a feature: a light command loads nothing it does not need."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.house import source

HEAVY = {
    "apscheduler", "click", "cryptography", "httpx", "jinja2", "numpy", "openpyxl", "pandas",
    "psycopg", "python_calamine", "rich", "sqlite_utils", "xlsxwriter",
}  # fmt: skip
MODULES_MAX = 260  # typer alone brings 140

PROBE = """
import json, sys
from kmtool.cli.main import main
sys.argv = ["kmtool", *json.loads(sys.argv[1])]
try:
    code = main()
except SystemExit as stop:
    code = stop.code
sys.stderr.write("\\n" + json.dumps({"code": code or 0, "modules": sorted(sys.modules)}))
"""

pytestmark = pytest.mark.skipif(
    not (source.ROOT / "kmtool/cli/main.py").exists(), reason="there is no command line yet"
)


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["order", "--help"]], ids=" ".join)
def test_a_light_command_loads_little(words: list[str]) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(words)],
        capture_output=True, check=True, timeout=60, encoding="utf-8",
    )  # fmt: skip
    told = json.loads(run.stderr.splitlines()[-1])
    assert told["code"] == 0
    assert run.stdout.strip()
    modules: list[str] = told["modules"]
    assert {module.split(".")[0] for module in modules} & HEAVY == set()
    assert len(modules) <= MODULES_MAX
