"""Power cuts at the writes of real operations: nothing acknowledged is lost; neglect is caught.

The long run is `python -m bench.powercut`; here a few hundred states, and the proof that the search
finds what it looks for: SQLite without its syncs, a send journal whose sync is lost, files whose
names were never synced.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("apsw")

from bench.powercut import Found, Plan, judged, load, record
from bench.powercut_disk import Disk, cuts, digest
from bench.powercut_look import Look
from bench.powercut_recover import recover
from bench.powercut_tape import Recording, image_hash
from kmtool.durable import keep_name

pytestmark = pytest.mark.skipif(os.name != "posix", reason="names are synced by their folder")


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A short day, as it was written."""
    return load(record(Plan("short", checkpoint=60), tmp_path_factory.mktemp("day")))


def judge(tape: Recording, folder: Path, parts: int, rounds: int = 8, share: float = 0.0) -> Found:
    """Judge every `parts`-th place of a day, eight states at each."""
    return judged(Look(tape, folder / "look"), 0, parts, range(rounds), seed=5, share=share)


def careless(tape: Recording, *endings: str) -> Recording:
    """Return the same day on a disk that forgets to sync files or folders with such names."""
    names = {op[2]: op[1] for op in tape.ops if op[0] == "+"}
    names |= {number: name for name, number in names_given(tape, names).items()}
    kept = [
        op
        for op in tape.ops
        if op[0] not in {"s", "d"}
        or not (names[op[1]] if op[0] == "s" else f"{op[1]}/").endswith(endings)
    ]
    return replace(tape, ops=kept)


def names_given(tape: Recording, names: dict[int, str]) -> dict[str, int]:
    """Return the last names of files that were renamed."""
    numbers = {name: number for number, name in names.items()}
    return {op[2]: numbers[op[1]] for op in tape.ops if op[0] == ">"}


def test_nothing_acknowledged_is_lost_in_a_power_cut(day: Recording, tmp_path: Path) -> None:
    found = judge(day, tmp_path, 29, share=0.01)
    assert found.told == []
    assert len(found.signs) > 150
    assert len(found.images) > 10
    assert found.recovered
    assert set(found.hows) >= {"nothing", "everything", "sectors", "in order"}


def test_an_update_of_an_old_database_is_done_or_not(tmp_path: Path) -> None:
    found = judge(load(record(Plan("updating"), tmp_path)), tmp_path, 31, share=0.05)
    assert found.told == []
    assert len(found.images) == 2
    assert found.recovered


def test_a_database_that_does_not_sync_its_commits_is_caught(tmp_path: Path) -> None:
    tape = record(Plan("short", options=("--synchronous", "NORMAL")), tmp_path)
    found = judge(load(tape), tmp_path, 97)
    assert found.wrong["lost"] > 10
    assert any("acknowledged commits" in told for told in found.told)


def test_a_database_without_any_sync_is_unsound(day: Recording, tmp_path: Path) -> None:
    found = judge(careless(day, "shop.db", "shop.db-wal"), tmp_path, 211)
    assert found.wrong["unsound"]
    assert found.wrong["lost"]


def test_a_journal_that_is_not_synced_is_caught(day: Recording, tmp_path: Path) -> None:
    found = judge(careless(day, ".log"), tmp_path, 97)
    assert any("not in the send journal" in told for told in found.told)


def test_names_that_are_not_synced_are_caught(day: Recording, tmp_path: Path) -> None:
    found = judge(careless(day, "home/keys/", "home/journal/"), tmp_path, 97)
    assert any("the master key" in told for told in found.told)


def test_a_disk_keeps_what_was_synced_and_anything_of_the_rest() -> None:
    start = Recording({"a": 1}, {1: b"old."}, [], [])
    disk = Disk.at_start(start)
    disk.apply(("w", 1, 0, b"kept"))
    disk.apply(("s", 1))
    disk.apply(("w", 1, 4, b"x" * 1024))
    disk.apply(("+", "b", 2))
    seen = set()
    for n in range(200):
        how = ("nothing", "everything", "sectors", "in order")[n % 4]
        files, _sign = disk.after_cut(how, random.Random(n))
        assert files["a"].startswith(b"kept")
        seen.add((len(files["a"]), "b" in files, files["a"][4:].count(b"x")))
    assert {(4, False, 0), (1028, True, 1024)} <= seen
    assert any(length == 1028 and 0 < count < 1024 for length, _, count in seen)


def test_a_synced_folder_keeps_its_names() -> None:
    disk = Disk.at_start(Recording({"d/a": 1}, {1: b"1"}, [], []))
    for op in (("+", "d/b.part", 2), ("w", 2, 0, b"2"), ("s", 2), (">", "d/b.part", "d/b")):
        disk.apply(op)
    assert {tuple(disk.after_cut("some writes", random.Random(n))[0]) for n in range(40)} == {
        ("d/a",), ("d/a", "d/b.part"), ("d/a", "d/b"),
    }  # fmt: skip
    disk.apply(("d", "d"))
    assert disk.settled
    assert disk.after_cut("nothing", random.Random(1))[0] == {"d/a": b"1", "d/b": b"2"}


def test_equal_states_count_once() -> None:
    ops = [("w", 1, 0, b"x"), ("s", 1), ("w", 1, 0, b"y")]
    signs = [sign for *_, sign in cuts(Recording({"a": 1}, {1: b"."}, ops, []), 0, 1, range(30), 1)]
    assert len(signs) > 30
    assert len(set(signs)) == 3  # as it was, x, y


def test_an_image_is_known_by_its_pages_not_by_how_often_it_was_written() -> None:
    one, two, other = bytearray(8192), bytearray(8192), bytearray(8192)
    two[24:28] = b"1234"
    other[5000] = 1
    assert image_hash(one) == image_hash(two) != image_hash(other)
    assert digest(bytes(one)) != digest(bytes(two))


def test_a_name_is_kept_on_a_file_system_that_cannot_sync_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(_handle: int) -> None:
        raise OSError(22, "Invalid argument")

    def broken(_handle: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", cannot)
    keep_name(tmp_path / "a")
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        keep_name(tmp_path / "a")


def test_a_shop_whose_setting_up_was_cut_off_can_be_set_up(day: Recording, tmp_path: Path) -> None:
    end = next(at for at, op in enumerate(day.ops) if op[0] == "m" and op[1]["kind"] == "created")
    tried = set()
    for cut, how, files, sign in cuts(day, 3, 53, range(2), 1):
        if cut < end and sign not in tried:
            tried.add(sign)
            assert recover(day, cut, files, tmp_path / "cut") == [], (cut, how)
    assert len(tried) > 10
