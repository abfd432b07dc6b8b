"""Reconcile: did each order get the right money, and did the money arrive?

Files are taken in first. Then each account is one transaction: lines are given to orders, lines and
orders are put into buckets, exceptions open and close, the ledger follows, and what must hold is
checked. Where it does not hold, nothing of the run stays. A run without new facts changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from pathlib import Path

from kmtool.clock import NEVER_MS, business_day, day_end_ms, day_start_ms
from kmtool.config import AccountSettings
from kmtool.domain.recon import (
    Situation,
    Verdict,
    days_between,
    due_day,
    judge,
    spans,
    uncovered,
)
from kmtool.errors import EXIT_DIFFERENCES, EXIT_INPUT, EXIT_PARTLY, Broken, NotFound, Refused
from kmtool.operations.recon import Problem, problems
from kmtool.operations.statements import Answers, FileReport, take_in
from kmtool.shop import Shop
from kmtool.store import ledger, recon, recon_checks, recon_exceptions, recon_ledger, statements
from kmtool.store.recon import Scope, Span
from kmtool.store.recon_exceptions import Gap


@dataclass(frozen=True, slots=True)
class MoneyLine:
    """due = received + fees + refunded + not_due + missing + unexplained, over orders.

    `unexplained` is what settled orders got too little (negative: too much). `unmatched` is money
    on statements that no order explains; `other` are fees and subsidies of no order.
    """

    currency: str
    due_minor: int = 0
    received_minor: int = 0
    fees_minor: int = 0
    refunded_minor: int = 0
    not_due_minor: int = 0
    missing_minor: int = 0
    unexplained_minor: int = 0
    unmatched_minor: int = 0
    other_minor: int = 0

    def plus(self, other: MoneyLine) -> MoneyLine:
        """Return the sum of two money lines of one currency."""
        assert self.currency == other.currency
        names = [f.name for f in fields(self) if f.name != "currency"]
        sums = {name: getattr(self, name) + getattr(other, name) for name in names}
        return MoneyLine(self.currency, **sums)


@dataclass(frozen=True, slots=True)
class AccountResult:
    """What a run found for one account. `changes` counts the rows it touched."""

    account: str
    money: MoneyLine
    lines: Mapping[str, int]
    orders: Mapping[str, int]
    exceptions: Mapping[str, int]
    changes: int
    digest: str


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What a call found: first the money, then what does not add up."""

    files: tuple[FileReport, ...]
    money: MoneyLine
    lines: Mapping[str, int]
    orders: Mapping[str, int]
    exceptions: Mapping[str, int]
    accounts: tuple[AccountResult, ...]
    problems: tuple[Problem, ...] = field(default=())

    @property
    def exit_code(self) -> int:
        """Return 9 or 6 when every file was refused, 3 when some were, 8 with open exceptions."""
        refused = [report for report in self.files if report.refusal is not None]
        if refused and len(refused) == len(self.files):
            answerable = all(r.refusal is not None and r.refusal.override for r in refused)
            return Refused.exit_code if answerable else EXIT_INPUT
        if refused:
            return EXIT_PARTLY
        return EXIT_DIFFERENCES if any(self.exceptions.values()) else 0


def reconcile(
    shop: Shop,
    paths: Sequence[Path] = (),
    answers: Answers | None = None,
    from_day: date | None = None,
    to_day: date | None = None,
) -> Reconciliation:
    """Take in files, run over the chosen accounts, and say what the days asked for look like.

    The run always covers every open line and order; the days only choose what is shown. When every
    file is refused there is no run.
    """
    answers = answers or Answers()
    shop.must_be_writable()
    chosen = _chosen(shop, answers.account)
    reports = take_in(shop, paths, answers).files
    if reports and all(report.refusal is not None for report in reports):
        return _put_together(shop, reports, (), ())
    zone = shop.config.shop.timezone
    days = (
        day_start_ms(from_day, zone) if from_day else 0,
        day_end_ms(to_day, zone) if to_day else NEVER_MS,
    )
    results = tuple(run_account(shop, account, days) for account in chosen)
    _run_outside(shop)
    open_ones = problems(shop, accounts=[account.name for account in chosen])
    return _put_together(shop, reports, results, open_ones)


def _chosen(shop: Shop, name: str | None) -> list[AccountSettings]:
    accounts = shop.config.accounts
    if name is None:
        if not accounts:
            raise Refused(
                detail="no channel says yet where its money arrives",
                mend="kmtool channel set CHANNEL --account NAME (one name per wallet)",
            )
        return [accounts[key] for key in sorted(accounts)]
    if name not in accounts:
        known = ", ".join(sorted(accounts)) or "none"
        raise NotFound(
            kind="account", name=name, mend="use one of [accounts.…]: {known}", known=known
        )
    return [accounts[name]]


def run_account(
    shop: Shop, account: AccountSettings, days: tuple[int, int] = (0, NEVER_MS)
) -> AccountResult:
    """Run over one account in one transaction; raises `Broken` and undoes it if it is wrong."""
    db = shop.db
    with db.tx():
        recon.lock(db)
        scope = _scope(shop, account)
        entries = recon_checks.last_entry(db)
        changes = recon.assign(db, scope) + recon.classify(db, scope)
        changes += recon.record_matches(db, scope)
        calendar = _Calendar(shop, account, scope.has_trade)
        changes += recon.sum_up(db, scope, calendar.spans(recon.event_range(db, account.name)))
        verdicts = {bits: judge(Situation.of(bits)) for bits in recon.situations(db, account.name)}
        changes += recon.place_orders(db, account.name, verdicts)
        changes += _exceptions(shop, scope, verdicts, calendar)
        changes += _opening(shop, account) + recon_ledger.book(db, scope)
        broken = recon_checks.broken(db, scope, account.opening_minor, entries)
        if broken:
            raise Broken(detail="; ".join(broken), where=f"account {account.name}")
        digest = _remember(shop, scope, changes)
        money = recon_checks.money(db, account.name, *days)
        lines, orders, open_ones = recon_checks.counts(db, account.name, *days)
    return AccountResult(
        account.name,
        MoneyLine(account.currency, **{f"{name}_minor": value for name, value in money.items()}),
        lines,
        orders,
        open_ones,
        changes,
        digest,
    )


