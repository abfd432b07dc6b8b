"""`kmtool help [all | COMMAND | CODE]`."""

from __future__ import annotations

from typing import Annotated

import typer

from kmtool.cli import pages
from kmtool.words import _

Topic = Annotated[str, typer.Argument(help=_("all, a command, or a code such as KM-E501"))]


def show_help(topic: Topic = "") -> None:
    """Explain everything, one command, or an error code."""
    pages.about(topic)
