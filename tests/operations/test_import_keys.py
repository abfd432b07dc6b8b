"""Keys come in exactly as they stand, once over all history, all or nothing per batch."""

from __future__ import annotations

import io
import zipfile
from datetime import date
from pathlib import Path

import pytest

from kmtool.app import open_shop
from kmtool.clock import NEVER_MS, ManualClock
from kmtool.errors import InputRefused, NotFound, StateMoved, UsageError
from kmtool.operations import doctor, import_keys
from kmtool.operations.import_records import Preview, Terms
from kmtool.operations.key_sources import Source
from kmtool.shop import Shop
from tests.operations.import_kit import balances, bring, free, stored
from tests.test_sheets import workbook

CANARY = "CANARY-5f3a-PLAIN"


# ------------------------------------------------------------------ what comes in


def test_three_lines_become_three_free_keys(shop: Shop) -> None:
    result = bring(shop, "AAAA-1\nBBBB-2\nCCCC-3\n")
    assert (result.accepted, result.duplicates, result.rejected) == (3, 0, 0)
    assert result.files[0].batch == "B20261122-01"
    assert stored(shop) == ["AAAA-1", "BBBB-2", "CCCC-3"]
    assert free(shop) == 3


@pytest.mark.parametrize(
    "data",
    [
        "卡号１----密 码 \r\n  second\r\n".encode("utf-8-sig"),
        "卡号１----密 码 \n  second\n".encode("gb18030"),
        "卡号１----密 码 \r\n\r\n  second".encode("utf-16"),
    ],
)
def test_only_the_line_ending_and_the_mark_are_removed(shop: Shop, data: bytes) -> None:
    bring(shop, data)
    assert stored(shop) == ["卡号１----密 码 ", "  second"]


@pytest.mark.parametrize("space", [" ", "\t", "  \t", "\u3000", "\u00a0"])
def test_a_paste_with_spaces_at_the_ends_is_the_same_keys(shop: Shop, space: str) -> None:
    assert bring(shop, f"AAAA-1\nBBBB-2{space}\n").accepted == 2
    again = bring(shop, f"AAAA-1{space}\n{space}BBBB-2\nCC{space}CC\n")
    assert (again.accepted, again.duplicates) == (1, 2)
    assert stored(shop) == ["AAAA-1", f"BBBB-2{space}", f"CC{space}CC"]
    checks = {check.name: check.ok for check in doctor.opening_checks(shop)}
    assert checks["keys_open"]


def test_full_width_digits_are_taken_and_named(shop: Shop) -> None:
    result = bring(shop, "ABCD１２３４\nplain-key\n")
    assert result.accepted == 2
    assert result.files[0].warnings == {"full-width": (1,)}


def test_lines_are_numbered_as_the_file_shows_them(shop: Shop) -> None:
    bring(shop, "卡号----密码\n\nA1----B1\n\nA2----B2\n")
    rows = shop.db.all("SELECT line_no FROM keys ORDER BY line_no")
    assert [row["line_no"] for row in rows] == [3, 5]


def test_a_csv_joins_the_columns_its_head_names(shop: Shop) -> None:
    bring(shop, "卡号,密码,备注\nA1,B1,x\nA2,B2,y\n", "k.csv")
    assert stored(shop) == ["A1----B1", "A2----B2"]


def test_chosen_columns_of_a_txt_are_taken_apart(shop: Shop) -> None:
    bring(shop, "1|A1|x\n2|A2|y\n", separator="|", mapping={"key": "2"})
    assert stored(shop) == ["A1", "A2"]


def test_a_preset_names_the_columns(shop: Shop) -> None:
    bring(shop, "A1----B1\nA2----B2\n", preset="dashes")
    assert stored(shop) == ["A1----B1", "A2----B2"]


def test_an_unknown_preset_is_named_with_those_there_are(shop: Shop) -> None:
    with pytest.raises(UsageError, match="dashes"):
        bring(shop, "A\n", preset="nothing")


def test_a_workbook_keeps_leading_zeros_of_text(shop: Shop) -> None:
    bring(shop, workbook([["卡密"], ["000123"], ["000124"]]), "k.xlsx")
    assert stored(shop) == ["000123", "000124"]


def test_a_nineteen_digit_number_is_refused_with_its_row(shop: Shop) -> None:
    data = workbook([["卡密"], ["text-key"], [1234567890123456789]])
    result = bring(shop, data, "k.xlsx")
    assert (result.accepted, result.rejected) == (1, 1)
    assert result.files[0].refused[0].startswith("3: a number of 16 digits")


def test_a_file_of_destroyed_numbers_takes_nothing_in(shop: Shop) -> None:
    with pytest.raises(InputRefused, match="none of 2 rows"):
        bring(shop, workbook([["卡密"], [1.2e18], [1.3e18]]), "k.xlsx")
    assert shop.db.value("SELECT count(*) FROM batches") == 0
    assert shop.db.value("SELECT count(*) FROM products") == 0


