"""Statement profiles: which files can be read, the shipped ones and the shop's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kmtool import registry
from kmtool.errors import NotFound


@dataclass(frozen=True, slots=True)
class Profile:
    """How one kind of statement file is read."""

    id: str
    title: str
    channel: str
    role: str
    plane: str
    certainty: str
    version: int
    own: bool


@dataclass(frozen=True, slots=True)
class Profiles:
    """All profiles in use."""

    profiles: tuple[Profile, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a profile with the names it is known by."""

    role: str
    names: tuple[str, ...]
    type: str
    required: bool


@dataclass(frozen=True, slots=True)
class ProfileText:
    """A profile with its columns and the text of its file."""

    profile: Profile
    columns: tuple[Column, ...]
    text: str


def listing(own: Path) -> Profiles:
    """Return all profiles, the shop's own (in folder `own`) in place of shipped ones of that id."""
    return Profiles(tuple(_profile(found, own) for _id, found in sorted(_all(own).items())))


def show(own: Path, name: str) -> ProfileText:
    """Return one profile with its columns and text."""
    found = _all(own).get(name)
    if found is None:
        raise NotFound(kind="profile", name=name)
    columns = tuple(
        Column(role, tuple(column.names), column.type, column.required)
        for role, column in found.columns.items()
    )
    return ProfileText(_profile(found, own), columns, found.path.read_text(encoding="utf-8"))


def _all(own: Path) -> dict[str, Any]:
    module = registry.module("statement", "profiles")
    profiles: dict[str, Any] = module.load_all(own if own.is_dir() else None)
    return profiles


def _profile(found: Any, own: Path) -> Profile:
    return Profile(
        id=found.id,
        title=found.title,
        channel=found.channel,
        role=found.role,
        plane=found.plane,
        certainty=found.certainty,
        version=found.version,
        own=found.path.is_relative_to(own),
    )
