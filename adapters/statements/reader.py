"""Reads payout and transaction statements (账单) through the profiles in data/statements/.

bytes → container → decode → records → header and profile → cells → lines → file checks.

A file is read whole or refused whole with a named reason; a refusal is returned with the file, not
raised. Only what is no property of the file raises: no such file, a broken profile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adapters.statements import container, totals
from adapters.statements.identity import key_roles
from adapters.statements.lines import Entry, entries, lines
from adapters.statements.members import Unit, units
from adapters.statements.profiles import Profile, find, load_all
from adapters.statements.refusals import Stop, Warnings
from adapters.statements.rows import Row, read_rows
from adapters.statements.sections import Sections
from adapters.statements.times import Bounds, printed_ms, printed_period, row_times, zone_of
from kmtool.clock import SystemClock, business_day
from kmtool.domain import money
from kmtool.domain.statements import (
    Code,
    DeclaredTotal,
    ParsedStatement,
    StatementLine,
    StatementPeriod,
    StatementRefusal,
    Sums,
)
from kmtool.errors import FileMissing

__all__ = ["read", "to_json"]


@dataclass(frozen=True, slots=True)
class Answers:
    """What the operator answered beforehand, and today."""

    currency: str = "CNY"
    accept_summary_mismatch: bool = False
    accept_lossy: bool = False
    date_order: str | None = None
    now_ms: int = 0


@dataclass(slots=True)
class _Work:
    """What is known of a unit so far; a refusal keeps what was found before it."""

    parts: Sequence[Sections] = ()
    period: StatementPeriod | None = None
    account: str = ""
    exported_ms: int | None = None
    found: list[Entry] = field(default_factory=list)
    lines: tuple[StatementLine, ...] = ()
    declared: tuple[DeclaredTotal, ...] = ()
    warnings: Warnings = field(default_factory=Warnings)
    provisional: bool = False


def read(  # noqa: PLR0913  (one answer for each question a file may raise)
    path: Path,
    *,
    profile: str | None = None,
    own_profiles: Path | None = None,
    currency: str = "CNY",
    accept_summary_mismatch: bool = False,
    accept_lossy: bool = False,
    date_order: str | None = None,
    now_ms: int | None = None,
) -> list[ParsedStatement]:
    """Read a statement file: one `ParsedStatement` for each import unit in it, at least one.

    `profile` is an id or the path of a profile and skips the search; `own_profiles` is the shop's
    folder of profiles; `currency` counts where neither file nor profile names one; `date_order`
    (`mdy`, `dmy`) answers AMBIGUOUS_DATE_ORDER. Raises `FileMissing` and `ConfigError`.
    """
    if not path.is_file():
        raise FileMissing(name=path)
    known = load_all(own_profiles)
    forced = find(profile, known) if profile is not None else None
    now = SystemClock().now_ms() if now_ms is None else now_ms
    answers = Answers(currency, accept_summary_mismatch, accept_lossy, date_order, now)
    sha256 = ""
    try:
        container.guard_size(path.stat().st_size)
        data = path.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        opened = container.open_bytes(path.name, data)
        found = units(opened, path.name, known, forced)
    except Stop as stop:
        return [ParsedStatement(path.name, sha256 or _digest(path), refusal=stop.refusal)]
    return [_parsed(path.name, sha256, unit, answers) for unit in found]


def to_json(parsed: ParsedStatement) -> dict[str, object]:
    """Return the machine form of a statement; all amounts are integers in minor units."""
    refusal = parsed.refusal
    return {
        "file": parsed.file,
        "sha256": parsed.sha256,
        "member": " + ".join(parsed.members) or None,
        "encoding": parsed.encoding or None,
        "profile": parsed.profile or None,
        "account": parsed.account_masked or None,
        "period": _json_period(parsed),
        "header_line": parsed.header_line,
        "rows": len(parsed.lines),
        "ignored": parsed.ignored,
        "sums": {currency: _json_sums(sums) for currency, sums in parsed.sums().items()},
        "kinds": {
            kind.value: {
                currency: {"rows": s.rows, "gross": s.gross, "fee": s.fee, "net": s.net}
                for currency, s in by_currency.items()
            }
            for kind, by_currency in parsed.kinds().items()
        },
        "declared": [_json_total(total, parsed.currency) for total in parsed.declared],
        "warnings": [
            {
                "code": warning.code,
                "line": warning.line,
                "text": warning.text + (f" (×{warning.count})" if warning.count > 1 else ""),
            }
            for warning in parsed.warnings
        ],
        "refusal": None
        if refusal is None
        else {
            "code": refusal.code.value,
            "text": "; ".join(dict.fromkeys(filter(None, (refusal.text, refusal.mend)))),
            "details": dict(refusal.details),
        },
    }


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _parsed(name: str, sha256: str, unit: Unit, answers: Answers) -> ParsedStatement:
    """Read one unit and put it into its record, refused or not."""
    work = _Work()
    refusal = unit.refusal
    if refusal is None and unit.profile is not None:
        try:
            refusal = _read_unit(unit, unit.profile, answers, work)
        except Stop as stop:
            refusal = stop.refusal
            work.lines, work.declared = (), ()
    for code, text in unit.warnings:
        work.warnings.add(code, text)
    profile = unit.profile
    head = work.parts[0].header.record.line if work.parts else None
    return ParsedStatement(
        file=name,
        sha256=sha256,
        members=unit.members,
        encoding=" + ".join(dict.fromkeys(part.encoding for part in work.parts)),
        profile=profile.id if profile else "",
        profile_version=profile.version if profile else 0,
        plane=profile.plane if profile else "",
        channel=profile.channel if profile else "",
        certainty=profile.certainty if profile else "",
        zone=zone_of(profile) if profile else "UTC",
        currency=_currency(work.lines, answers.currency),
        account=work.account,
        period=work.period,
        exported_ms=work.exported_ms,
        header_line=head,
        lines=work.lines,
        declared=work.declared,
        warnings=work.warnings.all(),
        refusal=refusal,
        provisional=work.provisional,
    )


def _currency(made: Sequence[StatementLine], default: str) -> str:
    return made[0].currency if made else default


def _read_unit(
    unit: Unit, profile: Profile, answers: Answers, work: _Work
) -> StatementRefusal | None:
    """Fill `work`; return the refusal of the file checks, raise `Stop` for one of a row."""
    work.parts = unit.cut()
    rows = [row for part in work.parts for row in read_rows(part, work.warnings)]
    _read_printed(work, profile, rows)
    bounds = Bounds(work.period, answers.now_ms, answers.date_order)
    times = row_times(rows, profile, bounds) if rows else []
    work.found = entries(rows, times, profile, answers.currency, work.warnings)
    work.lines = lines(work.found, profile, work.warnings, show_member=len(work.parts) > 1)
    _check_period(work, times)
    work.declared = totals.declared_totals(work.parts, work.found, profile)
    if not work.declared:
        work.warnings.add("NO_SUMMARY", "the file prints no totals to compare with")
    work.declared += _cross(unit, work)
    return _file_checks(profile, rows, answers, work)


def _cross(unit: Unit, work: _Work) -> tuple[DeclaredTotal, ...]:
    found: tuple[DeclaredTotal, ...] = ()
    for part in unit.cut_summaries():
        summary = part.header.profile
        found += totals.cross_totals(summary, read_rows(part, Warnings()), work.found)
    return found


def _read_printed(work: _Work, profile: Profile, rows: Sequence[Row]) -> None:
    """Read period, export time and account where the file prints them."""
    texts = [text for part in work.parts for text in (part.preamble, part.footer)]
    work.period = printed_period(texts, profile)
    for text in texts:
        at = profile.printed.exported.search(text) if profile.printed.exported else None
        if at is not None and work.exported_ms is None:
            work.exported_ms = printed_ms(at["at"], profile)
        owner = profile.printed.account.search(text) if profile.printed.account else None
        if owner is not None and not work.account:
            work.account = owner["id"].strip()
    if profile.printed.account_column:
        owners = {row.text(profile.printed.account_column) for row in rows} - {""}
        if len(owners) == 1:
            work.account = owners.pop()


def _check_period(work: _Work, times: Sequence[int]) -> None:
    if work.period is not None:
        for entry in work.found:
            if not work.period.from_ms <= entry.at_ms < work.period.to_ms:
                text = "the row lies outside the period the file prints"
                work.warnings.add("OUTSIDE_PERIOD", text, entry.row.line)
        return
    if times:
        work.period = StatementPeriod(min(times), max(times) + 1, "rows")
    text = "no period is printed; it is taken from the first to the last row, end days incomplete"
    work.warnings.add("WEAK_PERIOD", text)


def _file_checks(
    profile: Profile, rows: Sequence[Row], answers: Answers, work: _Work
) -> StatementRefusal | None:
    """Return the first refusal of the whole file; destroyed ids come before totals."""
    lossy = _lossy(profile, rows, work.warnings)
    if lossy is not None and answers.accept_lossy:
        lossy, work.provisional = None, True
    broken = totals.mismatch(work.declared, _currency(work.lines, answers.currency))
    if broken is not None and answers.accept_summary_mismatch:
        work.warnings.add(Code.SUMMARY_MISMATCH.value, broken.text)
        broken = None
    for total in work.declared:
        if not total.strict and not total.agrees:
            work.warnings.add("SUMMARY_DIFFERS", totals.mismatch_text(total))
    if lossy is None or broken is None:
        return lossy or broken
    return StatementRefusal(
        lossy.code,
        f"{lossy.text}; also {broken.code.value}: {broken.text}",
        lossy.mend,
        {**lossy.details, "also": {"code": broken.code.value, **broken.details}},
    )


def _lossy(profile: Profile, rows: Sequence[Row], warnings: Warnings) -> StatementRefusal | None:
    keys = key_roles(profile)
    hurt: dict[str, list[Row]] = {}
    for row in rows:
        for role in row.lossy:
            hurt.setdefault(role, []).append(row)
    refusal = None
    for role, damaged in hurt.items():
        name, example = profile.columns[role].names[0], damaged[0].text(role)
        text = (
            f"column {name}: {len(damaged)} ids were destroyed by a spreadsheet, "
            f"for example 「{example}」 on line {damaged[0].line}"
        )
        if role not in keys:
            warnings.add("LOSSY_ID", text, damaged[0].line)
        elif refusal is None:
            facts = {"column": name, "rows": len(damaged), "example": example}
            mend = "download again; do not save it in Excel (or take it as it is: --accept-lossy)"
            refusal = StatementRefusal(Code.LOSSY_ID, f"{text}; {mend}", mend, facts)
    return refusal


def _json_period(parsed: ParsedStatement) -> Mapping[str, str] | None:
    if parsed.period is None:
        return None
    last = max(parsed.period.to_ms - 1, parsed.period.from_ms)
    return {
        "from": business_day(parsed.period.from_ms, parsed.zone).isoformat(),
        "to": business_day(last, parsed.zone).isoformat(),
        "source": parsed.period.source,
    }


def _json_sums(sums: Sums) -> dict[str, int]:
    return {
        "gross": sums.gross,
        "adjust": sums.adjust,
        "fee": sums.fee,
        "net": sums.net,
        "neutral": sums.neutral,
        "fee_e5": sums.fee_e5,
    }


def _json_total(total: DeclaredTotal, currency: str) -> dict[str, object]:
    def minor(value: int | None) -> int | None:
        return None if value is None else money.e5_to_minor(value, currency)

    return {
        "name": total.name,
        "count": total.count,
        "sum": minor(total.sum_e5),
        "parsed_count": total.parsed_count,
        "parsed_sum": minor(total.parsed_sum_e5),
    }
