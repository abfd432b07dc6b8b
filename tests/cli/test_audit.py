"""audit list, verify, anchor, export, seen, through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kmtool.errors import EXIT_DIFFERENCES, NotFound, UsageError
from kmtool.store.db import connect


def test_the_record_is_listed_by_who_what_and_when(cli: Any, shop_folder: Path) -> None:
    assert "Nothing is on record" in cli("audit", "list").out
    cli("pause", "all", "--reason", "stock-taking")
    cli("resume", "all")
    assert cli("audit", "list", "--count").out == "2\n"
    assert cli("audit", "list", "--action", "pause", "--count").out == "1\n"
    assert cli("audit", "list", "--object", "all", "--limit", "1", "--ids").out == "2\n"
    assert cli("audit", "list", "--actor", "nobody", "--count").out == "0\n"
    assert cli("audit", "list", "--since", "2026-11-23", "--count").out == "0\n"
    assert cli("audit", "list", "--since", "yesterday").code == UsageError.exit_code
    entry = cli("audit", "list", "--json").json()["entries"][0]
    assert (entry["action"], entry["chain"], entry["n"]) == ("resume", 0, 2)


def test_tampering_is_found_and_exits_8(cli: Any, shop_folder: Path) -> None:
    cli("pause", "all")
    assert cli("audit", "anchor").code == 0
    assert "Nothing was written since" in cli("audit", "anchor").out
    assert "is whole" in cli("audit", "verify").out
    db = connect(shop_folder / "shop" / "shop.db")
    db.run("DROP TRIGGER audit_no_update")
    db.run("UPDATE audit SET actor = 'somebody' WHERE n = 1")
    db.close()
    told = cli("audit", "verify")
    assert told.code == EXIT_DIFFERENCES
    assert "tampered with" in told.out
    assert "it was changed" in told.out
    found = cli("audit", "verify", "--json").json()
    assert (found["broken"], found["breaks"][0]["n"]) == (1, 1)


def test_a_cut_record_is_accepted_with_a_reason_only(cli: Any, shop_folder: Path) -> None:
    cli("pause", "all")
    cli("resume", "all")
    cli("audit", "anchor")
    db = connect(shop_folder / "shop" / "shop.db")
    db.run("DROP TRIGGER audit_no_delete")
    db.run("DELETE FROM audit WHERE n = 2")
    db.run("UPDATE audit_heads SET count = 1, hash = (SELECT hash FROM audit WHERE n = 1)")
    db.close()
    assert cli("audit", "verify").code == EXIT_DIFFERENCES
    assert cli("audit", "anchor", "--accept", "old backup").code == 6
    assert cli("audit", "anchor", "--accept", "old backup", "--yes").code == 0
    assert cli("audit", "verify").code == 0
    assert cli("audit", "list", "--action", "audit.accept", "--count").out == "1\n"


def test_the_record_is_taken_away_with_its_hashes(cli: Any, shop_folder: Path) -> None:
    cli("pause", "all")
    assert cli("audit", "export").code == UsageError.exit_code
    assert cli("audit", "export", "-o", "a.doc").code == UsageError.exit_code
    for name in ("a.json", "a.csv", "a.xlsx"):
        assert cli("audit", "export", "-o", name).code == 0
    found = json.loads((shop_folder / "a.json").read_text(encoding="utf-8"))
    assert found["rows"][0]["hash"] == found["heads"][0]["hash"]
    told = cli("audit", "export", "-o", "b.json", "--key-file", "audit.key", "--json").json()
    assert len((shop_folder / "audit.key").read_text().strip()) == 64
    assert told["rows"] == 2


def test_who_saw_a_key(cli: Any, shop_folder: Path) -> None:
    (shop_folder / "keys.txt").write_text("AAAA-BBBB-7QX2\nAAAA-BBBB-7QX3\n", encoding="utf-8")
    cli("import", "keys.txt", "--sku", "S1", "--supplier", "z", "--cost", "1", "--new", "--yes")
    rows = cli("key", "list", "--json").json()["keys"]  # numbers follow no order of the file
    first, second = sorted(rows, key=lambda row: row["line_no"])
    assert "Nobody saw it" in cli("audit", "seen", first["id"]).out
    shown = cli("key", "show", first["id"], "--reveal", "--reason", "buyer asks", "--yes")
    assert shown.code == 0, shown.err
    told = cli("sell", "S1", "--price", "9", "--json")
    assert told.code == 0, told.err
    sold = told.json()["number"]
    cli("export", "keys", "-o", "all.csv", "--reveal", "--yes")
    seen = cli("audit", "seen", "--tail", "7QX2", "--json").json()["keys"][0]["seen"]
    assert sorted(one["how"] for one in seen) == ["key.export", "key.reveal", "screen"]
    how = {one["how"]: one for one in seen}
    assert how["key.reveal"]["why"] == "buyer asks"
    assert how["screen"]["where"] == f"counter:{sold}"
    assert all(one["who"] for one in seen)
    other = cli("audit", "seen", second["id"], "--json").json()["keys"][0]["seen"]
    assert [one["how"] for one in other] == ["key.export"]
    assert cli("audit", "seen", "--order", sold, "--count").out == "3\n"
    assert cli("audit", "seen", "99").code == NotFound.exit_code
    assert cli("audit", "seen").code == UsageError.exit_code
