"""Products, suppliers and mappings; a mapping sets waiting order lines going."""

from __future__ import annotations

import pytest

from kmtool.errors import InputRefused, NotFound, Refused, UsageError
from kmtool.operations import product_files, products, suppliers
from kmtool.operations.key_sources import Source
from kmtool.operations.products import Fields, Mapping
from kmtool.shop import Shop
from tests.test_sheets import workbook


def waiting_line(shop: Shop, state: str, item: str = "i1", variant: str = "", n: int = 1) -> int:
    """Put an order with one line of quantity 2 into the database."""
    with shop.db.tx():
        order = shop.db.value(
            "INSERT INTO orders (channel, number, account, status, refund, refunded_minor,"
            " revision_ms, created_ms, paid_ms, currency, total_minor, expected_gross_minor,"
            " ext_txn_id, risk, note, buyer_ref, buyer_name, buyer_email, buyer_phone, fact_hash,"
            " facts_ms, seen_ms, code, history) VALUES ('shop1', :n, '', 'paid', 'none', 0, 1, 1,"
            " 5, 'CNY', 1, 1, '', '', '', '', '', '', '', '', 1, 1, :n, 0) RETURNING id",
            n=f"O{n}-{state}-{item}-{variant}",
        )
        return int(
            shop.db.value(
                "INSERT INTO lines (order_id, line_no, item_id, variant_id, title, quantity,"
                " amount_minor, account, kind, needed, state, gate, reason, since_ms) VALUES"
                " (:o, '1', :i, :v, 'a card', 2, 1, '', 'key', 0, :s, 'mapped', 'r', 1)"
                " RETURNING id",
                o=order,
                i=item,
                v=variant,
                s=state,
            )
        )


def line(shop: Shop, line_id: int) -> dict[str, object]:
    row = shop.db.one("SELECT state, sku, needed, kind, gate FROM lines WHERE id = :i", i=line_id)
    assert row is not None
    return row


def test_a_product_keeps_what_was_said(shop: Shop) -> None:
    made = products.add(shop, "S1", Fields(title="百元卡", price_minor=9800, low_stock=3))
    assert (made.title, made.price_minor, made.low_stock, made.kind) == ("百元卡", 9800, 3, "key")
    assert products.show(shop, "S1") == made


def test_a_product_is_not_added_twice(shop: Shop) -> None:
    products.add(shop, "S1", Fields())
    with pytest.raises(Refused) as caught:
        products.add(shop, "S1", Fields())
    assert caught.value.next_step() == "kmtool product set S1"


def test_a_change_leaves_what_was_not_said(shop: Shop) -> None:
    products.add(shop, "S1", Fields(title="card", price_minor=100))
    changed = products.change(shop, "S1", Fields(state="off"))
    assert (changed.title, changed.price_minor, changed.state) == ("card", 100, "off")


@pytest.mark.parametrize(
    "fields",
    [Fields(kind="gift"), Fields(state="gone"), Fields(price_minor=-1), Fields(low_stock=10**13)],
)
def test_fields_that_make_no_sense_are_refused(shop: Shop, fields: Fields) -> None:
    products.add(shop, "S1", Fields())
    with pytest.raises(UsageError):
        products.change(shop, "S1", fields)


def test_an_unknown_product_is_not_found(shop: Shop) -> None:
    for call in (
        lambda: products.show(shop, "X"),
        lambda: products.change(shop, "X", Fields(title="y")),
        lambda: products.map_listing(shop, Mapping("shop1", "i1", "", "X")),
    ):
        with pytest.raises(NotFound):
            call()


def test_nothing_to_change_is_said(shop: Shop) -> None:
    products.add(shop, "S1", Fields())
    with pytest.raises(UsageError, match="nothing"):
        products.change(shop, "S1", Fields())


def test_products_are_listed_with_their_free_stock(shop: Shop) -> None:
    products.add(shop, "S2", Fields())
    products.add(shop, "S1", Fields())
    found = products.every(shop, 1)
    assert [p.sku for p in found.products] == ["S1"]
    assert found.more


@pytest.mark.parametrize("state", ["unmapped", "held", "new"])
def test_a_mapping_sets_waiting_lines_going(shop: Shop, state: str) -> None:
    products.add(shop, "S1", Fields())
    waits = waiting_line(shop, state)
    mapped = products.map_listing(shop, Mapping("shop1", "i1", "", "S1", units=3))
    assert mapped.lines == 1
    assert line(shop, waits) == {
        "state": "new", "sku": "S1", "needed": 6, "kind": "key", "gate": "",
    }  # fmt: skip


def test_a_mapping_touches_no_other_line(shop: Shop) -> None:
    products.add(shop, "S1", Fields())
    others = [
        waiting_line(shop, "unmapped", "i2"),
        waiting_line(shop, "unmapped", "i1", "red"),
        waiting_line(shop, "reserved"),
        waiting_line(shop, "delivered"),
    ]
    before = [line(shop, other) for other in others]
    assert products.map_listing(shop, Mapping("shop1", "i1", "", "S1")).lines == 0
    assert [line(shop, other) for other in others] == before


