"""The audit: chained rows, anchors outside, tampering found, who saw which key."""

from __future__ import annotations

import csv
import hmac
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from kmtool.errors import Broken, Locked, NotFound, UsageError
from kmtool.locks import FileLock
from kmtool.operations import anchors, audit, audit_verify
from kmtool.shop import Shop
from kmtool.store import audit as store
from kmtool.store.audit import Wanted
from kmtool.store.db import Db

SESSIONS = (None, 3, 4)


def write(shop: Shop, n: int, session: int | None = None, word: str = "x") -> None:
    rows = [("did", f"order:shop1:{word}{i}", f"detail {i}") for i in range(n)]
    with shop.db.tx():
        store.append(shop.db, session, shop.now_ms(), "ann", rows, shop.vault.audit_mac)


@pytest.fixture
def told(shop: Shop) -> Shop:
    """A shop with three chains, anchored in the middle and at the end."""
    for session in SESSIONS:
        write(shop, 5, session)
    audit.anchor(shop)
    for session in SESSIONS:
        write(shop, 3, session, "y")
    audit.anchor(shop)
    return shop


def as_attacker(db: Db) -> None:
    """Drop the triggers: whoever can write the file can do that too."""
    if db.dialect == "sqlite":
        for name in ("audit_no_update", "audit_no_delete"):
            db.run(f"DROP TRIGGER {name}")
        return
    for name in ("audit_no_update", "audit_no_delete", "audit_no_truncate"):
        db.run(f"DROP TRIGGER {name} ON audit")


def test_a_whole_record_is_verified(told: Shop) -> None:
    found = audit_verify.verify(told)
    assert found.ok
    assert (found.chains, found.rows, found.old_rows, found.anchors) == (3, 24, 0, 2)
    assert audit_verify.quick(told).ok
    assert told.db.value("SELECT min(verified) FROM audit_heads") == 8


def test_the_quick_look_goes_on_from_the_last_one(told: Shop) -> None:
    audit_verify.verify(told)
    write(told, 2)
    as_attacker(told.db)
    told.db.run("UPDATE audit SET detail = 'other' WHERE chain = 0 AND n = 10")
    found = audit_verify.quick(told)
    assert [(b.chain, b.n) for b in found.breaks] == [(0, 10)]


def test_a_change_says_its_row(told: Shop) -> None:
    as_attacker(told.db)
    told.db.run("UPDATE audit SET actor = 'bob' WHERE chain = 3 AND n = 2")
    found = audit_verify.verify(told)
    assert not found.ok
    assert [(b.chain, b.n) for b in found.breaks] == [(3, 2)]
    assert "chain 3, row 2" in audit_verify.named(found.breaks)


def test_a_cut_tail_with_a_cut_head_is_found_by_the_anchor(told: Shop) -> None:
    as_attacker(told.db)
    cut(told.db, 4, 6)
    found = audit_verify.verify(told)
    assert [(b.chain, b.what) for b in found.breaks] == [
        (4, "the anchor knows 8 rows, there are fewer")
    ]
    assert not audit_verify.quick(told).ok


def test_what_was_written_after_the_last_note_can_be_cut_unseen(told: Shop) -> None:
    """Said openly: this is what anchors cannot do, and why every command notes the heads."""
    write(told, 2)
    as_attacker(told.db)
    cut(told.db, 0, 8)
    assert audit_verify.verify(told).ok


def cut(db: Db, chain: int, keep: int) -> None:
    db.run("DELETE FROM audit WHERE chain = :c AND n > :k", c=chain, k=keep)
    db.run(
        "UPDATE audit_heads SET count = :k, verified = :k, hash = (SELECT hash FROM audit"
        " WHERE chain = :c AND n = :k) WHERE chain = :c",
        c=chain,
        k=keep,
    )


def test_a_lost_anchor_file_is_told(told: Shop) -> None:
    anchors.path_of(told).unlink()
    found = audit_verify.verify(told)
    assert [b.what for b in found.breaks] == ["2 anchors were written, the file holds 0"]


