"""What comes in besides one key for one buyer: shared keys, pictures, texts, bundles."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from kmtool.domain.secret import Secret
from kmtool.errors import InputRefused, Refused, UsageError, WrongFile
from kmtool.operations import import_keys, key_sources, keys, product_files, products, texts
from kmtool.operations.import_records import ImportResult, Terms
from kmtool.operations.key_sources import Source
from kmtool.operations.products import Fields
from kmtool.shop import Shop
from tests.operations.delivery_kit import broken
from tests.operations.import_kit import balances, bring, free, stored

PNG = b"\x89PNG\r\n\x1a\n" + b"picture one" * 9 + b"IEND\xaeB`\x82"
JPEG = b"\xff\xd8\xff\xe0" + b"picture two" * 9 + b"\xff\xd9"
GIF = b"GIF89a" + b"picture three" * 9 + b";"


def pictures(shop: Shop, *sources: Source, **terms: object) -> ImportResult:
    given = Terms(**{"sku": "P1", "supplier": "sup1", "images": True, **terms})  # type: ignore[arg-type]
    return import_keys.run(shop, sources, given, agree=lambda _: True, create=lambda *_: True)


def zipped(**files: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("_", "."), data)
    return made.getvalue()


def test_a_shared_key_counts_its_uses(shop: Shop) -> None:
    bring(shop, "AAAA-0001\nAAAA-0002\n", uses=5)
    assert free(shop) == 10
    assert products.show(shop, "S1").free == 10
    assert broken(shop) == []


def test_the_product_says_how_often_its_keys_serve(shop: Shop) -> None:
    products.add(shop, "S1", Fields(uses=3))
    bring(shop, "AAAA-0001\n")
    bring(shop, "AAAA-0002\n", "more.txt", uses=1)
    assert free(shop) == 4
    assert shop.db.all("SELECT uses FROM keys ORDER BY id") == [{"uses": 3}, {"uses": 1}]


def test_bought_shared_keys_cost_what_the_keys_cost(shop: Shop) -> None:
    bring(shop, "AAAA-0001\nAAAA-0002\n", uses=5, cost_e5=1_000_000, mode="buyout")
    assert balances(shop) == {"asset:stock": 2000, "payable:supplier:sup1": -2000}
    keys.undo(shop, "B20261122-01")
    assert free(shop) == 0 and set(balances(shop).values()) == {0}
    assert broken(shop) == []


@pytest.mark.parametrize("uses", [0, -1, 1_000_001])
def test_a_number_of_uses_that_makes_no_sense_is_refused(shop: Shop, uses: int) -> None:
    with pytest.raises(UsageError):
        products.add(shop, "S2", Fields(uses=uses))
    with pytest.raises(UsageError, match="serves"):
        bring(shop, "AAAA-0001\n", uses=uses)


def test_pictures_of_a_zip_are_one_batch_kept_byte_for_byte(shop: Shop) -> None:
    data = zipped(card0001_png=PNG, card0002_jpg=JPEG, card0003_gif=GIF)
    result = pictures(shop, Source("cards.zip", data))
    assert (result.accepted, len(result.files)) == (3, 1)
    rows = shop.db.all("SELECT * FROM keys ORDER BY line_no")
    assert [(r["media"], r["tail"]) for r in rows] == [
        ("image/png", "0001"), ("image/jpeg", "0002"), ("image/gif", "0003"),
    ]  # fmt: skip
    opened = [
        shop.vault.open(r["sealed"], r["data_key_id"], bytes(r["fingerprint"])).reveal()
        for r in rows
    ]
    assert opened == [PNG, JPEG, GIF]
    again = pictures(shop, Source("other.zip", data))
    assert (again.accepted, again.duplicates) == (0, 3)


def test_a_folder_and_a_single_picture_are_taken(shop: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "cards"
    folder.mkdir()
    (folder / "a-0001.png").write_bytes(PNG)
    (folder / "notes.txt").write_text("not a picture", encoding="utf-8")
    (folder / "b-0002.jpeg").write_bytes(JPEG)
    source = key_sources.load(folder, images=True)
    assert pictures(shop, source).accepted == 2
    assert pictures(shop, Source("c-0003.gif", GIF)).accepted == 1
    with pytest.raises(WrongFile):
        key_sources.load(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(WrongFile, match="without a picture"):
        key_sources.load(tmp_path / "empty", images=True)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.png", b"no picture at all", "first bytes"),
        ("a.png", JPEG, "says otherwise"),
        ("a.png", PNG[:-9], "cut off"),
        ("a.gif", GIF + b"x" * (4 << 20), "larger"),
    ],
)
def test_what_is_no_whole_picture_is_refused(shop: Shop, name: str, data: bytes, says: str) -> None:
    with pytest.raises(InputRefused, match=says):
        pictures(shop, Source(name, data))
    assert shop.db.value("SELECT count(*) FROM keys") == 0


def test_text_is_no_picture_and_a_picture_is_no_text(shop: Shop) -> None:
    with pytest.raises(WrongFile, match="no picture"):
        pictures(shop, Source("keys.txt", b"AAAA-0001\n"))
    with pytest.raises(WrongFile) as caught:
        bring(shop, PNG, "a.png")
    assert "--images" in caught.value.next_step()


def text(shop: Shop, words: str, sku: str = "T1") -> texts.TextSet:
    return texts.set_text(shop, sku, Source("text.txt", words.encode()))


def test_a_text_is_sold_without_limit(shop: Shop) -> None:
    products.add(shop, "T1", Fields(kind="text"))
    assert text(shop, "第一行\r\nline two\n").changed
    assert stored(shop) == ["第一行\nline two"]
    assert products.show(shop, "T1").free is None
    assert free(shop, "T1") >= 10**12
    assert broken(shop) == []


def test_a_new_text_takes_the_place_of_the_old(shop: Shop) -> None:
    products.add(shop, "T1", Fields(kind="text"))
    text(shop, "first")
    assert not text(shop, "first\n").changed
    text(shop, "second")
    assert free(shop, "T1") == 10**12
    rows = shop.db.all("SELECT state FROM keys ORDER BY id")
    assert [r["state"] for r in rows] == ["expired", "free"]
    assert text(shop, "first").changed
    rows = shop.db.all("SELECT state FROM keys ORDER BY id")
    assert [r["state"] for r in rows] == ["free", "expired"]
    assert broken(shop) == []


def test_import_sets_a_text_too(shop: Shop) -> None:
    products.add(shop, "T1", Fields(kind="text"))
    result = bring(shop, "one\ntwo\n", sku="T1", supplier="")
    assert (result.rows, result.accepted) == (1, 1)
    assert stored(shop) == ["one\ntwo"]
    with pytest.raises(UsageError, match="without limit"):
        bring(shop, "three", sku="T1", cost_e5=100)


def test_a_text_is_refused_where_none_is_sold(shop: Shop) -> None:
    products.add(shop, "S1", Fields())
    with pytest.raises(UsageError):
        text(shop, "words", "S1")
    products.add(shop, "T1", Fields(kind="text"))
    products.add(shop, "T2", Fields(kind="text"))
    text(shop, "words")
    with pytest.raises(Refused, match="there already"):
        text(shop, "words", "T2")
    with pytest.raises(InputRefused, match="control"):
        text(shop, "bell \x07", "T2")
    with pytest.raises(InputRefused, match="longer"):
        text(shop, "x" * 20_001, "T2")


def test_a_bundle_is_as_many_as_its_scarcest_part(shop: Shop) -> None:
    bring(shop, "".join(f"AAAA-000{n}\n" for n in range(5)))
    bring(shop, "BBBB-0001\n", "b.txt", sku="S2")
    products.add(shop, "T1", Fields(kind="text"))
    made = products.add(shop, "B1", Fields(parts=(("S1", 2), ("S2", 1), ("T1", 1))))
    assert (made.kind, made.free) == ("bundle", 1)
    assert [(p.sku, p.units, p.free) for p in made.parts] == [
        ("S1", 2, 5), ("S2", 1, 1), ("T1", 1, None),
    ]  # fmt: skip
    changed = products.change(shop, "B1", Fields(parts=(("S1", 2),)))
    assert changed.free == 2


@pytest.mark.parametrize("parts", [(), (("B1", 1),), (("GONE", 1),), (("U1", 1),)])
def test_a_bundle_of_nothing_sensible_is_refused(
    shop: Shop, parts: tuple[tuple[str, int], ...]
) -> None:
    products.add(shop, "S1", Fields())
    products.add(shop, "U1", Fields(kind="topup"))
    products.add(shop, "B1", Fields(parts=(("S1", 1),)))
    with pytest.raises((UsageError, Exception)) as caught:
        products.change(shop, "B1", Fields(parts=parts))
    assert caught.type.__name__ in {"UsageError", "NotFound"}
    assert [p.sku for p in products.show(shop, "B1").parts] == ["S1"]


def test_what_holds_keys_keeps_its_kind(shop: Shop) -> None:
    bring(shop, "AAAA-0001\n")
    with pytest.raises(Refused, match="keeps its kind"):
        products.change(shop, "S1", Fields(kind="text"))
    products.add(shop, "S2", Fields())
    assert products.change(shop, "S2", Fields(kind="topup")).kind == "topup"
    with pytest.raises(UsageError, match="names its parts"):
        products.change(shop, "S2", Fields(kind="bundle"))


def test_keys_of_a_bundle_or_a_top_up_belong_elsewhere(shop: Shop) -> None:
    products.add(shop, "S1", Fields())
    products.add(shop, "B1", Fields(parts=(("S1", 1),)))
    with pytest.raises(UsageError, match="no keys of its own"):
        bring(shop, "AAAA-0001\n", sku="B1")


def test_the_terms_of_a_top_up_are_checked(shop: Shop) -> None:
    with pytest.raises(UsageError, match="no rule"):
        products.add(shop, "U1", Fields(kind="topup", account_rule="phone"))
    with pytest.raises(UsageError, match=r"suppliers\.nobody"):
        products.add(shop, "U1", Fields(kind="topup", supplier="nobody"))
    made = products.add(shop, "U1", Fields(kind="topup", account_rule="qq", cap_minor=980))
    assert (made.account_rule, made.cap_minor, made.free) == ("qq", 980, None)


def test_a_picture_is_found_by_its_bytes(shop: Shop) -> None:
    pictures(shop, Source("card-0001.png", PNG))
    assert keys.find_exact(shop, Secret(PNG)).key.key == "…0001"


def test_a_file_of_products_says_all_of_it(shop: Shop) -> None:
    head = "sku,kind,uses,bundle,account_rule,cap\n"
    rows = "S1,,4,,,\nB1,,,S1:2,,\nU1,topup,,,digits:5-9,9.80\n"
    product_files.run(shop, Source("p.csv", (head + rows).encode()))
    assert products.show(shop, "S1").uses == 4
    assert [p.units for p in products.show(shop, "B1").parts] == [2]
    assert products.show(shop, "U1").cap_minor == 980
