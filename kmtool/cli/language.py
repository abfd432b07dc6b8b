"""The language of a shop's screens, found before its configuration: a peek into kmtool.toml."""

from __future__ import annotations

import os
from pathlib import Path

FILE_NAME = "kmtool.toml"


def of_shop(argv: list[str]) -> str | None:
    """Return what `screens = "…"` says in the kmtool.toml of this call, or None."""
    named = _given(argv) or os.environ.get("KMTOOL_CONFIG")
    path = Path(named) if named else _above()
    if path is None:
        return None
    try:
        with (path / FILE_NAME if path.is_dir() else path).open("rb") as file:
            return _language(file.read(65_536))
    except OSError:
        return None


def _given(argv: list[str]) -> str:
    for at, word in enumerate(argv):
        if word == "--config":
            return argv[at + 1] if at + 1 < len(argv) else ""
        if word.startswith("--config="):
            return word[9:]
    return ""


def _above() -> Path | None:
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FILE_NAME).is_file():
            return folder
    return None


def _language(text: bytes) -> str | None:
    for line in text.splitlines():
        name, equals, value = line.partition(b"=")
        if equals and name.strip() == b"screens":
            return value.split(b"#")[0].strip().strip(b"\"'").decode("ascii", "ignore") or None
    return None