def test_a_changed_anchor_is_told(told: Shop) -> None:
    path = anchors.path_of(told)
    text = path.read_text().replace('"rows": 15', '"rows": 14')
    path.write_text(text)
    found = audit_verify.verify(told)
    assert "line 1 of the anchors" in found.breaks[0].what
    with pytest.raises(Broken, match="line 1 of the anchors"):
        audit.anchor(told)


def test_a_torn_anchor_is_no_anchor(told: Shop) -> None:
    path = anchors.path_of(told)
    path.write_bytes(path.read_bytes() + b'{"seq": 3, "at')
    assert audit_verify.verify(told).ok
    write(told, 1)
    assert audit.anchor(told).seq == 3
    assert audit_verify.verify(told).ok


def test_an_anchor_without_news_is_not_written_again(told: Shop) -> None:
    before = anchors.path_of(told).read_bytes()
    assert not audit.anchor(told).new
    assert anchors.path_of(told).read_bytes() == before
    with told.db.rehearsal():
        write(told, 1)
        audit.anchor(told)
    assert anchors.path_of(told).read_bytes() == before


def test_two_do_not_anchor_at_once(told: Shop) -> None:
    lock = FileLock(anchors.path_of(told).with_suffix(".anchors.lock"))
    assert lock.acquire()
    with pytest.raises(Locked, match="writing the anchor"):
        audit.anchor(told)
    lock.release()


def test_a_restored_backup_is_accepted_with_a_reason(told: Shop) -> None:
    as_attacker(told.db)
    for chain in (0, 3, 4):
        cut(told.db, chain, 6)
    assert not audit_verify.verify(told).ok
    audit.anchor(told, accept="backup of this morning")
    assert audit_verify.verify(told).ok
    assert audit.listing(told, Wanted(action="audit.accept"), 10).total == 1
    cut(told.db, 3, 2)
    assert not audit_verify.verify(told).ok


def test_rows_from_before_the_chain_stay_sealed(shop: Shop) -> None:
    for n in range(4):
        shop.db.run(
            "INSERT INTO audit (at_ms, session_id, actor, action, object, detail)"
            " VALUES (:n, NULL, 'ann', 'did', 'x', 'y')",
            n=n,
        )
    assert audit_verify.verify(shop).ok
    write(shop, 2, 5)
    found = audit_verify.verify(shop)
    assert (found.ok, found.old_rows, found.rows) == (True, 4, 3)
    as_attacker(shop.db)
    shop.db.run("UPDATE audit SET detail = 'z' WHERE seq = 2")
    assert not audit_verify.verify(shop).ok


def test_an_unsealed_row_among_chains_is_found(told: Shop) -> None:
    told.db.run(
        "INSERT INTO audit (at_ms, session_id, actor, action, object, detail)"
        " VALUES (1, NULL, 'ann', 'did', 'x', 'y')"
    )
    assert not audit_verify.verify(told).ok


TEXTS = ("actor", "action", "object", "detail")


def flip_text(db: Db, chance: random.Random) -> str:
    row = chance.choice(db.all("SELECT * FROM audit"))
    name = chance.choice([n for n in TEXTS if row[n]])
    at = chance.randrange(len(row[name]))
    value = row[name][:at] + chr(ord(row[name][at]) ^ 1) + row[name][at + 1 :]
    db.run(f"UPDATE audit SET {name} = :v WHERE seq = :s", v=value, s=row["seq"])
    return f"{name} of {row['seq']}"


def flip_number(db: Db, chance: random.Random) -> str:
    row = chance.choice(db.all("SELECT * FROM audit"))
    name = chance.choice(["at_ms", "chain", "n"])
    value = row[name] ^ (1 << chance.randrange(6, 20))
    db.run(f"UPDATE audit SET {name} = :v WHERE seq = :s", v=value, s=row["seq"])
    return f"{name} of {row['seq']}"


def flip_hash(db: Db, chance: random.Random) -> str:
    row = chance.choice(db.all("SELECT * FROM audit WHERE n > 1"))
    name = chance.choice(["hash", "prev"])
    value = bytearray(row[name])
    value[chance.randrange(len(value))] ^= 1 << chance.randrange(8)
    db.run(f"UPDATE audit SET {name} = :v WHERE seq = :s", v=bytes(value), s=row["seq"])
    return f"{name} of {row['seq']}"


