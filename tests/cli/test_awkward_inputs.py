"""Input nobody would think of: every one ends in three lines or in the right result."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.config import load
from kmtool.operations.sync import sync
from kmtool.ports import Buyer, LineFact
from tests import fakes
from tests.cli.bad_inputs import (
    NEW,
    ORDER_HEAD,
    ORDER_ROW,
    books,
    environment,
    start,
    three_lines,
    tiny_disk,
)
from tests.cli.conftest import TOML
from tests.jobs.shop_on_loopback import wait_for
from tests.test_sheets import workbook

Cli = Callable[..., Any]
HUGE = "9" * 30
HOSTILE = "\x1b[31mdemo\x1b]0;gone\x07_😀\u202eoge\r\n\x00=cmd|x"


@pytest.fixture
def stocked(cli: Cli, shop_folder: Path) -> Path:
    """A shop with three keys of S1."""
    (shop_folder / "keys.txt").write_text("AAAA-1111\nBBBB-2222\nCCCC-3333\n", encoding="utf-8")
    assert cli("import", "keys.txt", *NEW).code == 0
    (shop_folder / "folder.csv").mkdir()
    (shop_folder / "empty").mkdir()
    return shop_folder


# ------------------------------------------------------------------ words

WORDS: list[tuple[str, tuple[int, ...]]] = [
    ("sell S1 --quantity 0", (2,)),
    ("sell S1 --quantity -3", (2,)),
    ("sell S1 --quantity 1000000000", (2, 6)),
    (f"sell S1 --quantity {HUGE}", (2, 6)),
    ("sell S1 --price -5", (2,)),
    (f"sell S1 --price {HUGE}", (2,)),
    ("sell S1 --price nan", (2,)),
    ("sell S1 --price 1e3", (2,)),
    ("sell NONE", (5,)),
    ("sell ../../etc", (2, 5)),
    ("import more.txt --sku S1 --yes --cost -1", (2, 5)),
    ("import keys.txt --sku S1 --yes --cost -1", (2,)),
    (f"import keys.txt --sku S1 --yes --cost {HUGE}", (2,)),
    ("import keys.txt --sku S1 --yes --expires 0001-01-01", (2,)),
    ("import keys.txt --sku -x --new --yes", (2,)),
    ("import keys.txt --sku S1 --map key=0 --yes", (2, 9)),
    ("import keys.txt --sku S1 --map key=99999999999999999999 --yes", (2, 9)),
    ("import keys.txt keys.txt --sku S1 --preset ../../x --yes", (2,)),
    ("import . --sku S1 --yes", (9,)),
    ("import keys.txt/x --sku S1 --yes", (5, 9)),
    ("import kmtool.toml --sku S2 --yes --map key=1", (2, 9)),
    ("import shop/shop.db --sku S1 --yes", (9,)),
    ("product add S2 --price -3", (2,)),
    ("product add S2 --price ４８元", (2,)),
    (f"product add S2 --low-stock {HUGE}", (2,)),
    ("product add S2 --kind gift", (2,)),
    ("product add S1", (6,)),
    ("product map nowhere i1 S1 --units 0", (2, 5)),
    (f"product map shop1 i1 S1 --units {HUGE}", (2,)),
    ("product map shop1 i1 NONE", (5,)),
    ("product set NONE --title x", (5,)),
    ("product import keys.txt", (9,)),
    ("supplier add z", (6,)),
    (f"supplier add y --settle-days {HUGE}", (2,)),
    ("supplier show none", (5,)),
    ("sync nowhere", (5,)),
    ("sync --since yesterday", (2,)),
    ("deliver NONE-1", (5,)),
    ("order show NONE-1", (5,)),
    (f"order show {HUGE}", (5,)),
    ("order why none:none", (5,)),
    ("order hold NONE-1", (5,)),
    ("order release NONE-1 --quantity -1", (2, 5)),
    ("order redeliver NONE-1", (5,)),
    ("order list --state nonsense", (2,)),
    ("key show 0", (5,)),
    (f"key show {HUGE}", (5, 9)),
    (f"key show {HUGE} --reveal --reason x", (5, 9)),
    ("key list --state nonsense", (2,)),
    ("key stock NONE", (5,)),
    ("key batch show NONE", (5,)),
    ("key batch undo NONE --yes", (5,)),
    ("channel add ../up --adapter file", (2,)),
    ("channel add shop1 --adapter file", (6,)),
    ("channel add two --adapter nothing", (2,)),
    ("channel add two --by-file none.csv", (5,)),
    ("channel add two --by-file empty", (5, 9)),
    ("channel set nowhere --mode auto", (5,)),
    ("channel set shop1 --mode fast", (2,)),
    ("channel set shop1 --courier pigeon", (2,)),
    ("channel test nowhere", (5,)),
    ("reconcile --account wrong", (5,)),
    ("reconcile none.csv --account wrong", (5,)),
    ("reconcile --from 2026-13-01", (2,)),
    ("statement check none.csv", (5,)),
    (f"statement show {HUGE}", (5, 9)),
    (f"recon show {HUGE}", (5, 9)),
    ("recon link 1 NONE --reason x", (5,)),
    ("recon write-off 1 --reason x", (5,)),
    ("recon resolve 1 --reason x", (5,)),
    ("profile show nothing", (5,)),
    ("settle preview none", (5,)),
    ("settle close none --yes", (5,)),
    ("settle preview z --cut 2026-02-30", (2,)),
    ("settle show NONE", (5,)),
    ("settle verify none.xlsx", (5, 9)),
    ("settle paid NONE --amount 1 --date 2026-11-22 --ref x", (5,)),
    ("export orders", (2,)),
    ("export nothing -o x.csv", (2,)),
    ("export orders -o x.pdf", (2,)),
    ("export orders -o folder.csv", (9,)),
    ("export keys -o none/deep/keys.txt", (2,)),
    ("export keys -o keys.txt/k.csv", (9,)),
    ("order list -o folder.csv", (9,)),
    ("order list -o .", (2,)),
    ("order list -o keys.txt/o.json", (9,)),
    ("order list -o /proc/o.xlsx", (9,)),
    ("order list --config none", (5,)),
    ("order list --config empty", (5,)),
    ("order list --lang klingon --config none", (5,)),
    ("pause NONE", (5,)),
    ("resume NONE", (0, 5)),
    ("config get shop.nonsense", (5, 4)),
    ("secret set ../x", (2,)),
    ("secret set x", (2,)),
    ("secret rm nothing --yes", (5,)),
    ("job show nothing", (2, 5)),
    ("run --once --only nothing", (2, 5)),
    ("help KM-E999", (2,)),
    ("help nothing", (2, 5)),
    ("audit list --nonsense", (2,)),
    ("db query", (2,)),
    ("db query DELETE+FROM+keys", (2, 6, 9)),
    ("db query SELECT+1;+DROP+TABLE+keys", (2, 6, 9)),
    ("db query ATTACH+'x.db'+AS+x", (2, 6, 9)),
    ("db query PRAGMA+user_version=7", (2, 6, 9)),
    ("db query SELECT+load_extension('x')", (2, 6, 9)),
    ("sell S1 --json extra", (2,)),
    ("sel S1", (2,)),
    ("-z", (2,)),
    ("--json", (0,)),
]


@pytest.mark.parametrize(("line", "codes"), WORDS, ids=[line for line, _codes in WORDS])
def test_awkward_words_change_nothing(
    cli: Cli, stocked: Path, line: str, codes: tuple[int, ...]
) -> None:
    before = books(stocked)
    config = (stocked / "kmtool.toml").read_bytes()
    told = cli(*(word.replace("+", " ") for word in line.split()))
    if told.code == 0:
        assert 0 in codes, told
    else:
        three_lines(told, *codes)
    assert books(stocked) == before
    assert (stocked / "kmtool.toml").read_bytes() == config
    assert not [path for path in stocked.iterdir() if path.suffix in {".new", ".tmp", ".part"}]


@pytest.mark.parametrize("word", ["9999-12-31", "0001-01-01"])
def test_days_at_the_ends_of_time_are_days(cli: Cli, stocked: Path, word: str) -> None:
    (stocked / "more.txt").write_text("NEW-1\n", encoding="utf-8")
    for words in (
        ("import", "more.txt", *NEW, "--expires", word), ("sync", "--since", word),
        ("export", "orders", "--from", word, "--to", word, "-o", "o.csv"),
        ("settle", "preview", "z", "--cut", word), ("reconcile", "--from", word, "--to", word),
    ):  # fmt: skip
        told = cli(*words)
        assert told.code == 0 or three_lines(told, 2, 6, 9), words


# ------------------------------------------------------------------ files


def bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("keys.txt", b"A" * (300 * 1024 * 1024))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("line.txt", b"A" * 10_000_000, "longer than 4096"),
        ("nul.txt", b"AAAA\0BBBB\n", "no text"),
        ("bomb.zip", bomb(), "unpacks to far more"),
        ("bomb.xlsx", bomb(), "unpacks to far more"),
        ("cut.xlsx", workbook([["卡密"], ["X-1"]])[:900], "damaged or cut short"),
        ("latin.txt", "clé-à-vendre-œ\xff".encode("latin-1", "ignore") + b"\xff\xff", "no text"),
        ("up.zip", None, "leads outside"),
        ("quote.csv", b'key\n"never closed\n' + b"x" * 200_000, "csv is broken"),
        ("wide.csv", b"," * 5_000 + b"\n", "columns"),
    ],
)
def test_an_awkward_file_is_refused_whole(
    cli: Cli, stocked: Path, name: str, content: bytes | None, says: str
) -> None:
    if content is None:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("../../keys.txt", "UP-1\n")
        content = file.getvalue()
    (stocked / name).write_bytes(content)
    before = books(stocked)
    assert says in three_lines(cli("import", name, *NEW), 9)
    assert books(stocked) == before


def test_a_workbook_called_csv_is_read_as_what_it_is(cli: Cli, stocked: Path) -> None:
    (stocked / "k.csv").write_bytes(workbook([["卡密"], ["XLSX-1"]]))
    assert cli("import", "k.csv", *NEW, "--json").json()["accepted"] == 1
    assert cli("key", "find", "-", input="XLSX-1\n").code == 0


def test_a_file_whose_name_looks_like_an_option(cli: Cli, stocked: Path) -> None:
    (stocked / "--json.txt").write_text("DASH-1\n", encoding="utf-8")
    assert cli("import", *NEW, "--", "--json.txt").code == 0


@pytest.mark.parametrize(
    ("number", "quantity", "amount"),
    [("A1", "1", "-48.00"), ("A1", "-1", "48.00"), ("A1", "1", "9" * 30), ("A" * 10_000, "1", "1"),
     ("A1", "9" * 20, "1"), ("A1", "1.5", "1"), ("A1", "1", "NaN")],
)  # fmt: skip
def test_an_awkward_order_export_is_refused_or_waits(
    cli: Cli, stocked: Path, number: str, quantity: str, amount: str
) -> None:
    assert cli("channel", "add", "leaf", "--adapter", "file", "--mode", "auto").code == 0
    text = f"{ORDER_HEAD}\n{ORDER_ROW.format(number, quantity, amount)}\n"
    (stocked / "inbox/orders/leaf/o.csv").write_text(text, encoding="utf-8")
    told = cli("sync", "leaf")
    assert told.code in {0, 3, 7, 8, 9} and "Traceback" not in told.err
    assert "KM-E100" not in told.err
    cli("product", "map", "leaf", "8801", "S1")
    assert cli("deliver").code in {0, 3}
    assert {row["state"] for row in books(stocked)["keys"]} == {"free"} or number != "A1"
    for words in (("order", "list"), ("status",), ("product", "unmapped")):
        assert cli(*words).code in {0, 8}


def test_a_hostile_buyer_stays_text_everywhere(cli: Cli, stocked: Path, clock: ManualClock) -> None:
    line = LineFact("1", "i1", "", HOSTILE, 1, 1000)
    fact = fakes.order("A1", lines=(line,), note=HOSTILE, revision_ms=clock.now_ms() - 600_000)
    fakes.world("shop1").orders["A1"] = replace(
        fact, buyer=Buyer(ref="b", name=HOSTILE, email="a@example.test")
    )
    with open_shop(load(stocked / "kmtool.toml"), clock=clock) as shop:
        sync(shop)
    for words in (("order", "list"), ("order", "show", "A1"), ("order", "why", "A1"), ("status",),
                  ("product", "unmapped"), ("order", "list", "--csv")):  # fmt: skip
        told = cli(*words)
        assert told.code in {0, 8}, told.err
        assert not set(told.out) & set("\x1b\x07\x00\u202e"), words
    found = cli("order", "list", "--json")
    assert "\x1b" not in found.out and len(found.json()["orders"]) == 1
    assert cli("order", "list", "-o", "o.csv").code == 0
    assert "\x1b" not in (stocked / "o.csv").read_text(encoding="utf-8-sig")
    assert cli("export", "orders", "-o", "o.xlsx").code == 0


# ------------------------------------------------------------------ the machine


def test_a_full_disk_leaves_all_of_a_file_or_nothing(cli: Cli, stocked: Path) -> None:
    with tiny_disk(stocked / "tiny", "64k") as mounted:
        if not mounted:
            pytest.skip("a disk of its own may not be mounted here")
        (stocked / "tiny" / "filler").write_bytes(b"x" * 60_000)
        for name in ("k.json", "k.csv", "k.xlsx"):
            told = cli("config", "show", "-o", stocked / "tiny" / name)
            assert told.code == 0 or three_lines(told, 9), told
            assert (stocked / "tiny" / name).exists() == (told.code == 0)


def test_a_full_disk_in_the_middle_of_an_import_rolls_it_back(
    cli: Cli, tmp_path: Path, clock: ManualClock
) -> None:
    with tiny_disk(tmp_path / "tiny", "4m") as mounted:
        if not mounted:
            pytest.skip("a disk of its own may not be mounted here")
        folder = tmp_path / "tiny"
        (folder / "kmtool.toml").write_text(TOML, encoding="utf-8")
        create_shop(load(folder / "kmtool.toml"), clock)
        (tmp_path / "many.txt").write_text("".join(f"FULL-{i:06d}\n" for i in range(60_000)))
        before = books(folder)
        told = cli("import", tmp_path / "many.txt", *NEW, cwd=folder)
        assert "room on the disk" in three_lines(told, 1, 9)
        assert books(folder) == before
        assert cli("db", "check", cwd=folder).code in {0, 8}


@pytest.mark.parametrize(
    "content", [b"", b"not a database, but text that is long enough to be looked at" * 20, None]
)
def test_an_awkward_database_is_left_alone(cli: Cli, stocked: Path, content: bytes | None) -> None:
    path = stocked / "shop" / "shop.db"
    for part in path.parent.glob("shop.db*"):
        part.unlink()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    for words in (("sell", "S1"), ("order", "list"), ("status",), ("import", "keys.txt", *NEW)):
        three_lines(cli(*words), 1, 10)
    assert content is None or path.read_bytes() == content


@pytest.mark.parametrize("content", [None, b"", b"short", b"\xff" * 200])
def test_a_lost_or_broken_master_key_is_named(
    cli: Cli, stocked: Path, content: bytes | None
) -> None:
    path = next((stocked / ".private" / "keys").glob("*.key"))
    path.unlink()
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    before = books(stocked)
    for words in (("sell", "S1"), ("import", "keys.txt", *NEW), ("order", "list")):
        three_lines(cli(*words), 4)
    assert books(stocked) == before


def run(folder: Path, *words: str | bytes, **more: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "kmtool", *words],
        cwd=folder, env=environment(), timeout=60, check=False,
        **{"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, **more},
    )  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="a command line of Windows is always text")
@pytest.mark.parametrize(
    "words",
    [("sell", b"\xff\xfe"), ("import", b"\xff.txt", "--sku", "S1"), (b"\xff",), ("sync", b"\xd6"),
     ("order", "list", "-o", b"\xff\xfe.csv"), ("order", "list", "--buyer", b"\xff")],
)  # fmt: skip
def test_words_that_are_no_utf8(stocked: Path, words: tuple[str | bytes, ...]) -> None:
    done = run(stocked, *words)
    assert b"Traceback" not in done.stderr and b"KM-E100" not in done.stderr, done.stderr
    assert done.returncode in {0, 2, 5, 9}


@pytest.mark.skipif(sys.platform == "win32", reason="closes descriptors as a POSIX shell does")
@pytest.mark.parametrize(
    ("closed", "words", "codes"),
    [
        ("0", ("import", "-", "--sku", "S1"), {0, 2, 6, 9}),
        ("0", ("sell", "S1"), {0}),
        ("0", ("key", "find", "-"), {2, 5, 6}),
        ("0", ("deliver", "--by-hand"), {0, 6}),
        ("0", ("init", "new"), {6}),
        ("1", ("order", "list"), {0}),
        ("1", ("order", "list", "--json"), {0}),
        ("2", ("sell", "NONE"), {5}),
        ("2", ("--nonsense",), {2}),
    ],
)
def test_closed_streams_end_in_an_exit_code(
    stocked: Path, closed: str, words: tuple[str, ...], codes: set[int]
) -> None:
    line = f'exec "$0" -m kmtool "$@" {closed}>&-'
    done = subprocess.run(
        ["/bin/sh", "-c", line, sys.executable, *words],
        cwd=stocked, env=environment(), capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode in codes, done.stderr
    assert b"Traceback" not in done.stderr and b"KM-E100" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_pipe_is_no_bug(stocked: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run(stocked, "config", "show", stdout=full)
    assert b"Traceback" not in done.stderr and b"KM-E100" not in done.stderr, done.stderr


def test_a_second_daemon_is_told_who_runs(stocked: Path) -> None:
    with start(stocked, "run") as first:
        try:
            wait_for(lambda: b"1" in run(stocked, "db", "query",
                     "select count(*) n from sessions where state = 'live'").stdout
                     or first.poll() is not None)  # fmt: skip
            second = run(stocked, "run")
            assert second.returncode == 11, second
            assert b"KM-E1100" in second.stderr and b"Traceback" not in second.stderr
            assert run(stocked, "run", "stop").returncode == 0
            first.communicate(timeout=60)
            assert first.returncode == 0
        finally:
            first.kill()


def test_the_folder_of_another_program_is_no_shop(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "repo" / "src"
    folder.mkdir(parents=True)
    (tmp_path / "repo" / ".git").mkdir()
    (tmp_path / "repo" / "kmtool.toml").write_text("[tool.other]\nx = 1\n", encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    for words in (("sell", "S1"), ("import", "x.txt", *NEW), ("status",), ()):
        three_lines(cli(*words, cwd=folder), 4)
    assert [p for p in sorted(tmp_path.rglob("*")) if "home" not in p.parts] == before


def test_json_of_every_error_keeps_stdout_empty(cli: Cli, stocked: Path) -> None:
    for words in (("sell", "NONE"), ("order", "show", "X"), ("sync", "nowhere")):
        told = cli(*words, "--json")
        assert told.out == "" or json.loads(told.out)
        assert os.linesep in told.err or "\n" in told.err
