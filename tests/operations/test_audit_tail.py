"""Between two anchors: every command notes how far the audit is, so a cut tail is seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.locks import FileLock
from kmtool.operations import anchors, audit, audit_tail, audit_verify, home
from kmtool.shop import Shop
from tests.operations.test_audit import as_attacker, cut, write


@pytest.fixture
def noted(shop: Shop, clock: ManualClock) -> Shop:
    """A shop at home with an anchor, and two notes since."""
    home.must_be_home(shop)
    write(shop, 5)
    audit.anchor(shop)
    write(shop, 2)
    assert audit_tail.note(shop)
    clock.advance(1_000)
    write(shop, 2, 3)
    assert audit_tail.note(shop)
    return shop


def test_a_tail_cut_with_its_head_is_found_by_the_note(noted: Shop) -> None:
    assert audit_verify.verify(noted).ok
    as_attacker(noted.db)
    cut(noted.db, 3, 1)
    for look in (audit_verify.verify, audit_verify.quick):
        assert [(b.chain, b.what) for b in look(noted).breaks] == [
            (3, "the anchor knows 2 rows, there are fewer")
        ]


def test_a_whole_session_that_was_taken_out_is_found(noted: Shop) -> None:
    as_attacker(noted.db)
    noted.db.run("DELETE FROM audit WHERE chain = 3")
    noted.db.run("DELETE FROM audit_heads WHERE chain = 3")
    assert not audit_verify.verify(noted).ok
    assert not audit_verify.quick(noted).ok


def test_nothing_is_noted_twice(noted: Shop, clock: ManualClock) -> None:
    while audit_tail.note(noted):  # the heads of the last two minutes may be told once more
        pass
    before = anchors.tail_path(noted).read_bytes()
    clock.advance(5_000)
    assert not audit_tail.note(noted)
    write(noted, 1)
    assert not audit_tail.note(noted, every_ms=600_000)
    assert anchors.tail_path(noted).read_bytes() == before
    clock.advance(600_000)
    assert audit_tail.note(noted, every_ms=600_000)


def test_the_next_anchor_ends_the_notes(noted: Shop) -> None:
    audit.anchor(noted)
    assert not anchors.tail_path(noted).exists()
    write(noted, 1)
    assert audit_tail.note(noted)
    assert audit_verify.verify(noted).ok


def test_notes_that_an_anchor_overtook_count_no_more(noted: Shop) -> None:
    old = anchors.tail_path(noted).read_bytes()
    audit.anchor(noted)
    anchors.tail_path(noted).write_bytes(old)  # the power went before the file was gone
    assert audit_verify.verify(noted).ok
    write(noted, 1)
    assert audit_tail.note(noted)
    assert anchors.tail_path(noted).read_bytes().count(b"\n") == 1
    assert audit_verify.verify(noted).ok


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b'"rows": ', b'"rows": 1', 1),
        lambda text: b"".join(text.splitlines(keepends=True)[1:]),
        lambda text: b"nonsense\n" + text,
        lambda text: text.replace(b'"prev": "', b'"prev": "0', 1),
    ],
)
def test_a_changed_note_is_told(noted: Shop, change: Callable[[bytes], bytes]) -> None:
    path = anchors.tail_path(noted)
    path.write_bytes(change(path.read_bytes()))
    found = audit_verify.verify(noted)
    assert "line 1 of the anchors" in found.breaks[0].what


def test_a_torn_note_is_none(noted: Shop) -> None:
    path = anchors.tail_path(noted)
    path.write_bytes(path.read_bytes() + b'{"seq": 3, "a')
    assert audit_verify.verify(noted).ok
    write(noted, 1)
    assert audit_tail.note(noted)
    assert audit_verify.verify(noted).ok


def test_a_copy_elsewhere_and_a_second_process_note_nothing(noted: Shop) -> None:
    write(noted, 1)
    lock = FileLock(anchors.path_of(noted).with_suffix(".anchors.lock"))
    assert lock.acquire()
    assert not audit_tail.note(noted)
    lock.release()
    home.home_path(noted.journal.path).unlink()
    assert not audit_tail.note(noted)


def test_an_older_database_that_is_accepted_starts_anew(noted: Shop) -> None:
    as_attacker(noted.db)
    cut(noted.db, 3, 1)
    assert not audit_verify.quick(noted).ok
    audit.accept_if_older(noted, "db restore --replay")
    assert audit_verify.verify(noted).ok
    newest = anchors.known_heads(noted)[1]
    assert newest is not None and newest.kind == anchors.RESET
    audit.accept_if_older(noted, "again")
    assert anchors.known_heads(noted)[1] == newest


def test_every_command_that_wrote_leaves_a_note(shop: Shop, clock: ManualClock) -> None:
    config = shop.config
    assert not anchors.tail_path(shop).exists()
    with open_shop(config, clock=clock) as other, other.db.tx():
        other.audit("did", "order:shop1:A1")
    assert anchors.tail_path(shop).exists()
    with open_shop(config, clock=clock) as other:
        as_attacker(other.db)
        other.db.run("DELETE FROM audit")
        other.db.run("DELETE FROM audit_heads")
        assert not audit_verify.quick(other).ok
