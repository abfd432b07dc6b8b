"""`kmtool order`: look at orders, ask why one waits, hold, release, send the same keys again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool.cli import doors, order_account, order_by_hand, order_cases, order_close, out
from kmtool.cli.order_why import view as why_view
from kmtool.errors import EXIT_PARTLY, UsageError
from kmtool.words import _

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block, Money
    from kmtool.operations.order_changes import OrderChanged
    from kmtool.operations.order_records import OrderPage, OrderRow, OrderShown

app = doors.noun(_("orders of all channels"))
Number = Annotated[str, typer.Argument(metavar="ORDER", help=_("number, channel:number or code"))]


@app.command("list", help=_("newest orders first"))
def list_(
    channel: Annotated[str, typer.Option(help=_("only this channel"))] = "",
    state: Annotated[str, typer.Option(help=_("only with a line in this state: held …"))] = "",
    buyer: Annotated[str, typer.Option(help=_("only this buyer or number"))] = "",
) -> None:
    """Show orders."""
    from kmtool.domain.states import LineState
    from kmtool.operations import orders

    if state and state not in set(LineState):
        raise UsageError(
            detail=_("there is no state {state}").format(state=state),
            mend="--state " + "|".join(LineState),
        )
    with doors.open_shop() as shop:
        result = orders.page(shop, limit=out.row_limit(), channel=channel, state=state, text=buyer)
    out.show(result, _list_view)
    if result.orders:
        out.hint(_("one of them: kmtool order show ORDER; why it waits: kmtool order why ORDER"))


@app.command("show", help=_("all that is known of an order"))
def show(number: Number) -> None:
    """Show one order."""
    from kmtool.operations import orders

    with doors.open_shop() as shop:
        result = orders.show(shop, number)
    out.show(result, _show_view)


@app.command("why", help=_("walk the gates: what it waits for and what opens it"))
def why(number: Number) -> None:
    """Explain an order."""
    from kmtool.operations import order_why

    with doors.open_shop() as shop:
        result = order_why.why(shop, number)
    out.show(result, why_view)


@app.command("hold", help=_("stop an order before its keys are bound"))
def hold(
    number: Number,
    reason: Annotated[str, typer.Option(help=_("why"))] = "held by hand",
    dry_run: doors.DryRun = False,
) -> None:
    """Hold an order."""
    from kmtool.operations import order_changes

    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        result = order_changes.hold(shop, number, reason)
    out.show(result, _changed_view)


@app.command("release", help=_("let an order go that a gate asks about"))
def release(
    number: Number,
    quantity: Annotated[int | None, typer.Option(help=_("pieces after a partial refund"))] = None,
    line: Annotated[str, typer.Option(help=_("the line --quantity speaks of, if several"))] = "",
    dry_run: doors.DryRun = False,
) -> None:
    """Release an order."""
    from kmtool.operations import order_changes

    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        result = order_changes.release(shop, number, quantity, line)
    out.show(result, _changed_view)
    out.hint(_("next: kmtool deliver {number}").format(number=number))


@app.command("redeliver", help=_("send the same keys again"))
def redeliver(
    number: Number,
    line: Annotated[
        str, typer.Option(help=_("only this line; a top-up that may have been charged needs it"))
    ] = "",
    dry_run: doors.DryRun = False,
) -> None:
    """Send the same keys again."""
    from kmtool.operations import deliver, order_changes

    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        result = order_changes.redeliver(shop, number, line)
        sent = None if dry_run else deliver.deliver(shop, [number])
    out.show(result, _changed_view)
    out.hint(_("how it went: kmtool order why {number}").format(number=number))
    if sent is not None and (sent.failed or sent.unknown or sent.needs_you):
        for note in sent.notes:
            out.note(note)
        out.finish(EXIT_PARTLY)


app.command("refund", help=_("a refund case: look at it, agree, refuse, record"))(
    order_cases.refund
)
app.command("replace", help=_("another key for a bad one"))(order_cases.replace)
app.command("evidence", help=_("the sheet for a dispute, to -o FILE"))(order_cases.evidence)
app.command("add", help=_("write down an order that came by chat"))(order_by_hand.add)
app.command("close", help=_("send nothing more of it: it was delivered otherwise"))(
    order_close.close
)
app.command("note", help=_("keep a note on an order"))(order_by_hand.note)
app.command("account", help=_("the account that a top-up charges"))(order_account.account)
app.command("charged", help=_("a charge was looked at: its amount, or an unclear outcome"))(
    order_account.charged
)


def _list_view(result: OrderPage) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Marked, Moment, Table
    from kmtool.operations.order_records import WORDS

    yield Table(
        columns=(
            Column("number", _("Order")),
            Column("channel", _("Channel")),
            Column("title", _("Item")),
            Column("quantity", _("Pcs")),
            Column("total", _("Paid")),
            Column("buyer", _("Buyer"), spare=True),
            Column("paid", _("When")),
            Column("state", _("State")),
        ),
        rows=[
            (
                row.number, row.channel, row.title, row.quantity,
                _paid(row), row.buyer, Moment(row.paid_ms),
                Marked(_state(row.state, row.gate, WORDS), _style(row.state)),
            )
            for row in result.orders
        ],
        id_key="number",
        total=result.total,
        empty=_("No orders yet. Get them: kmtool sync"),
    )  # fmt: skip


def _paid(order: OrderRow | OrderShown) -> Money | str:
    """Return what was paid; nobody knows it of a sale that a restore brought back."""
    from kmtool.cli.blocks import Money

    if order.assumed and not order.total_minor:
        return _("unknown")
    return Money(order.total_minor, order.currency)


def _state(state: str, gate: str, words: dict[str, str]) -> str:
    if gate and state == "held":
        return f"{_('held')} ({_(gate)})"
    told = _(words.get(state, "") or "in part 部分")
    return f"{told} ({_(gate)})" if gate and state in {"held", "part"} else told


def _style(state: str) -> str:
    return {"delivered": "good", "human": "bad", "refund_case": "bad", "held": "warn",
            "unknown": "warn", "unmapped": "warn"}.get(state, "")  # fmt: skip


def _show_view(result: OrderShown) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Facts, Heading, Marked, Moment, Money, Table
    from kmtool.operations.order_records import WORDS

    yield Heading(f"{result.channel} · {result.number}")
    yield Facts(
        [
            (_("Buyer"), f"{result.buyer} {result.contact}".strip()),
            (_("Paid"), _paid(result)),
            (_("Channel says"), f"{result.status}, {_('refund')}: {result.refund}"),
            (_("Code"), result.code),
            (_("Paid at"), Moment(result.paid_ms)),
            (_("Seen at"), Moment(result.seen_ms)),
            (_("Marked shipped"), Moment(result.marked_ms)),
            *([(_("You hold it"), result.hold)] if result.hold else []),
        ]
    )
    yield Table(
        columns=(
            Column("line", _("Line")),
            Column("title", _("Item")),
            Column("sku", "SKU"),
            Column("quantity", _("Pcs")),
            Column("amount", _("Paid")),
            Column("state", _("State")),
            Column("keys", _("Keys")),
            Column("reason", _("Reason")),
        ),
        rows=[
            (
                x.line, x.title, x.sku or "", x.quantity, Money(x.amount_minor, result.currency),
                Marked(_state(x.state, x.gate, WORDS), _style(x.state)), " ".join(x.keys), x.reason,
            )
            for x in result.lines
        ],
        id_key="line",
    )  # fmt: skip
    if result.attempts:
        yield Heading(_("What was tried"))
        yield Table(
            columns=(
                Column("at", _("When")),
                Column("effect", _("What")),
                Column("route", _("Route")),
                Column("n", _("Try")),
                Column("outcome", _("Outcome")),
                Column("detail", _("Answer")),
            ),
            rows=[
                (Moment(a.at_ms), a.effect, a.route, a.n, a.outcome, a.detail)
                for a in result.attempts
            ],
        )
    yield from order_account.purchases_view(result)
    yield from _cases_view(result)
    yield Heading(_("What happened"))
    yield Table(
        columns=(
            Column("at", _("When")),
            Column("actor", _("Who")),
            Column("action", _("What")),
            Column("detail", ""),
        ),
        rows=[(Moment(h.at_ms), h.actor, h.action, h.detail) for h in result.story],
        empty=_("Nothing yet."),
    )


def _cases_view(result: OrderShown) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Heading, Moment, Money, Table

    if result.replaced:
        yield Heading(_("Keys that were replaced"))
        yield Table(
            columns=(
                Column("line", _("Line")), Column("bad", _("Bad key")), Column("new", _("New key")),
                Column("at", _("When")), Column("reason", _("Reason")),
            ),
            rows=[(r.line, r.bad_key, r.new_key, Moment(r.at_ms), r.reason)
                  for r in result.replaced],
        )  # fmt: skip
    if result.decisions:
        yield Heading(_("Refunds decided"))
        yield Table(
            columns=(
                Column("at", _("When")), Column("actor", _("Who")), Column("answer", _("What")),
                Column("amount", _("Amount")), Column("reason", _("Reason")),
            ),
            rows=[(Moment(d.at_ms), d.actor, d.answer, Money(d.amount_minor, result.currency),
                   d.reason) for d in result.decisions],
        )  # fmt: skip
    if result.notes:
        yield Heading(_("Notes"))
        yield Table(
            columns=(Column("at", _("When")), Column("actor", _("Who")), Column("note", _("Note"))),
            rows=[(Moment(n.at_ms), n.actor, n.note) for n in result.notes],
        )


def _changed_view(result: OrderChanged) -> Iterable[Block]:
    from kmtool.cli.blocks import Line

    told = {
        "hold": _("order {number} of {channel} is on hold, lines: {n}"),
        "release": _("order {number} of {channel} may go, lines: {n}"),
        "redeliver": _("order {number} of {channel}: the same keys go again, lines: {n}"),
    }[result.action]
    yield Line(
        told.format(number=result.number, channel=result.channel, n=result.lines),
        "good",
    )
