"""What does not add up, and a person's decisions about it: link, unlink, write off, resolve.

A decision is a row with actor and reason. It stands above what a run finds, survives every run, and
is undone by another decision, never deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kmtool.domain.recon import EXCEPTIONS, Group, Severity
from kmtool.errors import NotFound, Refused, StateMoved, UsageError, told
from kmtool.shop import Shop
from kmtool.store import orders as order_store
from kmtool.store import recon_checks, recon_exceptions, recon_manual
from kmtool.store.db import Row


@dataclass(frozen=True, slots=True)
class Problem:
    """One exception as people see it: a group in plain words, the money, and the next command."""

    id: int
    code: str
    group: Group
    severity: Severity
    meaning: str
    account: str
    subject: str
    order: str
    line_id: int | None
    amount_minor: int
    currency: str
    state: str
    since_ms: int
    command: str


@dataclass(frozen=True, slots=True)
class Problems:
    """A list of exceptions, worst first."""

    exceptions: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """One step in the life of an exception."""

    state: str
    resolution: str
    actor: str
    reason: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Version:
    """What one file says of a line."""

    file: str
    line_no: int
    effective: bool
    occurred_ms: int
    kind: str
    gross_minor: int
    adjust_minor: int
    fee_minor: int
    net_minor: int
    currency: str
    ext_txn_id: str
    order_ref: str
    refund_ref: str
    note: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """An order that may belong to a line; `gap_s` is payment to line, in seconds."""

    order: str
    buyer: str
    sku: str
    expected_minor: int
    currency: str
    gap_s: int | None


@dataclass(frozen=True, slots=True)
class Figures:
    """An order's figures beside those of its statement lines."""

    order: str
    bucket: str
    reason: str
    expected_minor: int
    settled_minor: int
    refunded_minor: int
    recorded_minor: int
    adjust_minor: int
    fee_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """An exception with everything known about it."""

    exception: Problem
    versions: tuple[Version, ...]
    figures: Figures | None
    candidates: tuple[Candidate, ...]
    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision that was written; the next run acts on it."""

    what: str
    line_id: int | None
    order: str
    reason: str


@dataclass(frozen=True, slots=True)
class AccountDigest:
    """The digest of an account's state, and when a run last changed it."""

    account: str
    digest: str
    at_ms: int | None


@dataclass(frozen=True, slots=True)
class Digests:
    """The digests of all accounts."""

    digests: tuple[AccountDigest, ...]


def problems(
    shop: Shop,
    *,
    accounts: Sequence[str] | None = None,
    code: str = "",
    open_only: bool = True,
    min_minor: int = 0,
) -> tuple[Problem, ...]:
    """Return exceptions, worst first, then by money."""
    if code and code not in EXCEPTIONS:
        raise UsageError(
            detail="{code} is no code of an exception",
            code=code,
            mend="use one of: {exceptions}",
            exceptions=", ".join(EXCEPTIONS),
        )
    rows = recon_exceptions.listing(shop.db, accounts=accounts, open_only=open_only, code=code)
    rank = {name: n for n, name in enumerate(EXCEPTIONS)}
    found = [_problem(row) for row in rows if abs(row["amount_minor"]) >= min_minor]
    return tuple(sorted(found, key=lambda p: (rank[p.code], -abs(p.amount_minor), p.id)))


def show(shop: Shop, exception_id: int) -> Evidence:
    """Return one exception with its evidence, candidates and history."""
    row = _find(shop, exception_id)
    versions = recon_manual.versions(shop.db, row["line_id"]) if row["line_id"] else []
    candidates = recon_manual.candidates(shop.db, row["line_id"]) if row["line_id"] else []
    figures = recon_manual.figures(shop.db, row["order_id"]) if row["order_id"] else None
    return Evidence(
        exception=_problem(row),
        versions=tuple(Version(**v | {"effective": bool(v["effective"])}) for v in versions),
        figures=None if figures is None else Figures(**figures),
        candidates=tuple(_candidate(c) for c in candidates),
        moves=tuple(
            Move(**{k: v for k, v in m.items() if k != "n"})
            for m in recon_exceptions.moves(shop.db, exception_id)
        ),
    )


def link(shop: Shop, line_id: int, order: str, reason: str) -> Decided:
    """Give a line to an order by hand."""
    db = shop.db
    with db.tx():
        line = _line(shop, line_id)
        found = _order(shop, order, line["account"])
        _decide(shop, line, "manual", found["id"], reason)
    return Decided("linked", line_id, f"{found['channel']}:{found['number']}", reason)


