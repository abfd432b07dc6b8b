"""Global options: taken out of the line before typer sees it, so that they work on both sides.

`hoist()` reads them anywhere up to `--`. `current()` is what this call was given; a command asks it
instead of declaring such an option again. These words are therefore reserved in every command:
--json --csv --ids --count --all -o/--output --config --lang -y/--yes -v/-vv/--verbose --no-color
-q/--quiet.
"""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.errors import UsageError

FLAGS = {
    "--json": "json",
    "--csv": "csv",
    "--ids": "ids",
    "--count": "count",
    "--all": "all",
    "--yes": "yes",
    "-y": "yes",
    "--no-color": "no_color",
    "--no-colour": "no_color",
    "--quiet": "quiet",
    "-q": "quiet",
}
VALUES = {"-o": "output", "--output": "output", "--config": "config", "--lang": "lang"}
VERBOSE = {"-v": 1, "--verbose": 1, "-vv": 2}


class Options:
    """What this call was given. All off by default."""

    __slots__ = (
        "all", "config", "count", "csv", "ids", "json", "lang", "no_color", "output", "quiet",
        "verbose", "words", "yes",
    )  # fmt: skip

    def __init__(self) -> None:
        self.json = self.csv = self.ids = self.count = self.all = False
        self.yes = self.no_color = self.quiet = False
        self.output = self.config = self.lang = ""
        self.verbose = 0
        self.words: list[str] = []

    @property
    def machine(self) -> bool:
        """Tell whether the result is read by a program: complete, and no hints between."""
        return bool(self.json or self.csv or self.ids or self.count or self.output)

    def command(self) -> str:
        """Return the command as it was typed, without the global options."""
        return " ".join(["kmtool", *(_quoted(word) for word in self.words)])


_current = Options()


def current() -> Options:
    """Return the global options of this call."""
    return _current


def use(options: Options) -> None:
    """Make these the options of this call."""
    global _current
    _current = options


def hoist(words: Sequence[str]) -> Options:
    """Return the options with the remaining words; raises `UsageError` for a missing value."""
    options = Options()
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if word == "--":
            options.words += [word, *rest]
        elif word in FLAGS:
            setattr(options, FLAGS[word], True)
        elif word in VERBOSE:
            options.verbose = min(2, options.verbose + VERBOSE[word])
        elif word in VALUES:
            setattr(options, VALUES[word], _value(word, next(rest, "")))
        elif equals and name in VALUES and name.startswith("--"):
            setattr(options, VALUES[name], _value(name, value))
        else:
            options.words.append(word)
    return options


def _value(name: str, value: str) -> str:
    if not value or (value.startswith("-") and value != "-"):
        raise UsageError(detail="{name} needs a value behind it", name=name, where=name)
    return value


def _quoted(word: str) -> str:
    return f'"{word}"' if not word or any(c.isspace() for c in word) else word
