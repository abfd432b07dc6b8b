"""Puts a message on the clipboard, where there is one, and takes it off again.

A message holds keys, so it goes to the program of the desktop through its stdin, never as a word of
a command line (any user of the machine could read that), and never through a file. Windows is asked
in this process (UTF-16); WSL through `clip.exe`, macOS through `pbcopy`, Wayland through `wl-copy`,
X11 through `xclip` or `xsel`. Over SSH there is no desktop: only when `[deliver] clipboard =
"osc52"` asks for it the terminal itself is told (OSC 52), for that leaves a copy in whatever
records the terminal. Where nothing is found the caller shows the message.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from kmtool.cli import out
from kmtool.errors import ConfigError

AUTO, TERMINAL, OFF = "auto", "osc52", "off"
WAIT_S = 3.0
TERMINAL_MAX = 74_000
"""Terminals drop longer OSC 52 texts without a word."""
_UTF8 = {"LC_ALL": "", "LC_CTYPE": "UTF-8"}  # pbcopy reads its stdin in the locale's encoding


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that takes what comes on its stdin onto the clipboard."""

    words: tuple[str, ...]
    encoding: str = "utf-8"
    clear: tuple[str, ...] = ()


class Clipboard:
    """The clipboard of this terminal; `name` is empty when there is none."""

    def __init__(self, wanted: str = AUTO) -> None:
        self._tool: Tool | None = None
        self._used = False
        self.name = ""
        if wanted not in {AUTO, TERMINAL, OFF}:
            raise ConfigError(
                detail="deliver.clipboard = {wanted}: use auto, osc52 or off", wanted=repr(wanted)
            )
        if wanted == TERMINAL:
            self.name = TERMINAL if sys.stdout.isatty() else ""
        elif wanted != OFF:
            self._find()

    def copy(self, text: str) -> bool:
        """Copy text; False when this terminal has no clipboard (then the message is shown)."""
        done = self._copy(text)
        self._used = self._used or done
        return done

    def clear(self) -> bool:
        """Overwrite what was copied, as far as one can; tell whether it is gone from here."""
        if not self._used:
            return False
        self._used = False
        if self._tool is not None and self._tool.clear:
            return _run(self._tool.clear, b"")
        return self._copy("")

    def _find(self) -> None:
        if sys.platform == "win32":
            self.name = "windows"
            return
        self._tool = find(os.environ, sys.platform)
        self.name = self._tool.words[0] if self._tool else ""

    def _copy(self, text: str) -> bool:
        if self._tool is not None:
            return _run(self._tool.words, text.encode(self._tool.encoding))
        if self.name == TERMINAL:
            return _to_terminal(text)
        return bool(self.name) and _windows(text)


def find(environ: Mapping[str, str], platform: str) -> Tool | None:
    """Return the program that reaches this user's clipboard, None when there is no desktop."""
    if platform == "darwin":
        return _there(Tool(("pbcopy",)))
    if environ.get("WSL_DISTRO_NAME") or environ.get("WSL_INTEROP"):
        return _there(Tool(("clip.exe",), "utf-16-le"))
    found = None
    if environ.get("WAYLAND_DISPLAY"):
        found = _there(
            Tool(("wl-copy", "--type", "text/plain;charset=utf-8"), clear=("wl-copy", "--clear"))
        )
    if found is None and environ.get("DISPLAY"):
        found = _there(Tool(("xclip", "-selection", "clipboard", "-in")))
        found = found or _there(
            Tool(("xsel", "--clipboard", "--input"), clear=("xsel", "--clipboard", "--clear"))
        )
    return found


def _there(tool: Tool) -> Tool | None:
    return tool if shutil.which(tool.words[0]) else None


def _run(words: tuple[str, ...], data: bytes) -> bool:
    """Give data to a program. Its outputs are closed: some stay behind to serve the clipboard."""
    program = shutil.which(words[0])
    if program is None:
        return False
    try:
        run = subprocess.run(  # noqa: S603  (a fixed tool, no shell; the text is on its stdin)
            (program, *words[1:]),
            input=data,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=WAIT_S,
            check=False,
            env={**os.environ, **_UTF8},
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return run.returncode == 0


def _to_terminal(text: str) -> bool:
    coded = base64.b64encode(text.encode()).decode("ascii")
    if len(coded) > TERMINAL_MAX:
        return False
    out.text(f"\x1b]52;c;{coded}\x07", end="")
    out.flush()
    return True


def _windows(text: str) -> bool:
    """Set CF_UNICODETEXT through the system's own calls."""
    import pyperclip  # type: ignore[import-untyped]

    try:
        pyperclip.copy(text)
    except (pyperclip.PyperclipException, OSError):
        return False
    return True
