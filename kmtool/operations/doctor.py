"""Is the shop whole? Every check says a figure and, when something is wrong, what to do.

A `broken` check is a broken promise of the delivery ledger: while there is one, nothing is sent.
`fix` mends only what cannot do harm: sessions whose process is gone, and stock counters.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kmtool.clock import business_day
from kmtool.domain.ids import SessionId
from kmtool.errors import Broken, joined, marked, told
from kmtool.operations import audit_verify, backup, holds, home, sender
from kmtool.operations import journal_check as comparing
from kmtool.operations.house import credentials_of
from kmtool.operations.pack import parcel_label
from kmtool.shop import Shop, work_there
from kmtool.store import doctor as store
from kmtool.store import house, jobs, machines, maintenance, seen_keys, sessions
from kmtool.store.doctor import INVARIANTS, Invariant
from kmtool.store.sqlite import MODULE, VERSION, checkpoints_freely

SAMPLE = 200
BACKUP_OLD_H = 36
WHOLE_MAX = 256 << 20
"""Up to this size (bytes) every page and every index of the database is compared, some seconds."""
AUDIT_MAX = 200_000
"""Up to so many rows the whole audit is recomputed each time."""
NEVER_OPENED = marked("put the master key of this shop back; kmtool db backup before anything else")


@dataclass(frozen=True, slots=True)
class Check:
    """One question with its answer. `broken` marks a promise; `blocks`: unkept, nothing is sent."""

    name: str
    ok: bool
    figure: str
    mend: str = ""
    broken: bool = False
    blocks: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """All checks, and what `--fix` did."""

    checks: tuple[Check, ...]
    fixed: tuple[str, ...] = ()

    @property
    def broken(self) -> tuple[Check, ...]:
        """The broken promises."""
        return tuple(check for check in self.checks if check.broken and not check.ok)

    @property
    def blocking(self) -> tuple[Check, ...]:
        """What forbids sending."""
        return tuple(check for check in self.checks if check.blocks and not check.ok)

    @property
    def problems(self) -> tuple[Check, ...]:
        """All that is not well."""
        return tuple(check for check in self.checks if not check.ok)


def doctor(shop: Shop, *, fix: bool = False) -> Health:
    """Run all checks; with `fix` mend first what is safe to mend."""
    fixed: tuple[str, ...] = ()
    if fix:
        shop.must_be_writable()
        fixed = tuple(mend(shop))
    checks = [*ledger_checks(shop), audit_check(shop), *opening_checks(shop)]
    checks += database_checks(shop)
    return Health((*checks, *house_checks(shop)), fixed)


def ledger_checks(shop: Shop) -> Iterator[Check]:
    """Yield the invariants of the store and the comparison with the send journal."""
    for invariant in INVARIANTS:
        yield invariant_check(shop, invariant)
    yield journal_check(shop)


def invariant_check(shop: Shop, invariant: Invariant) -> Check:
    """Ask one invariant."""
    found = store.violations(shop.db, invariant, shop.now_ms())
    return Check(
        invariant.name,
        not found,
        _first(found) or told(invariant.promise),
        told(invariant.mend) if found else "",
        invariant.broken,
        invariant.blocks,
    )


def journal_check(shop: Shop) -> Check:
    """Compare the send journal with the keys: what was sent is never free or reserved here."""
    try:
        found = comparing.compare(shop)
        old = comparing.older(shop)
    except Broken as error:
        return Check("journal", False, str(error), error.next_step(), broken=True, blocks=True)
    if found.wrong or old:
        mend_it = told("kmtool db restore --replay")
        figure = _first(list(found.wrong)) or old
        return Check("journal", False, figure, mend_it, broken=True, blocks=True)
    exposed = store.exposures(shop.db)
    if exposed and not found.records:
        figure = told("{n} keys were sent, but the journal is empty or gone", n=exposed)
        mend_it = told("to write {path} again: kmtool deliver", path=shop.journal.path)
        return Check("journal", False, figure, mend_it)
    if found.missing:
        figure = told("{n} keys that were sent are missing in it", n=found.missing)
        mend_it = told("kmtool deliver writes them again; find out who took them out")
        return Check("journal", False, figure, mend_it)
    figure = told("{count} records agree", count=found.records)
    return Check("journal", True, figure, broken=True, blocks=True)


def audit_check(shop: Shop) -> Check:
    """Recompute the audit, a long one since the last look; compare its heads with the anchors."""
    look = audit_verify.quick if audit_verify.rows(shop) > AUDIT_MAX else audit_verify.verify
    found = look(shop)
    if not found.ok:
        figure = audit_verify.named(found.breaks)
        return Check("audit", False, figure, "kmtool audit verify", broken=True)
    figure = told("{rows} rows, {anchors} anchors agree", rows=found.rows, anchors=found.anchors)
    return Check("audit", True, figure, broken=True)


def opening_checks(shop: Shop) -> Iterator[Check]:
    """Open a sample of keys with their binding and a sample of parcels with their order's label."""
    day = business_day(shop.now_ms(), shop.config.shop.timezone).toordinal()
    bad: list[str] = []
    keys = store.sample_keys(shop.db, SAMPLE, day)
    for row in keys:
        fingerprint = bytes(row["fingerprint"])
        try:
            opened = shop.vault.open(row["sealed"], row["data_key_id"], fingerprint)
        except Broken:
            bad.append(told("key {tail} does not open", tail=row["tail"]))
            continue
        found = opened.reveal()
        if fingerprint not in (shop.vault.fingerprint(found), shop.vault.exact_fingerprint(found)):
            bad.append(
                told("key {tail} is another one than its fingerprint says", tail=row["tail"])
            )
    yield _opened("keys_open", bad, len(keys))
    bad = []
    parcels = store.sample_parcels(shop.db, SAMPLE, day)
    for row in parcels:
        try:
            shop.vault.open(row["sealed"], row["data_key_id"], parcel_label(row, row["n"]))
        except Broken:
            order = f"{row['channel']}:{row['number']}"
            bad.append(told("the message of {order} does not open", order=order))
    yield _opened("parcels_open", bad, len(parcels))


