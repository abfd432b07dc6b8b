"""Changes kmtool.toml as a careful person would: adds or changes lines, leaves all others alone.

A change is tried on a copy first: it must load, and mean the same as before except for what was
asked. The old file goes to the backups folder. Encoding and line ends stay what they were.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kmtool import config as configuration
from kmtool.config import Config
from kmtool.durable import write_whole
from kmtool.errors import ConfigError, Refused, StateMoved, Told, told

Value = str | int | bool | Sequence[str]
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class ConfigText:
    """kmtool.toml as it lies on the disk."""

    path: Path
    raw: bytes
    text: str
    encoding: str
    newline: str


@dataclass(frozen=True, slots=True)
class Named:
    """What a change may touch: a channel and its account, or a supplier."""

    channel: str = ""
    account: str = ""
    supplier: str = ""


@dataclass(frozen=True, slots=True)
class Changed:
    """A configuration that was changed, and where the old file went (empty in a rehearsal)."""

    config: Config
    backup: str


def read(path: Path) -> ConfigText:
    """Read a configuration that loads."""
    raw = path.read_bytes()
    encoding = "utf-8-sig" if raw.startswith(_BOM) else "utf-8"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        encoding = "gb18030"
        text = raw.decode(encoding)
    return ConfigText(path, raw, text, encoding, "\r\n" if "\r\n" in text else "\n")


def section(name: Sequence[str], values: Mapping[str, Value]) -> str:
    """Return a section as text: its header and one line per value."""
    lines = [f"[{'.'.join(_key(part) for part in name)}]"]
    lines += [f"{_key(key)} = {literal(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def append(old: ConfigText, block: str) -> ConfigText:
    """Return the file with a block at its end, one empty line before it."""
    text = old.text
    if text and not text.endswith("\n"):
        text += old.newline
    return replace(old, text=text + old.newline + block.replace("\n", old.newline))


def set_values(old: ConfigText, name: Sequence[str], values: Mapping[str, Value]) -> ConfigText:
    """Return the file with values of a section changed or added; a missing section is appended."""
    lines = old.text.splitlines(keepends=True)
    start = next((n for n, line in enumerate(lines) if _is_header(line, name)), None)
    if start is None:
        return append(old, section(name, values))
    for key, value in values.items():
        end = next(
            (n for n in range(start + 1, len(lines)) if lines[n].lstrip().startswith("[")),
            len(lines),
        )
        at = next((n for n in range(start + 1, end) if _is_key(lines[n], key)), None)
        line = f"{_key(key)} = {literal(value)}"
        if at is None:
            if not lines[start].endswith("\n"):
                lines[start] += old.newline
            lines.insert(start + 1, line + old.newline)
        else:
            lines[at] = line + _comment(lines[at]) + old.newline
    return replace(old, text="".join(lines))


def write(old: Config, new: ConfigText, named: Named, stamp_ms: int, *, keep: bool) -> Changed:
    """Put the new text in place of the old file; only what is named may differ.

    Without `keep` everything is checked and nothing is changed. Raises `Refused` when the change
    cannot be made by adding lines, `StateMoved` when somebody saved the file meanwhile.
    """
    trial = new.path.with_name(f".{new.path.name}.new")
    try:
        trial.write_bytes(new.text.encode(new.encoding))
        shutil.copymode(new.path, trial)
        loaded = _loaded(trial, old, named)
        _must_mean_the_same(loaded, old, named)
        if not keep:
            return Changed(loaded, "")
        if new.path.read_bytes() != new.raw:
            raise StateMoved(what=new.path.name, state=told("another text than a moment ago"))
        folder = old.folder("backups")
        folder.mkdir(parents=True, exist_ok=True)
        backup = folder / f"kmtool-{stamp_ms}.toml"
        write_whole(backup, new.raw, private=True)
        with trial.open("rb+") as file:
            os.fsync(file.fileno())
        trial.replace(new.path)
    except OSError as error:
        raise Refused(
            detail="{name} cannot be changed: {reason}; it is as it was",
            name=new.path.name,
            reason=error.strerror,
            where=str(new.path),
            mend="close the editor that holds it, or mend its permissions, then repeat",
        ) from None
    finally:
        trial.unlink(missing_ok=True)
    return Changed(loaded, str(backup))


def literal(value: Value) -> str:
    """Return a value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        # A JSON string is a TOML basic string as long as nothing but printable signs is in it.
        return json.dumps("".join(c for c in value if c.isprintable()), ensure_ascii=False)
    return "[" + ", ".join(literal(one) for one in value) + "]"


def _loaded(trial: Path, old: Config, named: Named) -> Config:
    try:
        return replace(configuration.load(trial), path=old.path)
    except ConfigError as error:
        raise Refused(
            detail="the change would not load: {problem}",
            problem=error.message(),
            mend=_by_hand(old, named),
        ) from None


def _must_mean_the_same(loaded: Config, old: Config, named: Named) -> None:
    pairs = (
        (loaded.channels, old.channels, named.channel),
        (loaded.accounts, old.accounts, named.account),
        (loaded.suppliers, old.suppliers, named.supplier),
    )
    same = all(_without(new, name) == _without(was, name) for new, was, name in pairs)
    rest = replace(loaded, channels=old.channels, accounts=old.accounts, suppliers=old.suppliers)
    if not same or rest != old:
        detail = "the change would alter other settings too"
        raise Refused(detail=detail, mend=_by_hand(old, named))


def _without(sections: Mapping[str, object], name: str) -> dict[str, object]:
    return {key: one for key, one in sections.items() if key != name}


def _by_hand(old: Config, named: Named) -> Told:
    place = f"suppliers.{named.supplier}" if named.supplier else f"channels.{named.channel}"
    return told(
        "write the lines of [{place}] into {file} with an editor", place=place, file=old.path.name
    )


def _is_header(line: str, name: Sequence[str]) -> bool:
    found = re.fullmatch(r"\s*\[([^\[\]]+)\]\s*(?:#.*)?", line.strip())
    if not found:
        return False
    parts = re.findall(r'"((?:[^"\\]|\\.)*)"|\'([^\']*)\'|([A-Za-z0-9_-]+)', found[1])
    return [next(filter(None, part), "") for part in parts] == list(name)


def _is_key(line: str, key: str) -> bool:
    spelled = "|".join(re.escape(form) for form in (key, f'"{key}"', f"'{key}'"))
    return re.match(rf"\s*(?:{spelled})\s*=", line) is not None


def _comment(line: str) -> str:
    """Return the comment at the end of a line with a simple value, with the blanks before it."""
    found = re.match(
        r"""[^=]*=\s*(?:"(?:[^"\\]|\\.)*"|'[^']*'|\[[^\]#]*\]|[^#"'\[]*?)(\s*\#.*)?\s*$""", line
    )
    return (found[1] or "").rstrip() if found else ""


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else literal(name)
