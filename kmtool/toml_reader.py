"""Reads kmtool.toml as people save it: BOM, GBK, full-width quotes, bare backslashes.

What can be read without a doubt is read; the rest is `BadToml` with the line and its mended form.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from kmtool.errors import BadToml, UnknownSetting, told, verbatim

_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_FULL_WIDTH = str.maketrans(
    {"“": '"', "”": '"', "‘": "'", "’": "'", "＝": "=", "［": "[", "］": "]"}
)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file, or raise `BadToml` with file, line and the mended line."""
    raw = path.read_bytes()
    text = _decode(raw, path)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _explain(text, str(error), path) from None


def _decode(raw: bytes, path: Path) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise BadToml(
        detail="it is neither UTF-8 nor GBK text",
        where=path.name,
        mend="open it in an editor and save it as UTF-8",
    )


def _explain(text: str, message: str, path: Path) -> BadToml:
    lines = text.split("\n")
    found = re.search(r"line (\d+)", message)
    number = min(int(found[1]), len(lines)) if found else len(lines)
    line = lines[number - 1].strip()
    mended = line.translate(_FULL_WIDTH)
    if mended != line:
        reason = told("full-width quotes or brackets")
    elif "\\" in line and '"' in line:
        reason = told("a backslash inside double quotes; use single quotes for Windows paths")
        mended = re.sub(r'"([^"]*)"', r"'\1'", line)
    else:
        reason = verbatim(re.sub(r"\s*\(at .*\)$", "", message))
        return BadToml(detail=reason, where=f"{path.name}:{number}: {line[:60]}")
    return BadToml(
        detail=reason,
        where=f"{path.name}:{number}: {line[:60]}",
        mend="write line {number} as: {mended}",
        number=number,
        mended=mended[:80],
    )


def parse_duration(text: str) -> int:
    """Return `15m`, `30s`, `2h`, `7d`, `250ms`, `0` in milliseconds; raises `ValueError`."""
    if text.strip() == "0":
        return 0
    found = re.fullmatch(r"\s*(\d+)\s*(ms|s|m|h|d)\s*", text)
    if not found:
        raise ValueError(text)
    return int(found[1]) * _UNITS[found[2]]


def check_name(name: str, known: set[str], where: str) -> None:
    """Refuse a name that is not known, naming the nearest that is (`UnknownSetting`)."""
    if name in known:
        return
    import difflib

    near = difflib.get_close_matches(name, sorted(known), 1, 0.4) or sorted(known)[:1]
    prefix = f"{where}." if where else ""
    raise UnknownSetting(name=prefix + name, nearest=prefix + near[0], where=where)