def database_checks(shop: Shop) -> Iterator[Check]:
    """Yield what the database says of itself."""
    restore = marked("kmtool db backup keeps what can be read; then use an older backup")
    is_large = maintenance.size_of(shop.db) > WHOLE_MAX
    yield _listed("integrity", maintenance.integrity(shop.db, quick=is_large), restore)
    yield _listed("references", maintenance.foreign_keys(shop.db), restore)
    wanted, found = maintenance.wanted_structure(shop.db), maintenance.structure(shop.db)
    different = maintenance.structure_differences(wanted, found)
    to_do = "kmtool db migrate" if different else ""
    yield Check("structure", not different, _first(different) or told("as it should be"), to_do)
    if shop.db.dialect == "sqlite":
        safe = checkpoints_freely()
        old = marked("{version} (old: only the sender tidies the log)")
        form = "{version}" if safe else old
        version = f"{MODULE.partition('.')[0]} {VERSION}"
        yield Check("sqlite", True, told(form, version=version))


def house_checks(shop: Shop) -> Iterator[Check]:
    """Yield the state of the machine, the configuration, backups, sessions and jobs."""
    yield disk_check(shop)
    yield host_check(shop)
    yield _plain_credentials(shop)
    yield _encoding(shop)
    yield backup_check(shop)
    yield seen_check(shop)
    yield stock_back_check(shop)
    yield sessions_check(shop)
    yield daemon_check(shop)
    yield jobs_check(shop)


def backup_check(shop: Shop) -> Check:
    """Tell how old the newest backup is."""
    found = backup.newest(shop.config)
    if found is None:
        return Check("backup", False, told("there is none yet"), "kmtool db backup")
    hours = max(0, shop.now_ms() - found.at_ms) // 3_600_000
    is_fresh = hours < BACKUP_OLD_H
    drill = backup.drilled(shop)
    figure = told("{hours} h old, {drill}", hours=hours, drill=drill.told)
    mend_it = "" if is_fresh and drill.ok else "kmtool db drill" if is_fresh else "kmtool db backup"
    return Check("backup", is_fresh and drill.ok, figure, mend_it)


def seen_check(shop: Shop) -> Check:
    """Tell of keys that were sent before a restore and whose order or file is not here yet."""
    waiting, unknown = seen_keys.seen_figures(shop.db)
    if not waiting:
        return Check("seen_keys", True, told("none waits for its order"))
    if unknown:
        figure = told("{n} keys were sent before a restore and are not here", n=unknown)
        return Check("seen_keys", False, figure, "kmtool import FILE --sku SKU")
    figure = told("{n} keys were sent before a restore; their orders are not here", n=waiting)
    return Check("seen_keys", False, figure, "kmtool sync")


def stock_back_check(shop: Shop) -> Check:
    """Tell of keys that a restore without a journal keeps out of sale."""
    n = machines.quarantined_count(shop.db)
    if not n and not house.meta(shop.db, machines.UNPROVED):
        return Check("stock_back", True, told("nothing is out of sale since a restore"))
    figure = told("{n} keys are out of sale since a restore without a journal", n=n)
    mend_it = 'kmtool db reconcile-stock --sold FILE --proof "…"'
    return Check("stock_back", False, figure, mend_it)


