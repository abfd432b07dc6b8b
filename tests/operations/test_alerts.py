"""Alerts: once per crossing, cleared when over, told until every notifier has them."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.config import NotifySettings
from kmtool.errors import Retriable
from kmtool.operations import alerts, audit, backup
from kmtool.operations.deliver import deliver
from kmtool.operations.sync import ChannelResult, sync
from kmtool.ports import AdapterSettings, Features
from kmtool.shop import Shop
from kmtool.store import alerts as store
from tests.fakes import order, world
from tests.operations.stock import shelf

START = 1_795_305_600_000
HOUR_MS = 3_600_000


class Bell:
    """A notifier that remembers, and fails while `down`."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.down = False

    def notify(self, subject: str, text: str) -> None:
        if self.down:
            raise Retriable(who="bell", detail="no route")
        self.heard.append((subject, text))


@pytest.fixture
def bells(monkeypatch: pytest.MonkeyPatch) -> dict[str, Bell]:
    found = {"one": Bell(), "two": Bell()}
    module: Any = ModuleType("tests.bell")

    def build(settings: AdapterSettings) -> Bell:
        return found[settings.name]

    module.FEATURES, module.build = Features(title="bell", kind="notifier"), build
    monkeypatch.setitem(sys.modules, "tests.bell", module)
    return found


@pytest.fixture
def told(shop: Shop, bells: dict[str, Bell], clock: ManualClock) -> Any:
    """The same shop with two notifiers."""
    notify = {name: NotifySettings(name, "tests.bell") for name in bells}
    settings = replace(shop.config.alerts, notify=tuple(bells))
    config = replace(shop.config, notify=notify, alerts=settings)
    with open_shop(config, clock=clock) as opened:
        yield opened


def open_codes(shop: Shop) -> set[tuple[str, str]]:
    return {(row.code, row.subject) for row in alerts.listing(shop, None).alerts}


def test_low_stock_is_told_once_per_crossing(told: Shop, bells: dict[str, Bell]) -> None:
    shelf(told, n=3)
    assert alerts.watch(told).sent == 2  # the stock, and that there is no backup
    assert alerts.watch(told).opened == 0
    assert len(bells["one"].heard) == len(bells["two"].heard) == 1
    subject, text = bells["one"].heard[0]
    assert subject == "测试小店: 2 alerts"
    assert "product S1 (S1): 3 keys left, limit 10" in text
    shelf(told, n=20, prefix="KEY-more")
    assert alerts.watch(told).cleared == 1
    with told.db.tx():
        told.db.run("UPDATE stock SET free = 2")
    assert alerts.watch(told).opened == 1
    assert len(bells["one"].heard) == 2


def test_a_product_has_its_own_limit(shop: Shop) -> None:
    shelf(shop, n=3)
    with shop.db.tx():
        shop.db.run("UPDATE products SET low_stock = 3")
    alerts.watch(shop)
    assert ("low_stock", "S1") not in open_codes(shop)


def test_a_failed_notifier_gets_it_later_and_the_other_not_twice(
    told: Shop, bells: dict[str, Bell]
) -> None:
    bells["two"].down = True
    shelf(told, n=3)
    watched = alerts.watch(told)
    assert (watched.sent, watched.failed) == (0, 1)
    assert len(store.untold(told.db, 10)) == 2
    bells["two"].down = False
    assert alerts.watch(told).sent == 2
    assert (len(bells["one"].heard), len(bells["two"].heard)) == (1, 1)
    assert store.untold(told.db, 10) == []


def test_what_waits_for_hours_is_told_per_order(shop: Shop, clock: ManualClock) -> None:
    shelf(shop, n=30)
    with shop.db.tx():
        shop.db.run("UPDATE listings SET price_minor = 2000")
    world().orders["A1"] = order("A1", at_ms=START + 1)
    clock.advance(15_000)
    sync(shop)
    deliver(shop)
    alerts.watch(shop)
    assert ("needs_you", "order:shop1:A1") not in open_codes(shop)
    clock.advance(3 * HOUR_MS)
    alerts.watch(shop)
    assert ("needs_you", "order:shop1:A1") in open_codes(shop)
    with shop.db.tx():
        shop.db.run("UPDATE lines SET state = 'cancelled'")
    alerts.watch(shop)
    assert ("needs_you", "order:shop1:A1") not in open_codes(shop)


def test_a_refused_login_is_told_until_it_works(shop: Shop) -> None:
    refused = ChannelResult(
        "shop1", 0, 0, 0, 0, None, error="no", next_step="kmtool channel test shop1",
        error_code=alerts.LOGIN,
    )  # fmt: skip
    alerts.note_sync(shop, [refused])
    assert open_codes(shop) == {("login", "shop1")}
    alerts.note_sync(shop, [replace(refused, error="time-out", error_code="KM-E701")])
    assert open_codes(shop) == {("login", "shop1")}
    alerts.note_sync(shop, [replace(refused, error="", error_code="")])
    assert open_codes(shop) == set()


def test_an_old_backup_is_told(shop: Shop, clock: ManualClock) -> None:
    if shop.db.dialect != "sqlite":
        return
    backup.backup(shop)
    alerts.watch(shop)
    assert open_codes(shop) == set()
    clock.advance(40 * HOUR_MS)
    alerts.watch(shop)
    assert open_codes(shop) == {("backup", "shop")}


def test_cleared_alerts_stay_on_record(shop: Shop) -> None:
    assert alerts.raise_alert(shop, "job_failed", "sync", "it failed")
    assert not alerts.raise_alert(shop, "job_failed", "sync", "again")
    assert alerts.clear(shop, "job_failed", "sync")
    assert not alerts.clear(shop, "job_failed", "sync")
    assert alerts.listing(shop, 10).total == 0
    (one,) = alerts.listing(shop, 10, cleared=True).alerts
    assert (one.state, one.text) == ("cleared", "it failed")


def test_many_opened_keys_are_told_and_the_foot_holds_the_anchor(
    told: Shop, bells: dict[str, Bell], clock: ManualClock
) -> None:
    alerts.watch(told)  # there is no backup
    with told.db.tx():
        told.audit("did", "x")
    anchored = audit.anchor(told)
    limit = told.config.alerts.reveals_per_hour
    with told.db.tx():
        audit.opened(told, range(limit), "key.export", "keys.csv")
    assert alerts.watch(told).opened == 0
    with told.db.tx():
        audit.opened(told, [limit], "key.reveal", "asked")
    assert alerts.watch(told).opened == 1
    assert ("reveals", "keys") in open_codes(told)
    _, text = bells["one"].heard[-1]
    assert f"{limit + 1} keys were opened within an hour" in text
    assert anchored.hash[:16] in text
    clock.advance(HOUR_MS + 1)
    assert alerts.watch(told).cleared == 1