def test_each_file_of_a_zip_is_a_batch(shop: Shop) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "A1\nA2\n")
        archive.writestr("sub/b.csv", "卡密\nB1\n")
        archive.writestr("__MACOSX/._a.txt", "junk")
    result = bring(shop, file.getvalue(), "both.zip")
    assert [(f.file, f.accepted) for f in result.files] == [
        ("both.zip/a.txt", 2),
        ("both.zip/sub/b.csv", 1),
    ]


def test_an_expiry_is_the_end_of_that_day_in_the_shop(shop: Shop) -> None:
    bring(shop, "A1\n", expires=date(2027, 1, 31))
    assert shop.db.value("SELECT expires_ms FROM keys") == 1_801_411_200_000
    bring(shop, "A2\n")
    assert shop.db.value("SELECT max(expires_ms) FROM keys") == NEVER_MS


def test_keys_that_expired_already_are_refused(shop: Shop) -> None:
    with pytest.raises(UsageError, match="past"):
        bring(shop, "A1\n", expires=date(2026, 11, 21))


# ------------------------------------------------------------------ twins


def test_a_twin_in_the_file_is_counted_and_named(shop: Shop) -> None:
    result = bring(shop, "A1\nB1\nA1\n")
    assert (result.accepted, result.duplicates) == (2, 1)
    assert result.files[0].twins == ("3: duplicate of line 1 of keys.txt",)


def test_a_twin_of_another_product_is_named_with_where_it_lies(shop: Shop) -> None:
    bring(shop, "A1\nB1\n")
    result = bring(shop, "X1\nB1\n", "other.txt", sku="S2")
    assert (result.accepted, result.duplicates) == (1, 1)
    assert result.files[0].twins == ("2: duplicate of batch B20261122-01 line 2 (free, S1)",)


def test_a_twin_of_a_key_sold_long_ago_is_found(shop: Shop) -> None:
    bring(shop, "OLD1\n", "history.txt", history=True)
    result = bring(shop, "OLD1\nNEW1\n")
    assert result.files[0].twins == ("1: duplicate of batch B20261122-01 line 1 (delivered, S1)",)


def test_a_twin_in_another_file_of_the_same_import_is_named(shop: Shop) -> None:
    sources = [Source("a.txt", b"A1\nA2\n"), Source("b.txt", b"A2\nB1\n")]
    result = import_keys.run(
        shop, sources, Terms("S1", "sup1"), agree=lambda _: True, create=lambda *_: True
    )
    assert [f.accepted for f in result.files] == [2, 1]
    assert result.files[1].twins == ("1: duplicate of line 2 of a.txt",)


def test_the_same_file_again_brings_nothing_new(shop: Shop, clock: ManualClock) -> None:
    at = clock.now_ms()
    bring(shop, "A1\nB1\n")
    clock.advance(60_000)
    result = bring(shop, "A1\nB1\n", "renamed.txt")
    assert (result.accepted, result.duplicates) == (0, 2)
    assert result.files[0].batch is None
    assert result.files[0].same_file_ms == at
    assert shop.db.value("SELECT count(*) FROM batches") == 1
    assert free(shop) == 2


def test_an_import_that_was_overtaken_takes_nothing_in(shop: Shop, clock: ManualClock) -> None:
    def agree_late(_: Preview) -> bool:
        with open_shop(shop.config, clock=clock) as other:
            bring(other, "B1\nX1\n", "faster.txt")
        return True

    with pytest.raises(StateMoved):
        import_keys.run(
            shop, [Source("k.txt", b"A1\nB1\n")], Terms("S1", "sup1"),
            agree=agree_late, create=lambda *_: True,
        )  # fmt: skip
    assert sorted(stored(shop)) == ["B1", "X1"]
    assert shop.db.value("SELECT count(*) FROM batches") == 1


# ------------------------------------------------------------------ terms, money, record


def test_an_unknown_product_is_made_only_when_allowed(shop: Shop) -> None:
    with pytest.raises(NotFound, match="product S1"):
        import_keys.run(
            shop, [Source("k.txt", b"A1\n")], Terms("S1", "sup1"),
            agree=lambda _: True, create=lambda *_: False,
        )  # fmt: skip
    assert shop.db.value("SELECT count(*) FROM keys") == 0


def test_without_a_supplier_and_nobody_to_ask_it_is_the_shops_own(shop: Shop) -> None:
    bring(shop, "A3\n", supplier="zhang")
    bring(shop, "A1\n", supplier="")
    assert [row["supplier"] for row in shop.db.all("SELECT supplier FROM batches ORDER BY id")] == [
        "zhang", "own",
    ]  # fmt: skip


def test_saying_no_takes_nothing_in(shop: Shop) -> None:
    result = import_keys.run(
        shop, [Source("k.txt", b"A1\n")], Terms("S1", "sup1"),
        agree=lambda _: False, create=lambda *_: True,
    )  # fmt: skip
    assert not result.agreed
    assert shop.db.value("SELECT count(*) FROM keys") == 0
    assert shop.db.value("SELECT count(*) FROM products") == 0


