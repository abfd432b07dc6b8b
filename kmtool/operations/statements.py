"""Take in statements: choose the account, read the file, store it once, remember what it covers.

A file is imported whole or refused whole. The same bytes again change nothing; overlapping files
add only what is new. Which file came first never matters.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from kmtool import registry
from kmtool.clock import business_day, day_end_ms, day_start_ms
from kmtool.config import AccountSettings
from kmtool.domain.recon import days_between
from kmtool.domain.statements import (
    Code,
    ParsedStatement,
    StatementPeriod,
    StatementRefusal,
    masked,
)
from kmtool.errors import FileMissing, NotFound, Refused, UsageError
from kmtool.shop import Shop
from kmtool.store import recon
from kmtool.store import statements as store
from kmtool.store.db import Row


@dataclass(frozen=True, slots=True)
class Answers:
    """What the operator says about the files of one call."""

    account: str | None = None
    profile: str | None = None
    covers: str | None = None
    accept_summary_mismatch: str | None = None
    accept_lossy: bool = False
    date_order: str | None = None


@dataclass(frozen=True, slots=True)
class _Kept:
    """An integer whose key keeps its unit in JSON: fees of a file are compared in 1e-5."""

    value: int

    def to_json(self) -> int:
        """Return the integer."""
        return self.value


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of one statement. `facts` is its machine form, `into` the account it went to."""

    facts: Mapping[str, Any]
    into: str | None = None
    state: str = "checked"
    new: int = 0
    known: int = 0
    changed: int = 0
    imported_ms: int | None = None
    refusal: StatementRefusal | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Return the file's name."""
        return str(self.facts["file"])

    def to_json(self) -> dict[str, Any]:
        """Return the stable keys: those of the file, then what the import did."""
        counts = {"new": self.new, "known": self.known, "changed": self.changed}
        sums = {
            currency: {**figures, "fee_e5": _Kept(figures["fee_e5"])}
            for currency, figures in self.facts["sums"].items()
        }
        return {**self.facts, "sums": sums, "into": self.into, "state": self.state, **counts}


@dataclass(frozen=True, slots=True)
class FileReports:
    """What became of the statements of one call."""

    files: tuple[FileReport, ...]

    @property
    def refused(self) -> tuple[FileReport, ...]:
        """Return the refused ones."""
        return tuple(report for report in self.files if report.refusal is not None)


@dataclass(frozen=True, slots=True)
class _Unit:
    """A statement that was read, with the account it goes to and the file it came from."""

    parsed: ParsedStatement
    account: str | None
    known: tuple[Row, ...] = ()


def check(shop: Shop, paths: Sequence[Path], answers: Answers) -> FileReports:
    """Read files without storing anything."""
    found = [
        FileReport(_facts(parsed), refusal=parsed.refusal)
        for path in paths
        for parsed in _read(shop, path, answers)
    ]
    return FileReports(tuple(found))


def take_in(shop: Shop, paths: Sequence[Path], answers: Answers) -> FileReports:
    """Import files; each statement is one transaction. Raises `Refused` if an account is unclear.

    All files are read, and the account of each is chosen, before the first one is stored.
    """
    if answers.account is not None:
        _known_account(shop, answers.account)
    units = [unit for path in paths for unit in _units(shop, path, answers)]
    todo: Iterable[_Unit] = shop.progress(units, "statements", len(units))
    return FileReports(tuple(_take_in(shop, unit, answers) for unit in todo))


def _units(shop: Shop, path: Path, answers: Answers) -> Iterable[_Unit]:
    earlier = store.files_of(shop.db, _digest(path))
    if earlier and answers.account in (None, earlier[0]["account"]):
        for row in earlier:
            yield _Unit(ParsedStatement(path.name, row["sha256"]), row["account"], (row,))
        return
    for parsed in _read(shop, path, answers):
        if earlier and parsed.refusal is None:
            yield _Unit(_refused(parsed, Code.WRONG_ACCOUNT, _taken(earlier[0], answers)), None)
        else:
            yield _choose(shop, parsed, answers)


