"""What runs beside the deliveries, and what the owner sets: figures, shelves, modes, sheets."""

from __future__ import annotations

from dataclasses import replace

from kmtool.clock import business_day
from kmtool.domain.states import Mode
from kmtool.operations import holds, settle, settle_paid, shelf
from kmtool.operations.settle_sheets import Payment
from kmtool.operations.stock_push import figures, may_speak, push_stock
from kmtool.operations.sync import sync_channel
from kmtool.shop import Shop
from kmtool.sim.acts_kit import perform
from kmtool.sim.sites import PICTURES
from kmtool.sim.stage import Stage
from kmtool.sim.world import CURRENCY

NOT_MORE = "no channel is told of more than there is"


def tell_stock(stage: Stage) -> None:
    """A pull, then the figures and the shelf of that channel, as the daemon does it."""
    site = stage.random.choice(list(stage.world.sites))

    def work(shop: Shop) -> None:
        synced = sync_channel(shop, site)
        if synced.error:
            return
        if may_speak(shop):
            _not_more(stage, shop, site)
        push_stock(shop, synced)
        shelf.guard(shop, synced)

    perform(stage, f"stock of {site}", work)


def _not_more(stage: Stage, shop: Shop, site: str) -> None:
    """A figure is never above what the owner has in the drawer and nobody got."""
    world = stage.world
    uses = dict.fromkeys(("S1", "S2", "S3", "Q1"), 0)
    for file in world.owner.files:
        for key in file.keys:
            if file.sku in uses and key not in world.holders:
                uses[file.sku] += 1
    listed = (*world.sites[site].wares, *PICTURES)
    units = {ware.item_id: (ware.sku, ware.units) for ware in listed}
    for row, figure in figures(shop, site):
        if row["item_id"] not in units:
            continue  # a top-up lies on no shelf
        sku, each = units[row["item_id"]]
        if sku in uses and figure * each > uses[sku]:
            stage.fail(NOT_MORE, f"{site} {row['item_id']}: {figure} × {each}, {uses[sku]} exist")


def small_jobs(stage: Stage) -> None:
    """What the daemon looks after every few minutes."""

    def work(shop: Shop) -> None:
        holds.sweep(shop)

    perform(stage, "jobs", work)


def change_mode(stage: Stage) -> None:
    """The owner trusts a channel less for a while, or again; the daemon is started anew for it."""
    if stage.depth:
        return
    modes = stage.world.owner.modes
    site = stage.random.choice(sorted(modes) or sorted(stage.world.sites))
    set_mode(stage, site, stage.random.choice(("watch", "ask", "auto", "auto")))


def set_mode(stage: Stage, site: str, mode: str) -> None:
    """Write the mode of a channel into kmtool.toml: every process started from now on knows it."""
    stage.end_daemon()
    channels = dict(stage.config.channels)
    channels[site] = replace(channels[site], mode=Mode(mode))
    stage.config = replace(stage.config, channels=channels)
    stage.count["acts"] += 1
    stage.note(f"channel {site} on {mode}")
    if mode == "auto":
        stage.world.owner.modes.pop(site, None)
    else:
        stage.world.owner.modes[site] = (mode, stage.tick())


def settle_up(stage: Stage) -> None:
    """A supplier's sheet is closed, and paid: once, though the voucher may be noted twice."""
    if stage.depth or stage.random.random() < 0.5:
        return

    def work(shop: Shop) -> None:
        closed = settle.close(shop, "sup1")
        if closed.number is None or closed.payable_minor <= 0:
            return
        today = business_day(shop.now_ms(), shop.config.shop.timezone).isoformat()
        payment = Payment("V1", closed.payable_minor, CURRENCY, today, "", "")
        for _ in range(stage.random.choice((1, 2))):
            settle_paid.paid(shop, closed.number, payment)

    perform(stage, "settle close", work)
