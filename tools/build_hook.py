"""What is done when the package is built: translations compiled, `data/` put where it is found.

`data/locale/**/*.po` → `.mo`, and in a wheel `data/` becomes `kmtool/_data`; an editable
installation reads `data/` where it is. gettext reads only `.mo`, the repository keeps only `.po`.
The compiler is the few lines below, so that building needs nothing beside the build backend.
"""

from __future__ import annotations

import ast
import struct
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MAGIC = 0x950412DE


class DataHook(BuildHookInterface[Any]):
    """Runs before a wheel is put together; `version` says whether it is an editable one."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the translations in place; they travel with `data/`."""
        root = Path(self.root)
        compile_all(root)
        if version != "editable" and (root / "data").is_dir():
            build_data["force_include"][str(root / "data")] = "kmtool/_data"


def compile_all(root: Path) -> list[Path]:
    """Write a `.mo` beside every `.po` under `root/data/locale` and return their paths."""
    written = []
    for source in sorted((root / "data" / "locale").glob("*/LC_MESSAGES/*.po")):
        target = source.with_suffix(".mo")
        target.write_bytes(mo_bytes(read_po(source.read_text(encoding="utf-8"))))
        written.append(target)
    return written


def read_po(text: str) -> dict[str, str]:
    """Return message id → translation as gettext stores it: plurals joined by NUL, context by EOT.

    Untranslated and fuzzy entries are left out. Raises `ValueError` with the line of a bad entry.
    """
    messages: dict[str, str] = {}
    entry: dict[str, str] = {}
    field, fuzzy = "", False
    for number, raw in enumerate([*text.splitlines(), ""], 1):
        line = raw.strip()
        if line.startswith("#"):
            fuzzy = fuzzy or (line.startswith("#,") and "fuzzy" in line)
        elif not line:
            if not fuzzy:
                _keep(messages, entry)
            entry, field, fuzzy = {}, "", False
        elif line.startswith('"') and field:
            entry[field] += _unquote(line, number)
        else:
            field, _, rest = line.partition(" ")
            if field.split("[")[0] not in {"msgctxt", "msgid", "msgid_plural", "msgstr"}:
                raise ValueError(f"line {number}: {line}")
            if field in entry:
                raise ValueError(f"line {number}: no empty line before {line}")
            entry[field] = _unquote(rest, number)
    return messages


def _keep(messages: dict[str, str], entry: dict[str, str]) -> None:
    forms = [value for name, value in entry.items() if name.startswith("msgstr")]
    if not forms or not all(forms):
        return
    key = entry["msgid"]
    if "msgctxt" in entry:
        key = entry["msgctxt"] + "\x04" + key
    if "msgid_plural" in entry:
        key += "\x00" + entry["msgid_plural"]
    messages[key] = "\x00".join(forms)


def _unquote(quoted: str, number: int) -> str:
    try:
        value = ast.literal_eval(quoted)
    except (SyntaxError, ValueError):
        value = None
    if not isinstance(value, str):
        raise ValueError(f"line {number}: {quoted}")
    return value


def mo_bytes(messages: dict[str, str]) -> bytes:
    """Return the catalogue in GNU gettext's binary form («The Format of GNU MO Files»)."""
    pairs = sorted((key.encode(), value.encode()) for key, value in messages.items())
    count = len(pairs)
    at = 28 + 16 * count
    tables: list[int] = []
    body = b""
    for column in (0, 1):
        for pair in pairs:
            tables += [len(pair[column]), at + len(body)]
            body += pair[column] + b"\0"
    head = struct.pack("<7I", MAGIC, 0, count, 28, 28 + 8 * count, 0, 0)
    return head + struct.pack(f"<{len(tables)}I", *tables) + body


if __name__ == "__main__":
    for path in compile_all(Path(__file__).resolve().parents[1]):
        sys.stdout.write(f"{path}\n")
