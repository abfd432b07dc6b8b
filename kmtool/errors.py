"""The error tree. An expected error is three lines: what happened, where, what to do.

A class's docstring is its message (facts in braces), `code` names it for `kmtool help CODE`,
`exit_code` is what the process returns, `mend` is the operator's next step.

    KmError
    ├── UsageError            exit 2    the call's words are off
    ├── ConfigError           exit 4    kmtool.toml or credentials
    ├── NotFound              exit 5    no such thing
    ├── Refused               exit 6    needs an answer, or refused for safety
    ├── OutsideError          exit 7    the other side
    │   ├── Retriable                   definitely not done; try again, not before `after_s`
    │   ├── Rejected                    definitely not done, and will not be
    │   ├── Unknown                     may or may not have happened: ask, never guess
    │   └── NeedsOperator               login, scope, signature: a person must act
    ├── Differences           exit 8    something does not add up
    ├── InputRefused          exit 9    a file or value we will not take
    ├── NotSetUp              exit 10   no shop here yet
    ├── Locked                exit 11   another run holds the lock
    └── Broken                exit 1    a bug or a broken invariant

Exit 0 is done, 3 done in part, 130 Ctrl-C. Texts are templates; what differs is a fact:
`Refused(detail="order {number} waits for nothing", number=number)`, never an f-string, which no
catalogue could know. A sentence that travels on (a reason, a figure) is a `Told`: `told(...)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

EXIT_DONE = 0
EXIT_BROKEN = 1
EXIT_USAGE = 2
EXIT_PARTLY = 3
EXIT_DIFFERENCES = 8
EXIT_INPUT = 9
EXIT_INTERRUPTED = 130


class KmError(Exception):
    """Something went wrong: {detail}"""

    code: ClassVar[str] = "KM-E100"
    exit_code: ClassVar[int] = EXIT_BROKEN
    mend: ClassVar[str] = "kmtool doctor"

    def __init__(self, *, where: str = "", mend: str = "", **facts: object) -> None:
        super().__init__()
        self.where = where
        self.facts = {
            key: value if isinstance(value, str) else str(value) for key, value in facts.items()
        }
        detail = self.facts.get("detail")
        if detail is not None and not isinstance(detail, Told):
            self.facts["detail"] = told(detail, **self.facts)
        self._mend = mend

    @classmethod
    def template(cls) -> str:
        """Return the message with its braces: the first paragraph of the docstring."""
        return " ".join((cls.__doc__ or "").strip().split("\n\n")[0].split())

    def message(self) -> Told:
        """Return what happened, in English; `words.tell` says it in the language in use."""
        return told(self.template(), **self.facts)

    def next_step(self) -> Told:
        """Return what to do, in English; a command in it takes its facts as they are."""
        mend = self._mend or self.mend
        if isinstance(mend, Told):
            return mend
        return told(mend, **{key: str(value) for key, value in self.facts.items()})

    def __str__(self) -> str:
        return joined([part for part in (self.message(), self.where) if part], " · ")


class Told(str):
    """A sentence in English that remembers how it was made, so that it can be told again.

    It is an ordinary text to the database, to JSON and to logs. Only `told` makes one.
    """

    template: str
    facts: dict[str, str]


def told(template: str, /, **facts: object) -> Told:
    """Return a template filled with facts; a fact may be a `Told` itself."""
    texts = {key: value if isinstance(value, str) else str(value) for key, value in facts.items()}
    sentence = Told(fill(template, texts))
    sentence.template = template
    sentence.facts = texts
    return sentence


def verbatim(text: object) -> Told:
    """Return text of the outside as it came: braces in it mean nothing, no language knows it."""
    return told("{text}", text=text)


def marked(template: str) -> str:
    """Mark a template that is told later, so that it is found for translation."""
    return template


class Stored(str):
    """English text as the database keeps it; `words.tell` finds the template it was made of."""


def said(error: Exception) -> object:
    """Return what an error was raised with: the `Told` itself where it is one."""
    return error.args[0] if error.args else error


def joined(sentences: Iterable[str], separator: str = "; ") -> Told:
    """Return sentences as one, each still with its own template."""
    parts = {f"part{number}": one for number, one in enumerate(sentences)}
    return told(separator.join(f"{{{name}}}" for name in parts), **parts)


def fill(template: str, facts: Mapping[str, str]) -> str:
    """Put facts into a template; a missing one stays visible as its name instead of failing."""
    try:
        return template.format_map(_Facts(facts))
    except (ValueError, TypeError, LookupError, AttributeError):
        return template  # foreign text with braces of its own got into it


class _Facts(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return f"<{key}>"


class Broken(KmError):
    """kmtool found a state that must not exist: {detail}"""

    code = "KM-E101"
    exit_code = EXIT_BROKEN
    mend = "kmtool doctor; the details are in logs/kmtool.log"


class TakenOver(Broken):
    """Another sender took over from this one; it stops without sending"""

    code = "KM-E103"
    mend = "kmtool status"


class DatabaseDamaged(Broken):
    """The database {name} is damaged or cannot be opened: {detail}"""

    code = "KM-E102"
    mend = "leave the file as it is: kmtool db check tells how far it goes, shop/backups has copies"


class UsageError(KmError):
    """{detail}"""

    code = "KM-E200"
    exit_code = EXIT_USAGE
    mend = "kmtool --help"


class ConfigError(KmError):
    """The configuration cannot be used: {detail}"""

    code = "KM-E400"
    exit_code = 4
    mend = "mend kmtool.toml; which one it is: kmtool config path"


class UnknownSetting(ConfigError):
    """There is no setting {name}. Did you mean {nearest}?"""

    code = "KM-E401"
    mend = "change {name} to {nearest} in kmtool.toml"


class BadToml(ConfigError):
    """kmtool.toml cannot be read: {detail}"""

    code = "KM-E402"
    mend = "mend that line in kmtool.toml, then: kmtool config check"


class MissingCredential(ConfigError):
    """The credential {name} is not there: {detail}"""

    code = "KM-E403"
    mend = "kmtool secret set {name}"


class MasterKeyMissing(ConfigError):
    """The master key of this shop is not on this machine: {detail}"""

    code = "KM-E404"
    mend = "put the key file back from your recovery copy, or set KMTOOL_MASTER_KEY"


class MasterKeyWrong(ConfigError):
    """The master key here is not the one this shop's keys were sealed with."""

    code = "KM-E405"
    mend = "put the key file of this shop back (each shop folder has its own)"


