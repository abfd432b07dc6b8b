"""Output: the same facts for people, programs and files; hostile text; questions; progress."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kmtool.cli import blocks, options, out, shape, table
from kmtool.cli.blocks import Block, Column, Facts, Heading, Line, Marked, Moment, Money, Table
from kmtool.cli.meter import Meter
from kmtool.clock import ManualClock
from kmtool.domain.secret import Secret
from kmtool.errors import FileNotWritten, NeedsAnswer, Refused

KEY = Secret("CANARY-SECRET-9X7Q")
AT = 1_795_305_600_000
ZONE = "Asia/Shanghai"


class State(StrEnum):
    """A state, for the test."""

    PAID = "paid"


@dataclass(frozen=True, slots=True)
class Order:
    """A row, for the test."""

    number: str
    id: int
    total_minor: int
    currency: str
    paid_ms: int | None
    cost_e5: int
    state: State
    batch_ids: tuple[int, ...] = (1, 2)


@dataclass(frozen=True, slots=True)
class Page:
    """A result, for the test."""

    orders: tuple[Order, ...]
    day: date = date(2026, 11, 22)
    key: Secret = KEY


def _orders(n: int) -> tuple[Order, ...]:
    return tuple(Order(f"A{i}", i, 1250, "CNY", AT, 980_000, State.PAID) for i in range(n))


def _view(page: Page) -> Iterable[Block]:
    yield Heading("Orders 订单")
    yield Facts([("many", len(page.orders)), ("更多", "x")])
    yield Table(
        columns=(
            Column("order", "Order"),
            Column("total", "Total"),
            Column("paid", "Paid"),
            Column("state", "State"),
        ),
        rows=[
            (o.number, Money(o.total_minor, o.currency), Moment(o.paid_ms), Marked("ok", "good"))
            for o in page.orders
        ],
        id_key="order",
        empty="No orders yet.",
    )
    yield Line("done", "good")


@pytest.fixture
def shown(cli: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that shows a result through a command called `act`."""

    def run(result: Any, *words: str, view: Any = _view, **more: Any) -> Any:
        def act() -> None:
            """Act."""
            out.use_zone(ZONE)
            out.show(result, view)

        return _put(monkeypatch, cli, act)("act", *words, **more)

    return run


