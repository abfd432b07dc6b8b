"""The four single doors: SQL, the network, printing and the clock each have one place.

And the table libraries have theirs. What a library does itself (typer's own help, APScheduler's
clock) is not meant. Each door has counter-examples: a check that cannot fail is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.house import source

Finder = Callable[[Path], Iterator[tuple[int, str]]]

SQL = re.compile(
    r"""\bSELECT\b.+\bFROM\b | \bINSERT\s+(OR\s+\w+\s+)?INTO\b | \bUPDATE\b.+\bSET\b
    | \bDELETE\s+FROM\b | \b(CREATE|DROP|ALTER)\s+(TABLE|VIEW|TRIGGER|(UNIQUE\s+)?INDEX)\b
    | \bBEGIN\s+IMMEDIATE\b | ^\s*PRAGMA\s
    | (?i:^\s*(select\s+[\w*,.\s]+\sfrom\s+\w+(\s+(where|order\s+by|limit|join)\b|\s*$)
             |insert\s+into\s+\w+\s*[(]|update\s+\w+\s+set\s+\w+\s*=|delete\s+from\s+\w+\s*($|where)))
    """,
    re.VERBOSE | re.DOTALL,
)
NETWORK = {
    "aiohttp", "ftplib", "http.client", "httpcore", "httpx", "imaplib", "paramiko", "poplib",
    "requests", "smtplib", "socket", "telnetlib", "urllib.request", "urllib3", "websockets",
}  # fmt: skip
PRINTERS = {
    "print", "typer.echo", "typer.secho", "typer.echo_via_pager", "sys.stdout.write",
    "sys.stderr.write", "sys.stdout.buffer.write", "sys.stderr.buffer.write", "pprint.pprint",
}  # fmt: skip
CLOCKS = re.compile(r"(?:^|\.)(?:datetime\.(?:now|utcnow|today)|date\.today)$")
TABLES = {"pandas", "openpyxl", "xlsxwriter", "python_calamine"}


def sql(path: Path) -> Iterator[tuple[int, str]]:
    for line, text in source.texts(path):
        if SQL.search(text):
            yield line, text.strip().split("\n")[0][:60]


def network(path: Path) -> Iterator[tuple[int, str]]:
    yield from _imported(path, NETWORK)


def printing(path: Path) -> Iterator[tuple[int, str]]:
    yield from _imported(path, {"rich"})
    for line, called in source.calls(path):
        if called in PRINTERS:
            yield line, called


def clock(path: Path) -> Iterator[tuple[int, str]]:
    yield from _imported(path, {"time"})
    for line, called in source.calls(path):
        if CLOCKS.search(called):
            yield line, called


def tables(path: Path) -> Iterator[tuple[int, str]]:
    yield from _imported(path, TABLES)


def _imported(path: Path, banned: set[str]) -> Iterator[tuple[int, str]]:
    for line, imported in source.imports(path):
        if any(imported == module or imported.startswith(module + ".") for module in banned):
            yield line, imported


DOORS: dict[str, tuple[Finder, tuple[str, ...]]] = {
    "SQL stands only in the store": (sql, ("kmtool/store/",)),
    "only adapters speak to the network": (network, ("adapters/",)),
    "only cli/out.py prints": (printing, ("kmtool/cli/out.py",)),
    "only clock.py reads the clock": (clock, ("kmtool/clock.py",)),
    "only sheets.py, sheets_write.py and reports.py know the table libraries": (
        tables,
        ("kmtool/sheets.py", "kmtool/sheets_write.py", "kmtool/reports.py"),
    ),
}


@pytest.mark.parametrize("rule", DOORS)
def test_each_door_is_the_only_one(rule: str) -> None:
    finder, allowed = DOORS[rule]
    found = [
        f"{source.name(path)}:{line} {what}"
        for path in source.files()
        if not source.name(path).startswith(allowed)
        for line, what in finder(path)
    ]
    assert not found, f"{rule}:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("finder", "text"),
    [
        (sql, 'x = "SELECT id FROM keys"'),
        (sql, 'x = "select id from keys where id = 1"'),
        (sql, 'x = f"UPDATE {table} SET state = :to"'),
        (sql, 'x = "DELETE FROM keys"'),
        (sql, 'x = """\n  INSERT INTO keys (id)\n VALUES (1)"""'),
        (sql, 'x = "PRAGMA user_version"'),
        (network, "def f():\n    import httpx"),
        (network, "from http import client"),
        (network, "from urllib.request import urlopen"),
        (network, "import socket"),
        (printing, "print(1)"),
        (printing, "from rich.table import Table"),
        (printing, "import typer\ntyper.echo(1)"),
        (printing, "import sys\nsys.stderr.write('x')"),
        (clock, "import time"),
        (clock, "from time import sleep"),
        (clock, "from datetime import datetime\ndatetime.now(UTC)"),
        (clock, "import datetime\ndatetime.datetime.utcnow()"),
        (clock, "from datetime import date\ndate.today()"),
        (tables, "def f():\n    import pandas as pd"),
        (tables, "from openpyxl import Workbook"),
    ],
)
def test_a_second_door_is_noticed(finder: Finder, text: str, tmp_path: Path) -> None:
    path = tmp_path / "example.py"
    path.write_text(text, encoding="utf-8")
    assert list(finder(path))


@pytest.mark.parametrize(
    ("finder", "text"),
    [
        (sql, '"""Rows change by `UPDATE … WHERE id = :id SET`."""'),
        (sql, 'x = "select a key from the list"'),
        (sql, 'x = "update the product, then set its price"'),
        (network, "from urllib.parse import quote"),
        (printing, "sheet.print_area(1)"),
        (clock, "from datetime import datetime, time\ndatetime.fromtimestamp(1, UTC)"),
        (clock, "clock.monotonic()"),
        (tables, "from kmtool import sheets"),
    ],
)
def test_what_only_looks_like_a_door_is_left_alone(
    finder: Finder, text: str, tmp_path: Path
) -> None:
    path = tmp_path / "example.py"
    path.write_text(text, encoding="utf-8")
    assert not list(finder(path))
