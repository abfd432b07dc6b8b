"""Pulls orders and refunds from the channels, in frozen, lagged, overlapping windows.

The upper end of a window is fixed at the start and lags behind the channel's clock; windows
overlap, because upserts cost nothing and lost orders do. The cursor moves only in the transaction
of the window's last page. A page that fails leaves it where it was.
"""

from __future__ import annotations

from dataclasses import dataclass

from kmtool.config import ChannelSettings
from kmtool.domain.ids import OrderId
from kmtool.domain.states import OrderStatus
from kmtool.errors import ConfigError, InputRefused, Locked, NotFound, OutsideError
from kmtool.operations import holds, home, routes, watching
from kmtool.operations.ingest import clean_fact, ingest
from kmtool.ports import Channel, Page, Window
from kmtool.shop import Shop
from kmtool.store import house, orders

MAX_WINDOWS = 2_000
LONG_AGO_MS = 600_000
LOOK_BACK_MS = 3 * 3_600_000
"""After a pause a pull begins this much earlier: had the clock been ahead at the last one, it would
skip what changed meanwhile, and by now nothing shows that it was."""
BEGUN = "sync_begun_"
"""Meta: from when on a channel is read that was never reached yet, however long that takes."""
DAY_MS = 86_400_000
DRIFT_MS = 2_000
"""What the two clocks of a machine may drift apart before it is noted: no jump is that small."""


@dataclass(frozen=True, slots=True)
class ChannelResult:
    """What the sync of one channel did. `error` is empty when all went well."""

    channel: str
    orders_new: int
    orders_changed: int
    refunds: int
    unmapped: int
    cursor_ms: int | None
    rejects: tuple[str, ...] = ()
    error: str = ""
    next_step: str = ""
    error_code: str = ""


@dataclass(frozen=True, slots=True)
class SyncResult:
    """The sync of all chosen channels."""

    channels: tuple[ChannelResult, ...]

    @property
    def failed(self) -> int:
        """How many channels did not come through."""
        return sum(1 for c in self.channels if c.error)


def sync(
    shop: Shop,
    names: list[str] | None = None,
    *,
    since_ms: int | None = None,
    catch_up: bool = False,
) -> SyncResult:
    """Pull the named channels (all when none is named). `catch_up` takes everything as history.

    A channel that fails does not stop the others; its error stands in the result.
    """
    shop.must_be_writable()
    results = []
    for name in names or list(shop.config.channels):
        if name not in shop.config.channels:
            raise NotFound(kind="channel", name=name)
        results.append(sync_channel(shop, name, since_ms=since_ms, catch_up=catch_up))
    return SyncResult(tuple(results))


def sync_channel(
    shop: Shop, name: str, *, since_ms: int | None = None, catch_up: bool = False
) -> ChannelResult:
    """Pull one channel from its cursor to now."""
    tally = _Tally()
    error = next_step = error_code = ""
    try:
        channel = routes.channel(shop, name)
        account = account_of(shop, shop.config.channels[name])
        pull = _Pull(name, channel, account, catch_up)
        _not_ahead(shop, name, channel)
        for window in windows(shop, name, channel, since_ms):
            _pull(shop, pull, window, tally)
        watching.observe(shop, [name])
    except (OutsideError, ConfigError, InputRefused) as problem:
        error, next_step, error_code = str(problem), problem.next_step(), problem.code
    return ChannelResult(
        channel=name,
        orders_new=tally.new,
        orders_changed=tally.changed,
        refunds=tally.refunds,
        unmapped=tally.unmapped,
        cursor_ms=orders.cursor(shop.db, name),
        rejects=tuple(tally.rejects),
        error=error,
        next_step=next_step,
        error_code=error_code,
    )


def _not_ahead(shop: Shop, name: str, channel: Channel) -> None:
    """Set a cursor back that was moved by a clock that ran ahead, and was set right since.

    What the channel changed between that pull and now would else be skipped. A cursor in the time
    to come shows it, and the distance between the wall clock and the one that never jumps, which
    gets smaller only when the wall clock is set back (or on another machine: read a day again).
    """
    cursor, now = orders.cursor(shop.db, name), shop.now_ms()
    distance = now - round(shop.clock.monotonic() * 1000)
    known = house.number(shop.db, _clock(shop, name))
    jumped = 0 if known is None else max(0, known - distance)
    if known is not None and distance - known > DRIFT_MS:
        jumped = LOOK_BACK_MS  # started or awake again: a jump may hide in it
    ahead = cursor is not None and cursor > now
    if known is not None and abs(known - distance) <= DRIFT_MS and not ahead:
        return
    with shop.db.tx():
        cursor = orders.cursor(shop.db, name)  # as it is now: a pull beside may have moved it
        house.set_meta(shop.db, _clock(shop, name), str(distance))
        if cursor is None and not house.meta(shop.db, BEGUN + name):
            house.set_meta(shop.db, BEGUN + name, str(now - shop.config.sync.first_ms))
        if cursor is None or not (ahead or jumped > DRIFT_MS):
            return
        back = cursor - min(jumped, DAY_MS)
        if ahead:
            read = orders.newest_revision(shop.db, name)
            back = min(back, now - shop.config.sync.first_ms if read is None else read)
        back = min(back, now) - channel.features.overlap_ms
        orders.set_cursor_back(shop.db, name, cursor, back, now)
        shop.audit("cursor_set_back", f"channel:{name}", f"the clock was ahead: {cursor} → {back}")


