"""What a sender that runs by itself does before its first job (delivery.md, recovery at start).

Order: SQLite version and schema (opening the shop did that) → host note → after an unclean end the
file's own check → new session and sweep → open tries of ended sessions → send journal → invariants.
Whoever calls gets the broken promises; with one of them nothing may be sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kmtool.domain.ids import SessionId
from kmtool.errors import Broken
from kmtool.operations import doctor, sender
from kmtool.operations.doctor import Check
from kmtool.shop import Shop
from kmtool.store import doctor as store
from kmtool.store import maintenance, sessions


@dataclass(frozen=True, slots=True)
class Recovered:
    """A shop with a live session, what the start found, and what forbids sending."""

    shop: Shop
    notes: tuple[str, ...]
    broken: tuple[Check, ...]


@contextmanager
def recovered(shop: Shop, kind: str) -> Iterator[Recovered]:
    """Yield the shop as the sender, recovered. Raises `Locked` when another process sends."""
    shop.must_be_writable()
    notes = []
    unclean = [row for row in sessions.live(shop.db) if not sender.is_alive(shop, row)]
    if unclean:
        notes.append(f"{len(unclean)} sessions ended without saying so")
        damaged = maintenance.integrity(shop.db, quick=True)
        if damaged:
            raise Broken(
                detail="the database is damaged ({damaged}); nothing is sent",
                damaged=damaged[0],
                mend="kmtool db check, then use the newest backup that opens",
            )
    with sender.sending(shop, kind) as mine:
        for number in store.orphan_sessions(mine.db):
            sender.close(mine, SessionId(number), "dead")
        checks = [doctor.host_check(mine), *doctor.ledger_checks(mine)]
        notes += [f"{check.name}: {check.figure}" for check in checks if not check.ok]
        yield Recovered(mine, tuple(notes), doctor.Health(tuple(checks)).blocking)


def refusal(broken: tuple[Check, ...]) -> Broken:
    """Return the error that says which promise is broken."""
    told = "; ".join(f"{check.name}: {check.figure}" for check in broken)
    return Broken(
        detail="{promise}. Nothing is sent until this is mended", promise=told, mend=broken[0].mend
    )
