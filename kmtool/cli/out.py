"""The only place that prints. Results go to stdout; notes, hints, progress, questions to stderr.

How a command uses it:

    def show_order(result: OrderPage) -> Iterable[Block]:          # the view: facts → blocks
        yield Heading(_("Orders"))
        yield Table(
            columns=(Column("order", _("Order")), Column("total", _("Total")),
                     Column("paid", _("Paid")), Column("state", _("State"))),
            rows=[(o.number, Money(o.total_minor, o.currency), Moment(o.paid_ms),
                   Marked(o.state, "warn")) for o in result.orders],
            id_key="order", total=result.total, empty=_("No orders yet."),
        )
        yield Line(_("{n} need you").format(n=result.needs_you), "bad")

    @app.command("list", help=_("what was bought"))
    def list_() -> None:
        with doors.open_shop() as shop:
            result = orders.page(shop, limit=out.row_limit())       # frozen dataclass
        out.show(result, show_order)                # obeys --json --csv --ids --count -o --all
        out.hint(_("one of them: kmtool order show ORDER"))
        if result.needs_you:
            out.finish(EXIT_DIFFERENCES)

    out.confirm(_("Void {n} keys worth {money}?").format(n=3, money=out.money(3600)))   # --yes
    for row in out.progress(rows, _("reading"), total):             # or doors.open_shop().progress
    out.secret(key.text())                                          # the only way a key is printed
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar

from kmtool.cli import options
from kmtool.errors import EXIT_INTERRUPTED, KmError, NeedsAnswer, Refused, UsageError, marked
from kmtool.words import _, tell

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block, Cell, Table
    from kmtool.domain.secret import Secret

R = TypeVar("R")
T = TypeVar("T")

ROWS_MAX = 50
_COLOURS = {"good": "32", "warn": "33", "bad": "31", "dim": "2", "heading": "1"}
_zone = "UTC"


def use_zone(name: str) -> None:
    """Show times in this zone from now on (the shop's)."""
    global _zone
    _zone = name


def show(result: R, view: Callable[[R], Iterable[Block]]) -> None:
    """Print a result in the form this call asked for; with -o into a file."""
    asked = options.current()
    if asked.output:
        from kmtool.cli import files

        first = partial(_first_table, view, result)
        path, rows = files.write(asked.output, result, first, _zone)
        note(_("written: {file} ({n} rows)").format(file=path, n=rows))
        return
    by_table = asked.csv or asked.ids or asked.count
    table = _first_table(view, result) if by_table and not asked.json else None
    if table is not None:
        _machine_table(table)
    elif asked.json or by_table:
        from kmtool.cli.shape import document

        if not asked.json:  # the work is done: an error now would tell the opposite
            note(_("this result has no table; it follows as --json"))
        text(json.dumps(document(result, _zone), ensure_ascii=False, indent=2))
    else:
        for block in view(result):
            _block(block)


def row_limit() -> int | None:
    """Return how many rows a list needs to fetch; None means all of them."""
    asked = options.current()
    return None if asked.machine or asked.all else ROWS_MAX


def text(line: str, *, end: str = "\n") -> None:
    """Print a finished line to stdout (help, version); results go through `show`."""
    _write(sys.stdout, line + end)


def clear() -> None:
    """Empty the screen before a picture that is shown again and again; a file gets a blank line."""
    is_screen = sys.stdout.isatty() and os.environ.get("TERM", "") != "dumb"
    _write(sys.stdout, "\x1b[2J\x1b[H" if is_screen else "\n")


def secret(value: str) -> None:
    """Print a key or message in the clear, byte for byte: the caller has audited it."""
    _write(sys.stdout, value + "\n")


def note(line: str) -> None:
    """Say what is going on, on stderr."""
    if not options.current().quiet:
        _write(sys.stderr, tell(line) + "\n")


def hint(line: str) -> None:
    """Name a next step, on stderr; silent for a program, and when nothing of it was kept."""
    asked = options.current()
    if not asked.machine and "--dry-run" not in asked.words:
        note(_paint("→ " + line, "dim", sys.stderr))


def detail(line: str) -> None:
    """Say something for `-v`, on stderr."""
    if options.current().verbose:
        note(line)


def error(problem: KmError) -> int:
    """Print an expected error as three lines and return its exit code."""
    from kmtool.cli.blocks import plain

    told, mend = tell(problem.message()), tell(problem.next_step())
    where = tell(problem.where) or options.current().command()
    head = _paint(problem.code, "bad", sys.stderr)
    _write(sys.stderr, f"{head} {plain(told)}\n")
    _write(sys.stderr, f"  {_('where:')} {plain(where)}\n")
    _write(sys.stderr, f"  {_('to do:')} {plain(mend)}\n")
    return problem.exit_code


def interrupted() -> int:
    """Say that Ctrl-C was heard and return its exit code."""
    _write(sys.stderr, "\n" + _("Stopped. What was done so far stays; repeat it to go on.") + "\n")
    return EXIT_INTERRUPTED


def finish(exit_code: int) -> NoReturn:
    """End the command with an exit code other than 0."""
    raise SystemExit(exit_code)


def money(minor: int | None, currency: str = "CNY") -> str:
    """Return an amount as a person reads it."""
    from kmtool.cli.blocks import Money, for_people

    return for_people(Money(minor, currency), _zone)


def when(ms: int | None) -> str:
    """Return a time as a person reads it, in the shop's zone."""
    from kmtool.cli.blocks import Moment, for_people

    return for_people(Moment(ms), _zone)


def confirm(question: str) -> None:
    """Ask before what cannot be taken back; the question names count and money.

    Returns on yes or --yes. Raises `Refused` on no, `NeedsAnswer` without a terminal.
    """
    if options.current().yes:
        return
    if _ask(f"{question} [y/N] ", "--yes").strip().lower() not in {"y", "yes", "是", "好"}:
        raise Refused(detail="Nothing was done.", mend="answer y if it is meant")


def confirm_number(question: str, number: int, flag: str = "") -> None:
    """Ask for a number to be typed before something grave; --yes does not answer it."""
    answer = _ask(f"{question} [{_('type {n} to go on').format(n=number)}] ", flag)
    if answer.strip() != str(number):
        raise Refused(detail="Nothing was done.", mend="type the number if it is meant")


def ask(question: str, default: str = "", *, flag: str = "--yes") -> str:
    """Ask for a line; Enter and --yes take the default."""
    if options.current().yes and default:
        return default
    shown = f"{question} [{default}] " if default else f"{question} "
    return _ask(shown, flag).strip() or default


def can_ask() -> bool:
    """Tell whether there is a person at the other end."""
    return sys.stdin is not None and sys.stdin.isatty()


def answers_itself() -> bool:
    """Tell whether questions with a default take it: --yes, or nobody is there to be asked."""
    return options.current().yes or not can_ask()


def secret_prompt(name: str) -> Secret:
    """Return a secret typed without echo, or the first line of stdin when that is no terminal."""
    from kmtool.domain.secret import Secret

    if can_ask():
        import getpass

        value = getpass.getpass(_("{name} (not shown): ").format(name=name), stream=sys.stderr)
    else:
        value = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    if not value:
        raise UsageError(
            detail="no value was given for {name}",
            name=name,
            mend="type it when asked, or pipe it in",
        )
    return Secret(value)


def progress(items: Iterable[T], title: str, total: int | None = None) -> Iterator[T]:
    """Pass items through and tell how far it is, with rate and remaining time."""
    from kmtool.cli.meter import Meter

    if options.current().quiet:
        yield from items
        return
    meter = Meter(title, total, live=sys.stderr.isatty())
    try:
        for item in items:
            yield item
            line = meter.step()
            if line:
                _write(sys.stderr, line)
    finally:
        _write(sys.stderr, meter.end())


def pipe_safe() -> None:
    """Let foreign glyphs and a closed pipe never end a run."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def flush() -> None:
    """Empty the buffers; a reader that went away is no error."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            try:
                stream.flush()
            except OSError:
                _to_nowhere(stream)


def _ask(question: str, flag: str) -> str:
    if not can_ask():
        mend = "" if flag else marked("run it in a terminal")
        raise NeedsAnswer(question=question.strip(), flag=flag, mend=mend)
    _write(sys.stderr, question)
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer:
        raise NeedsAnswer(question=question.strip(), flag=flag or "…")
    return answer


def _first_table(view: Callable[[R], Iterable[Block]], result: R) -> Table | None:
    from kmtool.cli.blocks import Table

    return next((block for block in view(result) if isinstance(block, Table)), None)


def _machine_table(table: Table) -> None:
    from kmtool.cli import files
    from kmtool.cli.blocks import for_machines

    asked = options.current()
    if asked.csv:
        text(files.csv_text(table, _zone), end="")
    elif asked.ids:
        keys = [column.key for column in table.columns]
        at = keys.index(table.id_key) if table.id_key else 0
        for row in table.rows:
            text(for_machines(row[at], _zone))
    else:
        text(str(len(table.rows) if table.total is None else table.total))


def _block(block: Block) -> None:
    from kmtool.cli.blocks import Facts, Heading, Line, Table, for_people, plain, width

    match block:
        case Heading(heading):
            text(_paint(plain(tell(heading)), "heading", sys.stdout))
        case Line(line, style):
            text(_paint(plain(tell(line)), style, sys.stdout))
        case Facts(pairs):
            longest = max((width(label) for label, _value in pairs), default=0)
            for label, value in pairs:
                space = " " * (longest - width(label) + 2)
                text(f"{label}{space}{_cell(value, for_people(value, _zone))}".rstrip())
        case Table():
            _table(block)


def _table(table: Table) -> None:
    import shutil

    from kmtool.cli.blocks import table_lines

    if not table.rows:
        if table.empty:
            text(table.empty)
        return
    columns = shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 10_000
    limit = None if options.current().all else ROWS_MAX
    for number, cells in enumerate(table_lines(table, _zone, columns, limit)):
        painted = [_cell(cell, str(getattr(cell, "text", cell))) for cell in cells]
        line = "  ".join(painted).rstrip()
        text(_paint(line, "heading", sys.stdout) if number == 0 else line)
    total = len(table.rows) if table.total is None else table.total
    shown = len(table.rows) if limit is None else min(limit, len(table.rows))
    if shown < total:
        told = _("{shown} of {total} shown; all of them: {command} --all")
        command = options.current().command()
        hint(told.format(shown=shown, total=f"{total:,}", command=command))


def _cell(cell: Cell, shown: str) -> str:
    return _paint(shown, getattr(cell, "style", ""), sys.stdout)


def _paint(line: str, style: str, stream: TextIO) -> str:
    if not style or style not in _COLOURS or not _coloured(stream):
        return line
    return f"\x1b[{_COLOURS[style]}m{line}\x1b[0m"


def _coloured(stream: TextIO) -> bool:
    if options.current().no_color or os.environ.get("NO_COLOR") or not stream.isatty():
        return False
    if sys.platform == "win32":  # the old console shows escapes as they are
        return bool(os.environ.get("WT_SESSION") or os.environ.get("ANSICON"))
    return os.environ.get("TERM", "") not in {"", "dumb"}


def _write(stream: TextIO, line: str) -> None:
    try:
        stream.write(line)
        if stream is sys.stderr:
            stream.flush()
    except OSError:
        _to_nowhere(stream)


def _to_nowhere(stream: Any) -> None:
    """The reader closed the pipe: the work goes on, its words go nowhere."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        return


def columns_of(words: Sequence[tuple[str, str]], indent: int = 2) -> list[str]:
    """Return words with their lines as two columns (help)."""
    longest = max((len(word) for word, _line in words), default=0)
    return [f"{' ' * indent}{word:<{longest}}  {line}" for word, line in words]
