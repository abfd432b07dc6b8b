"""`kmtool channel`: where orders come from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool import registry
from kmtool.cli import channel_items, channel_work, doors, out
from kmtool.cli.blocks import Block, Column, Facts, Heading, Line, Marked, Moment, Money, Table
from kmtool.errors import EXIT_DIFFERENCES, UsageError
from kmtool.operations import channel_preview, channels, house
from kmtool.operations.channel_preview import FilePreview
from kmtool.operations.channels import (
    ChannelChange,
    ChannelList,
    ChannelTest,
    NewChannel,
)
from kmtool.operations.config_text import Value
from kmtool.words import _, plural

if TYPE_CHECKING:
    from kmtool.shop import Shop

app = doors.noun(_("where orders come from"))
app.command("report", help=_("watched: what would have been sent against what was"))(
    channel_work.report
)
app.command("release", help=_("let all orders go that wait for your word (mode ask)"))(
    channel_work.release
)
app.command("ship-file", help=_("the platform's batch-ship file of what was delivered"))(
    channel_work.ship_file
)

Name = Annotated[str, typer.Argument(help=_("its name: what you call this shop"))]
Mode = Annotated[str, typer.Option(help=_("watch: send nothing, ask: wait for you, auto: send"))]
Couriers = Annotated[
    list[str] | None, typer.Option("--courier", help=_("route: how keys reach the buyer"))
]
Account = Annotated[str, typer.Option(help=_("statement account where its money arrives"))]
Url = Annotated[str, typer.Option(help=_("address of the shop"))]
Credentials = Annotated[
    list[str] | None,
    typer.Option("--credential", metavar="NAME=WHERE", help=_("secret:NAME, env:NAME, file:PATH")),
]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help=_("an option of the adapter")),
]
Maps = Annotated[
    list[str] | None, typer.Option("--map", metavar="COLUMN=ROLE", help=_("what a column means"))
]
Statuses = Annotated[
    list[str] | None,
    typer.Option("--status", metavar="WORD=STATE", help=_("what a status word means")),
]
Refunds = Annotated[
    list[str] | None,
    typer.Option("--refund", metavar="WORD=STATE", help=_("what a refund word means")),
]
Preset = Annotated[str, typer.Option(help=_("column preset of the export; guessed if not given"))]


@app.command("list", help=_("all channels: mode, how far pulled, what waits for a mapping"))
def list_() -> None:
    """List channels."""
    with doors.open_shop() as shop:
        result = channels.every(shop)
    out.show(result, _list)
    if not result.channels:
        out.hint(_("connect one: kmtool channel add NAME --by-file FILE"))


@app.command("add", help=_("connect a shop: by its exported files, or by its API"))
def add(  # noqa: PLR0913, PLR0917  (the options of one command)
    name: Name,
    adapter: Annotated[str, typer.Option(help=_("what it speaks to"))] = "",
    by_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help=_("an order export, to look at"))
    ] = None,
    preset: Preset = "",
    mode: Mode = "",
    courier: Couriers = None,
    account: Account = "",
    url: Url = "",
    credential: Credentials = None,
    option: Options = None,
    map_: Maps = None,
    status: Statuses = None,
    refund: Refunds = None,
    dry_run: doors.DryRun = False,
) -> None:
    """Add a channel."""
    options = _options(url, option, {"map": map_, "status": status, "refund": refund})
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        seen = channel_preview.preview(shop, by_file, preset, options) if by_file else None
        chosen = channel_preview.BY_FILE if seen else adapter or _which()
        options |= {"preset": seen.preset} if seen else {"preset": preset} if preset else {}
        wanted = NewChannel(
            name, chosen, mode, tuple(courier or ()), account, "", _pairs(credential), options
        )
        result = channels.add(shop, wanted, seen)
        if result.missing_secrets and not dry_run and out.can_ask():
            result = _ask_secrets(shop, result)
    out.show(result, _added)
    _next_steps(result)


@app.command("set", help=_("change a channel: its mode, routes, account, options"))
def set_(  # noqa: PLR0913, PLR0917  (the options of one command)
    name: Name,
    mode: Mode = "",
    courier: Couriers = None,
    account: Account = "",
    url: Url = "",
    preset: Preset = "",
    credential: Credentials = None,
    option: Options = None,
    map_: Maps = None,
    status: Statuses = None,
    refund: Refunds = None,
    dry_run: doors.DryRun = False,
) -> None:
    """Change a channel."""
    options = _options(url, option, {"map": map_, "status": status, "refund": refund})
    options |= {"preset": preset} if preset else {}
    wanted = NewChannel(
        name, "", mode, tuple(courier or ()), account, "", _pairs(credential), options
    )
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        result = channels.alter(shop, wanted)
    out.show(result, _changed)


@app.command("test", help=_("try it: access, clock, routes; changes nothing over there"))
def test(names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]…")] = None) -> None:
    """Try channels."""
    with doors.open_shop() as shop:
        result = channels.test(shop, names or ())
    out.show(result, _tested)
    if result.failed:
        out.finish(EXIT_DIFFERENCES)


@app.command("items", help=_("what it lists, which product each is, what is off the shelf"))
def items(name: Name) -> None:
    """List what a channel lists."""
    from kmtool.operations import shelf

    with doors.open_shop() as shop:
        result = shelf.items(shop, name)
    out.show(result, channel_items.view)
    if result.unmapped:
        out.hint(_("one of them: kmtool product map CHANNEL ITEM SKU"))


def _which() -> str:
    known = ", ".join(registry.names("channel"))
    chosen = out.ask(
        _("Which adapter ({known})? file: your shop exports its orders").format(known=known),
        flag="--adapter NAME or --by-file FILE",
    )
    if not chosen:
        raise UsageError(
            detail="no adapter was chosen", mend="kmtool channel add NAME --by-file FILE"
        )
    return chosen


def _ask_secrets(shop: Shop, result: ChannelChange) -> ChannelChange:
    for name in result.missing_secrets:
        house.set_secret(shop, name, out.secret_prompt(name))
    return replace(result, missing_secrets=())


def _options(
    url: str, plain: list[str] | None, tables: dict[str, list[str] | None]
) -> dict[str, Value | dict[str, str]]:
    found: dict[str, Value | dict[str, str]] = {"url": url} if url else {}
    found |= {name: _value(text) for name, text in _pairs(plain).items()}
    return found | {name: _pairs(words) for name, words in tables.items() if words}


def _pairs(words: list[str] | None) -> dict[str, str]:
    found = {}
    for word in words or ():
        name, equals, value = word.rpartition("=")
        if not equals or not name.strip() or not value.strip():
            raise UsageError(detail="{word} lacks a name or a value", word=word, mend="NAME=VALUE")
        found[name.strip()] = value.strip()
    return found


def _value(text: str) -> Value:
    if text in {"true", "false"}:
        return text == "true"
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


def _list(result: ChannelList) -> Iterable[Block]:
    styles = {"watch": "dim", "ask": "warn", "auto": "good"}
    yield Table(
        columns=(
            Column("channel", _("Channel")),
            Column("adapter", _("Adapter")),
            Column("mode", _("Mode")),
            Column("couriers", _("Routes")),
            Column("cursor", _("Pulled up to")),
            Column("unmapped", _("Unmapped")),
        ),
        rows=[
            (
                one.channel,
                one.adapter,
                Marked(_("paused"), "bad") if one.paused else Marked(one.mode, styles[one.mode]),
                ", ".join(one.couriers),
                Moment(one.cursor_ms),
                one.unmapped,
            )
            for one in result.channels
        ],
        empty=_("No channel yet."),
    )


def _added(result: ChannelChange) -> Iterable[Block]:
    if result.preview:
        yield from _preview(result.preview)
    yield Line(_("{name} is connected.").format(name=result.channel), "good")
    yield from _facts(result)


def _changed(result: ChannelChange) -> Iterable[Block]:
    yield Line(_("{name} is changed.").format(name=result.channel), "good")
    yield from _facts(result)


def _facts(result: ChannelChange) -> Iterable[Block]:
    pairs = [
        (_("adapter"), result.adapter),
        (_("mode"), result.mode),
        (_("routes"), ", ".join(result.couriers)),
    ]
    if result.folder:
        pairs.append((_("put exports into"), result.folder))
    if result.backup:
        pairs.append((_("old kmtool.toml"), result.backup))
    yield Facts(pairs)


def _preview(seen: FilePreview) -> Iterable[Block]:
    yield Heading(f"{seen.file}: {seen.title}")
    yield Table(
        columns=(
            Column("order", _("Order")),
            Column("status", _("Status")),
            Column("refund", _("Refund")),
            Column("items", _("Items")),
            Column("pieces", _("Pieces")),
            Column("total", _("Paid")),
            Column("paid", _("When")),
        ),
        rows=[
            (
                one.order,
                Marked(one.risk, "bad") if one.risk else one.status,
                one.refund,
                one.items,
                one.pieces,
                Money(one.total_minor, one.currency),
                Moment(one.paid_ms),
            )
            for one in seen.orders
        ],
        total=len(seen.orders),
        empty=_("The file holds no orders."),
    )
    told = "  ".join(f"{role} = {column}" for role, column in seen.columns.items())
    yield Line(_("columns: {told}").format(told=told), "dim")
    yield Line(
        plural("{n} order in the file", "{n} orders in the file", seen.count).format(n=seen.count),
        "dim",
    )
    for word in seen.unknown:
        yield Line(_("{what}: such orders wait until it is taught").format(what=word), "warn")
    if seen.unconfirmed:
        told = _("No real export has confirmed this preset yet: compare the lines above.")
        yield Line(told, "warn")


def _tested(result: ChannelTest) -> Iterable[Block]:
    yield Table(
        columns=(
            Column("channel", _("Channel")),
            Column("check", _("Check")),
            Column("ok", _("Result")),
            Column("detail", _("Detail")),
            Column("mend", _("To do")),
        ),
        rows=[
            (
                one.channel,
                _("route") if one.name == "courier" else one.name,
                Marked(_("ok"), "good") if one.ok else Marked(_("not ok"), "bad"),
                one.detail,
                one.mend,
            )
            for one in result.checks
        ],
        empty=_("No channel yet."),
    )


def _next_steps(result: ChannelChange) -> None:
    for name in result.missing_secrets:
        out.hint(f"kmtool secret set {name}")
    if not result.folder:
        out.hint(f"kmtool channel test {result.channel}")
        out.hint(_("then pull its orders: kmtool sync {name}").format(name=result.channel))
        return
    out.hint(_("put an export there, then: kmtool sync {name}").format(name=result.channel))
    out.hint(_("automatic now: exports are read, keys are chosen, books and stock are kept"))
    out.hint(_("by hand: you export, paste the message, upload the batch-ship file"))
    others = ", ".join(name for name in registry.names("channel") if name != result.adapter)
    told = _("with the platform's API all of it is automatic; adapters there are: {names}")
    out.hint(told.format(names=others))
