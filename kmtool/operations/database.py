"""Looking after the database: is it whole, what does it say, is it up to date."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kmtool.clock import Clock
from kmtool.config import Config
from kmtool.errors import told
from kmtool.operations import backup
from kmtool.shop import Shop
from kmtool.store import copying, maintenance
from kmtool.store.db import connect
from kmtool.store.migrations import migrate, pending


@dataclass(frozen=True, slots=True)
class Check:
    """One question with its answer; `mend` is the command when it is not ok."""

    name: str
    ok: bool
    figure: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class TableSize:
    """How many rows a table has."""

    table: str
    rows: int


@dataclass(frozen=True, slots=True)
class DatabaseCheck:
    """The state of a database."""

    database: str
    kind: str
    bytes: int
    schema: str
    checks: tuple[Check, ...]
    tables: tuple[TableSize, ...]

    @property
    def ok(self) -> bool:
        """Tell whether every check passed."""
        return all(check.ok for check in self.checks)


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of a read-only question; `more` when there are others behind them."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Migrated:
    """Migrations that were run now; `backup` is the copy made before."""

    ran: tuple[str, ...]
    backup: str | None


_DAMAGED = "leave the file as it is; shop/backups holds copies"


def check(shop: Shop) -> DatabaseCheck:
    """Check integrity, references, structure and that the newest backup opens."""
    db = shop.db
    broken = maintenance.integrity(db)
    if broken:  # what is read from a damaged file may end anywhere
        return DatabaseCheck(
            database=db.name,
            kind=db.dialect,
            bytes=maintenance.bytes_used(db),
            schema="",
            checks=(_listed("integrity", broken, _DAMAGED), _newest_backup(shop)),
            tables=(),
        )
    wanted, found = maintenance.wanted_structure(db), maintenance.structure(db)
    checks = (
        Check("integrity", True, told("ok")),
        _listed("references", maintenance.foreign_keys(db), "kmtool doctor"),
        _listed("structure", maintenance.structure_differences(wanted, found), "kmtool db migrate"),
        _newest_backup(shop),
    )
    return DatabaseCheck(
        database=db.name,
        kind=db.dialect,
        bytes=maintenance.bytes_used(db),
        schema=maintenance.structure_hash(found),
        checks=checks,
        tables=tuple(TableSize(name, rows) for name, rows in maintenance.table_sizes(db, found)),
    )


def query(config: Config, sql: str, limit: int | None) -> Answer:
    """Answer a read-only question in SQL, on its own connection; sealed values are not shown."""
    columns, rows = maintenance.ask(config.database, sql, None if limit is None else limit + 1)
    shown = rows if limit is None else rows[:limit]
    return Answer(tuple(columns), tuple(tuple(row) for row in shown), len(rows) > len(shown))


def bring_up_to_date(config: Config, clock: Clock) -> Migrated:
    """Run pending migrations, after a backup; none pending is fine."""
    db = connect(config.database)
    copy = config.folder("backups") / f"before-update-{clock.now_ms()}.db"
    try:
        if not pending(db):
            return Migrated((), None)
        if db.dialect == "sqlite":
            copying.copy_sqlite(db, copy)
        ran = migrate(db, clock)
        return Migrated(tuple(ran), str(copy) if db.dialect == "sqlite" else None)
    finally:
        db.close()


def _listed(name: str, problems: list[str], mend: str) -> Check:
    if not problems:
        return Check(name, True, told("ok"))
    more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
    return Check(name, False, "; ".join(problems[:3]) + more, mend)


def _newest_backup(shop: Shop) -> Check:
    found = backup.newest(shop.config)
    if found is None:
        return Check("backup", False, told("there is none yet"), "kmtool db backup")
    verified = backup.verify(found.path)
    hours = max(0, shop.now_ms() - found.at_ms) // 3_600_000
    if verified != "ok":
        return Check(
            "backup",
            False,
            told("{name}: {verified}", name=found.path.name, verified=verified),
            "kmtool db backup",
        )
    return Check(
        "backup", True, told("{name} opens, {hours} h old", name=found.path.name, hours=hours)
    )
