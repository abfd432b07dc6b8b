"""Import units: which members of a file are detail, which are summaries, which belong together.

Members are chosen by content. Several detail members of one profile are one unit, in the order of
their names; summaries beside a detail are set aside for a cross-check.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapters.statements.container import Opened, Source
from adapters.statements.detect import Header, detect
from adapters.statements.profiles import Profile
from adapters.statements.refusals import Stop, shown
from adapters.statements.sections import Sections, cut
from kmtool.domain.statements import Code, StatementRefusal

_TABLES = (".csv", ".txt", ".tsv", ".xls", ".xlsx")
_Found = tuple[Source, Header]


@dataclass(frozen=True, slots=True)
class Unit:
    """One import unit, or the refusal that stands in its place."""

    members: tuple[str, ...]
    profile: Profile | None = None
    details: tuple[_Found, ...] = ()
    summaries: tuple[_Found, ...] = ()
    refusal: StatementRefusal | None = None
    warnings: tuple[tuple[str, str], ...] = ()

    def cut(self) -> list[Sections]:
        """Return the detail members, cut into their sections."""
        return [cut(source, header) for source, header in self.details]

    def cut_summaries(self) -> list[Sections]:
        """Return the summary members that can be compared with this unit."""
        return [
            cut(source, header)
            for source, header in self.summaries
            if header.profile.cross is not None
            and self.profile is not None
            and header.profile.cross.detail == self.profile.id
        ]


def units(
    opened: Opened, name: str, profiles: Mapping[str, Profile], forced: Profile | None
) -> list[Unit]:
    """Return the import units of a file; raises `Stop` when it has none."""
    details: list[_Found] = []
    summaries: list[_Found] = []
    failed: list[tuple[str, Stop]] = list(opened.unreadable)
    for source in opened.sources:
        try:
            header = detect(source if source.name else _named(source, name), profiles, forced)
        except Stop as stop:
            if not opened.archive:
                raise
            failed.append((source.name, stop))
            continue
        found = summaries if header.profile.role == "summary" else details
        found.append((source, header))
    refused, skipped = _sorted_out(failed, forced)
    if not details:
        raise _no_detail(opened, summaries, refused)
    warnings = tuple(
        ("SKIPPED_MEMBER", f"the member {shown(member)} is no statement and was left out")
        for member in skipped
    )
    grouped: dict[str, list[_Found]] = {}
    for pair in details:
        grouped.setdefault(pair[1].profile.id, []).append(pair)
    made = [_unit(group, summaries, warnings) for group in grouped.values()]
    return made + [
        Unit((member,), refusal=stop.refusal, warnings=warnings) for member, stop in refused
    ]


def _named(source: Source, name: str) -> Source:
    return Source(name, source.text, source.encoding, source.sheets)


def _unit(
    group: Sequence[_Found], summaries: Sequence[_Found], warnings: tuple[tuple[str, str], ...]
) -> Unit:
    ordered = tuple(sorted(group, key=lambda pair: _natural(pair[0].name)))
    members = tuple(source.name for source, _ in ordered if source.name)
    return Unit(members, ordered[0][1].profile, ordered, tuple(summaries), None, warnings)


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key under which `_2` stands before `_10`."""
    return [
        (int(piece), "") if piece.isdecimal() else (-1, piece)
        for piece in re.split(r"(\d+)", name)
        if piece
    ]


def _sorted_out(
    failed: Sequence[tuple[str, Stop]], forced: Profile | None
) -> tuple[list[tuple[str, Stop]], list[str]]:
    """Part members that fail as statements from those that are none (a read-me, a picture)."""
    refused, skipped = [], []
    for member, stop in failed:
        code = stop.refusal.code
        broken_table = code is Code.BAD_ENCODING and member.lower().endswith(_TABLES)
        known = code in (Code.MISSING_COLUMN, Code.AMBIGUOUS_PROFILE) and forced is None
        if broken_table or known:
            refused.append((member, stop))
        else:
            skipped.append(member)
    return refused, skipped


def _no_detail(
    opened: Opened, summaries: Sequence[_Found], refused: Sequence[tuple[str, Stop]]
) -> Stop:
    if refused:
        return refused[0][1]
    if summaries:
        profile = summaries[0][1].profile
        hint = profile.summary_hint or "export the detail (明细) instead"
        return Stop(
            Code.SUMMARY_FILE,
            f"this is a summary ({profile.title}), its single rows are not in it; {hint}",
            hint,
            profile=profile.id,
        )
    names = [*(source.name for source in opened.sources), *(name for name, _ in opened.unreadable)]
    return Stop(
        Code.NO_DETAIL_MEMBER,
        f"the archive holds no statement: {', '.join(map(shown, names)) or 'it is empty'}",
        "download the detail (明细) again, or unpack it and name the file and --profile",
        members=names,
    )