def test_the_preview_shows_masked_keys_and_the_money(shop: Shop) -> None:
    seen: list[Preview] = []
    import_keys.run(
        shop, [Source("k.txt", b"AAAA----1111\nBBBB----2222\nAAAA----1111\n")],
        Terms("S1", "sup1", cost_e5=1_250_000),
        agree=lambda preview: bool(seen.append(preview)) or True, create=lambda *_: True,
    )  # fmt: skip
    (preview,) = seen
    (file,) = preview.files
    assert file.first == ("…1111", "…2222")
    assert (file.separator, file.rows, file.accepted, file.duplicates) == ("----", 3, 2, 1)
    assert (preview.amount_minor, preview.currency, preview.mode) == (2500, "CNY", "consignment")


def test_bought_keys_are_stock_and_a_debt(shop: Shop) -> None:
    bring(shop, "A1\nA2\nA3\n", cost_e5=33_333, mode="buyout")
    assert balances(shop) == {"asset:stock": 100, "payable:supplier:sup1": -100}


def test_keys_on_consignment_are_no_debt_yet(shop: Shop) -> None:
    bring(shop, "A1\n", cost_e5=1_250_000)
    assert balances(shop) == {}


def test_history_is_neither_stock_nor_money(shop: Shop) -> None:
    bring(shop, "A1\nA2\n", history=True, cost_e5=100_000, mode="buyout")
    assert free(shop) == 0
    assert balances(shop) == {}
    assert shop.db.all("SELECT DISTINCT state, uses_left FROM keys") == [
        {"state": "delivered", "uses_left": 0}
    ]


def test_a_dry_run_goes_the_same_way_and_leaves_nothing(shop: Shop, tmp_path: Path) -> None:
    with shop.db.rehearsal():
        result = bring(shop, "A1\nA1\nB1\n", cost_e5=100_000, mode="buyout")
        assert (result.accepted, result.duplicates) == (2, 1)
        assert free(shop) == 2
    for table in ("keys", "batches", "products", "suppliers", "ledger_entries", "audit"):
        assert shop.db.value(f"SELECT count(*) FROM {table}") == 0
    assert list((tmp_path / "exports").iterdir()) == []


def test_batches_are_numbered_by_the_shop_s_day(shop: Shop, clock: ManualClock) -> None:
    assert bring(shop, "A1\n").files[0].batch == "B20261122-01"
    assert bring(shop, "A2\n").files[0].batch == "B20261122-02"
    clock.advance(16 * 3_600_000)  # midnight in Shanghai
    assert bring(shop, "A3\n").files[0].batch == "B20261123-01"


def test_an_import_is_on_record_without_a_key(shop: Shop) -> None:
    bring(shop, f"{CANARY}\n")
    rows = shop.db.all("SELECT * FROM audit")
    assert "key.import" in {row["action"] for row in rows}
    assert CANARY not in str(rows)


def test_a_worn_data_key_is_replaced_before_sealing(shop: Shop) -> None:
    with shop.db.tx():
        shop.db.run("UPDATE data_keys SET records = :n", n=import_keys.RECORDS_PER_DATA_KEY - 1)
    bring(shop, "A1\nA2\n")
    assert shop.db.value("SELECT count(*) FROM data_keys") == 2
    assert shop.db.value("SELECT records FROM data_keys ORDER BY id DESC LIMIT 1") == 2
    assert stored(shop) == ["A1", "A2"]


def test_sealed_records_are_counted(shop: Shop) -> None:
    bring(shop, "A1\nA2\nA3\n")
    assert shop.db.value("SELECT records FROM data_keys") == 3


# ------------------------------------------------------------------ what may be seen


def test_the_rejects_file_names_rows_and_never_a_key(shop: Shop) -> None:
    result = bring(shop, f"{CANARY}\n1.23E+18\n{CANARY}\n")
    (file,) = result.files
    assert file.rejects_file is not None
    text = Path(file.rejects_file).read_text(encoding="utf-8-sig")
    assert text.splitlines()[0] == "row,key,reason"
    assert text.splitlines()[1].startswith("2,,Excel")
    assert text.splitlines()[2] == "3,…LAIN,duplicate of line 1 of keys.txt"
    assert CANARY not in text
    assert "E+18" not in text


def test_no_plain_key_lies_in_the_folder(shop: Shop, tmp_path: Path) -> None:
    bring(shop, f"{CANARY}\n{CANARY}\nother----{CANARY}\n")
    with pytest.raises(InputRefused):
        bring(shop, f"{CANARY}\x1b\n", "bad.txt")
    if shop.db.dialect == "postgresql":
        dumped = str(shop.db.all("SELECT * FROM keys")) + str(shop.db.all("SELECT * FROM audit"))
        assert CANARY not in dumped
    shop.db.close()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert CANARY.encode() not in path.read_bytes(), path


def test_keys_are_numbered_in_the_order_of_their_file(shop: Shop) -> None:
    texts = [f"ORDER-{i * 7919 % 1000:04d}-KEY" for i in range(300)]
    for part in (texts[:200], texts[100:]):
        bring(shop, "\n".join(part))
    rows = shop.db.all("SELECT id, batch_id, line_no FROM keys ORDER BY id")
    found = [(row["batch_id"], row["line_no"]) for row in rows]
    assert len(found) == 300
    assert found == sorted(found)
