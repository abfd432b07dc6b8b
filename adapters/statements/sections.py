"""Cuts a member into preamble, detail rows, footer and the summary table behind the details."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from adapters.statements.cells import bare, name_key
from adapters.statements.container import ROWS_MAX, Source
from adapters.statements.detect import Header
from adapters.statements.profiles import Profile
from adapters.statements.records import Record, is_blank, text_records
from adapters.statements.refusals import Stop
from kmtool.domain.statements import Code


@dataclass(slots=True)
class Sections:
    """One member, cut: texts as printed, detail records, and header name → value of the table."""

    header: Header
    member: str
    encoding: str
    preamble: str = ""
    footer: str = ""
    details: list[Record] = field(default_factory=list)
    table: dict[str, str] = field(default_factory=dict)
    ended: bool = False


def cut(source: Source, header: Header) -> Sections:
    """Cut a member at its header; raises `Stop` when the text cannot be cut into records."""
    profile = header.profile
    found = Sections(header, source.name, source.encoding)
    records = iter(_records(source, header))
    before = [next(records).text for _ in range(header.position)]
    next(records)
    found.preamble = "\n".join(before)
    found.footer = "\n".join(_details(records, profile, found))
    return found


def _records(source: Source, header: Header) -> Iterable[Record]:
    if source.text is None:
        return source.sheets[header.sheet]
    return text_records(source.text, header.profile.table.dialect)


def _details(records: Iterator[Record], profile: Profile, found: Sections) -> Iterator[str]:
    """Collect the detail rows into `found` and yield the lines that belong to the footer."""
    comment, end = profile.table.comment, profile.table.end
    heads = _table_names(profile)
    table: Record | None = None
    for record in records:
        if found.ended:
            if table is not None and not found.table and not is_blank(record):
                found.table = _pairs(table, record)
            yield record.text
        elif end is not None and end.search(record.text):
            found.ended = True
            yield record.text
        elif comment and record.text.startswith(comment):
            yield record.text
        elif heads and _is_table_head(record, heads):
            found.ended, table = True, record
            yield record.text
        elif not is_blank(record):
            found.details.append(record)
            if len(found.details) > ROWS_MAX:
                raise Stop(
                    Code.UNSAFE_ARCHIVE,
                    f"more than {ROWS_MAX} rows (guard: rows)",
                    "export a shorter period",
                    guard="rows",
                )


def _table_names(profile: Profile) -> frozenset[str]:
    return frozenset(
        name_key(name)
        for total in profile.totals
        if total.where == "table"
        for name in (*total.count, *total.total)
    )


def _is_table_head(record: Record, names: frozenset[str]) -> bool:
    if not isinstance(record.cells[0], str) or name_key(bare(record.cells[0])) not in names:
        return False
    return len(record.cells) < 2 or name_key(bare(record.cells[1])) in names


def _pairs(head: Record, values: Record) -> dict[str, str]:
    return {
        name_key(bare(name)): bare(value)
        for name, value in zip(head.cells, values.cells, strict=False)
        if bare(name)
    }
