"""Look at the statements that are here, and at the lines of one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from kmtool.clock import business_day
from kmtool.errors import NotFound
from kmtool.shop import Shop
from kmtool.store import statements as store
from kmtool.store.db import Row


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A statement that was imported or refused."""

    id: int
    file: str
    account: str
    profile: str
    state: str
    refusal: str
    first_day: date | None
    last_day: date | None
    period_source: str
    rows: int
    ignored: int
    accepted: str
    imported_ms: int


@dataclass(frozen=True, slots=True)
class StoredFiles:
    """Statements, newest first."""

    files: tuple[StoredFile, ...]


@dataclass(frozen=True, slots=True)
class StoredLine:
    """A line of a statement with what became of it."""

    id: int
    line_no: int
    occurred_ms: int
    kind: str
    gross_minor: int
    fee_minor: int
    net_minor: int
    currency: str
    order_ref: str
    ext_txn_id: str
    bucket: str
    code: str


@dataclass(frozen=True, slots=True)
class Contents:
    """A statement with its lines, and its machine form as it was read."""

    file: StoredFile
    facts: Mapping[str, Any]
    lines: tuple[StoredLine, ...]


def listing(shop: Shop, account: str | None = None) -> StoredFiles:
    """Return the statements of an account, or of all."""
    return StoredFiles(tuple(_stored(shop, row) for row in store.files(shop.db, account)))


def show(shop: Shop, file_id: int) -> Contents:
    """Return a statement with its lines."""
    row = store.file(shop.db, file_id)
    if row is None:
        raise NotFound(kind="statement", name=file_id)
    lines = tuple(StoredLine(**line) for line in store.file_lines(shop.db, file_id))
    return Contents(_stored(shop, row), json.loads(row["summary"]), lines)


def _stored(shop: Shop, row: Row) -> StoredFile:
    zone = shop.config.shop.timezone
    start, end = row["period_from_ms"], row["period_to_ms"]
    return StoredFile(
        id=row["id"],
        file=row["name"],
        account=row["account"],
        profile=row["profile"],
        state=row["state"],
        refusal=row["refusal"],
        first_day=None if start is None else business_day(start, zone),
        last_day=None if end is None else business_day(end - 1, zone),
        period_source=row["period_source"],
        rows=row["rows"],
        ignored=row["ignored"],
        accepted=row["accepted"],
        imported_ms=row["imported_ms"],
    )
