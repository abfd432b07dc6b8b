"""Help as plain text from the table; the front page and the start page do not load typer."""

from __future__ import annotations

from kmtool.cli import out, table
from kmtool.errors import UsageError
from kmtool.words import _


def front() -> None:
    """Print the everyday words, and the nouns in one line."""
    out.text(_("kmtool: run a shop that sells digital goods (卡密) from a terminal"))
    out.text("\n" + _("Usage: kmtool COMMAND [WORDS] [OPTIONS]") + "\n")
    rows = [(name, _(line)) for name, _t, group, line in table.COMMANDS if group == table.EVERYDAY]
    for line in out.columns_of(rows):
        out.text(line)
    nouns = table.names(table.NOUN)
    if nouns:
        out.text("\n" + _("Things you can list, show and change:") + "\n  " + " ".join(nouns))
    out.text("\n" + _("Everywhere:"))
    for line in out.columns_of(
        [
            ("--json, --csv, --ids, --count", _("the result for a program")),
            ("-o FILE", _("the result into a file, by its suffix (.xlsx, .csv, .json)")),
            ("--all", _("every row of a list")),
            ("-y, --yes", _("answer every question with yes")),
            ("--config PATH", _("another shop folder")),
            ("--lang en|zh", _("the language")),
            ("-q, -v, -vv, --no-color", _("less and more words, no colours")),
        ]
    ):
        out.text(line)
    out.text("\n" + _("More: kmtool COMMAND --help · kmtool help all · kmtool help KM-E204"))


def start() -> None:
    """Print what to do in a folder that holds no shop."""
    out.text(_("There is no shop in this folder yet."))
    rows = [("kmtool init", _("set up a shop here"))]
    if table.find("demo"):
        rows.append(("kmtool demo", _("see a whole working day, without network or risk")))
    rows.append(("kmtool --help", _("all everyday commands")))
    for line in out.columns_of(rows):
        out.text(line)


def about(topic: str) -> None:
    """Print help on everything (all), a command, or an error code such as KM-E501."""
    if not topic:
        front()
    elif topic == "all":
        _everything()
    elif topic.upper().startswith("KM-"):
        _error(topic.upper())
    else:
        row = table.find(topic)
        if row is None:
            raise UsageError(
                detail="There is no help about {topic}.",
                topic=topic,
                mend="kmtool help all",
            )
        from kmtool.cli.main import call

        call(row, ["--help"])


def _everything() -> None:
    import typer

    from kmtool.cli.tree import whole

    root = typer.main.get_group(whole())
    context = typer.Context(root, info_name="kmtool")
    rows: list[tuple[str, str]] = []
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        assert command is not None
        rows.append((f"kmtool {name}", command.get_short_help_str(120)))
        verbs = getattr(command, "commands", {})
        rows += [(f"  {name} {verb}", sub.get_short_help_str(120)) for verb, sub in verbs.items()]
    for line in out.columns_of(rows, 0):
        out.text(line)


def _error(code: str) -> None:
    from kmtool import errors

    for cls in errors.every():
        if cls.code == code:
            out.text(f"{code}  {_(cls.template())}")
            out.text(_("to do: {mend}").format(mend=_(cls.mend)))
            out.text(_("exit code: {n}").format(n=cls.exit_code))
            return
    raise UsageError(detail="There is no error {code}.", code=code, mend="kmtool help all")
