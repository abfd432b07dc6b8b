"""`kmtool status` (and `kmtool` alone): the morning screen, within 80 columns and 24 lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

import typer

from kmtool.cli import doors, options, out
from kmtool.cli.blocks import Block, Heading, Line, cut, plain, width
from kmtool.operations import status as operation
from kmtool.operations.doctor import Check
from kmtool.operations.status import NeedsYou, Status
from kmtool.words import _, plural, tell

COLUMNS = 80
NEEDS_MAX = 7
FEW = 3
EVERY_S = 5.0
WHAT_MIN = 8


def status(
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help=_("show it again every five seconds"))
    ] = False,
) -> None:
    """Show the last day, what needs you, what runs out, and whether all is well."""
    clock = doors.clock()
    while True:
        with doors.open_shop() as shop:
            result = operation.status(shop)
        if watch and not options.current().machine:
            out.clear()
        out.show(result, screen)
        if not watch:
            return
        out.flush()
        clock.sleep(EVERY_S)


def screen(result: Status) -> Iterable[Block]:
    """Return the morning screen: at most 23 lines of 80 columns."""
    away = next((check for check in result.checks if check.name == "host" and not check.ok), None)
    if away is not None:
        yield Line(_fit(_("Nothing is sent from here: {why}").format(why=away.figure)), "bad")
    yield Line(_fit(_sentence(result)), "bad" if result.day.waiting else "good")
    yield from _needs(result)
    if result.runs_out:
        yield Heading(_("Runs out"))
        for one in result.runs_out[:FEW]:
            told = _("  low: kmtool import FILE --sku {sku} ({free} left)")
            if one.days is not None:
                told = _("  {days} days  {sku}: {free} left, {sold} sold in 14 days")
            days = f"{one.days or 0:g}"
            told = told.format(days=days, sku=one.sku, free=one.free, sold=one.sold)
            yield Line(_fit(told), "warn")
    if result.owed:
        owed = (f"{one.account} {out.money(one.amount_minor, one.currency)}" for one in result.owed)
        yield Line(_fit(_("Owed by channels: {owed}").format(owed=", ".join(owed))))
    if result.paused:
        why = [f"{one.scope} ({one.reason})" if one.reason else one.scope for one in result.pauses]
        yield Line(_fit(_("Paused: {what}").format(what=", ".join(why))), "warn")
    for line in _health(result.checks):
        yield Line(_fit(line))
    for check in result.checks:
        if not check.ok and check is not away:
            told = _("  {name}: {figure} → {mend}").format(
                name=check.name, figure=check.figure, mend=check.mend
            )
            yield Line(_fit(told), "warn")


def _sentence(result: Status) -> str:
    day = result.day
    parts = [
        plural("24 h: {n} order", "24 h: {n} orders", day.orders).format(n=day.orders),
        _("{n} delivered").format(n=day.delivered),
        plural("{n} waits for you", "{n} wait for you", day.waiting).format(n=day.waiting),
    ]
    net = " + ".join(out.money(one.amount_minor, one.currency) for one in day.net)
    return _(", ").join(parts) + (_("; net {money}").format(money=net) if net else "")


def _needs(result: Status) -> Iterator[Block]:
    if not result.needs_you:
        return
    yield Heading(_("Needs you 要你处理"))
    shown = result.needs_you[:NEEDS_MAX]
    rows = [(_amount(one), _age(result.at_ms, one.since_ms), one) for one in shown]
    money_width = max(width(money) for money, _age_text, _one in rows)
    age_width = max(len(age) for _money, age, _one in rows)
    for money, age, one in rows:
        room = COLUMNS - 2 - money_width - 2 - age_width - 2 - width(one.command) - 2
        what = cut(plain(tell(one.what)), max(WHAT_MIN, room))
        pad = " " * (money_width - width(money))
        head = f"  {pad}{money}  {age:>{age_width}}  {what}"
        space = " " * max(2, COLUMNS - width(head) - width(one.command))
        yield Line(f"{head}{space}{plain(one.command)}", "bad" if one.rank == 0 else "")
    more = len(result.needs_you) - len(shown)
    if more:
        yield Line(_("  and {n} more: kmtool status --json").format(n=more), "dim")


def _health(checks: Iterable[Check]) -> Iterator[str]:
    """Tell of daemon, backup and jobs, on one line where they fit."""
    told = {check.name: check.figure for check in checks}
    daemon, backup = tell(told["daemon"]).partition(";")[0], told["backup"]
    whole = _("Daemon: {daemon} · backup: {backup} · jobs: {jobs}").format(
        daemon=daemon, backup=backup, jobs=told["jobs"]
    )
    if width(whole) <= COLUMNS:
        yield whole
        return
    yield _("Daemon: {daemon}").format(daemon=daemon)
    yield _("Backup: {backup} · jobs: {jobs}").format(backup=backup, jobs=told["jobs"])


def _amount(one: NeedsYou) -> str:
    if one.assumed and not one.amount_minor:
        return _("unknown")
    return out.money(one.amount_minor, one.currency)


def _age(now_ms: int, since_ms: int) -> str:
    minutes = max(0, now_ms - since_ms) // 60_000
    if minutes < 60:
        return f"{minutes}m"
    return f"{minutes // 60}h" if minutes < 48 * 60 else f"{minutes // 1440}d"


def _fit(text: str) -> str:
    return cut(plain(text), COLUMNS)
