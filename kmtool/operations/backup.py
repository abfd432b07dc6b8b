"""Backups: a consistent copy beside busy writers, opened to prove it; old ones are pruned.

SQLite: `shop-YYYYMMDD-HHMMSS.db` by its online backup. PostgreSQL: the same name with `.dump`, made
by pg_dump, which has to be on this machine. A copy of the send journal lies beside each; parts of
it that were laid aside lie there once. Neither holds a plain key, and the master key is never in
them. The last `backups_keep` stay, then the newest of each day, week and month as far as kept.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from kmtool.clock import business_day, local_text, utc_ms
from kmtool.config import Config
from kmtool.durable import copy_whole, keep_name, partial_of
from kmtool.errors import Broken, ExtraMissing, OutsideError, marked, told, verbatim
from kmtool.journal import Journal
from kmtool.shop import Shop
from kmtool.store import copying, house, machines
from kmtool.store.db import connect

_NAME = re.compile(r"shop-(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)(?:-\d+)?\.(?:db|dump)")
_JOURNAL = ".journal"
DRILLED, DRILL_FOUND = "drill_ms", "drill_found"
"""Meta: when a backup was last restored on trial, and what came of it."""
LAST, DAY, WEEK, MONTH = marked("last"), marked("day"), marked("week"), marked("month")
"""Why a backup is kept."""


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup file and when it was made."""

    path: Path
    at_ms: int


