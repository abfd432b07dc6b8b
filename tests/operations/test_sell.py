"""A sale by hand: one key on the screen, in the books, beside whatever else runs."""

from __future__ import annotations

import pytest

from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.errors import NotFound, Refused
from kmtool.operations import sender
from kmtool.operations.by_hand import Answer, by_hand
from kmtool.operations.sell import SaleWish, sell
from kmtool.operations.sender import sending
from kmtool.ports import Message
from kmtool.shop import Shop
from kmtool.store import house, ledger
from tests.operations.delivery_kit import KEY, broken, line, states, tick
from tests.operations.stock import shelf


def shown_by(shop: Shop, wish: SaleWish) -> tuple[str, list[str]]:
    told: list[Message] = []
    sale = sell(shop, wish, told.append)
    return sale.number, KEY.findall(told[0].text.text())


def test_a_sale_binds_shows_and_books_a_key(shop: Shop) -> None:
    shelf(shop)
    number, keys = shown_by(shop, SaleWish("S1", 2, "demo_ada", 4800))
    assert (number, len(set(keys))) == ("S20261122-0001", 2)
    assert (line(shop, number)["state"], states(shop)) == ("delivered", {"delivered": 2, "free": 3})
    assert ledger.balance(shop.db, "cost:keys", "CNY") == 1000
    assert [entry.channel for entry in shop.journal.read()] == ["counter", "counter"]
    assert shown_by(shop, SaleWish("S1"))[0] == "S20261122-0002"
    assert broken(shop) == []


def test_a_sale_that_no_gate_lets_through_leaves_nothing(shop: Shop, clock: ManualClock) -> None:
    shelf(shop, n=1)
    with pytest.raises(NotFound):
        shown_by(shop, SaleWish("none"))
    with pytest.raises(Refused, match="2 of S1 needed, 1 free") as short:
        shown_by(shop, SaleWish("S1", 2))
    assert short.value.next_step() == "kmtool import FILE --sku S1"
    with shop.db.tx():
        house.pause(shop.db, "all", "x", clock.now_ms())
    with pytest.raises(Refused, match="all is paused") as paused:
        shown_by(shop, SaleWish("S1"))
    assert paused.value.next_step() == "kmtool resume all"
    assert shop.db.value("SELECT count(*) FROM orders") == 0
    assert states(shop) == {"free": 1}


def test_a_sale_works_beside_a_running_sender(shop: Shop, clock: ManualClock) -> None:
    shelf(shop)
    with open_shop(shop.config, clock=clock) as other, sending(shop, "run"):
        number, keys = shown_by(other, SaleWish("S1"))
    assert len(keys) == 1
    assert line(shop, number)["state"] == "delivered"


def test_a_rehearsed_sale_shows_no_key_and_keeps_nothing(shop: Shop) -> None:
    shelf(shop)
    told: list[Message] = []
    with shop.db.rehearsal():
        assert sell(shop, SaleWish("S1"), told.append).left == 4
    assert (told, states(shop), list(shop.journal.read())) == ([], {"free": 5}, [])


def test_a_sale_that_dies_on_the_screen_comes_up_again_by_hand(shop: Shop) -> None:
    shelf(shop)

    def die(message: Message) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sell(shop, SaleWish("S1"), die)
    assert states(shop) == {"exposed": 1, "free": 4}
    seen: list[bool] = []

    def answer(task: object) -> Answer:
        seen.append(task.again)  # type: ignore[attr-defined]
        return Answer.SENT

    assert by_hand(shop, [], answer).sent == 1
    assert (seen, states(shop)) == ([True], {"delivered": 1, "free": 4})


def test_a_sale_that_dies_before_the_screen_is_found_a_minute_later(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf(shop)
    from kmtool.operations import sell as module

    with monkeypatch.context() as patch:
        patch.setattr(module, "begin", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        patch.setattr(sender, "close", lambda *_: 0)
        with pytest.raises(KeyboardInterrupt):
            sell(shop, SaleWish("S1"), lambda _: None)
    assert by_hand(shop, [], lambda _: Answer.SENT).sent == 0
    tick(shop, 61_000)
    assert by_hand(shop, [], lambda _: Answer.SENT).sent == 1
    assert broken(shop) == []
