"""Finds the program's data: `data/` in a checkout, `kmtool/_data` in an installed wheel."""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path


@cache
def data_root() -> Path:
    """Return the folder that holds profiles, presets, templates and calendars."""
    here = Path(__file__).resolve().parent
    packed = here / "_data"
    return packed if packed.is_dir() else here.parent / "data"


def data_path(*parts: str) -> Path:
    """Return the path of a shipped data file."""
    return data_root().joinpath(*parts)


def find(own: Path | None, *parts: str) -> Path:
    """Return the shop's own file of that name if there is one, else the shipped one."""
    if own is not None:
        mine = own.joinpath(*parts)
        if mine.exists():
            return mine
    return data_path(*parts)


@lru_cache(maxsize=256)
def beside(file: Path, name: str) -> Path:
    """Return the path of a name beside a file: asked for all the time, and slow to make."""
    return file.parent / name
