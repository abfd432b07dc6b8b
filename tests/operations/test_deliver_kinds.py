"""Every stock kind goes out: shared keys, texts, bundles, pictures; parcels of what is there."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.operations import products, texts
from kmtool.operations.by_hand import Answer, Task, by_hand
from kmtool.operations.deliver import deliver
from kmtool.operations.import_records import Terms
from kmtool.operations.key_sources import Source
from kmtool.operations.order_changes import hold, release
from kmtool.operations.products import Fields, Mapping
from kmtool.operations.sell import Sale, SaleWish, sell
from kmtool.ports import Buyer
from kmtool.shop import Shop
from kmtool.store import doctor
from tests.fakes import order
from tests.operations.delivery_kit import broken, effects, line, lines, outside, pull, states, tick
from tests.operations.import_kit import bring, free
from tests.operations.stock import shelf
from tests.operations.test_stock_kinds import pictures


def listed(shop: Shop, sku: str, item: str = "i1", units: int = 1) -> None:
    products.map_listing(shop, Mapping("shop1", item, "", sku, units))


def shared(shop: Shop, text: str = "KEY-SHARED-1\n", uses: int = 2, **terms: object) -> None:
    bring(shop, text, uses=uses, **terms)
    listed(shop, "S1")


def got(number: str) -> str:
    return "\n".join(outside().received.get(number, []))


def buyer(number: str, name: str, **more: object):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    return replace(order(number, **more), buyer=Buyer(ref=name, name=name))  # type: ignore[arg-type]


def uses_left(shop: Shop) -> list[tuple[str, int]]:
    rows = shop.db.all("SELECT state, uses_left FROM keys ORDER BY batch_id, line_no")
    return [(row["state"], row["uses_left"]) for row in rows]


def test_a_shared_key_serves_as_many_buyers_as_it_has_uses(shop: Shop) -> None:
    shared(shop)
    pull(shop, buyer("A1", "u1"), buyer("A2", "u2"))
    pull(shop, buyer("A3", "u3"))
    result = deliver(shop)
    assert (result.delivered, result.held) == (2, {"stock": 1})
    served = [number for number in ("A1", "A2", "A3") if "KEY-SHARED-1" in got(number)]
    assert len(served) == 2
    assert uses_left(shop) == [("delivered", 0)] and free(shop) == 0
    assert broken(shop) == []
    bring(shop, "KEY-SHARED-2\n", "more.txt", uses=2)
    assert deliver(shop).delivered == 1
    (last,) = {"A1", "A2", "A3"} - set(served)
    assert "KEY-SHARED-2" in got(last) and uses_left(shop)[1] == ("free", 1)
    assert broken(shop) == []


def test_a_buyer_gets_a_shared_key_once(shop: Shop) -> None:
    shared(shop, "KEY-SHARED-1\nKEY-SHARED-2\n", uses=5)
    pull(shop, buyer("A1", "u1"), buyer("A2", "u1"), buyer("A3", "u1"), buyer("A4", "u2"))
    result = deliver(shop)
    assert (result.delivered, result.held) == (3, {"stock": 1})
    texts_of = [got(n) for n in ("A1", "A2", "A3")]
    assert sum("KEY-SHARED-1" in text for text in texts_of) == 1
    assert sum("KEY-SHARED-2" in text for text in texts_of) == 1
    assert "KEY-SHARED-" in got("A4")
    assert free(shop) == 7 and broken(shop) == []


def test_a_line_of_several_pieces_gets_different_shared_keys(shop: Shop) -> None:
    shared(shop, "KEY-SHARED-1\nKEY-SHARED-2\n", uses=5)
    pull(
        shop, buyer("A1", "u1", quantity=3, amount=3000), buyer("A2", "u2", quantity=2, amount=2000)
    )
    assert deliver(shop).held == {"stock": 1}
    assert line(shop)["reason"].startswith("3 of S1 needed, 2 free")
    assert "KEY-SHARED-1" in got("A2") and "KEY-SHARED-2" in got("A2")


def test_two_lines_of_one_order_never_share_a_key(shop: Shop) -> None:
    shared(shop, "KEY-SHARED-1\nKEY-SHARED-2\n", uses=5)
    listed(shop, "S1", "i2")
    pull(shop, order("A1", lines=lines(("i1", 1), ("i2", 1))))
    assert deliver(shop).delivered == 2
    assert "KEY-SHARED-1" in got("A1") and "KEY-SHARED-2" in got("A1")
    assert broken(shop) == []


@pytest.mark.parametrize(("uses", "cost_e5"), [(3, 1_000_000), (8, 10_000)])
def test_the_uses_of_a_key_share_its_cost(shop: Shop, uses: int, cost_e5: int) -> None:
    shared(shop, uses=uses, cost_e5=cost_e5)
    pull(shop, *(buyer(f"A{n}", f"u{n}", amount=400) for n in range(uses)))
    assert deliver(shop).delivered == uses
    rows = shop.db.all("SELECT cost_e5, exclusive, amount_minor FROM allocations ORDER BY id")
    assert sum(row["cost_e5"] for row in rows) == cost_e5
    assert {row["exclusive"] for row in rows} == {0}
    assert sum(row["amount_minor"] for row in rows) * 1000 == cost_e5
    assert broken(shop) == []


def test_a_use_that_nobody_saw_comes_back(shop: Shop) -> None:
    shared(shop, uses=2)
    outside().faults += ["down"] * 4
    pull(shop, buyer("A1", "u1"), buyer("A2", "u2"))
    from kmtool.operations.reserve import reserve_due

    reserve_due(shop)
    assert uses_left(shop) == [("delivered", 0)] and free(shop) == 0
    hold(shop, "A1", "look")
    assert uses_left(shop) == [("free", 1)] and free(shop) == 1
    assert broken(shop) == []
    outside().faults.clear()
    assert deliver(shop).delivered == 1
    release(shop, "A1")
    assert deliver(shop).delivered == 1
    assert got("A1").count("KEY-SHARED-1") == 1
    assert broken(shop) == []


@pytest.mark.parametrize("fault", ["lost", "crash", "crash_before", "unknown"])
def test_a_retry_sends_the_same_shared_key(shop: Shop, fault: str) -> None:
    shared(shop, "KEY-SHARED-1\nKEY-SHARED-2\n", uses=2)
    outside().faults.append(fault)
    pull(shop, buyer("A1", "u1"))
    with suppress(KeyboardInterrupt):
        deliver(shop)
    for _ in range(12):
        tick(shop, 130_000)
        deliver(shop)
    assert line(shop)["state"] == "delivered"
    assert "KEY-SHARED-1" in got("A1") and "KEY-SHARED-2" not in got("A1")
    assert uses_left(shop) == [("free", 1), ("free", 2)] and free(shop) == 3
    assert broken(shop) == []


def test_keys_of_one_and_of_several_buyers_lie_side_by_side(shop: Shop) -> None:
    shared(shop, "KEY-SHARED-1\n", uses=2)
    bring(shop, "KEY-UNIQUE-1\n", "more.txt", uses=1)
    pull(shop, *(buyer(f"A{n}", f"u{n}") for n in range(4)))
    assert deliver(shop).delivered == 3
    assert states(shop) == {"delivered": 2}
    rows = shop.db.all("SELECT exclusive FROM allocations ORDER BY id")
    assert sorted(row["exclusive"] for row in rows) == [0, 0, 1]
    assert broken(shop) == []


def text_product(shop: Shop, words: str = "KEY-TEXT first") -> None:
    products.add(shop, "T1", Fields(kind="text"))
    texts.set_text(shop, "T1", Source("t.txt", words.encode()))
    listed(shop, "T1")


def test_a_text_goes_to_everybody_once_per_line(shop: Shop) -> None:
    text_product(shop, "KEY-TEXT line one\nKEY-TEXT line two")
    pull(shop, buyer("A1", "u1", quantity=3, amount=3000), buyer("A2", "u1"), buyer("A3", "u2"))
    assert deliver(shop).delivered == 3
    assert got("A1").count("KEY-TEXT line one\nKEY-TEXT line two") == 1
    assert shop.db.value("SELECT count(*) FROM allocations") == 3
    assert states(shop) == {"free": 1} and broken(shop) == []


def test_a_new_text_is_for_new_orders_only(shop: Shop) -> None:
    text_product(shop)
    outside().faults.append("down")
    pull(shop, order("A1"))
    assert deliver(shop).failed == 1
    texts.set_text(shop, "T1", Source("t.txt", b"KEY-TEXT second"))
    pull(shop, order("A2"))
    tick(shop, 60_000)
    deliver(shop)
    assert "KEY-TEXT first" in got("A1") and "second" not in got("A1")
    assert "KEY-TEXT second" in got("A2") and "first" not in got("A2")
    assert broken(shop) == []


def test_a_text_that_is_not_set_waits(shop: Shop) -> None:
    products.add(shop, "T1", Fields(kind="text"))
    listed(shop, "T1")
    pull(shop, order("A1"))
    assert deliver(shop).held == {"stock": 1}
    assert "no text yet" in line(shop)["reason"]
    texts.set_text(shop, "T1", Source("t.txt", b"KEY-TEXT"))
    assert deliver(shop).delivered == 1


def bundle(shop: Shop, n: int = 3) -> None:
    shelf(shop, "S1", n, item=None)
    shelf(shop, "S2", 1, item=None)
    products.add(shop, "T1", Fields(kind="text", title="教程"))
    texts.set_text(shop, "T1", Source("t.txt", b"KEY-TEXT guide"))
    products.add(shop, "B1", Fields(parts=(("S1", 2), ("S2", 1), ("T1", 1))))
    listed(shop, "B1")


def test_a_bundle_goes_out_whole_with_a_title_for_each_part(shop: Shop) -> None:
    bundle(shop)
    pull(shop, order("A1", amount=5000))
    assert deliver(shop).delivered == 1
    text = got("A1")
    assert all(f"KEY-S1-0000{n}" in text for n in (0, 1)) and "KEY-S2-00000" in text
    assert "KEY-TEXT guide" in text
    assert all(f"【{title}】" in text for title in ("product S1", "product S2", "教程"))
    assert broken(shop) == []


def test_a_bundle_is_all_or_nothing(shop: Shop) -> None:
    bundle(shop, n=1)
    pull(shop, order("A1", amount=5000))
    assert deliver(shop).held == {"stock": 1}
    assert states(shop) == {"free": 3} and free(shop, "S1") == 1 and broken(shop) == []


def test_a_bundle_costs_what_its_parts_cost(shop: Shop) -> None:
    shelf(shop, "S1", 3, item=None, cost_e5=300_000)
    shelf(shop, "S2", 3, item=None, cost_e5=600_000)
    products.add(shop, "B1", Fields(parts=(("S1", 2), ("S2", 1))))
    listed(shop, "B1")
    pull(shop, order("A1", amount=1199), order("A2", amount=1200))
    assert deliver(shop).held == {"price": 1}
    assert line(shop, "A2")["state"] == "delivered"


def test_a_bundle_that_was_sold_keeps_its_parts(shop: Shop) -> None:
    from kmtool.errors import Refused

    bundle(shop)
    pull(shop, order("A1", amount=5000))
    deliver(shop)
    with pytest.raises(Refused, match="sold already"):
        products.change(shop, "B1", Fields(parts=(("S1", 1),)))
    products.change(shop, "B1", Fields(title="new title", parts=(("T1", 1), ("S2", 1), ("S1", 2))))
    assert broken(shop) == []


def three(shop: Shop) -> None:
    for n in (1, 2, 3):
        shelf(shop, f"S{n}", 0 if n == 2 else 1, item=f"i{n}")


def test_an_order_short_of_one_line_waits_then_sends_what_is_there(shop: Shop) -> None:
    three(shop)
    pull(shop, order("A1", lines=lines(("i1", 1), ("i2", 1), ("i3", 1))))
    assert deliver(shop).held == {"stock": 1, "order_wait": 2}
    assert got("A1") == ""
    tick(shop, 1_800_000)
    assert deliver(shop).delivered == 2
    assert "KEY-S1-00000" in got("A1") and "KEY-S3-00000" in got("A1")
    assert "A1" not in outside().shipped
    bring(shop, "KEY-S2-LATE\n", sku="S2")
    assert deliver(shop).delivered == 1
    assert "KEY-S2-LATE" in outside().received["A1"][1] and len(outside().received["A1"]) == 2
    tick(shop, 60_000)
    deliver(shop)
    assert "A1" in outside().shipped
    assert [e["parcel_n"] for e in effects(shop)] == [1, 2]
    assert broken(shop) == []


@pytest.mark.parametrize("kind", ["shared", "text", "bundle"])
def test_every_kind_may_come_in_a_parcel_of_its_own(shop: Shop, kind: str) -> None:
    shelf(shop, "S2", 0, item="i2")
    shelf(shop, "S3", 1, item="i3")
    if kind == "shared":
        shared(shop)
    elif kind == "text":
        text_product(shop)
    else:
        shelf(shop, "S4", 2, item=None)
        products.add(shop, "B1", Fields(parts=(("S4", 2),)))
        listed(shop, "B1")
    pull(shop, order("A1", lines=lines(("i1", 1), ("i2", 1), ("i3", 1))))
    deliver(shop)
    tick(shop, 1_800_000)
    assert deliver(shop).delivered == 2
    bring(shop, "KEY-S2-LATE\n", sku="S2")
    assert deliver(shop).delivered == 1
    tick(shop, 60_000)
    deliver(shop)
    assert "A1" in outside().shipped and len(outside().received["A1"]) == 2
    assert broken(shop) == []


def test_pictures_wait_for_a_route_that_carries_them(shop: Shop) -> None:
    from tests.operations.test_stock_kinds import PNG

    pictures(shop, Source("card-0001.png", PNG), sku="P1")
    listed(shop, "P1")
    pull(shop, order("A1"))
    assert deliver(shop).held == {"route": 1}
    assert "picture" in line(shop)["reason"]
    assert states(shop) == {"free": 1} and broken(shop) == []


def test_a_key_given_more_often_than_it_serves_is_found(shop: Shop) -> None:
    shared(shop, uses=2)
    pull(shop, buyer("A1", "u1"), buyer("A2", "u2"))
    deliver(shop)
    shop.db.run("UPDATE keys SET uses = 1, uses_left = 0")
    found = {r.name for r in doctor.INVARIANTS if doctor.violations(shop.db, r, shop.now_ms())}
    assert "uses_kept" in found


def test_terms_say_how_often(shop: Shop) -> None:
    assert Terms(sku="S1", supplier="s").uses is None


def test_pictures_are_attached_and_shown_by_name(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace as changed

    from tests import fakes
    from tests.operations.test_stock_kinds import JPEG, PNG

    monkeypatch.setattr(fakes.Fake, "features", changed(fakes.FEATURES, attachments=True))
    sent = []
    outside().during_send = sent.append
    pictures(shop, Source("a-0001.png", PNG), Source("b-0002.jpg", JPEG), sku="P1")
    listed(shop, "P1")
    outside().faults.append("unknown")
    pull(shop, order("A1", quantity=2, amount=2000))
    deliver(shop)
    tick(shop, 130_000)
    assert deliver(shop).delivered == 1
    first, second = sent
    assert first.attachments == second.attachments and len(second.attachments) == 2
    assert {one.data.reveal() for one in second.attachments} == {PNG, JPEG}
    assert all(one.name in got("A1") for one in second.attachments)
    assert broken(shop) == []


def test_a_sale_by_hand_of_every_kind(shop: Shop) -> None:
    from tests.operations.test_stock_kinds import PNG

    told: list[str] = []

    def sold(sku: str) -> Sale:
        return sell(shop, SaleWish(sku, price_minor=9000), lambda m: told.append(m.text.text()))

    bring(shop, "KEY-SHARED-1\n", uses=2)
    assert (sold("S1").left, sold("S1").left) == (1, 0)
    text_product(shop)
    assert sold("T1").left is None
    shelf(shop, "S4", 2, item=None)
    products.add(shop, "B1", Fields(parts=(("S4", 2), ("T1", 1))))
    assert sold("B1").left == 0 and "KEY-S4-00001" in told[-1] and "KEY-TEXT" in told[-1]
    pictures(shop, Source("a-0001.png", PNG), sku="P1")
    (file,) = sold("P1").files
    assert Path(file).read_bytes() == PNG and Path(file).stat().st_mode & 0o077 == 0
    assert broken(shop) == []


def test_by_hand_names_the_pictures_to_send(make_config: Any, clock: ManualClock) -> None:
    from tests.operations.test_stock_kinds import PNG

    config = make_config(courier="by_hand")
    create_shop(config, clock)
    with open_shop(config, clock=clock) as shop:
        pictures(shop, Source("a-0001.png", PNG), sku="P1")
        listed(shop, "P1")
        pull(shop, order("A1"))
        seen = []

        def ask(task: Task) -> Answer:
            seen.append(task)
            return Answer.SENT

        assert by_hand(shop, [], ask).sent == 1
        assert Path(seen[0].files[0]).read_bytes() == PNG
        assert line(shop)["state"] == "delivered" and broken(shop) == []


def test_the_uses_of_a_shared_key_are_settled_to_its_cost(shop: Shop) -> None:
    from kmtool.operations import settle

    shared(shop, "KEY-SHARED-1\nKEY-SHARED-2\n", uses=3, cost_e5=1_000_000)
    shop.db.run("UPDATE suppliers SET settle_days = 0")
    pull(shop, *(buyer(f"A{n}", f"u{n}", amount=400) for n in range(4)))
    assert deliver(shop).delivered == 4
    sheet = settle.preview(shop, "sup1")
    assert (sheet.keys, sheet.difference_minor) == (4, 0)
    assert 1332 <= sheet.payable_minor <= 1336
    closed = settle.close(shop, "sup1")
    (batch,) = shop.db.all("SELECT * FROM settlement_batches")
    assert (batch["received"], batch["sold"], batch["closing"]) == (6, 4, 2)
    assert closed.payable_minor == sheet.payable_minor