def swap(db: Db, chance: random.Random) -> str:
    one, two = chance.sample(db.all("SELECT * FROM audit"), 2)
    pairs = ((one, two), (two, one))
    for to, given in pairs:
        values = {name: given[name] for name in ("at_ms", "session_id", *TEXTS)}
        sets = ", ".join(f"{name} = :{name}" for name in values)
        db.run(f"UPDATE audit SET {sets} WHERE seq = :s", s=to["seq"], **values)
    return f"{one['seq']} and {two['seq']}"


def swap_places(db: Db, chance: random.Random) -> str:
    chain = chance.choice([0, 3, 4])
    one, two = chance.sample(db.all("SELECT * FROM audit WHERE chain = :c", c=chain), 2)
    db.run("UPDATE audit SET n = -1 WHERE seq = :s", s=one["seq"])
    db.run("UPDATE audit SET n = :n WHERE seq = :s", n=one["n"], s=two["seq"])
    db.run("UPDATE audit SET n = :n WHERE seq = :s", n=two["n"], s=one["seq"])
    return f"{one['seq']} and {two['seq']}"


def take_out(db: Db, chance: random.Random) -> str:
    row = chance.choice(db.all("SELECT * FROM audit"))
    db.run("DELETE FROM audit WHERE seq = :s", s=row["seq"])
    return str(row["seq"])


def cut_tail(db: Db, chance: random.Random) -> str:
    chain, keep = chance.choice([0, 3, 4]), chance.randrange(1, 8)
    if chance.random() < 0.5:
        db.run("DELETE FROM audit WHERE chain = :c AND n > :k", c=chain, k=keep)
    else:
        cut(db, chain, keep)
    return f"{chain} after {keep}"


def cut_chain(db: Db, chance: random.Random) -> str:
    chain = chance.choice([0, 3, 4])
    db.run("DELETE FROM audit WHERE chain = :c", c=chain)
    db.run("DELETE FROM audit_heads WHERE chain = :c", c=chain)
    return str(chain)


def change_head(db: Db, chance: random.Random) -> str:
    chain = chance.choice([0, 3, 4])
    match chance.randrange(3):
        case 0:
            db.run("UPDATE audit_heads SET count = count + 1 WHERE chain = :c", c=chain)
        case 1:
            db.run("UPDATE audit_heads SET hash = :h WHERE chain = :c", h=b"x" * 32, c=chain)
        case _:
            db.run("DELETE FROM audit_heads WHERE chain = :c", c=chain)
    return str(chain)


def forge(db: Db, chance: random.Random) -> str:
    """Add a row with a head that fits it, without the key."""
    chain = chance.choice([0, 3, 4])
    head = db.one("SELECT * FROM audit_heads WHERE chain = :c", c=chain)
    assert head is not None
    made = chance.randbytes(32)
    db.run(
        "INSERT INTO audit (at_ms, actor, action, object, detail, chain, n, prev, hash)"
        " VALUES (1, 'ann', 'did', 'x', 'y', :c, :n, :prev, :hash)",
        c=chain,
        n=head["count"] + 1,
        prev=head["hash"],
        hash=made,
    )
    db.run("UPDATE audit_heads SET count = count + 1, hash = :h WHERE chain = :c", h=made, c=chain)
    return str(chain)


WAYS: tuple[Callable[[Db, random.Random], str], ...] = (
    flip_text, flip_number, flip_hash, swap, swap_places, take_out, cut_tail, cut_chain,
    change_head, forge,
)  # fmt: skip


def test_every_tampering_is_found(told: Shop) -> None:
    """200 random ones, each undone before the next."""
    as_attacker(told.db)
    audit_verify.verify(told)
    unseen = []
    for n in range(200):
        chance = random.Random(n)
        way = WAYS[n % len(WAYS)]
        with told.db.rehearsal():
            what = way(told.db, chance)
            if audit_verify.verify(told).ok:
                unseen.append(f"{n} {way.__name__} {what}")
    assert unseen == []
    assert audit_verify.verify(told).ok


