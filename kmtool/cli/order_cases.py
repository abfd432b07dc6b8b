"""`kmtool order refund|evidence|replace`: when a buyer wants the money back or another key."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool.cli import doors, options, out
from kmtool.errors import UsageError
from kmtool.words import _, plural

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block
    from kmtool.operations.order_evidence import EvidenceWritten
    from kmtool.operations.order_replace import Replaced
    from kmtool.operations.refund_records import Decided, Decision, RefundCase
    from kmtool.shop import Shop

Number = Annotated[str, typer.Argument(metavar="ORDER", help=_("number, channel:number or code"))]
Lines = Annotated[list[str] | None, typer.Option("--line", help=_("only these lines"))]


def refund(  # noqa: PLR0913, PLR0917  (the options of one command)
    number: Number,
    agree: Annotated[bool, typer.Option("--agree", help=_("the buyer gets the money"))] = False,
    refuse: Annotated[bool, typer.Option("--refuse", help=_("the buyer keeps the key"))] = False,
    record: Annotated[bool, typer.Option("--record", help=_("it was settled elsewhere"))] = False,
    amount: Annotated[str, typer.Option(help=_("how much, if not all that is asked for"))] = "",
    line: Lines = None,
    reason: Annotated[str, typer.Option(help=_("why; the buyer may read it"))] = "",
    key: Annotated[str, typer.Option(help=_("what becomes of the keys: keep or void"))] = "keep",
    bearer: Annotated[str, typer.Option(help=_("who bears them: shop or supplier"))] = "",
    dry_run: doors.DryRun = False,
) -> None:
    """Show a refund case, or decide on it: agree, refuse, or record what was settled elsewhere."""
    from kmtool.operations import refund_case

    flags = {"agree": agree, "refuse": refuse, "record": record}
    answer = _one_of([name for name, given in flags.items() if given], number)
    with doors.open_shop(writes=bool(answer), dry_run=dry_run and bool(answer)) as shop:
        case = refund_case.case(shop, number)
        if not answer:
            out.show(case, _case_view)
            answer = _asked(case)
            if not answer:
                return
            shop.must_be_writable()
        wish = _wish(shop, answer, amount, line or [], reason, key, bearer)
        decided = _decide(shop, case, wish)
    out.show(decided, _decided_view)
    _say_what_is_left(decided)


def _one_of(given: list[str], number: str) -> str:
    if len(given) > 1:
        raise UsageError(
            detail="one answer at a time: --agree, --refuse or --record",
            mend="kmtool order refund {number}",
            number=number,
        )
    return given[0] if given else ""


def _asked(case: RefundCase) -> str:
    """Ask for the answer where a person looks at a case that waits for one."""
    if not case.undecided or options.current().machine or not out.can_ask():
        return ""
    if case.refund == "open":
        answer = out.ask(_("a agree, r refuse, Enter leave it:"), flag="--agree").lower()
        return {"a": "agree", "r": "refuse"}.get(answer, "")
    answer = out.ask(_("d it is settled, Enter leave it:"), flag="--record").lower()
    return "record" if answer == "d" else ""


def _wish(  # noqa: PLR0913, PLR0917  (what was typed)
    shop: Shop, answer: str, amount: str, lines: list[str], reason: str, key: str, bearer: str
) -> Decision:
    from kmtool.cli.values import price
    from kmtool.operations.refund_records import Answer, Bearer, Decision, Fate

    if key not in set(Fate) or bearer not in {"", *Bearer}:
        raise UsageError(detail="this is no answer", mend="--key keep|void, --bearer shop|supplier")
    return Decision(
        answer=Answer(answer),
        amount_minor=price(amount, shop.config.shop.currency),
        lines=tuple(lines),
        reason=reason,
        keys=Fate(key),
        bearer=Bearer(bearer) if bearer else None,
    )


def _decide(shop: Shop, case: RefundCase, wish: Decision) -> Decided:
    from kmtool.operations import deliver, order_refund

    name = f"{case.channel}:{case.number}"
    is_open = case.refund == "open" and case.by_channel
    if wish.answer == "agree" and is_open and not shop.db.rehearsing:
        sum_minor = case.asked_minor or case.total_minor
        if wish.amount_minor is not None:
            sum_minor = wish.amount_minor
        money = out.money(sum_minor, case.currency)
        out.confirm(
            _("Agree to pay {money} of order {number} back?").format(
                money=money, number=case.number
            )
        )
    decided = order_refund.decide(shop, name, wish)
    if decided.told == "channel" and not shop.db.rehearsing:
        deliver.deliver(shop, [name])
    return decided


def _say_what_is_left(decided: Decided) -> None:
    """Name what kmtool cannot do itself, and where it is done."""
    if decided.told == "by_hand":
        out.note(
            _(
                "Now answer it at {channel} too, order {number}: kmtool cannot do that there."
            ).format(channel=decided.channel, number=decided.number)
        )
    if decided.still_open:
        out.note(_("Whether the keys arrived is still asked; the line stays a case until then."))
    for debit in decided.debits:
        if debit.ask == "void" and debit.state == "open":
            out.note(
                _("Ask {supplier} to make {key} void; nobody did that yet.").format(
                    supplier=debit.supplier, key=debit.key
                )
            )
    suppliers = dict.fromkeys(d.supplier for d in decided.debits if d.state == "open")
    for supplier in suppliers:
        out.hint(f"kmtool settle adjust {supplier}")
    out.hint(_("the order: kmtool order show {number}").format(number=decided.number))


def evidence(
    number: Number,
    reveal: Annotated[bool, typer.Option("--reveal", help=_("whole keys, audited"))] = False,
) -> None:
    """Write the sheet for a dispute to -o FILE.html, FILE.json or FILE.txt; keys are masked."""
    from kmtool.operations import order_evidence

    asked = options.current()
    name, asked.output = asked.output, ""
    if not name:
        raise UsageError(
            detail="evidence where?",
            mend="kmtool order evidence {number} -o evidence.html",
            number=number,
        )
    with doors.open_shop(writes=reveal) as shop:
        if reveal:
            out.confirm(_("Write whole keys of order {number}?").format(number=number))
        result = order_evidence.write(shop, number, Path(name), reveal=reveal)
    out.show(result, _evidence_view)


def replace(
    number: Number,
    reason: Annotated[str, typer.Option(help=_("what was wrong with it"))],
    line: Annotated[str, typer.Option(help=_("the line, if several have keys"))] = "",
    key: Annotated[str, typer.Option(help=_("the last characters of the bad key"))] = "",
    all_keys: Annotated[bool, typer.Option("--all-keys", help=_("all keys of the line"))] = False,
    dry_run: doors.DryRun = False,
) -> None:
    """Give a buyer another key for a bad one, on the same line, and send it."""
    from kmtool.operations import deliver, order_replace

    every = all_keys or options.current().all
    wish = order_replace.ReplaceWish(reason=reason, line=line, key=key, all_keys=every)
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        plan = order_replace.plan(shop, number, wish)
        if plan.often and not dry_run:
            question = plural(
                "{n} key was replaced for this buyer within 30 days. Another one?",
                "{n} keys were replaced for this buyer within 30 days. Another one?",
                plan.so_far,
            )
            out.confirm(question.format(n=plan.so_far))
        result = order_replace.replace(shop, number, wish, sure=plan.often)
        if result.new_keys and not dry_run:
            deliver.deliver(shop, [f"{result.channel}:{result.number}"])
    out.show(result, _replaced_view)
    out.hint(_("how it went: kmtool order show {number}").format(number=result.number))


def _case_view(case: RefundCase) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Facts, Heading, Line, Moment, Money, Table
    from kmtool.operations.order_records import WORDS
    from kmtool.operations.refund_records import STAGES, Stage

    yield Heading(f"{case.channel} · {case.number}")
    yield Facts(
        [
            (_("Buyer"), case.buyer),
            (_("Channel says"), f"{case.status}, {_('refund')}: {case.refund}"),
            (_("Paid"), Money(case.total_minor, case.currency)),
            (_("Asked for"), Money(case.asked_minor, case.currency)),
            (_("Paid back"), Money(case.refunded_minor, case.currency)),
            (_("Paid at"), Moment(case.paid_ms)),
            (_("How far it was"), _(STAGES[Stage(case.stage)]) if case.stage else ""),
        ]
    )
    yield Table(
        columns=(
            Column("line", _("Line")), Column("title", _("Item")), Column("amount", _("Paid")),
            Column("state", _("State")), Column("tries", _("Tries")),
            Column("outcome", _("Outcome")),
        ),
        rows=[
            (x.line, x.title, Money(x.amount_minor, case.currency), _(WORDS.get(x.state, x.state)),
             x.tries, x.outcome)
            for x in case.lines
        ],
    )  # fmt: skip
    if case.keys:
        yield Table(
            columns=(
                Column("line", _("Line")), Column("key", _("Key")), Column("state", _("State")),
                Column("sent", _("Sent")), Column("delivered", _("Delivered")),
                Column("cost", _("Cost")), Column("supplier", _("Supplier")),
                Column("sheet", _("Sheet")),
            ),
            rows=[
                (k.line, k.key, _(WORDS.get(k.state, k.state)), Moment(k.exposed_ms),
                 Moment(k.delivered_ms), Money(k.cost_minor, case.currency),
                 f"{k.supplier} ({k.mode})", k.sheet)
                for k in case.keys
            ],
        )  # fmt: skip
    yield from _decisions_view(case)
    if case.answers:
        yield Heading(_("What you can do"))
        for one in case.answers:
            yield Line(f"  {one.command}")
            yield Line("      " + _("{meaning}").format(meaning=one.meaning), "dim")
    else:
        yield Line(_("There is nothing to decide."), "good")


def _decisions_view(case: RefundCase) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Moment, Money, Table

    if case.decisions:
        yield Table(
            columns=(
                Column("at", _("Decided")), Column("actor", _("Who")), Column("answer", _("What")),
                Column("amount", _("Amount")), Column("bearer", _("Bears it")),
                Column("told", _("Told by")), Column("reply", _("Answer")),
                Column("reason", _("Reason")),
            ),
            rows=[
                (Moment(d.at_ms), d.actor, d.answer, Money(d.amount_minor, case.currency),
                 d.bearer, d.told, d.reply, d.reason)
                for d in case.decisions
            ],
        )  # fmt: skip


def _decided_view(decided: Decided) -> Iterable[Block]:
    from kmtool.cli.blocks import Line

    words = {
        "agree": _("agreed: {money} of order {number} go back, lines ended: {n}"),
        "refuse": _("refused: {money} of order {number} stay, lines delivered again: {n}"),
        "record": _("recorded: {money} of order {number} went back, lines ended: {n}"),
    }
    money = out.money(decided.amount_minor, decided.currency)
    told = words[decided.answer].format(money=money, number=decided.number, n=decided.lines)
    yield Line(told, "good")
    if decided.answer != "refuse":
        bears = _("the shop bears the keys")
        if decided.bearer == "supplier":
            bears = _("the supplier is asked to bear the keys")
        yield Line(bears)


def _evidence_view(result: EvidenceWritten) -> Iterable[Block]:
    from kmtool.cli.blocks import Facts

    yield Facts(
        [
            (_("written"), result.file),
            (_("keys"), result.keys),
            (_("tries"), result.attempts),
            ("SHA-256", result.sha256),
        ]
    )


def _replaced_view(result: Replaced) -> Iterable[Block]:
    from kmtool.cli.blocks import Line

    if result.new_keys:
        yield Line(
            _("replaced {bad} by {new} on line {line} of order {number}").format(
                bad=", ".join(result.bad_keys),
                new=", ".join(result.new_keys),
                line=result.line,
                number=result.number,
            ),
            "good",
        )
    if result.waiting:
        told = plural(
            "{n} key waits for stock; it goes out when there is some",
            "{n} keys wait for stock; they go out when there is some",
            result.waiting,
        )
        yield Line(told.format(n=result.waiting), "warn")
