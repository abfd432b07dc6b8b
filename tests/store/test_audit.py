"""Rows of the audit are chained, counted by a head, and cannot be changed or taken out."""

from __future__ import annotations

import hmac
import json

import pytest

from kmtool.store import audit
from kmtool.store.db import Db
from kmtool.vault import MasterKey, Vault, hmac_of

KEY = b"k" * 32
MAC = hmac_of(KEY)


def rows(n: int, word: str = "x") -> list[tuple[str, str, str]]:
    return [("did", f"order:shop1:{word}{i}", "") for i in range(n)]


def test_the_mac_is_hmac_sha256() -> None:
    for value in (b"", b"a", b"\xff" * 200):
        assert MAC(value) == hmac.digest(KEY, value, "sha256")
    vault = Vault(MasterKey(b"w" * 32, b"f" * 32))
    assert vault.audit_mac(b"x") == hmac.digest(vault.audit_key(), b"x", "sha256")
    assert vault.digest(b"x") == hmac.digest(b"f" * 32, b"payload:x", "sha256").hex()
    assert vault.audit_key() not in {b"w" * 32, b"f" * 32}


def test_rows_are_chained_per_session(db: Db) -> None:
    with db.tx():
        audit.append(db, None, 5, "ann", rows(3), MAC)
        audit.append(db, 7, 6, "ann", rows(2, "y"), MAC)
        audit.append(db, None, 7, "bob", rows(1, "z"), MAC)
    found = db.all("SELECT * FROM audit ORDER BY chain, n")
    assert [(r["chain"], r["n"]) for r in found] == [(0, 1), (0, 2), (0, 3), (0, 4), (7, 1), (7, 2)]
    prev = b""
    for row in found[:4]:
        assert bytes(row["prev"]) == prev
        prev = MAC(
            audit.content(
                0, row["n"], row["at_ms"], None, row["actor"], "did", row["object"], "", prev
            )
        )
        assert bytes(row["hash"]) == prev
    heads = db.all("SELECT chain, count, hash FROM audit_heads ORDER BY chain")
    assert [(h["chain"], h["count"]) for h in heads] == [(0, 4), (7, 2)]
    assert bytes(heads[0]["hash"]) == prev


def test_nothing_is_written_for_nothing(db: Db) -> None:
    with db.tx():
        audit.append(db, None, 5, "ann", [], MAC)
    assert db.value("SELECT count(*) FROM audit_heads") == 0


def test_a_failed_transaction_leaves_the_head(db: Db) -> None:
    with db.tx():
        audit.append(db, None, 5, "ann", rows(2), MAC)
    with pytest.raises(ZeroDivisionError), db.tx():
        audit.append(db, None, 6, "ann", rows(2, "y"), MAC)
        raise ZeroDivisionError
    assert db.value("SELECT count FROM audit_heads WHERE chain = 0") == 2
    assert db.value("SELECT count(*) FROM audit") == 2


@pytest.mark.parametrize(
    "sql", ["UPDATE audit SET detail = 'x'", "DELETE FROM audit", "TRUNCATE audit"]
)
def test_what_was_written_is_not_to_be_changed(db: Db, sql: str) -> None:
    if sql.startswith("TRUNCATE") and db.dialect == "sqlite":
        sql = "DELETE FROM audit WHERE seq > 0"
    with db.tx():
        audit.append(db, None, 5, "ann", rows(2), MAC)
    with pytest.raises(Exception, match="only ever added to"), db.tx():
        db.run(sql)
    assert db.value("SELECT count(*) FROM audit WHERE detail = ''") == 2


def test_rows_from_before_the_chain_are_sealed_by_its_first_row(db: Db) -> None:
    for n in range(3):
        db.run(
            "INSERT INTO audit (at_ms, session_id, actor, action, object, detail)"
            " VALUES (:n, NULL, 'ann', 'did', 'x', '')",
            n=n,
        )
    with db.tx():
        audit.append(db, 9, 5, "ann", rows(1), MAC)
        audit.append(db, None, 6, "ann", rows(1), MAC)
    first = db.one("SELECT * FROM audit WHERE chain = 0 AND n = 1")
    assert first is not None
    assert first["action"] == audit.GENESIS
    count, digest = audit.old_rows_digest(audit.old_rows(db), MAC)
    assert first["detail"] == f"{count} {digest.hex()}"
    assert count == 3
    assert db.value("SELECT count(*) FROM audit WHERE action = :a", a=audit.GENESIS) == 1


@pytest.mark.parametrize("word", ["", "a", '"\\', "星海 \u2028 \x00\x1f\x7f", "\ud800", "🎲"])
@pytest.mark.parametrize("session", [None, 0, -7, 2**62])
def test_a_row_is_written_as_json_writes_it(word: str, session: int | None) -> None:
    row = [1, 2, 3, session, word, f"{word}!", word * 3, "detail", b"\x00\xff".hex()]
    text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
    found = audit.content(1, 2, 3, session, word, f"{word}!", word * 3, "detail", b"\x00\xff")
    assert found == text.encode("utf-8", "surrogatepass")