def _clock(shop: Shop, name: str) -> str:
    """Return the name under which the distance of the two clocks of this machine is kept."""
    here = "" if shop.db.dialect == "sqlite" else f"{home.here().id}_"
    return f"clocks_{here}{name}"


def windows(shop: Shop, name: str, channel: Channel, since_ms: int | None) -> list[Window]:
    """Cut the time from the cursor (less the overlap) to now (less the lag) into windows."""
    features = channel.features
    end = shop.now_ms() - features.lag_ms
    cursor = orders.cursor(shop.db, name)
    if since_ms is not None:
        start = since_ms
    elif cursor is not None:
        back_ms = features.overlap_ms
        if shop.now_ms() - (orders.cursor_moved_ms(shop.db, name) or 0) > LONG_AGO_MS:
            back_ms = max(back_ms, LOOK_BACK_MS)
        start = cursor - back_ms
    else:
        start = end - shop.config.sync.first_ms
        begun = house.number(shop.db, BEGUN + name)
        start = start if begun is None else min(start, begun)
    found: list[Window] = []
    while start < end and len(found) < MAX_WINDOWS:
        upper = min(end, start + features.window_max_ms)
        found.append(Window(start, upper))
        start = upper
    return found


class _Tally:
    def __init__(self) -> None:
        self.new = self.changed = self.refunds = self.unmapped = 0
        self.rejects: list[str] = []

    def add(self, other: _Tally) -> None:
        self.new += other.new
        self.changed += other.changed
        self.refunds += other.refunds
        self.unmapped += other.unmapped
        self.rejects += other.rejects


@dataclass(frozen=True, slots=True)
class _Pull:
    """What stays the same while one channel is pulled."""

    name: str
    channel: Channel
    account: str
    history: bool


def _pull(shop: Shop, pull: _Pull, window: Window, tally: _Tally) -> None:
    read_ms = shop.now_ms()
    for page in routes.pages(pull.name, pull.channel, window):
        tally.add(_store_page(shop, pull, page, window, read_ms))
        if not shop.db.rehearsing:
            pull.channel.acknowledge(page)
        read_ms = shop.now_ms()


def _store_page(
    shop: Shop, pull: _Pull, page: Page, window: Window, read_ms: int, *, again: int = 3
) -> _Tally:
    """Store one page in one transaction; a lost quarrel with another session is repeated."""
    tally = _Tally()
    facts = sorted((clean_fact(fact) for fact in page.orders), key=lambda f: f.number)
    try:
        with shop.db.tx():
            orders.lock_numbers(shop.db, pull.name, [fact.number for fact in facts])
            unpaid: dict[OrderId, bool] = {}
            for fact in facts:
                done = ingest(
                    shop,
                    pull.name,
                    fact,
                    account=pull.account,
                    history=pull.history,
                    read_ms=read_ms,
                )
                tally.new += done.new
                tally.changed += done.changed
                tally.refunds += done.refunded
                tally.unmapped += done.unmapped if done.new else 0
                if fact.status is OrderStatus.UNPAID:
                    unpaid[done.order_id] = fact.stock_lowered
            if unpaid:
                holds.place(shop, pull.name, unpaid)
            for reject in page.rejects:
                shop.audit("order_not_read", f"channel:{pull.name}", reject[:300])
            if page.last and _reaches(shop, pull.name, window):
                orders.move_cursor(shop.db, pull.name, window.to_ms, shop.now_ms())
    except Locked:
        if not again:
            raise
        return _store_page(shop, pull, page, window, read_ms, again=again - 1)
    tally.rejects.extend(page.rejects)
    return tally


def _reaches(shop: Shop, name: str, window: Window) -> bool:
    """Tell whether a window joins what was read: `--since` a later day must not skip the gap."""
    cursor = orders.cursor(shop.db, name)
    return cursor is None or window.from_ms <= cursor


def account_of(shop: Shop, channel: ChannelSettings) -> str:
    """Return the statement account of a channel: its own, else the one that names it."""
    if channel.account:
        return channel.account
    for account in shop.config.accounts.values():
        if channel.name in account.channels:
            return account.name
    return ""