def daemon_check(shop: Shop) -> Check:
    """Tell whether `kmtool run` is at work; one that ended by itself is a problem."""
    for row in sessions.live(shop.db):
        if row["kind"] == "run" and sender.is_alive(shop, row):
            age = max(0, shop.now_ms() - row["heartbeat_ms"]) // 1000
            return Check(
                "daemon",
                True,
                told(
                    "process {pid} on {host}, seen {age} s ago",
                    pid=row["pid"],
                    host=row["host"],
                    age=age,
                ),
            )
    last = sessions.last_ended(shop.db, "run")
    if last is not None and last["state"] == "dead":
        return Check("daemon", False, told("it died and was not started again"), "kmtool run")
    return Check("daemon", True, told("not running; `kmtool run` delivers by itself"))


def jobs_check(shop: Shop) -> Check:
    """Name the jobs whose last run failed."""
    failed = [row for row in jobs.latest(shop.db) if row["state"] != "ok"]
    words = [f"{row['job']}: {row['error'] or row['state']}" for row in failed]
    if words:
        return Check(
            "jobs",
            False,
            _first(words),
            told("kmtool run --once --only {job}", job=failed[0]["job"]),
        )
    return Check("jobs", True, told("none failed"))


def mend(shop: Shop) -> Iterator[str]:
    """Mend what is safe: dead sessions with their open tries, dead job rows, stock counters."""
    before = {row["id"] for row in sessions.live(shop.db)}
    tries = sender.sweep(shop)
    gone = before - {row["id"] for row in sessions.live(shop.db)}
    for number in store.orphan_sessions(shop.db):
        tries += sender.close(shop, SessionId(number), "dead")
    if gone or tries:
        yield told(
            "{gone} dead sessions closed, {tries} open tries will be asked about",
            gone=len(gone),
            tries=tries,
        )
    with shop.db.tx():
        store.lock_counters(shop.db)
        changed = [*store.recount_stock(shop.db), *holds.release_ended(shop)]
        for row in changed:
            shop.audit("stock_recount", f"sku:{row['sku']}", f"{row['was']} → {row['found']}")
    for row in changed:
        yield told(
            "stock of {sku} counted anew: {was} → {found}",
            sku=row["sku"],
            was=row["was"],
            found=row["found"],
        )


def sessions_check(shop: Shop) -> Check:
    dead = [row for row in sessions.live(shop.db) if not sender.is_alive(shop, row)]
    if dead:
        figure = told("{n} sessions ended without saying so", n=len(dead))
        return Check("sessions", False, figure, "kmtool doctor --fix")
    return Check("sessions", True, told("none is left over"))


def disk_check(shop: Shop) -> Check:
    database = shop.config.database
    folder = database.parent if isinstance(database, Path) else shop.config.root
    free_mb = shutil.disk_usage(folder).free // 1_000_000
    ok = free_mb >= shop.config.data.disk_min_mb
    return Check(
        "disk",
        ok,
        told("{free_mb} MB free", free_mb=f"{free_mb:,}"),
        "" if ok else told("make room; nothing is sent"),
    )


def host_check(shop: Shop) -> Check:
    """Tell whether the shop is at home here; from anywhere else nothing is sent."""
    found = home.away(shop)
    if found is None:
        return Check("host", True, home.host_name())
    return Check("host", False, found.why, work_there(found.place) or told("kmtool db adopt"))


def _plain_credentials(shop: Shop) -> Check:
    plain = [
        place
        for place, text in credentials_of(shop.config)
        if not text.startswith(("env:", "file:", "secret:"))
    ]
    if plain:
        figure = told("{places} in plain text in kmtool.toml", places=", ".join(plain[:3]))
        name = plain[0].replace(".", "-")
        return Check(
            "credentials",
            False,
            figure,
            told('kmtool secret set {name}, write "secret:{name}"', name=name),
        )
    return Check("credentials", True, told("none in plain text"))


def _encoding(shop: Shop) -> Check:
    try:
        shop.config.path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        return Check(
            "encoding", False, told("kmtool.toml is saved in GBK"), told("save it as UTF-8")
        )
    return Check("encoding", True, told("kmtool.toml is UTF-8"))


def _opened(name: str, bad: list[str], count: int) -> Check:
    if bad:
        return Check(name, False, _first(bad), told(NEVER_OPENED), broken=True)
    return Check(name, True, told("{count} tried, all open", count=count), broken=True)


def _listed(name: str, wrong: list[str], mend_it: str) -> Check:
    return Check(
        name, not wrong, _first(wrong) or told("ok"), told(mend_it) if wrong else "", broken=True
    )


def _first(found: list[str]) -> str:
    more = len(found) - 3
    form = "{first}"
    if more > 0:
        form = marked("{first} and {more} more")
    if more > 0 and len(found) > store.SHOWN:
        form = marked("{first} and at least {more} more")
    return told(form, first=joined(found[:3]), more=more) if found else ""
