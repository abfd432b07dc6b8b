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
    ("demo", "kmtool.cli.demo:demo", EVERYDAY, "a whole working day in a made-up shop"),
    ("init", "kmtool.cli.init:init", EVERYDAY, "set up a shop folder"),
    ("import", "kmtool.cli.import_keys:import_", EVERYDAY, "bring in keys: txt, csv, xlsx, zip"),
    ("sync", "kmtool.cli.sync:sync", EVERYDAY, "pull orders and refunds from the channels"),
    ("deliver", "kmtool.cli.deliver:deliver", EVERYDAY, "hand over all that is due"),
    ("sell", "kmtool.cli.sell:sell", EVERYDAY, "a sale by hand: a key on the screen, in the books"),
    ("reconcile", "kmtool.cli.reconcile:reconcile", EVERYDAY, "match statements with orders"),
    ("status", "kmtool.cli.status:status", EVERYDAY, "the morning screen: what needs you"),
    ("run", "kmtool.cli.run:app", EVERYDAY, "sync, deliver and all else by itself"),
    ("doctor", "kmtool.cli.doctor:doctor", EVERYDAY, "is all well, and what to do if not"),
    ("settle", "kmtool.cli.settle:app", EVERYDAY, "pay suppliers: sheets and workbooks"),
    ("export", "kmtool.cli.export:export", EVERYDAY, "write tables as xlsx, csv or json"),
    ("pause", "kmtool.cli.pause:pause", EVERYDAY, "stop deliveries at once"),
    ("resume", "kmtool.cli.pause:resume", EVERYDAY, "let deliveries go on"),
    ("order", "kmtool.cli.order:app", NOUN, "orders of all channels: look, ask why, release"),
    ("channel", "kmtool.cli.channel:app", NOUN, "where orders come from"),
    ("product", "kmtool.cli.product:app", NOUN, "what the shop sells, and its items per channel"),
    ("template", "kmtool.cli.template:app", NOUN, "what buyers read, in which language"),
    ("supplier", "kmtool.cli.supplier:app", NOUN, "who the keys come from"),
    ("key", "kmtool.cli.key:app", NOUN, "keys in stock and where they went; batches"),
    ("statement", "kmtool.cli.statement:app", NOUN, "payout and transaction statements"),
    ("recon", "kmtool.cli.recon:app", NOUN, "what does not add up, and what you decide"),
    ("profile", "kmtool.cli.profile:app", NOUN, "how statement files are read"),
    ("job", "kmtool.cli.job:app", NOUN, "what runs by itself, and how it went"),
    ("report", "kmtool.cli.report:app", NOUN, "figures over time: how long deliveries take"),
    ("alert", "kmtool.cli.alert:app", NOUN, "what you were told of"),
    ("db", "kmtool.cli.db:app", NOUN, "the database: check, copy, ask"),
    ("config", "kmtool.cli.config:app", NOUN, "kmtool.toml: which one, what is in force"),
    ("secret", "kmtool.cli.secret:app", NOUN, "credentials, sealed in the database"),
    ("audit", "kmtool.cli.audit:app", NOUN, "the record of who did what"),
    ("selftest", "kmtool.cli.selftest:selftest", OTHER, "play made-up shops through every trouble"),
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
