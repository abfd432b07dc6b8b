"""The send journal: on the disk before the network, whole records only, damage is noticed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from kmtool.errors import Broken
from kmtool.journal import Journal, JournalEntry
from kmtool.operations.replay import last_word


def entry(n: int, kind: str = "SEND") -> JournalEntry:
    return JournalEntry(kind, "shop1", f"A{n}", "1", f"{n:032x}", 1)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "deep" / "j.log", "db-1", lambda data: f"{len(data)}-{sum(data)}")


def test_records_come_back_as_they_were(journal: Journal) -> None:
    journal.append([])
    assert not journal.path.exists()
    journal.append([entry(1), entry(2)])
    journal.append([entry(1, "RELEASE")])
    assert list(journal.read()) == [entry(1), entry(2), entry(1, "RELEASE")]
    assert journal.path.stat().st_mode & 0o777 == 0o600


def test_a_torn_last_record_is_ignored_and_the_next_one_whole(journal: Journal) -> None:
    journal.append([entry(1), entry(2)])
    raw = journal.path.read_bytes()
    journal.path.write_bytes(raw[:-20])
    assert list(journal.read()) == [entry(1)]
    Journal(journal.path, "db-1", journal._digest).append([entry(3)])
    assert list(journal.read()) == [entry(1), entry(3)]


def test_a_message_that_broke_off_in_the_middle_was_not_sent(journal: Journal) -> None:
    def part(n: int, upto: int, session: int = 1) -> JournalEntry:
        return replace(entry(n), n=n, upto=upto, session=session)

    one, two = [part(1, 1)], [part(2, 3), part(3, 3)]
    journal.append([*one, *two])
    assert list(journal.read()) == [*one, *two]
    raw = journal.path.read_bytes()
    for lost in (len(raw.splitlines(keepends=True)[-1]), 20):
        journal.path.write_bytes(raw[:-lost])
        again = Journal(journal.path, "db-1", journal._digest)
        again.append([part(4, 4), part(1, 2, 2), part(5, 6), part(2, 2, 2), part(6, 6)])
        assert {(e.session, e.n) for e in again.read()} == {
            (1, 1), (1, 4), (1, 5), (1, 6), (2, 1), (2, 2),
        }  # fmt: skip


def test_a_doubled_record_is_told_wherever_it_lies(journal: Journal) -> None:
    """One of a message of several, alone, was taken for the beginning of an unfinished message."""
    parts = [(1, 1), (2, 4), (3, 4), (4, 4), (5, 6), (6, 6)]
    journal.append([replace(entry(n), n=n, upto=upto) for n, upto in parts])
    right = journal.path.read_bytes().splitlines(keepends=True)
    assert last_word(journal).moved == ()
    for one in range(len(right)):
        for two in range(len(right) + 1):
            journal.path.write_bytes(b"".join([*right[:two], right[one], *right[two:]]))
            assert last_word(journal).moved, (one, two)
    journal.path.write_bytes(b"".join(right[:3]))  # broken off: nothing stands in a wrong place
    assert last_word(journal).moved == ()


def test_a_changed_record_is_broken_and_garbage_is_none(journal: Journal) -> None:
    journal.append([entry(1)])
    with journal.path.open("ab") as file:
        file.write(b'[]\n7\n{}\n"x"\n\xff\xfe\n')
    assert list(journal.read()) == [entry(1)]
    journal.path.write_bytes(journal.path.read_bytes().replace(b"A1", b"A2"))
    with pytest.raises(Broken, match="was changed"):
        list(journal.read())


def test_another_database_sees_none_of_it(journal: Journal) -> None:
    journal.append([entry(1)])
    assert list(Journal(journal.path, "db-2", journal._digest).read()) == []


def test_a_journal_that_cannot_be_written_is_broken(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(Broken, match="nothing was sent"):
        Journal(tmp_path / "file" / "j.log", "db", str).append([entry(1)])


def test_a_record_is_written_as_json_with_sorted_keys(tmp_path: Path) -> None:
    """The HMAC is taken over exactly that text, whatever stands in a foreign order number."""
    journal = Journal(tmp_path / "j.log", "db1", lambda data: hashlib.sha256(data).hexdigest())
    hostile = '订单 "1"\\n\n\t\x7f🎮'
    journal.append([JournalEntry("SEND", "淘宝", hostile, "1", "ab" * 16, 3, n=7, parcel=2)])
    line = journal.path.read_text(encoding="utf-8").splitlines()[0]
    record = json.loads(line)
    assert line == json.dumps(record, ensure_ascii=False, sort_keys=True)
    mac = record.pop("mac")
    plain = json.dumps(record, ensure_ascii=False, sort_keys=True)
    assert mac == hashlib.sha256(plain.encode()).hexdigest()
    assert [(entry.order, entry.n, entry.parcel) for entry in journal.read()] == [(hostile, 7, 2)]


def test_a_part_that_is_gone_costs_no_other(journal: Journal) -> None:
    """The number of parts named the next one: with one lost, it was written over the newest."""
    for n in range(1, 4):
        journal.append([entry(n)])
        journal.lay_aside(1)
    journal.parts()[0].unlink()
    journal.look_again()
    journal.append([entry(4)])
    journal.lay_aside(1)
    assert [one.order for one in journal.read()] == ["A2", "A3", "A4"]
