"""Finds header row and profile: the header by content, columns by name, never by counting lines.

A row is the header of a profile when all its required columns stand in it. Score: 10 for each
required column, 1 for each optional one, 5 for each preamble token, 1 for the file name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch

from adapters.statements.cells import bare, name_key
from adapters.statements.container import COLUMNS_MAX, Source
from adapters.statements.profiles import Profile
from adapters.statements.records import Dialect, Record, is_blank, text_records
from adapters.statements.refusals import Stop, shown
from kmtool.domain.statements import Code

SCAN_ROWS = 80
NEAR = 0.6


@dataclass(frozen=True, slots=True)
class Header:
    """The profile of a member and where its header stands (`sheet` is -1 for texts)."""

    profile: Profile
    position: int
    record: Record
    index: Mapping[str, int]
    sheet: int = -1


@dataclass(frozen=True, slots=True)
class _View:
    """The first records of one reading of a member, with normalised cells."""

    sheet: int
    dialect: Dialect | None
    records: Sequence[Record]
    keys: Sequence[Sequence[str]]

    def preamble(self, position: int) -> str:
        return name_key("".join(record.text for record in self.records[:position]))


def detect(source: Source, profiles: Mapping[str, Profile], forced: Profile | None) -> Header:
    """Return header and profile of a member; raises `Stop` when none or several fit."""
    known = [forced] if forced is not None else list(profiles.values())
    views = list(_views(source, known))
    scored: list[tuple[int, Header]] = []
    for profile in known:
        found = _complete(profile, views)
        if found is None:
            continue
        view, header = found
        preamble = view.preamble(header.position)
        if forced is not None:
            return header
        if not _excluded(profile, preamble):
            scored.append((_score(profile, header, preamble, source.name), header))
    if not scored:
        raise _none_fits(views, known, source, forced)
    best = max(score for score, _header in scored)
    heads = [header for score, header in scored if score == best]
    if len(heads) > 1:
        names = ", ".join(header.profile.id for header in heads)
        raise Stop(
            Code.AMBIGUOUS_PROFILE,
            f"the file fits several profiles equally well: {names}",
            f"say which one: --profile {heads[0].profile.id}",
            candidates=[header.profile.id for header in heads],
        )
    return heads[0]


def column_index(profile: Profile, keys: Sequence[str]) -> dict[str, int]:
    """Return role → column for the names found in a row (first synonym, then first place wins)."""
    places: dict[str, int] = {}
    for place, key in enumerate(keys):
        if key:
            places.setdefault(key, place)
    index: dict[str, int] = {}
    for role, column in profile.columns.items():
        for name in column.names:
            place_found = places.get(name_key(name))
            if place_found is not None:
                index[role] = place_found
                break
    return index


def _views(source: Source, known: Sequence[Profile]) -> list[_View]:
    views: list[_View] = []
    if source.text is None:
        for sheet, records in enumerate(source.sheets):
            views.append(_view(sheet, None, records[:SCAN_ROWS]))
        return views
    for dialect in sorted({profile.table.dialect for profile in known}):
        first: list[Record] = []
        # What comes before a broken quote may still hold the header; `cut` complains of the quote.
        with suppress(Stop):
            first.extend(text_records(source.text, dialect, SCAN_ROWS))
        views.append(_view(-1, dialect, first))
    return views


def _view(sheet: int, dialect: Dialect | None, records: Sequence[Record]) -> _View:
    keys = [
        [name_key(bare(cell)) if isinstance(cell, str) else "" for cell in record.cells]
        if len(record.cells) <= COLUMNS_MAX
        else []
        for record in records
    ]
    return _View(sheet, dialect, records, keys)


def _fits(view: _View, profile: Profile) -> bool:
    return view.dialect is None or view.dialect == profile.table.dialect


def _complete(profile: Profile, views: Sequence[_View]) -> tuple[_View, Header] | None:
    required = set(profile.required)
    for view in views:
        if not _fits(view, profile):
            continue
        for position, keys in enumerate(view.keys):
            if len(keys) < len(required):
                continue
            index = column_index(profile, keys)
            if required <= index.keys():
                return view, Header(profile, position, view.records[position], index, view.sheet)
    return None


def _excluded(profile: Profile, preamble: str) -> bool:
    return any(token in preamble for token in profile.detect.none) or not all(
        token in preamble for token in profile.detect.must
    )


def _tokens(profile: Profile, preamble: str) -> int:
    return sum(token in preamble for token in profile.detect.preamble)


def _score(profile: Profile, header: Header, preamble: str, name: str) -> int:
    required = len(profile.required)
    hint = any(fnmatch(name.rpartition("/")[2], glob) for glob in profile.detect.filename)
    optional = len(header.index) - required
    return 10 * required + optional + 5 * _tokens(profile, preamble) + hint


def _header_like(view: _View) -> int | None:
    """Return the most table-like row: most distinct non-empty text cells, the earliest of them."""
    sizes = [len({key for key in keys if key}) for keys in view.keys]
    best = max(sizes, default=0)
    return sizes.index(best) if best > 1 else None


def _nearest(views: Sequence[_View], profile: Profile) -> tuple[float, int, _View | None, int]:
    """Return the best (share of required columns, preamble tokens, view, row) for a profile."""
    best: tuple[float, int, _View | None, int] = (0.0, 0, None, 0)
    required = profile.required
    for view in views:
        if not _fits(view, profile):
            continue
        like = _header_like(view)
        for position, keys in enumerate(view.keys):
            index = column_index(profile, keys)
            share = sum(role in index for role in required) / len(required)
            if share > best[0] or (best[2] is None and position == like):
                preamble = view.preamble(position)
                if not _excluded(profile, preamble):
                    best = (share, _tokens(profile, preamble), view, position)
    return best


def _none_fits(
    views: Sequence[_View], known: Sequence[Profile], source: Source, forced: Profile | None
) -> Stop:
    near = [(*_nearest(views, profile), profile) for profile in known]
    likely = [
        found
        for found in near
        if found[2] is not None and (found[1] > 0 or found[0] >= NEAR or forced is not None)
    ]
    if likely:
        _share, _seen, view, position, profile = max(likely, key=lambda found: (found[1], found[0]))
        assert view is not None
        return _missing_column(profile, view, position)
    return _unknown(views, near, source)


def _missing(profile: Profile, keys: Sequence[str]) -> list[str]:
    index = column_index(profile, keys)
    return [role for role in profile.required if role not in index]


def _missing_column(profile: Profile, view: _View, position: int) -> Stop:
    record = view.records[position]
    names = [bare(cell) for cell in record.cells if bare(cell)]
    lacking = {
        profile.columns[role].names[0]: list(profile.columns[role].names)
        for role in _missing(profile, view.keys[position])
    }
    wanted = "; ".join(
        " or ".join(f"「{name}」" for name in synonyms) for synonyms in lacking.values()
    )
    text = (
        f"this looks like {profile.id} ({profile.title}), but its header on line {record.line} "
        f"lacks {wanted}; found there: {', '.join(shown(name) for name in names)}"
    )
    mend = "export the file again with all columns, or add the new name to the profile's synonyms"
    return Stop(
        Code.MISSING_COLUMN,
        text,
        mend,
        profile=profile.id,
        missing=lacking,
        header_line=record.line,
        found=names,
    )


def _unknown(
    views: Sequence[_View],
    near: Sequence[tuple[float, int, _View | None, int, Profile]],
    source: Source,
) -> Stop:
    text = "no profile knows this file"
    details: dict[str, object] = {}
    rows = [(view, _header_like(view)) for view in views]
    for view, position in rows:
        if position is not None:
            record = view.records[position]
            cells = ", ".join(shown(bare(cell)) for cell in record.cells if not is_blank(record))
            text += f"; its header seems to be line {record.line}: {cells}"
            details["header_line"] = record.line
            break
    _share, _seen, best_view, place, profile = max(near, key=lambda found: found[0])
    if best_view is not None:
        lacking = [
            profile.columns[role].names[0] for role in _missing(profile, best_view.keys[place])
        ]
        text += f"; the nearest profile is {profile.id}, which needs {', '.join(lacking)} as well"
        details["nearest"] = profile.id
        details["lacks"] = lacking
    mend = "name the profile with --profile (kmtool profile list), or write one of your own"
    return Stop(Code.UNKNOWN_SOURCE, text, mend, **details)
