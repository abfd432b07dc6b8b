"""The demo day: its figures agree at both ends, and a folder that is not its own stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmtool.demo.day import run
from kmtool.errors import Refused


def test_the_demo_day_agrees_at_both_ends(tmp_path: Path) -> None:
    said: list[str] = []
    story = run(tmp_path / "demo", said.append)
    assert story.agrees
    assert story.orders == 200
    assert story.orders_by_channel == {"maple": 150, "taobao": 50}
    assert (story.batches, story.duplicates) == (3, 1)
    assert story.keys_at_two_buyers == 0
    assert story.healed == 3
    assert set(story.waiting) == {"mapped", "price", "risk", "stock"}
    assert (story.cancelled, story.refund_cases) == (1, 1)
    assert len(story.missing_orders) == 1
    assert story.money.unexplained_minor == 0
    assert {sheet.supplier for sheet in story.sheets} == {"laowang", "haitao"}
    assert all(Path(sheet.workbook).exists() for sheet in story.sheets)
    assert len(said) >= 5


def test_the_demo_takes_no_folder_of_yours(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keys", encoding="utf-8")
    with pytest.raises(Refused):
        run(tmp_path, print)
    assert (tmp_path / "mine.txt").read_text(encoding="utf-8") == "keys"


def test_an_earlier_demo_is_made_anew(tmp_path: Path) -> None:
    first = run(tmp_path / "demo", lambda _line: None)
    again = run(tmp_path / "demo", lambda _line: None)
    assert (first.orders, first.delivered) == (again.orders, again.delivered)


def test_the_demo_tops_an_account_up(tmp_path: Path) -> None:
    said: list[str] = []
    run(tmp_path / "demo", said.append)
    assert any("1 account topped up" in line for line in said)