@dataclass(frozen=True, slots=True)
class BackupResult:
    """What was written; `verified` says how it was proved readable."""

    file: str
    bytes: int
    verified: str
    journal: str | None
    kept: int
    removed: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A backup in the list: when, how large, whether the journal lies beside, why it is kept."""

    file: str
    at_ms: int
    bytes: int
    journal: bool
    kept_for: str


@dataclass(frozen=True, slots=True)
class Drilled:
    """The last restore on trial: when, did it go well, in words."""

    at_ms: int | None
    ok: bool
    told: str


@dataclass(frozen=True, slots=True)
class BackupList:
    """All backups, newest first."""

    backups: tuple[Kept, ...]


def backup(shop: Shop) -> BackupResult:
    """Copy the database, prove the copy, copy the send journal beside it, prune old ones."""
    shop.must_be_writable(anywhere=True)
    folder = shop.config.folder("backups")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        target, verified = _copied(shop, folder)
        # After the database: whatever left meanwhile is in the journal's copy, never the reverse.
        journal = _copy_journal(shop.journal, target)
        removed = _prune(shop.config)
    except OSError as error:
        raise Broken(
            detail="the backup was not made: {reason}",
            reason=error.strerror or error,
            where=str(folder),
            mend="make room there, or change data.backups in kmtool.toml",
        ) from None
    with shop.db.tx():
        shop.audit("backup", target.name, f"{target.stat().st_size} bytes")
    return BackupResult(
        file=str(target),
        bytes=target.stat().st_size,
        verified=verified,
        journal=str(journal) if journal else None,
        kept=len(list(backups(shop.config))),
        removed=removed,
    )


def newest(config: Config) -> Backup | None:
    """Return the newest backup, None when there is none."""
    return max(backups(config), key=lambda found: found.path.name, default=None)


def backups(config: Config) -> Iterator[Backup]:
    """Yield the backups of a shop; other files in the folder are not ours."""
    folder = config.folder("backups")
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        found = _NAME.fullmatch(path.name)
        if found:
            zone = ZoneInfo(config.shop.timezone)
            year, month, day, hour, minute, second = (int(part) for part in found.groups())
            moment = datetime(year, month, day, hour, minute, second, tzinfo=zone)
            yield Backup(path, utc_ms(moment))


def listed(config: Config) -> BackupList:
    """Return all backups, newest first, with the rule that keeps each."""
    found = sorted(backups(config), key=lambda one: one.path.name, reverse=True)
    why = kept_for(config, found)
    return BackupList(
        tuple(
            Kept(
                file=str(one.path),
                at_ms=one.at_ms,
                bytes=one.path.stat().st_size,
                journal=one.path.with_name(one.path.name + _JOURNAL).exists(),
                kept_for=told(why[one.path]) if one.path in why else "",
            )
            for one in found
        )
    )


def kept_for(config: Config, found: Sequence[Backup]) -> dict[Path, str]:
    """Return which backups stay and by which rule: the last ones, then days, weeks, months.

    Of a day, week or month the newest stays; periods without a backup do not count.
    """
    data, zone = config.data, config.shop.timezone
    newest_first = sorted(found, key=lambda one: one.path.name, reverse=True)
    kept = {one.path: LAST for one in newest_first[: max(1, data.backups_keep)]}
    rules: tuple[tuple[str, int, Callable[[date], object]], ...] = (
        (DAY, data.backups_daily, lambda day: day),
        (WEEK, data.backups_weekly, lambda day: day.isocalendar()[:2]),
        (MONTH, data.backups_monthly, lambda day: (day.year, day.month)),
    )
    for name, limit, period_of in rules:
        periods: set[object] = set()
        for one in newest_first:
            period = period_of(business_day(one.at_ms, zone))
            if period not in periods and len(periods) < limit:
                periods.add(period)
                kept.setdefault(one.path, name)
    return kept


def drilled(shop: Shop) -> Drilled:
    """Tell when a backup was last restored on trial, and whether it went well."""
    at = house.meta(shop.db, DRILLED)
    if at is None:
        return Drilled(None, True, told("never restored on trial"))
    days = max(0, shop.now_ms() - int(at)) // 86_400_000
    if not (house.meta(shop.db, DRILL_FOUND) or "").startswith("ok "):
        return Drilled(int(at), False, told("the restore on trial failed {days} d ago", days=days))
    return Drilled(int(at), True, told("restored on trial {days} d ago", days=days))


def verify(path: Path) -> str:
    """Open a backup as restore would; return ok or what is wrong."""
    if path.suffix == ".db":
        return copying.test_open(path)
    tool = shutil.which("pg_restore")
    if tool is None:
        return "pg_restore is not on this machine"
    run = subprocess.run(  # noqa: S603  (a fixed tool, no shell)
        [tool, "--list", str(path)], capture_output=True, check=False, timeout=600
    )
    return "ok" if run.returncode == 0 else _last_line(run.stderr)


def _copied(shop: Shop, folder: Path) -> tuple[Path, str]:
    """Make the copy and prove it; one that cannot be read back is not kept."""
    target = _free_name(folder, shop)
    if shop.db.dialect == "sqlite":
        copying.copy_sqlite(shop.db, target)
    else:
        _dump(str(shop.config.database), target)
    verified = verify(target)
    if verified != "ok":
        target.unlink()
        raise Broken(
            detail="the copy could not be read back: {verified}",
            verified=verified,
            where=str(target),
        )
    return target, verified


def _free_name(folder: Path, shop: Shop) -> Path:
    stem = "shop-" + local_text(shop.now_ms(), shop.config.shop.timezone, "%Y%m%d-%H%M%S")
    suffix = ".db" if shop.db.dialect == "sqlite" else ".dump"
    for number in range(1, 1000):
        path = folder / (stem + (f"-{number}" if number > 1 else "") + suffix)
        if not path.exists():
            return path
    raise Broken(detail="there are too many backups named {stem}", stem=stem, where=str(folder))


def _copy_journal(journal: Journal, beside: Path) -> Path | None:
    """Copy the journal: what was laid aside once for all backups, the rest beside each."""
    for part in journal.parts():
        laid_aside = part != journal.path
        target = beside.with_name(part.name if laid_aside else beside.name + _JOURNAL)
        if laid_aside and target.exists() and target.stat().st_size == part.stat().st_size:
            continue
        copy_whole(part, target, private=True)
    own = beside.with_name(beside.name + _JOURNAL)
    return own if own.exists() and own.stat().st_size else None


def _prune(config: Config) -> int:
    kept = kept_for(config, list(backups(config)))
    old = [one for one in backups(config) if one.path not in kept]
    for one in old:
        one.path.with_name(one.path.name + _JOURNAL).unlink(missing_ok=True)
        one.path.unlink()
    return len(old)


def _dump(address: str, target: Path) -> None:
    tool = shutil.which("pg_dump")
    if tool is None:
        raise ExtraMissing(
            what=told("A backup of PostgreSQL"),
            package="pg_dump",
            mend="install PostgreSQL's client programs; pg_dump makes the backup",
        )
    public, password = without_password(address)
    environment = {**os.environ, **({"PGPASSWORD": password} if password else {})}
    partial = partial_of(target)
    run = subprocess.run(  # noqa: S603  (a fixed tool, no shell; the password is not an argument)
        [tool, "--format=custom", f"--file={partial}", f"--dbname={public}"],
        env=environment,
        capture_output=True,
        check=False,
        timeout=6 * 3600,
    )
    if run.returncode != 0:
        partial.unlink(missing_ok=True)
        raise OutsideError(who="pg_dump", detail=verbatim(_last_line(run.stderr)))
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    partial.replace(target)
    keep_name(target)


@contextmanager
def scratch(address: str, file: Path) -> Iterator[str]:
    """Yield the address of a database made from a `.dump` for a while; it is dropped afterwards."""
    tool = shutil.which("pg_restore")
    if tool is None:
        raise ExtraMissing(
            what=told("A backup of PostgreSQL"),
            package="pg_restore",
            mend="install PostgreSQL's client programs; pg_restore reads the backup",
        )
    name = f"kmtool_trial_{secrets.token_hex(6)}"
    with closing(connect(address)) as admin:
        machines.create_database(admin, name)
        try:
            trial = _renamed(address, name)
            public, password = without_password(trial)
            run = subprocess.run(  # noqa: S603  (a fixed tool, no shell)
                [tool, "--no-owner", "--no-privileges", "--exit-on-error",
                 f"--dbname={public}", str(file)],
                env={**os.environ, **({"PGPASSWORD": password} if password else {})},
                capture_output=True, check=False, timeout=6 * 3600,
            )  # fmt: skip
            if run.returncode != 0:
                raise OutsideError(who="pg_restore", detail=verbatim(_last_line(run.stderr)))
            yield trial
        finally:
            machines.drop_database(admin, name)


def _renamed(address: str, name: str) -> str:
    """Return the address of another database on the same server."""
    scheme, _there, rest = address.partition("://")
    place, _slash, path = rest.partition("/")
    _old, question, options = path.partition("?")
    return f"{scheme}://{place}/{name}{question}{options}"


def without_password(address: str) -> tuple[str, str]:
    """Return an address without its password, and the password."""
    scheme, _there, rest = address.partition("://")
    place, slash, path = rest.partition("/")
    user, at, host = place.rpartition("@")
    name, _colon, password = user.partition(":")
    return f"{scheme}://{name}{at}{host}{slash}{path}", unquote(password)


def _last_line(text: bytes) -> str:
    lines = text.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "no reason given"
