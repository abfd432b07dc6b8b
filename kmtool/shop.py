"""The shop: the frozen record every operation works on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from kmtool.clock import Clock
from kmtool.config import Config
from kmtool.domain.ids import SessionId
from kmtool.errors import AwayFromHome, ExampleConfig, told
from kmtool.journal import Journal
from kmtool.ports import Channel, Courier, Notifier, Supplier
from kmtool.store import audit, machines
from kmtool.store.db import Db
from kmtool.vault import Vault

if TYPE_CHECKING:
    from concurrent.futures import Executor

T = TypeVar("T")


def quiet(items: Iterable[T], _title: str, _total: int | None = None) -> Iterable[T]:
    """Pass items through: the progress wrapper of whoever has no terminal."""
    return items


@dataclass(frozen=True, slots=True)
class Adapters:
    """Builds adapters by their name in kmtool.toml, at first use."""

    channel: Callable[[str], Channel]
    courier: Callable[[str, str], Courier]
    notifier: Callable[[str], Notifier]
    supplier: Callable[[str], Supplier]


@dataclass(frozen=True, slots=True)
class Shop:
    """Configuration, clock, database, vault, journal and adapters of one shop.

    `actor` is who acts (for the audit), `session` the sender's session once there is one,
    `progress(items, title, total)` wraps long loops, `workers(most)` does what may go side by side
    (threads where it is None).
    """

    config: Config
    clock: Clock
    db: Db
    vault: Vault
    journal: Journal
    adapters: Adapters
    actor: str = "owner"
    session: SessionId | None = None
    progress: Callable[..., Iterable[T]] = field(default=quiet)
    workers: Callable[[int], Executor] | None = None

    def now_ms(self) -> int:
        """Return the wall time in UTC milliseconds."""
        return self.clock.now_ms()

    def side_by_side(self, most: int) -> Executor:
        """Return what does at most so many pieces of work at once."""
        if self.workers is not None:
            return self.workers(most)
        from concurrent.futures import ThreadPoolExecutor

        return ThreadPoolExecutor(most)

    def audit(self, action: str, subject: str, detail: str = "") -> None:
        """Write an audit row inside the open transaction. `detail` never holds a key."""
        self.audit_many([(action, subject, detail)])

    def audit_many(self, rows: Sequence[tuple[str, str, str]]) -> None:
        """Write audit rows (action, subject, detail) inside the open transaction, at once.

        They join the chain of this session; one call for many rows reads and writes its head once.
        """
        assert self.db.in_tx, "an audit row is written with the change it tells of"
        now = self.clock.now_ms()
        audit.append(self.db, self.session, now, self.actor, rows, self.vault.audit_mac)

    def must_be_writable(self, *, anywhere: bool = False) -> None:
        """Refuse to write to the example that comes with the program, and, unless `anywhere`, at a
        place that was given up: the shop would never hear of it where it is now."""
        if self.config.example:
            raise ExampleConfig
        row = None if anywhere else machines.home(self.db)
        if row is not None and row["state"] == "retired":
            place = row["moved_to"]
            moved = told("the shop was moved to {place}", place=place)
            raise AwayFromHome(
                detail=moved if place else told("this copy was given up"),
                where=str(self.config.root),
                mend=work_there(place),
            )


def work_there(place: str) -> str:
    """Return what to do at a place that is not the shop's home: usually, go to the other one."""
    adopt = told("only if that shop is gone for good: kmtool db adopt")
    if place.endswith(".kmmove"):
        return told(
            "on the other machine: kmtool db move --in {file} FOLDER; {adopt}",
            file=Path(place).name,
            adopt=adopt,
        )
    return told("work there: {place}; {adopt}", place=place, adopt=adopt) if place else ""
