"""Tells the owner, once per crossing: one open alert per (code, subject), cleared when it is over.

Every alert goes to the log at once and to the notifiers of `[alerts] notify`, several in a message.
An alert counts as sent when every notifier has it; one that failed is tried again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kmtool.errors import Broken, KmError
from kmtool.operations import audit, brakes, chain, doctor
from kmtool.operations.sync import ChannelResult
from kmtool.shop import Shop
from kmtool.store import alerts as store
from kmtool.store import audit as audit_store
from kmtool.store import status

log = logging.getLogger("kmtool.alerts")

WAITING_AFTER_MS = 2 * 3_600_000
"""How long something may wait for a person before the owner hears of it."""
HOUR_MS = 3_600_000
AT_ONCE = 50
LOGIN = "KM-E704"
_QUIET_GATES = frozenset({"order_wait", "pause", "paid", *brakes.BRAKES})


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. `sent_ms` is None until every notifier has it."""

    id: int
    code: str
    subject: str
    state: str
    text: str
    raised_ms: int
    sent_ms: int | None
    cleared_ms: int | None


@dataclass(frozen=True, slots=True)
class AlertList:
    """Alerts, newest first."""

    alerts: tuple[Alert, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Watched:
    """What a look at the shop did."""

    opened: int
    cleared: int
    sent: int
    failed: int
    notes: tuple[str, ...] = ()


def raise_alert(shop: Shop, code: str, subject: str, text: str) -> bool:
    """Open an alert and log it; False when it is open already."""
    with shop.db.tx():
        is_new = store.open_alert(shop.db, code, subject, text, shop.now_ms())
    if is_new:
        log.warning("%s %s: %s", code, subject, text)
    return is_new


def clear(shop: Shop, code: str, subject: str) -> bool:
    """Clear an alert that is over."""
    if subject not in store.open_subjects(shop.db, code):
        return False
    with shop.db.tx():
        done = store.clear(shop.db, code, subject, shop.now_ms())
    if done:
        log.info("%s %s is over", code, subject)
    return done


def watch(shop: Shop) -> Watched:
    """Look at stock, at what waits and at the backup; open and clear alerts, then tell them."""
    shop.must_be_writable()
    tally = _Tally()
    settle(shop, "low_stock", _low_stock(shop), tally)
    settle(shop, "needs_you", _waiting(shop), tally)
    settle(shop, "quota", chain.full_routes(shop), tally)
    backup = doctor.backup_check(shop)
    settle(shop, brakes.CODE, brakes.tripped(shop), tally)
    settle(shop, "reveals", _reveals(shop), tally)
    settle(shop, "backup", {} if backup.ok else {"shop": f"backup: {backup.figure}"}, tally)
    sent, failed, notes = tell(shop)
    return Watched(tally.opened, tally.cleared, sent, failed, notes)


def note_sync(shop: Shop, channels: Iterable[ChannelResult]) -> None:
    """Open and clear the alerts of channels that refuse our login."""
    for one in channels:
        if one.error_code == LOGIN:
            raise_alert(shop, "login", one.channel, f"{one.error}; to do: {one.next_step}")
        elif not one.error:
            clear(shop, "login", one.channel)


def tell(shop: Shop) -> tuple[int, int, tuple[str, ...]]:
    """Send what is untold to the notifiers; return (alerts sent, notifiers that failed, why)."""
    names = shop.config.alerts.notify
    rows = store.untold(shop.db, AT_ONCE)
    if not rows:
        return 0, 0, ()
    told = {row["id"]: set(filter(None, row["told"].split(","))) for row in rows}
    notes = []
    foot = _foot(shop) if names else ""
    for name in names:
        news = [row for row in rows if name not in told[row["id"]]]
        if not news:
            continue
        try:
            shop.adapters.notifier(name).notify(_subject(shop, len(news)), _body(news, foot))
        except KmError as error:
            notes.append(f"{name}: {error}")
            log.warning("alerts were not sent by %s: %s", name, error)
            continue
        for row in news:
            told[row["id"]].add(name)
    sent = 0
    with shop.db.tx():
        for row in rows:
            all_have_it = told[row["id"]] >= set(names)
            sent += all_have_it
            at_ms = shop.now_ms() if all_have_it else None
            store.note_told(shop.db, row["id"], ",".join(sorted(told[row["id"]])), at_ms)
    return sent, len(notes), tuple(notes)


def listing(shop: Shop, limit: int | None, *, cleared: bool = False) -> AlertList:
    """Return the open alerts, or all of them."""
    rows = store.listing(shop.db, 1_000_000 if limit is None else limit, cleared=cleared)
    return AlertList(tuple(Alert(**row) for row in rows), store.count(shop.db, cleared=cleared))


def settle(shop: Shop, code: str, wanted: Mapping[str, str], tally: _Tally | None = None) -> None:
    """Make the open alerts of a code be exactly `wanted` (subject → text)."""
    tally = tally or _Tally()
    for subject in store.open_subjects(shop.db, code):
        if subject not in wanted:
            tally.cleared += clear(shop, code, subject)
    for subject, text in wanted.items():
        tally.opened += raise_alert(shop, code, subject, text)


class _Tally:
    def __init__(self) -> None:
        self.opened = self.cleared = 0


def _low_stock(shop: Shop) -> dict[str, str]:
    rows = store.low_stock(shop.db, shop.config.alerts.low_stock)
    return {
        row["sku"]: f"{row['title']} ({row['sku']}): {row['free']} keys left, limit {row['wanted']}"
        for row in rows
        if row["free"] < row["wanted"]
    }


def _waiting(shop: Shop) -> dict[str, str]:
    limit = shop.now_ms() - WAITING_AFTER_MS
    found = {}
    for row in status.waiting(shop.db):
        if row["since_ms"] > limit or row["gate"] in _QUIET_GATES:
            continue
        name = f"order:{row['channel']}:{row['number']}"
        reason = row["reason"] or row["gate"] or row["state"]
        found[name] = f"order {row['number']} ({row['channel']}) waits for you: {reason}"
    return found


def _subject(shop: Shop, n: int) -> str:
    return f"{shop.config.shop.name}: {n} alert{'s' if n > 1 else ''}"


def _body(rows: Iterable[Mapping[str, object]], foot: str) -> str:
    lines = [str(row["text"]) for row in rows]
    return "\n".join([*lines, "", "kmtool status", *filter(None, [foot]), ""])


def _foot(shop: Shop) -> str:
    """Return the newest anchor of the audit: what the owner was sent cannot be changed here."""
    try:
        return audit.foot(shop)
    except Broken:
        return ""  # doctor tells of it


def _reveals(shop: Shop) -> dict[str, str]:
    """Tell when many keys were opened for a person's eyes within an hour."""
    limit = shop.config.alerts.reveals_per_hour
    seen = audit_store.seen_since(shop.db, shop.now_ms() - HOUR_MS)
    if not limit or seen["n"] <= limit:
        return {}
    text = (
        f"{seen['n']} keys were opened within an hour, the last by {seen['actor']}"
        f" ({seen['action']}); the limit is {limit}: kmtool audit list --action key.*"
    )
    return {"keys": text}