def _read(shop: Shop, path: Path, answers: Answers) -> list[ParsedStatement]:
    own = shop.config.root / "statements"
    reader = registry.module("statement", "reader")
    found: list[ParsedStatement] = reader.read(
        path,
        profile=answers.profile,
        own_profiles=own if own.is_dir() else None,
        currency=shop.config.shop.currency,
        accept_summary_mismatch=bool(answers.accept_summary_mismatch),
        accept_lossy=answers.accept_lossy,
        date_order=answers.date_order,
        now_ms=shop.now_ms(),
    )
    if answers.covers is None:
        return found
    first, last = covered_span(answers.covers)
    zone = shop.config.shop.timezone
    stated = StatementPeriod(day_start_ms(first, zone), day_end_ms(last, zone), "stated")
    return [replace(parsed, period=stated) for parsed in found]


def covered_span(text: str) -> tuple[date, date]:
    """Return the days of `2026-11-01..2026-11-30` or of a single day; raises `UsageError`."""
    first, _, last = text.partition("..")
    try:
        span = date.fromisoformat(first.strip()), date.fromisoformat((last or first).strip())
    except ValueError:
        span = date.max, date.min
    if span[0] > span[1]:
        raise UsageError(
            detail="{text} is no span of days",
            text=repr(text),
            mend="write the days as 2026-11-01..2026-11-30",
        )
    return span


def _digest(path: Path) -> str:
    if not path.is_file():
        raise FileMissing(name=path)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _facts(parsed: ParsedStatement) -> dict[str, Any]:
    facts: dict[str, Any] = registry.module("statement", "reader").to_json(parsed)
    return facts


# ------------------------------------------------------------------ whose statement is it


def _choose(shop: Shop, parsed: ParsedStatement, answers: Answers) -> _Unit:
    """Find the account of a statement: stated, bound to the printed number, or the only one."""
    if parsed.refusal is not None:
        return _Unit(parsed, answers.account)
    channel, printed = parsed.channel, parsed.account
    bound = store.binding(shop.db, channel, printed) if printed else None
    wanted = answers.account or bound
    if wanted is None:
        fitting = [a.name for a in shop.config.accounts.values() if a.kind == channel]
        if not fitting and len(shop.config.accounts) == 1:
            fitting = [a.name for a in shop.config.accounts.values() if not a.kind]
        if len(fitting) != 1:
            raise _unclear(shop, parsed)
        wanted = fitting[0]
    if bound is not None and bound != wanted:
        text = f"the file is of {masked(printed)}, which is the account {bound}, not {wanted}"
        return _Unit(_refused(parsed, Code.WRONG_ACCOUNT, text), None)
    others = store.printed_of(shop.db, channel, wanted) if printed and bound is None else []
    if others:
        text = f"the file is of {masked(printed)}; {wanted} is {masked(others[0])}"
        return _Unit(_refused(parsed, Code.WRONG_ACCOUNT, text), None)
    return _Unit(parsed, _known_account(shop, wanted).name)


def _taken(earlier: Row, answers: Answers) -> str:
    return f"this file was imported into {earlier['account']}, not {answers.account}"


def _refused(parsed: ParsedStatement, code: Code, text: str) -> ParsedStatement:
    mend = "name the right account: --account NAME"
    return replace(parsed, refusal=StatementRefusal(code, text, mend))


def _unclear(shop: Shop, parsed: ParsedStatement) -> Refused:
    names = ", ".join(sorted(shop.config.accounts))
    whose = f" (it prints {parsed.account_masked})" if parsed.account else ""
    if not names:
        return Refused(
            detail="kmtool.toml names no account this {profile} could belong to{whose}",
            profile=parsed.profile,
            whose=whose,
            where=parsed.file,
            mend="kmtool channel set CHANNEL --account {channel}",
            channel=parsed.channel,
        )
    return Refused(
        detail="it is not clear whose {profile} this is{whose}; there are: {names}",
        profile=parsed.profile,
        whose=whose,
        names=names,
        where=parsed.file,
        mend="say which, for instance: kmtool reconcile FILE --account {first}",
        first=names.split(",")[0],
    )