def test_a_second_mapping_replaces_the_first(shop: Shop) -> None:
    products.add(shop, "S1", Fields())
    products.add(shop, "S2", Fields())
    products.map_listing(shop, Mapping("shop1", "i1", "", "S1", price_minor=500, title="t"))
    products.map_listing(shop, Mapping("shop1", "i1", "", "S2", units=2))
    (listing,) = products.show(shop, "S2").listings
    assert (listing.units, listing.price_minor, listing.title) == (2, 500, "t")
    assert products.show(shop, "S1").listings == ()


@pytest.mark.parametrize(
    "mapping",
    [
        Mapping("shop1", "", "", "S1"),
        Mapping("", "i", "", "S1"),
        Mapping("shop1", "i", "", "S1", 0),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused(shop: Shop, mapping: Mapping) -> None:
    products.add(shop, "S1", Fields())
    with pytest.raises(UsageError):
        products.map_listing(shop, mapping)


def test_what_waits_for_a_mapping_is_listed_busiest_first(shop: Shop) -> None:
    waiting_line(shop, "unmapped", "i1")
    waiting_line(shop, "unmapped", "i2", n=1)
    waiting_line(shop, "new", "i2", n=2)  # pulled, and nobody has tried to deliver it yet
    found = products.unmapped(shop, 50).listings
    assert [(w.item, w.lines, w.pieces, w.oldest_ms) for w in found] == [
        ("i2", 2, 4, 5),
        ("i1", 1, 2, 5),
    ]


# ------------------------------------------------------------------ files


def test_a_file_of_products_adds_changes_and_maps(shop: Shop) -> None:
    products.add(shop, "S1", Fields(title="old", price_minor=100))
    waiting_line(shop, "unmapped")
    text = (
        "sku,title,price,channel,item,variant,units,remark\n"
        "S1,new,,shop1,i1,,2,x\n"
        "S2,second,48.00,,,,,\n"
        "S2,,,shop1,i2,red,,\n"
    )
    result = product_files.run(shop, Source("p.csv", text.encode("gbk")))
    assert (result.rows, result.added, result.changed, result.mapped) == (3, 1, 1, 2)
    assert (result.lines, result.ignored) == (1, ("remark",))
    first, second = products.show(shop, "S1"), products.show(shop, "S2")
    assert (first.title, first.price_minor, first.listings[0].units) == ("new", 100, 2)
    assert (second.title, second.price_minor, second.listings[0].variant) == ("second", 4800, "red")


def test_a_workbook_of_products_is_read(shop: Shop) -> None:
    data = workbook([["商品编码", "售价", "平台商品ID", "渠道"], ["S1", 12.5, 7001, "shop1"]])
    product_files.run(shop, Source("p.xlsx", data))
    found = products.show(shop, "S1")
    assert (found.price_minor, found.listings[0].item) == (1250, "7001")


def test_one_wrong_row_keeps_the_whole_file_out(shop: Shop) -> None:
    text = "sku,price,channel,item\nS1,10,,\nS2,cheap,,\n,1,,\nS3,1,shop1,\n"
    with pytest.raises(InputRefused) as caught:
        product_files.run(shop, Source("p.csv", text.encode()))
    assert "row 3: cheap is no price" in caught.value.message()
    assert "row 4" in caught.value.message()
    assert "row 5" in caught.value.message()
    assert shop.db.value("SELECT count(*) FROM products") == 0


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "sku\n", ""])
def test_a_file_without_products_is_refused(shop: Shop, text: str) -> None:
    with pytest.raises(InputRefused):
        product_files.run(shop, Source("p.csv", text.encode()))


def test_an_item_number_that_lost_digits_is_refused(shop: Shop) -> None:
    data = workbook([["sku", "channel", "item"], ["S1", "shop1", 1234567890123456789]])
    with pytest.raises(InputRefused, match="16 digits"):
        product_files.run(shop, Source("p.xlsx", data))


# ------------------------------------------------------------------ suppliers


def test_a_supplier_keeps_its_terms(shop: Shop) -> None:
    made = suppliers.add(shop, "zhang", name="张三", mode="buyout", settle_days=7, payee="622…")
    assert (made.name, made.mode, made.settle_days, made.payee) == ("张三", "buyout", 7, "622…")
    assert suppliers.every(shop).suppliers == (made,)
    assert "622" not in str(shop.db.all("SELECT * FROM audit"))


def test_a_supplier_is_not_added_twice(shop: Shop) -> None:
    suppliers.add(shop, "zhang")
    with pytest.raises(Refused):
        suppliers.add(shop, "zhang")


def test_terms_of_a_supplier_change(shop: Shop) -> None:
    suppliers.add(shop, "zhang")
    assert suppliers.change(shop, "zhang", settle_days=3).settle_days == 3
    for words in ({"mode": "gift"}, {"settle_days": -1}, {}):
        with pytest.raises(UsageError):
            suppliers.change(shop, "zhang", **words)  # type: ignore[arg-type]
    for call in (lambda: suppliers.show(shop, "x"), lambda: suppliers.change(shop, "x", name="y")):
        with pytest.raises(NotFound):
            call()
