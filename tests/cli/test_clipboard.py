"""The clipboard of a desktop, through programs that only pretend: what they get, and from where.

The guided round runs as a program of its own at a real terminal (pty).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kmtool.cli import clipboard
from kmtool.cli.clipboard import Clipboard
from kmtool.errors import ConfigError
from tests.cli.conftest import ROOT
from tests.cli.test_by_hand import waiting

if sys.platform == "win32":
    pytest.skip("programs of other desktops", allow_module_level=True)

Cli = Callable[..., Any]
MESSAGE = "您好，卡密：ABCD-中文-1234\n第二行\n"
DESKTOPS = [
    ("darwin", {}, "pbcopy", "utf-8"),
    ("linux", {"WSL_DISTRO_NAME": "Ubuntu", "DISPLAY": ":0"}, "clip.exe", "utf-16-le"),
    ("linux", {"WAYLAND_DISPLAY": "wayland-0", "DISPLAY": ":0"}, "wl-copy", "utf-8"),
    ("linux", {"DISPLAY": ":0"}, "xclip", "utf-8"),
    ("linux", {"DISPLAY": ":0"}, "xsel", "utf-8"),
]
_ = waiting  # a fixture


def pretend(folder: Path, name: str, *, code: int = 0) -> Path:
    """Put a program on the PATH that keeps its stdin and its words; return where it keeps them."""
    kept = folder / "kept"
    kept.mkdir(exist_ok=True)
    script = folder / name
    script.write_text(
        "#!/bin/sh\n"
        f'n=$(ls "{kept}" | grep -c stdin)\n'
        f'cat > "{kept}/stdin.$n"\n'
        f'printf "%s\\n" "$*" >> "{kept}/words"\n'
        f"exit {code}\n",
        encoding="utf-8",
    )
    script.chmod(0o755)
    return kept


def only(monkeypatch: pytest.MonkeyPatch, folder: Path, platform: str, env: dict[str, str]) -> None:
    for name in ("WSL_DISTRO_NAME", "WSL_INTEROP", "WAYLAND_DISPLAY", "DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(clipboard.sys, "platform", platform)


@pytest.mark.parametrize(("platform", "env", "program", "encoding"), DESKTOPS)
def test_a_message_arrives_whole_and_through_stdin_only(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    env: dict[str, str],
    program: str,
    encoding: str,
) -> None:
    kept = pretend(tmp_path, program)
    only(monkeypatch, tmp_path, platform, env)
    board = Clipboard()
    assert board.name == program
    assert board.copy(MESSAGE)
    assert (kept / "stdin.0").read_bytes().decode(encoding) == MESSAGE
    assert board.clear()
    assert (kept / "stdin.1").read_bytes() == b""
    words = (kept / "words").read_text(encoding="utf-8")
    assert "ABCD" not in words and "中文" not in words


def test_a_clipboard_that_was_not_used_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = pretend(tmp_path, "xclip")
    only(monkeypatch, tmp_path, "linux", {"DISPLAY": ":0"})
    assert not Clipboard().clear()
    assert list(kept.iterdir()) == []


def test_a_program_that_fails_or_is_gone_is_no_clipboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(tmp_path, "xclip", code=1)
    only(monkeypatch, tmp_path, "linux", {"DISPLAY": ":0"})
    board = Clipboard()
    assert not board.copy(MESSAGE)
    (tmp_path / "xclip").unlink()
    assert not board.copy(MESSAGE)


@pytest.mark.parametrize("env", [{}, {"SSH_CONNECTION": "a b c d"}])
def test_a_plain_terminal_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, env: dict[str, str]
) -> None:
    pretend(tmp_path, "xclip")
    only(monkeypatch, tmp_path, "linux", env)
    assert Clipboard().name == ""
    assert not Clipboard().copy(MESSAGE)


def test_off_means_off_and_a_wrong_word_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(tmp_path, "xclip")
    only(monkeypatch, tmp_path, "linux", {"DISPLAY": ":0"})
    assert not Clipboard("off").copy(MESSAGE)
    with pytest.raises(ConfigError, match="auto, osc52 or off"):
        Clipboard("on")


def at_a_terminal(folder: Path, typed: list[str], env: dict[str, str]) -> str:
    """Run the guided round at a pty, answer each question, return all that was on the screen."""
    import pty
    import select

    master, slave = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-m", "kmtool", "deliver", "--by-hand"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb", **env},
        start_new_session=True,
    )
    os.close(slave)
    seen, answered, end = b"", 0, time.monotonic() + 60
    while time.monotonic() < end:
        if not select.select([master], [], [], 0.5)[0]:
            if program.poll() is not None:
                break
            continue
        try:
            part = os.read(master, 4096)
        except OSError:
            break
        if not part:
            break
        seen += part
        if seen.count(b"q = stop:") > answered and answered < len(typed):
            os.write(master, typed[answered].encode() + b"\n")
            answered += 1
    assert program.wait(20) == 0, seen.decode(errors="replace")
    os.close(master)
    return seen.decode("utf-8", "replace")


def test_a_round_at_a_terminal_pastes_through_the_clipboard(
    cli: Cli, waiting: Path, tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    kept = pretend(tools, "xclip")
    env = {"PATH": f"{tools}:{os.environ['PATH']}", "DISPLAY": ":0", "WAYLAND_DISPLAY": ""}
    screen = at_a_terminal(waiting, ["c", "", "b", "", "s"], env)
    assert "HAND-" not in screen, "with a clipboard no key is on the screen"
    assert "the message is on the clipboard" in screen
    assert "perhaps sent before" in screen
    copied = [p.read_text(encoding="utf-8") for p in sorted(kept.glob("stdin.*"))]
    assert copied[0].count("HAND-") == 1 and "发货编号" in copied[0]
    assert copied[1].startswith("HAND-") and "发货编号" not in copied[1]
    assert copied[-1] == "" and "the clipboard was overwritten" in screen
    assert "HAND-" not in (kept / "words").read_text(encoding="utf-8")
    rows = cli("order", "list", "--json").json()["orders"]
    assert sorted(row["state"] for row in rows) == ["delivered", "reserved"]


def test_osc52_only_when_the_owner_asks_for_it(cli: Cli, waiting: Path) -> None:
    env = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "SSH_CONNECTION": "a b c d"}
    assert "\x1b]52" not in at_a_terminal(waiting, ["s", "s"], env)
    toml = waiting / "kmtool.toml"
    asked = toml.read_text(encoding="utf-8") + '\n[deliver]\nclipboard = "osc52"\n'
    toml.write_text(asked, encoding="utf-8")
    screen = at_a_terminal(waiting, ["s", "s"], env)
    assert screen.count("\x1b]52;c;") == 3, "two messages, and the empty one that takes them off"
    assert "HAND-" not in screen
