"""An error nobody expected: three lines for the operator, the traceback for the log.

Quoted parts of the message are left out of the log, because they may hold what somebody typed.
"""

from __future__ import annotations

import re
import sys
import traceback
from pathlib import Path

from kmtool.cli import options, out
from kmtool.clock import SystemClock, iso_text
from kmtool.durable import trouble
from kmtool.errors import KmError
from kmtool.words import _

LOG_MAX = 5_000_000
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


def told(problem: Exception) -> int:
    """Tell of a disk that is full or fails; of everything else as of a bug. Return the code."""
    known = trouble(problem, str(Path.cwd()))
    return out.error(known) if known else report(problem)


def report(problem: Exception) -> int:
    """Log the traceback, print the three lines, return the exit code of a bug."""
    lines = _traceback(problem)
    place = _log(lines)
    if options.current().verbose >= 2:
        for line in lines:
            out.note(line.rstrip("\n"))
    return out.error(
        KmError(
            detail="a mistake in kmtool itself ({name})",
            name=type(problem).__name__,
            where=_where(problem),
            mend="kmtool doctor; please report it with the end of {log}",
            log=place,
        )
    )


def _traceback(problem: Exception) -> list[str]:
    shown = traceback.TracebackException.from_exception(problem)
    return [line if line.startswith("  ") else _QUOTED.sub("'…'", line) for line in shown.format()]


def _where(problem: Exception) -> str:
    frames = traceback.extract_tb(problem.__traceback__)
    ours = [frame for frame in frames if "kmtool" in Path(frame.filename).parts] or frames
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""


def _log(lines: list[str]) -> str:
    path = _folder() / "kmtool.log"
    word = " ".join(options.current().words[:1])
    head = f"{iso_text(SystemClock().now_ms())} kmtool {word} (Python {sys.version.split()[0]})\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > LOG_MAX:
            path.replace(path.with_suffix(".log.1"))
        with path.open("a", encoding="utf-8") as file:
            file.write(head + "".join(lines))
    except OSError:
        return _("a log that could not be written")
    return str(path)


def _folder() -> Path:
    from kmtool import config

    elsewhere = config.user_folder() / "logs"
    try:
        found = config.load(config.find(options.current().config or None)[0])
    except (KmError, ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError):
        # The bug may be in reading the settings.
        return elsewhere
    return elsewhere if found.example else found.folder("logs")
