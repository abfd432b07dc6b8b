"""The generator of documents reads what it is given; `make check` holds the pages themselves."""

from __future__ import annotations

from types import SimpleNamespace

import typer

from kmtool import errors
from tools import docs


def test_every_error_is_documented() -> None:
    page = docs.errors_page()
    assert [cls.code for cls in errors.every() if f"| {cls.code} |" not in page] == []


def test_commands_are_documented_with_their_words() -> None:
    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    order = typer.Typer(help="Orders.")
    app.add_typer(order, name="order")

    @order.command("list")
    def list_(state: str = typer.Option("all", "--state", "-s", help="Only a | b.")) -> None:
        """List orders."""

    @app.command(hidden=True)
    def secret() -> None:
        """Not shown."""

    root = docs.root_command(SimpleNamespace(app=app))
    page = "\n".join(docs.command_lines(root, typer.Context(root, info_name="kmtool"), 1))
    assert "## order\n" in page
    assert "### order list\n\n`kmtool order list [OPTIONS]`\n\nList orders.\n" in page
    assert "| `-s, --state <str>` | Only a \\| b. [default: all] |" in page
    assert "Not shown" not in page