class ExtraMissing(ConfigError):
    """{what} needs a package that is not installed: {package}"""

    code = "KM-E406"
    mend = "pipx inject kmtool {package}"


class NotFound(KmError):
    """There is no {kind} {name}."""

    code = "KM-E500"
    exit_code = 5
    mend = "kmtool {kind} list"

    def __init__(self, *, where: str = "", mend: str = "", **facts: object) -> None:
        if "kind" in facts:
            facts["kind"] = told(str(facts["kind"]))
        super().__init__(where=where, mend=mend, **facts)


class FileMissing(NotFound):
    """There is no file {name}."""

    code = "KM-E501"
    mend = "look at the name again; from Explorer you can drag the file into this window"


class Refused(KmError):
    """{detail}"""

    code = "KM-E600"
    exit_code = 6
    mend = "answer the question, or add --yes"


class NeedsAnswer(Refused):
    """This needs an answer and there is no terminal to ask: {question}"""

    code = "KM-E601"
    mend = "run it in a terminal, or add {flag}"


class ExampleConfig(Refused):
    """This kmtool.toml is the example that comes with the program; it is not written to."""

    code = "KM-E602"
    mend = "kmtool init DIR, then work in that folder"


class StateMoved(Refused):
    """{what} changed while you were at it: it is now {state}."""

    code = "KM-E603"
    mend = "look at it again, then repeat the command if it is still wanted"


class AwayFromHome(Refused):
    """Nothing is sent from here: {detail}"""

    code = "KM-E604"
    mend = "kmtool db adopt, once no other copy of this shop is at work"


class OlderThanJournal(Refused):
    """This database is older than the send journal: {detail}"""

    code = "KM-E605"
    mend = "kmtool db restore --replay"


class OutsideError(KmError):
    """{who} did not do it: {detail}"""

    code = "KM-E700"
    exit_code = 7
    mend = "try again later; nothing was lost"


class Retriable(OutsideError):
    """{who} is not reachable or asks us to wait: {detail}"""

    code = "KM-E701"
    mend = "nothing to do: it is tried again by itself"

    def __init__(
        self, *, after_s: float = 30.0, where: str = "", mend: str = "", **facts: object
    ) -> None:
        super().__init__(where=where, mend=mend, **facts)
        self.after_s = after_s


class Rejected(OutsideError):
    """{who} refused: {detail}"""

    code = "KM-E702"
    mend = "mend the reason, then repeat the command"


class Unknown(OutsideError):
    """It is not clear whether {who} did it: {detail}"""

    code = "KM-E703"
    mend = "nothing to do: kmtool asks before it tries again"


class NeedsOperator(OutsideError):
    """{who} does not let us in: {detail}"""

    code = "KM-E704"
    mend = "kmtool channel test {who}"


class DatabaseAway(OutsideError):
    """The connection to {who} was lost: {detail}"""

    code = "KM-E705"
    mend = "nothing to do: kmtool run connects again by itself; other commands: repeat them"


class Differences(KmError):
    """{detail}"""

    code = "KM-E800"
    exit_code = EXIT_DIFFERENCES
    mend = "kmtool doctor"


class SheetUnbalanced(Differences):
    """The sheet of {supplier} does not add up: {detail}"""

    code = "KM-E801"
    mend = "kmtool doctor; nothing was closed"


class SheetChanged(Differences):
    """{number} is not what was closed: {detail}"""

    code = "KM-E802"
    mend = "kmtool settle export {number} writes the sheet as it was closed"


class InputRefused(KmError):
    """{detail}"""

    code = "KM-E900"
    exit_code = EXIT_INPUT
    mend = "mend the file and try again; nothing was taken in"


class WrongFile(InputRefused):
    """{name} is no file of keys: {what}"""

    code = "KM-E901"
    mend = "kmtool import FILE with a txt, csv, xlsx or zip of keys"


class FileNotWritten(InputRefused):
    """{name} cannot be written: {detail}"""

    code = "KM-E905"
    mend = "make room or make the folder writable, then repeat the command"


class NotSetUp(KmError):
    """There is no shop here: {detail}"""

    code = "KM-E1000"
    exit_code = 10
    mend = "kmtool init"


class OldProgram(NotSetUp):
    """This shop was last used by a newer kmtool ({detail})."""

    code = "KM-E1001"
    mend = "install the newer kmtool; this one does not touch the shop"


class Locked(KmError):
    """Another run is busy with this shop: {detail}"""

    code = "KM-E1100"
    exit_code = 11
    mend = "wait until it is done, or: kmtool run stop"


def every() -> list[type[KmError]]:
    """Return all error classes, by code (help, docs and tests walk them)."""
    found: list[type[KmError]] = [KmError]
    for cls in found:  # it grows while it is walked
        found.extend(cls.__subclasses__())
    return sorted(found, key=lambda cls: (len(cls.code), cls.code))