def _scope(shop: Shop, account: AccountSettings) -> Scope:
    planes = statements.planes(shop.db, account.name)
    return Scope(
        account=account.name,
        currency=account.currency,
        has_trade="trade" in planes,
        has_flow=bool(planes & {"flow", "both"}),
        split=account.split_settlement,
        now_ms=shop.now_ms(),
        actor=shop.actor,
    )


def _exceptions(
    shop: Shop, scope: Scope, verdicts: Mapping[int, Verdict], calendar: _Calendar
) -> int:
    gaps = calendar.gaps()
    moved = recon_exceptions.resolve_by_rule(shop.db, scope, verdicts, gaps)
    moved += recon_exceptions.open_and_reopen(shop.db, scope, verdicts, gaps)
    return moved + recon_exceptions.record_moves(shop.db, scope.account)


def _opening(shop: Shop, account: AccountSettings) -> int:
    """Book what the wallet held at the start; a changed figure books the difference."""
    equity = f"equity:opening:{account.name}"
    posted = -ledger.balance(shop.db, equity, account.currency)
    missing = account.opening_minor - posted
    if not missing:
        return 0
    ref = f"{account.name}#{recon_checks.openings(shop.db, account.name) + 1}"
    postings = [
        (f"wallet:{account.name}", account.currency, missing),
        (equity, account.currency, -missing),
    ]
    ledger.post(shop.db, shop.now_ms(), "opening", ref, "", postings)
    return 1


def _remember(shop: Shop, scope: Scope, changes: int) -> str:
    """Return the digest; write a run row only where the run changed something."""
    last = recon_checks.last_run(shop.db, scope.account)
    if not changes and last is not None:
        return str(last["digest"])
    digest = recon_checks.digest(shop.db, scope.account)
    recon_checks.add_run(shop.db, scope, changes, digest)
    return digest


def _run_outside(shop: Shop) -> None:
    """Orders of no configured account are out of scope; what they brought in is booked."""
    with shop.db.tx():
        recon.lock(shop.db)
        recon.place_outside(shop.db, sorted(shop.config.accounts))
        for name in recon.outside_accounts(shop.db, sorted(shop.config.accounts)):
            scope = Scope(
                name, shop.config.shop.currency, False, False, False, shop.now_ms(), shop.actor
            )
            recon_ledger.book(shop.db, scope)


class _Calendar:
    """When money of a day is due, and which days no statement covers."""

    def __init__(self, shop: Shop, account: AccountSettings, has_trade: bool) -> None:
        self.shop = shop
        self.account = account
        self.zone = shop.config.shop.timezone
        self.today = business_day(shop.now_ms(), self.zone)
        days = statements.covered_days(shop.db, account.name, trade=has_trade)
        self.covered = frozenset(date.fromisoformat(day) for day in days)

    def due(self, event: date) -> date:
        """Return the day on which money for an event must have come."""
        return due_day(event, self.account.settle_lag_days, self.account.publish_lag_days)

    def spans(self, moments: tuple[int, int] | None) -> list[Span]:
        """Return one span per run of days with the same answer."""
        if moments is None:
            return []
        found: list[Span] = []
        first, last = (business_day(at, self.zone) for at in moments)
        for day in days_between(first, last):
            due = self.due(day)
            answer = due <= self.today, not uncovered(day, due, self.covered)
            if found and (found[-1].due, found[-1].covered) == answer:
                found[-1] = Span(found[-1].from_ms, day_end_ms(day, self.zone), *answer)
            else:
                start, end = day_start_ms(day, self.zone), day_end_ms(day, self.zone)
                found.append(Span(start, end, *answer))
        return found

    def gaps(self) -> list[Gap]:
        """Return the days that orders wait for and no statement covers; today is not over yet."""
        missing: set[date] = set()
        after = 0
        while (event := recon.next_wait(self.shop.db, self.account.name, after)) is not None:
            day = business_day(event, self.zone)
            missing.update(uncovered(day, self.due(day), self.covered))
            after = day_end_ms(day, self.zone)
        past = [day for day in missing if day < self.today]
        return [Gap(first.isoformat(), last.isoformat()) for first, last in spans(past)]


def _put_together(
    shop: Shop,
    files: tuple[FileReport, ...],
    results: tuple[AccountResult, ...],
    open_ones: tuple[Problem, ...],
) -> Reconciliation:
    money = MoneyLine(shop.config.shop.currency)
    for result in results:
        if result.money.currency == money.currency:
            money = money.plus(result.money)
    return Reconciliation(
        files=files,
        money=money,
        lines=_added(result.lines for result in results),
        orders=_added(result.orders for result in results),
        exceptions=_added(result.exceptions for result in results),
        accounts=results,
        problems=open_ones,
    )


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for found in counts:
        for name, number in found.items():
            total[name] = total.get(name, 0) + number
    return dict(sorted(total.items()))
