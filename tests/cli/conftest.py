"""Runs kmtool as a person does: in this process (`cli`), or as its own program (`cli_process`).

    def test_x(cli, shop_folder):
        told = cli("order", "list", "--json")
        assert told.code == 0 and told.json()["orders"] == []

`shop_folder` is a new shop (SQLite) whose folder is the current one; `cli` sees the test's `clock`.
`tty=True` makes stdin a terminal, so that questions are asked; `input` is what is typed or piped.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kmtool import words
from kmtool.app import create_shop
from kmtool.cli import doors
from kmtool.cli.main import main
from kmtool.clock import ManualClock
from kmtool.config import load

ROOT = Path(__file__).resolve().parents[2]

TOML = """schema = 1
[shop]
name = "测试小店"
[data]
private = ".private"
[channels.shop1]
adapter = "tests.fakes"
mode = "auto"
couriers = ["tests.fakes"]
"""


@dataclass(frozen=True)
class Told:
    """What a run said: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return the one document on stdout."""
        return json.loads(self.out)

    def lines(self) -> list[str]:
        """Return the lines of stdout."""
        return self.out.splitlines()


class _Input(io.StringIO):
    def __init__(self, text: str, tty: bool) -> None:
        super().__init__(text)
        self._tty = tty
        self.buffer = io.BytesIO(text.encode())

    def isatty(self) -> bool:
        return self._tty


class _Output(io.TextIOWrapper):
    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, newline="\n", write_through=True)

    def text(self) -> str:
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode(self.encoding)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> Callable[..., Told]:
    """Return a function that runs `kmtool` in this process and gives back what it told."""

    def run(
        *argv: object,
        input: str = "",
        cwd: Path | None = None,
        tty: bool = False,
        encoding: str = "utf-8",
    ) -> Told:
        out, err = _Output(encoding), _Output(encoding)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", _Input(input, tty))
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            patch.setattr(doors, "clock", lambda: clock)
            if cwd is not None:
                patch.chdir(cwd)
            code = main([str(word) for word in argv])
            told = Told(code, out.text(), err.text())
        words.use("en")
        return told

    return run


@pytest.fixture
def cli_process() -> Callable[..., Told]:
    """Return a function that runs `kmtool` as a process of its own."""

    def run(
        *argv: object,
        input: str = "",
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        timeout: float = 60,
    ) -> Told:
        done = subprocess.run(
            [sys.executable, "-m", "kmtool", *(str(word) for word in argv)],
            input=input.encode(),
            capture_output=True,
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", **(env or {})},
            timeout=timeout,
            check=False,
        )
        return Told(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@pytest.fixture
def shop_folder(tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new shop on SQLite with the channel `shop1` (tests/fakes.py); the folder we are in."""
    folder = tmp_path / "myshop"
    folder.mkdir()
    (folder / "kmtool.toml").write_text(TOML, encoding="utf-8")
    create_shop(load(folder / "kmtool.toml"), clock)
    monkeypatch.chdir(folder)
    return folder