@pytest.fixture
def does(cli: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs a Python function as a command called `act`."""

    def run(act: Any, *words: str, **more: Any) -> Any:
        return _put(monkeypatch, cli, act)("act", *words, **more)

    return run


def _put(monkeypatch: pytest.MonkeyPatch, cli: Any, act: Any) -> Any:
    module = ModuleType("tests_shown")
    module.act = act  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tests_shown", module)
    monkeypatch.setattr(table, "COMMANDS", (("act", "tests_shown:act", table.OTHER, "acts"),))
    return cli


def test_a_person_sees_plain_columns_in_the_shops_zone(shown: Any) -> None:
    assert shown(Page(_orders(1))).lines() == [
        "Orders 订单",
        "many  1",
        "更多  x",
        "Order    Total  Paid              State",
        "A0     ￥12.50  2026-11-22 08:00  ok",
        "done",
    ]


def test_a_program_reads_one_document_with_stable_keys(shown: Any) -> None:
    told = shown(Page(_orders(1)), "--json").json()
    assert told == {
        "orders": [
            {
                "number": "A0",
                "id": "0",
                "total": 1250,
                "currency": "CNY",
                "paid": "2026-11-22T08:00:00+08:00",
                "cost": "9.80",
                "state": "paid",
                "batch_ids": ["1", "2"],
            }
        ],
        "day": "2026-11-22",
        "key": "…9X7Q",
    }


def test_csv_ids_and_count_come_from_the_first_table(shown: Any) -> None:
    page = Page(_orders(2))
    assert shown(page, "--csv").lines() == [
        "order,total,paid,state",
        "A0,12.50,2026-11-22T08:00:00+08:00,ok",
        "A1,12.50,2026-11-22T08:00:00+08:00,ok",
    ]
    assert shown(page, "--ids").lines() == ["A0", "A1"]
    assert shown(page, "--count").out == "2\n"
    none = shown(page, "--csv", view=lambda _page: [Line("no table")])
    assert (none.code, none.json()["day"]) == (0, "2026-11-22")
    assert "no table" in none.err


def test_a_list_stops_at_fifty_rows_and_says_how_to_see_the_rest(shown: Any) -> None:
    told = shown(Page(_orders(60)))
    assert sum(line.startswith("A") for line in told.lines()) == 50
    assert "50 of 60 shown; all of them: kmtool act --all" in told.err
    whole = shown(Page(_orders(60)), "--all")
    assert sum(line.startswith("A") for line in whole.lines()) == 60
    assert whole.err == ""
    assert len(shown(Page(_orders(60)), "--ids").lines()) == 60
    assert len(shown(Page(_orders(60)), "--json").json()["orders"]) == 60


def test_an_operation_that_fetched_less_names_the_total(shown: Any) -> None:
    def view(_page: Page) -> Iterable[Block]:
        yield Table((Column("n", "N"),), [(1,), (2,)], total=4000)

    assert "2 of 4,000 shown" in shown(Page(()), view=view).err
    assert shown(Page(()), "--count", view=view).out == "4000\n"


def test_an_empty_list_says_so(shown: Any) -> None:
    assert "No orders yet." in shown(Page(())).out
    assert shown(Page(()), "--ids").out == ""


def test_hostile_text_loses_its_escapes(shown: Any) -> None:
    evil = "\x1b]0;title\x07\x1b[31mred\x1b[0m\n\r\tnew\x9b2J\u202egnp\x00\x7f"
    orders = (Order(evil, 1, 1, "CNY", AT, 1, State.PAID),)
    told = shown(Page(orders)).out + shown(Page(orders), "--csv").out
    assert "red" in told
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", told)
    assert json.loads(shown(Page(orders), "--json").out)["orders"][0]["number"] == evil


def test_a_file_follows_its_suffix_and_disarms_formulas(shown: Any, tmp_path: Path) -> None:
    orders = (Order("=1+1", 1, -1250, "CNY", AT, 1, State.PAID), *_orders(70))
    people, machine, book = (tmp_path / name for name in ("a.csv", "a.json", "a.xlsx"))
    told = shown(Page(orders), "-o", str(people))
    assert (told.code, told.out) == (0, "")
    assert "71 rows" in told.err
    lines = people.read_text(encoding="utf-8-sig").splitlines()
    assert lines[0] == "Order,Total,Paid,State"
    assert lines[1] == "'=1+1,-12.50,2026-11-22 08:00,ok"
    assert len(lines) == 72
    shown(Page(orders), "--output", str(machine))
    assert json.loads(machine.read_text(encoding="utf-8"))["orders"][0]["number"] == "=1+1"
    shown(Page(orders), "-o", str(book))
    from kmtool import sheets

    [sheet] = sheets.read_workbook(book.read_bytes())
    assert [row[:2] for _n, row in sheet.rows[:2]] == [["Order", "Total"], ["=1+1", -12.5]]
    assert shown(Page(orders), "-o", str(tmp_path / "a.doc")).code == 2
    none = shown(Page(orders), "-o", str(tmp_path / "b.csv"), view=lambda _page: [Line("x")])
    assert (none.code, "it is done" in none.err) == (2, True)
    (tmp_path / "folder.csv").mkdir()
    nowhere = shown(Page(orders), "-o", str(tmp_path / "folder.csv"))
    assert nowhere.code == FileNotWritten.exit_code
    assert len(nowhere.err.splitlines()) == 3


def test_a_glyph_the_terminal_lacks_ends_nothing(shown: Any) -> None:
    orders = (Order("emoji \U0001f600 ✓", 1, 1, "CNY", AT, 1, State.PAID),)
    told = shown(Page(orders), encoding="gbk")
    assert told.code == 0
    assert "emoji ? ?" in told.out


def test_raw_bytes_never_become_json() -> None:
    with pytest.raises(TypeError):
        shape.document({"sealed": b"x"}, ZONE)


def test_a_result_may_answer_for_itself() -> None:
    class Own:
        def to_json(self) -> dict[str, object]:
            return {"at_ms": None, "list": [State.PAID]}

    assert shape.document(Own(), ZONE) == {"at": None, "list": ["paid"]}
    assert shape.document({"n": 1.5, "yes": True, "path": Path("a")}, ZONE) == {
        "n": 1.5,
        "yes": True,
        "path": "a",
    }


def test_wide_text_is_cut_by_columns() -> None:
    assert blocks.width("卡密a") == 5
    assert blocks.cut("卡密卡密", 5) == "卡密…"
    assert blocks.cut("short", 5) == "short"
    narrow = Table((Column("a", "A"), Column("b", "B")), [("x" * 40, "y" * 40)])
    lines = list(blocks.table_lines(narrow, ZONE, 40, None))
    assert all(len("  ".join(str(c) for c in line)) <= 40 for line in lines)


def test_a_narrow_screen_cuts_words_but_never_ids_money_or_times() -> None:
    at = 1_795_305_600_000
    columns = [Column(k, k.upper()) for k in ("order", "title", "empty", "total", "paid")]
    columns.append(Column("spare", "SPARE", spare=True))
    row = ("2261122000000000000", "星海通行证 月卡 三十天", "", Money(4800), Moment(at), "x")
    narrow = Table(columns, [row, (*row[:3], Money(5), Moment(at + 86_400_000), "y")])
    head, first, _second = (
        "  ".join(str(getattr(c, "text", c)) for c in line)
        for line in blocks.table_lines(narrow, ZONE, 56, None)
    )
    assert "EMPTY" not in head and "SPARE" not in head and "PAID (2026)" in head
    assert all(told in first for told in ("2261122000000000000", "￥48.00", "11-22 08:00", "…"))
    assert blocks.width(first) <= 56


@pytest.mark.parametrize(("answer", "done"), [("y\n", True), ("是\n", True), ("\n", False)])
def test_a_question_wants_a_yes(does: Any, answer: str, done: bool) -> None:
    ran = []

    def act() -> None:
        """Act."""
        out.confirm("Void 3 keys worth ￥36.00?")
        ran.append(1)

    told = does(act, input=answer, tty=True)
    assert bool(ran) is done
    assert "Void 3 keys" in told.err
    assert told.code == (0 if done else Refused.exit_code)


def test_without_a_terminal_a_question_is_refused_unless_yes(does: Any) -> None:
    def act() -> None:
        """Act."""
        out.confirm("Sure?")
        out.text("done")

    told = does(act)
    assert (told.code, told.out) == (NeedsAnswer.exit_code, "")
    assert "--yes" in told.err
    assert does(act, "-y").out == "done\n"
    assert does(act, input="", tty=True).code == NeedsAnswer.exit_code


def test_a_number_is_not_answered_by_yes(does: Any) -> None:
    def act() -> None:
        """Act."""
        out.confirm_number("Restore?", 12)
        out.text("done")

    assert does(act, "--yes").code == NeedsAnswer.exit_code
    assert does(act, input="11\n", tty=True).code == Refused.exit_code
    assert does(act, input="12\n", tty=True).out == "done\n"


def test_a_secret_comes_from_stdin_and_an_empty_one_is_refused(does: Any) -> None:
    def act() -> None:
        """Act."""
        out.text(repr(out.secret_prompt("x").reveal()))

    assert does(act, input="v alue \r\nmore").out == "b'v alue '\n"
    assert does(act, input="\n").code == 2


def test_hints_are_silent_for_programs_and_notes_for_quiet(does: Any) -> None:
    def act() -> None:
        """Act."""
        out.note("note")
        out.hint("hint")
        out.detail("detail")

    assert does(act).err == "note\n→ hint\n"
    assert does(act, "--json").err == "note\n"
    assert does(act, "-q").err == ""
    assert does(act, "-v").err == "note\n→ hint\ndetail\n"


def test_progress_passes_items_on(does: Any) -> None:
    def act() -> None:
        """Act."""
        out.text(str(list(out.progress(range(3), "reading", 3))))

    told = does(act)
    assert (told.out, told.err) == ("[0, 1, 2]\n", "")


def test_progress_tells_rate_and_time_left() -> None:
    clock = ManualClock()
    slow = Meter("reading", 100, live=False, clock=clock)
    assert slow.end() == ""
    assert slow.step() == ""
    clock.advance(10_000)
    assert slow.step() == "reading 2/100 · 0.2/s · 8:10 left\n"
    live = Meter("reading", None, live=True, clock=clock)
    clock.advance(125)
    assert live.step() == "\rreading 1 · 8.0/s"
    clock.advance(50)
    assert live.step() == ""
    assert live.end().endswith("\n")


def test_colour_needs_a_terminal_and_no_objection(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    options.use(options.Options())
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert out._paint("x", "good", Terminal()) == "\x1b[32mx\x1b[0m"  # type: ignore[arg-type]
    monkeypatch.setenv("NO_COLOR", "1")
    assert out._paint("x", "good", Terminal()) == "x"  # type: ignore[arg-type]
    monkeypatch.delenv("NO_COLOR")
    options.use(options.hoist(["--no-color"]))
    assert out._paint("x", "good", Terminal()) == "x"  # type: ignore[arg-type]
    options.use(options.Options())


def test_a_closed_pipe_ends_no_work(cli_process: Any, tmp_path: Path) -> None:
    import subprocess

    script = (
        "import sys\n"
        "from kmtool.cli import out\n"
        "out.pipe_safe()\n"
        "for n in range(200_000): out.text('row')\n"
        "out.flush()\n"
        f"open({str(tmp_path / 'done')!r}, 'w').close()\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert run.stdout is not None and run.stderr is not None
    run.stdout.readline()
    run.stdout.close()
    told = run.stderr.read()
    run.stderr.close()
    assert run.wait(60) == 0
    assert told == b""
    assert (tmp_path / "done").exists()