def test_the_list_is_asked_by_who_what_and_when(shop: Shop) -> None:
    write(shop, 2)
    with shop.db.tx():
        shop.audit("key.reveal", "key:1", "asked")
        shop.audit("key.export", "key:2", "file")
    assert audit.listing(shop, Wanted(), None).total == 4
    assert audit.listing(shop, Wanted(actor="ann"), None).total == 2
    assert [e.object for e in audit.listing(shop, Wanted(action="key.*"), None).entries] == [
        "key:2",
        "key:1",
    ]
    assert audit.listing(shop, Wanted(object="key:1"), 5).total == 1
    assert audit.listing(shop, Wanted(since_ms=shop.now_ms() + 1), 5).total == 0
    assert len(audit.listing(shop, Wanted(), 1).entries) == 1


def test_a_third_party_can_follow_an_export(told: Shop, tmp_path: Path) -> None:
    """With the key file and the method it tells, from the file alone."""
    key_file = tmp_path / "audit.key"
    done = audit.export(told, tmp_path / "audit.json", Wanted(), raw=False, key_file=str(key_file))
    assert key_file.stat().st_mode & 0o077 == 0
    key = bytes.fromhex(key_file.read_text())
    found = json.loads(Path(done.file).read_text(encoding="utf-8"))
    assert done.rows == 25, "the export of the key is on record too"
    ends: dict[int, str] = {}
    for row in found["rows"]:
        assert row["prev"] == ends.get(row["chain"], "")
        names = ("chain", "n", "at_ms", "session", "actor", "action", "object", "detail", "prev")
        text = json.dumps([row[name] for name in names], ensure_ascii=False, separators=(",", ":"))
        ends[row["chain"]] = hmac.new(key, text.encode(), "sha256").hexdigest()
        assert ends[row["chain"]] == row["hash"]
    assert {h["chain"]: h["hash"] for h in found["heads"]} == ends


def test_an_export_for_people_disarms_formulas(shop: Shop, tmp_path: Path) -> None:
    with shop.db.tx():
        shop.audit("did", "=1+1", "@x")
    tables = {}
    for raw in (False, True):
        path = tmp_path / f"{raw}.csv"
        audit.export(shop, path, Wanted(), raw=raw, key_file="")
        with path.open(encoding="utf-8-sig", newline="") as file:
            tables[raw] = list(csv.DictReader(file))
    assert tables[False][0]["object"] == "'=1+1"
    assert tables[True][0]["object"] == "=1+1"
    assert tables[True][0]["hash"] == tables[False][0]["hash"] != ""


def test_an_export_is_a_workbook_too(told: Shop, tmp_path: Path) -> None:
    import openpyxl

    done = audit.export(told, tmp_path / "a.xlsx", Wanted(), raw=False, key_file="")
    book = openpyxl.load_workbook(done.file)
    assert book.active.max_row == 25
    with pytest.raises(UsageError, match="says no format"):
        audit.export(told, tmp_path / "a.doc", Wanted(), raw=False, key_file="")


def test_nobody_saw_a_key_that_is_not_there(shop: Shop) -> None:
    for asked in ({"key_id": 9}, {"tail": "7QX2"}, {"order": "A9"}):
        with pytest.raises(NotFound):
            audit.who_saw(shop, **asked)
    with pytest.raises(UsageError, match="which key"):
        audit.who_saw(shop)


def test_a_restore_takes_the_record_as_the_backup_has_it(told: Shop) -> None:
    as_attacker(told.db)
    cut(told.db, 3, 4)
    assert not audit_verify.verify(told).ok
    audit.accept_restored(told, "db restore shop-20261122.db")
    assert audit_verify.verify(told).ok
    assert audit.listing(told, Wanted(action="audit.accept"), 1).entries[0].detail == (
        "db restore shop-20261122.db"
    )


def test_a_restore_without_anchors_writes_none(shop: Shop) -> None:
    audit.accept_restored(shop, "x")
    assert not anchors.path_of(shop).exists()


def test_a_key_placed_into_a_pool_was_seen_but_is_no_reveal(shop: Shop) -> None:
    with shop.db.tx():
        audit.opened(shop, [1, 2], "key.lent", "kq: lent.csv")
    assert store.seen_since(shop.db, 0)["n"] == 0
    assert [row["action"] for row in store.sightings(shop.db, 1)] == ["key.lent"]
