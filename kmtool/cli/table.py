"""The static table of commands: the only list, read before anything heavy is imported.

A row is `(name, target, group, line)`. To add a command, add one row and nothing else:

- `target` is `"module:attribute"`. For a **verb** the attribute is a plain function with typer
  annotations (`"kmtool.cli.sell:sell"`); for a **noun** it is a `typer.Typer` made by
  `doors.noun()` (`"kmtool.cli.order:app"`). A verb that has words of its own (`settle preview`) is
  a Typer too. Two verbs may live in one module. It is imported only when its word is typed.
- `group`: EVERYDAY verbs stand in `kmtool --help`, each with its line; NOUN names stand there in
  one line; OTHER ones only in `kmtool help all`.
- `line` is one short English sentence without a full stop: the message id of its translation.

A row is added together with the command that works, never before. Words keep this order in help.
"""

from __future__ import annotations

EVERYDAY = "everyday"
NOUN = "noun"
OTHER = "other"

Row = tuple[str, str, str, str]

COMMANDS: tuple[Row, ...] = (
    ("help", "kmtool.cli.help:show_help", OTHER, "explain a command or an error code"),
)


def find(name: str) -> Row | None:
    """Return the row of a word, or None."""
    for row in COMMANDS:
        if row[0] == name:
            return row
    return None


def names(group: str) -> list[str]:
    """Return the words of one group, in the table's order."""
    return [row[0] for row in COMMANDS if row[2] == group]


def nearest(word: str) -> str:
    """Return the known word that looks most like `word`, or nothing."""
    import difflib

    found = difflib.get_close_matches(word, [row[0] for row in COMMANDS], 1, 0.55)
    return found[0] if found else ""