def unlink(shop: Shop, line_id: int, reason: str) -> Decided:
    """Take back the decision about a line; where there is none, part it from its automatic match.

    What the last run wrote into the line may be older than the decision, so it is not asked first.
    """
    _need(reason)
    with shop.db.tx():
        line = _line(shop, line_id)
        decision = recon_manual.decision(shop.db, line_id)
        if decision is not None:
            recon_manual.end(shop.db, line_id, shop.now_ms())
            recon_manual.reverse(shop.db, decision, shop.actor, reason, shop.now_ms())
            shop.audit("recon.undo", f"line:{line_id}", f"{decision['pass']}: {reason}")
            return Decided("undone", line_id, "", reason)
        if line["pass"] not in recon_manual.AUTOMATIC or line["order_id"] is None:
            raise StateMoved(
                what=told("line {line_id}", line_id=line_id), state="linked to no order"
            )
        _decide(shop, line, "apart", None, reason)
    return Decided("unlinked", line_id, "", reason)


def write_off(shop: Shop, line_id: int, reason: str) -> Decided:
    """Put a line aside for good, with a reason; its money goes to the write-off account."""
    with shop.db.tx():
        _decide(shop, _line(shop, line_id), "write_off", None, reason)
    return Decided("written off", line_id, "", reason)


def resolve(shop: Shop, exception_id: int, reason: str) -> Decided:
    """Resolve an exception by hand; it comes back only if its evidence changes."""
    _need(reason)
    with shop.db.tx():
        row = _find(shop, exception_id)
        done = recon_exceptions.resolve(shop.db, exception_id, shop.actor, reason, shop.now_ms())
        if not done:
            raise StateMoved(
                what=told("exception {exception_id}", exception_id=exception_id), state=row["state"]
            )
        recon_exceptions.record_moves(shop.db, row["account"])
        shop.audit("recon.resolve", f"exception:{exception_id}", reason)
    return Decided("resolved", row["line_id"], _order_name(row), reason)


def digests(shop: Shop) -> Digests:
    """Return the digest of each account as the database is now."""
    found = []
    for name in sorted(shop.config.accounts):
        last = recon_checks.last_run(shop.db, name)
        at_ms = None if last is None else last["at_ms"]
        found.append(AccountDigest(name, recon_checks.digest(shop.db, name), at_ms))
    return Digests(tuple(found))


def _decide(shop: Shop, line: Row, how: str, order_id: int | None, reason: str) -> None:
    _need(reason)
    recon_manual.end(shop.db, line["id"], shop.now_ms())
    recon_manual.add(shop.db, line["id"], order_id, how, shop.actor, reason, shop.now_ms())
    shop.audit(f"recon.{how}", f"line:{line['id']}", reason)


def _need(reason: str) -> None:
    if not reason.strip():
        raise UsageError(detail="a decision needs a reason", mend='add --reason "…"')


def _line(shop: Shop, line_id: int) -> Row:
    found = recon_manual.line(shop.db, line_id)
    if found is None:
        raise NotFound(kind="line", name=line_id, mend="kmtool recon list shows the line numbers")
    return found


def _order(shop: Shop, name: str, account: str) -> Row:
    """Return an order by `channel:number` or by its number alone where that is unique."""
    channel, colon, number = name.partition(":")
    one = order_store.find(shop.db, channel, number) if colon else None
    found = [one] if one is not None else order_store.by_number(shop.db, name)
    if not found:
        raise NotFound(kind="order", name=name)
    if len(found) > 1:
        names = ", ".join(f"{row['channel']}:{row['number']}" for row in found)
        raise Refused(
            detail="more than one order has this number: {names}",
            names=names,
            mend="name one whole",
        )
    if found[0]["account"] != account:
        raise Refused(
            detail="order {name} belongs to the account 「{account}」, the line to {other}",
            name=name,
            account=found[0]["account"],
            other=account,
            mend="kmtool recon show shows which orders fit the line",
        )
    return found[0]


def _find(shop: Shop, exception_id: int) -> Row:
    found = recon_exceptions.find(shop.db, exception_id)
    if found is None:
        raise NotFound(kind="exception", name=exception_id, mend="kmtool recon list")
    return found


def _problem(row: Row) -> Problem:
    kind = EXCEPTIONS[row["code"]]
    command = kind.command.format(
        id=row["id"],
        order=_order_name(row),
        line=row["line_id"],
        file=row["file_id"],
        account=row["account"],
        profile=row["profile"],
    )
    too_much = row["code"] == "AMOUNT_MISMATCH" and row["amount_minor"] > 0
    return Problem(
        id=row["id"],
        code=row["code"],
        group=Group.MONEY_TOO_MUCH if too_much else kind.group,
        severity=kind.severity,
        meaning=kind.meaning,
        account=row["account"],
        subject=row["subject"],
        order=_order_name(row),
        line_id=row["line_id"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        state=row["state"],
        since_ms=row["opened_ms"],
        command=command,
    )


def _order_name(row: Row) -> str:
    return f"{row['channel']}:{row['number']}" if row["number"] else ""


def _candidate(row: Row) -> Candidate:
    name = row["buyer"]
    found = Candidate(**row)
    return replace(found, buyer=f"{name[:1]}***" if name else "")
