"""The edge of the program: global options, unknown words, and errors that become three lines."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kmtool import __version__
from kmtool.cli import options, table
from kmtool.errors import EXIT_USAGE, FileMissing, UsageError


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that puts a command into the table for this test."""

    def put(function: Any) -> None:
        module = ModuleType("tests_command")
        module.act = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "tests_command", module)
        row = ("act", "tests_command:act", table.OTHER, "acts")
        monkeypatch.setattr(table, "COMMANDS", (*table.COMMANDS, row))

    return put


def test_version_and_help_stand_on_stdout(cli: Any) -> None:
    assert cli("--version").out == f"kmtool {__version__}\n"
    told = cli("--help")
    assert told.code == 0
    assert "kmtool help all" in told.out
    assert told.err == ""


def test_an_unknown_word_names_the_nearest(cli: Any) -> None:
    told = cli("hlp")
    assert told.code == EXIT_USAGE
    assert told.out == ""
    assert told.err.splitlines() == [
        "KM-E200 There is no command hlp. Did you mean help?",
        "  where: kmtool hlp",
        "  to do: kmtool help",
    ]


def test_an_unknown_option_is_three_lines(cli: Any) -> None:
    told = cli("help", "--nonsense")
    assert told.code == EXIT_USAGE
    assert len(told.err.splitlines()) == 3
    assert told.err.startswith("KM-E200 ")


def test_a_missing_word_is_named_with_the_whole_call(cli: Any) -> None:
    told = cli("settle", "preview")
    assert told.code == EXIT_USAGE
    mend = "  to do: kmtool settle preview SUPPLIER; more: kmtool settle preview --help"
    assert told.err.splitlines()[2] == mend


def test_help_explains_an_error_code(cli: Any) -> None:
    told = cli("help", FileMissing.code.lower())
    assert told.code == 0
    assert FileMissing.code in told.out
    assert cli("help", "KM-E999").code == EXIT_USAGE


@pytest.mark.parametrize(
    "line",
    [
        ["--json", "order", "list"],
        ["order", "--json", "list"],
        ["order", "list", "--json"],
    ],
)
def test_global_options_work_on_both_sides(line: list[str]) -> None:
    asked = options.hoist(line)
    assert asked.json
    assert asked.words == ["order", "list"]


def test_global_options_stop_at_two_dashes() -> None:
    asked = options.hoist(["-o", "x.csv", "act", "--", "--json", "-y"])
    assert asked.output == "x.csv"
    assert not asked.json
    assert asked.words == ["act", "--", "--json", "-y"]


def test_an_option_without_its_value_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        options.hoist(["order", "list", "-o"])
    with pytest.raises(UsageError):
        options.hoist(["--config", "--json"])


def test_an_expected_error_is_three_lines_and_its_exit_code(cli: Any, command: Any) -> None:
    def act() -> None:
        raise FileMissing(name="keys\x1b[2J\n.txt")

    command(act)
    told = cli("act")
    assert told.code == FileMissing.exit_code
    assert told.err.splitlines() == [
        "KM-E501 There is no file keys .txt.",
        "  where: kmtool act",
        "  to do: look at the name again; from Explorer you can drag the file into this window",
    ]


def test_a_bug_is_three_lines_and_its_traceback_is_in_the_log(
    cli: Any, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path.anchor)
    typed = "CANARY-" + "KEY"

    def act() -> None:
        int(typed)

    command(act)
    told = cli("act")
    assert told.code == 1
    assert told.err.startswith("KM-E100 ")
    assert len(told.err.splitlines()) == 3
    assert "Traceback" not in told.err
    log = (tmp_path / "home" / "logs" / "kmtool.log").read_text(encoding="utf-8")
    assert "Traceback" in log
    assert "ValueError: invalid literal" in log
    assert "CANARY-KEY" not in log
    assert "Traceback" in cli("act", "-vv").err


def test_a_full_disk_is_no_bug(cli: Any, command: Any) -> None:
    def act() -> None:
        raise OSError(errno.EFBIG, "File too large", "shop/copy.db")

    command(act)
    assert cli("act").err.splitlines() == [
        "KM-E101 kmtool found a state that must not exist: the disk is full;"
        " nothing was half-written",
        "  where: shop/copy.db",
        "  to do: make room on the disk, then repeat the command",
    ]


def test_ctrl_c_says_that_what_was_done_stays(cli: Any, command: Any) -> None:
    def act() -> None:
        raise KeyboardInterrupt

    command(act)
    told = cli("act")
    assert told.code == 130
    assert "stays" in told.err


def test_without_a_shop_the_first_steps_are_named(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path.anchor)
    told = cli()
    assert told.code == 0
    assert "kmtool init" in told.out


def test_it_runs_as_a_program(cli_process: Any, tmp_path: Path) -> None:
    told = cli_process("--version", cwd=tmp_path)
    assert (told.code, told.out) == (0, f"kmtool {__version__}\n")


def test_every_row_of_the_table_can_be_loaded(cli: Any) -> None:
    for name, _target, group, line in table.COMMANDS:
        assert group in {table.EVERYDAY, table.NOUN, table.OTHER}
        assert line[0].islower() and not line.endswith(".")
        assert cli(name, "--help").code == 0, name
    assert cli("help", "all").code == 0
