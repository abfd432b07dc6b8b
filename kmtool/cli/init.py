"""`kmtool init`: a shop folder with its kmtool.toml, database and master key."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from kmtool.cli import doors, out, table
from kmtool.cli.blocks import Block, Facts, Line
from kmtool.errors import Refused, UsageError
from kmtool.operations import house
from kmtool.operations.house import Answers, ShopMade
from kmtool.words import _

Folder = Annotated[Path, typer.Argument(help=_("the shop folder; made if it is not there"))]
Defaults = Annotated[bool, typer.Option("--defaults", help=_("ask nothing"))]
TRIES = 3


def init(folder: Folder = Path(), defaults: Defaults = False) -> None:
    """Set up a shop folder: kmtool.toml, database and master key. Nothing is overwritten."""
    there = (folder / "kmtool.toml").exists()
    answers = Answers() if defaults or there else _asked()
    path, fresh = house.write_config(folder, answers)
    try:
        made = _create(path, fresh)
    except BaseException:
        if fresh:
            path.unlink()
        raise
    out.show(made, _view)
    _next_steps(made)


def _create(path: Path, fresh: bool) -> ShopMade:
    from kmtool import app, config
    from kmtool.errors import ExampleConfig

    settings = config.load(path)
    if settings.example:
        raise ExampleConfig(where=str(path))
    if not fresh and isinstance(settings.database, Path) and settings.database.exists():
        raise Refused(
            detail="there is a shop in {folder} already",
            folder=path.parent,
            mend="kmtool config show --config {path}",
            path=path,
        )
    key = app.create_shop(settings, doors.clock())
    return ShopMade(str(path.parent), str(path), str(settings.database), key, not fresh)


def _asked() -> Answers:
    default = Answers()
    out.note(_("Five questions; Enter takes what stands in brackets."))
    answers = _ask(_("Name of the shop"), default.name, lambda t: replace(default, name=t))
    for question, shown, read in (
        (_("Time zone"), default.timezone, lambda a, t: replace(a, timezone=t)),
        (_("Currency"), default.currency, lambda a, t: replace(a, currency=t.upper())),
        (_("Language (zh_CN, en)"), default.language, lambda a, t: replace(a, language=t)),
        (
            _("Tell me when fewer keys than this are left"),
            str(default.low_stock),
            lambda a, t: replace(a, low_stock=int(t)),
        ),
    ):
        answers = _ask(question, shown, partial(read, answers))
    return answers


def _ask(question: str, default: str, read: Callable[[str], Answers]) -> Answers:
    """Ask until the answer can be used, at most three times."""
    wrong = ""
    for _time in range(TRIES):
        text = out.ask(question, default, flag="--defaults")
        try:
            answers = read(text)
        except ValueError:
            wrong = _("{text} is no whole number").format(text=text)
        else:
            wrong = answers.wrong()
            if not wrong:
                return answers
        out.note(wrong)
    raise UsageError(detail="{reason}", reason=wrong, mend="kmtool init --defaults")


def _view(made: ShopMade) -> Iterable[Block]:
    if made.resumed:
        yield Line(_("kmtool.toml was there; it was left as it is."))
    yield Line(_("The shop is ready."), "good")
    yield Facts(
        (
            (_("folder"), made.folder),
            (_("settings"), made.config),
            (_("database"), made.database),
            (_("master key"), made.master_key),
        )
    )
    yield Line(
        _("Copy the master key to a safe place now: without it no key in this shop can be opened."),
        "warn",
    )


def _next_steps(made: ShopMade) -> None:
    if Path(made.folder) != Path.cwd():
        out.hint(f'cd "{made.folder}"')
    if table.find("import"):
        out.hint(_("take in keys: kmtool import FILE --sku NAME --new"))
    if table.find("channel"):
        out.hint(_("connect a sales channel: kmtool channel add NAME --by-file FILE"))
    out.hint(_("everything else: kmtool --help"))
