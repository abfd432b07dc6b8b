"""How the reader stops and warns: one exception for refusals, one collector for warnings."""

from __future__ import annotations

from kmtool.domain.statements import Code, StatementRefusal, StatementWarning

SHOWN_MAX = 40
"""How many characters of a foreign value a message shows."""


class Stop(Exception):
    """Carries a refusal up to `reader.read`, which returns it with the file; never leaves there."""

    def __init__(self, code: Code, text: str, mend: str = "", **details: object) -> None:
        super().__init__(text)
        self.refusal = StatementRefusal(code, text, mend, details)


class Warnings:
    """Collects warnings: equal ones become one with the first line and a count."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], StatementWarning] = {}

    def add(self, code: str, text: str, line: int | None = None) -> None:
        """Note a warning; `text` must not hold the line number, which would keep equals apart."""
        key = (code, text)
        first = self._found.get(key)
        if first is None:
            self._found[key] = StatementWarning(code, text, line)
        else:
            self._found[key] = StatementWarning(code, text, first.line, first.count + 1)

    def all(self) -> tuple[StatementWarning, ...]:
        """Return the warnings in the order of their first appearance."""
        return tuple(self._found.values())


def shown(value: object) -> str:
    """Return a foreign value for a message: one line, printable, at most 40 characters."""
    text = "".join(ch if ch.isprintable() else "·" for ch in str(value))
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 1] + "…"


def bad_cell(code: Code, line: int, column: str, value: object, why: str) -> Stop:
    """Build the refusal of one cell: line, column, value and the reason."""
    text = f"line {line}, column {column}: 「{shown(value)}」 {why}"
    mend = "download the file again; if it comes out the same, tell the profile about this value"
    return Stop(code, text, mend, line=line, column=column, value=shown(value))


def bad_row(line: int, why: str, **details: object) -> Stop:
    """Build the refusal of one row."""
    mend = "download the file again and do not edit it"
    return Stop(Code.BAD_ROW, f"line {line}: {why}", mend, line=line, **details)