def _known_account(shop: Shop, name: str) -> AccountSettings:
    found = shop.config.accounts.get(name)
    if found is None:
        names = ", ".join(sorted(shop.config.accounts)) or "none"
        raise NotFound(
            kind="account",
            name=name,
            mend="use one of [accounts.…] in kmtool.toml: {names}",
            names=names,
        )
    return found


# ------------------------------------------------------------------ storing


def _take_in(shop: Shop, unit: _Unit, answers: Answers) -> FileReport:
    """Store one statement in one transaction; another process may have been faster."""
    with shop.db.tx():
        recon.lock(shop.db)
        key = (unit.account, unit.parsed.profile)
        stored = store.files_of(shop.db, unit.parsed.sha256)
        same = [row for row in stored if (row["account"], row["profile"]) == key]
        if unit.parsed.refusal is None and (unit.known or same):
            return _repeated(shop, (unit.known or same)[0], answers)
        return _store(shop, unit, answers)


def _repeated(shop: Shop, row: Row, answers: Answers) -> FileReport:
    """The same bytes again: nothing new, but `--covers` may say more about their days."""
    if answers.covers is not None:
        days = [day.isoformat() for day in days_between(*covered_span(answers.covers))]
        store.add_coverage(shop.db, row["account"], row["plane"], row["id"], days)
    return FileReport(
        json.loads(row["summary"]),
        into=row["account"],
        state=row["state"],
        known=row["rows"],
        imported_ms=row["imported_ms"],
    )


def _store(shop: Shop, unit: _Unit, answers: Answers) -> FileReport:
    db, parsed, account = shop.db, unit.parsed, unit.account
    facts = _facts(parsed)
    summary = json.dumps(facts, ensure_ascii=False)
    if parsed.refusal is not None:
        store.put_refused(db, parsed, account or "", summary, shop.now_ms())
        return FileReport(facts, into=account, state="refused", refusal=parsed.refusal)
    assert account is not None, "a statement that is taken has an account"
    reason = answers.accept_summary_mismatch or ""
    accepted = reason if any(w.code == Code.SUMMARY_MISMATCH for w in parsed.warnings) else ""
    if parsed.account:
        store.bind(db, parsed.channel, parsed.account, account, shop.now_ms())
    number = store.add_file(db, parsed, account, accepted, summary, shop.now_ms())
    store.add_totals(db, number, parsed.declared)
    new, changed = store.add_lines(db, number, account, parsed.plane, parsed.lines)
    store.add_coverage(db, account, parsed.plane, number, _covered(shop, parsed))
    store.supersede(db, account)
    store.refresh_effective(db, account)
    detail = f"{parsed.file} {parsed.sha256[:12]} {len(parsed.lines)} rows, {new} new"
    shop.audit("statement.import", f"account:{account}", detail)
    if accepted:
        shop.audit("statement.accept", f"file:{parsed.sha256}", accepted)
    state = "provisional" if parsed.provisional else "ok"
    known = len(parsed.lines) - new
    return FileReport(facts, into=account, state=state, new=new, known=known, changed=changed)


def _covered(shop: Shop, parsed: ParsedStatement) -> list[str]:
    """Return the shop's days that the file holds whole; a day that was not over then is not."""
    period, zone = parsed.period, shop.config.shop.timezone
    if period is None:
        return []
    end = period.to_ms
    if period.source != "stated":
        end = min(end, parsed.exported_ms or shop.now_ms())
    first, last = business_day(period.from_ms, zone), business_day(max(end - 1, 0), zone)
    return [
        day.isoformat()
        for day in days_between(first, last)
        if day_start_ms(day, zone) >= period.from_ms and day_end_ms(day, zone) <= end
    ]
