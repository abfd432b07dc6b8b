"""Words on the command line nobody would think of end in three lines or the right result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.bad_inputs import NEW, books, three_lines

Cli = Callable[..., Any]
HUGE = "9" * 30


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
