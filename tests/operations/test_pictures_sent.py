"""Pictures after their first sending: replaced, sent again, named as sold after a loss."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from kmtool.errors import InputRefused
from kmtool.operations import home
from kmtool.operations.deliver import deliver
from kmtool.operations.order_changes import redeliver
from kmtool.operations.order_replace import ReplaceWish, replace
from kmtool.operations.order_why import why
from kmtool.operations.status import status
from kmtool.operations.stock_back import reconcile_stock
from kmtool.ports import Message
from kmtool.shop import Shop
from kmtool.sim import drawn
from tests import fakes
from tests.fakes import order
from tests.operations.delivery_kit import broken, line, outside, pull, states, tick
from tests.operations.stock import shelf
from tests.operations.test_deliver_kinds import listed
from tests.operations.test_messages import put
from tests.operations.test_restore import Opener, back, saved
from tests.operations.test_restore import dump_tools as dump_tools
from tests.operations.test_restore_without_journal import opener as opener
from tests.operations.test_stock_kinds import pictures

KEYS = tuple(f"P-P1-00000{n}" for n in range(1, 6))
BAD = ReplaceWish("cannot be scanned", key="0002")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """Let the channel's courier carry pictures; what it was given."""
    from dataclasses import replace as changed

    monkeypatch.setattr(fakes.Fake, "features", changed(fakes.FEATURES, attachments=True))
    found: list[Message] = []
    outside().during_send = found.append
    return found


def sold(shop: Shop, quantity: int = 2) -> None:
    pictures(shop, drawn.source("cards", KEYS), sku="P1")
    listed(shop, "P1")
    pull(shop, order("A1", quantity=quantity, amount=1000 * quantity))
    assert deliver(shop).delivered == 1


def shown(message: Message) -> list[str]:
    assert not drawn.lacking(message)
    return [drawn.key_of(one.data.reveal()) for one in message.attachments]


def test_a_picture_is_replaced_by_another_that_goes_with_its_message(
    shop: Shop, sent: list[Message]
) -> None:
    """A simulated shop found it (seed 6000079): the bytes were written into the text."""
    sold(shop)
    assert replace(shop, "A1", BAD).new_keys == ("…0003",)
    assert deliver(shop).delivered == 1
    assert [shown(message) for message in sent] == [[*KEYS[:2]], [KEYS[2]]]
    assert states(shop) == {"defective": 1, "delivered": 2, "free": 2} and broken(shop) == []


def test_a_message_brings_every_picture_it_names_though_one_was_replaced(
    shop: Shop, sent: list[Message]
) -> None:
    """A simulated shop found it (seed 6000239): the first message went again with one of two."""
    sold(shop)
    redeliver(shop, "A1")
    replace(shop, "A1", BAD)
    tick(shop, 1_000)
    deliver(shop)
    first, *others = sent
    again = [message for message in others if message.text.text()[:60] == first.text.text()[:60]]
    assert again and all(one.attachments == first.attachments for one in again)
    assert broken(shop) == []


@pytest.mark.parametrize("form", ["folder", "zip", "alone"])
def test_a_picture_that_was_sold_is_named_by_itself_after_a_loss(
    shop: Shop, opener: Opener, tmp_path: Path, form: str, sent: list[Message]
) -> None:
    """A simulated shop found it (seed 6000159): a list could name texts alone."""
    pictures(shop, drawn.source("cards", KEYS), sku="P1")
    listed(shop, "P1")
    file = saved(shop)
    pull(shop, order("A1"))
    deliver(shop)
    shop.journal.path.unlink()
    home.home_path(shop.journal.path).unlink()
    assert back(shop, file, opener).settled.quarantined == 5
    path = tmp_path / "sold"
    if form == "folder":
        drawn.laid_down(path, KEYS[:1])
        (path / "more.txt").write_text(KEYS[1], encoding="utf-8")
        (path / ".hidden").write_bytes(b"\0")
    elif form == "zip":
        path = tmp_path / "sold.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("card.png", drawn.picture(KEYS[0]))
    else:
        path = tmp_path / "card.png"
        path.write_bytes(drawn.picture(KEYS[0]))
    found = reconcile_stock(shop, [path], "compared with the chats")
    assert (found.freed, found.sold, found.stay) == (4, 1, 0)
    pull(shop, order("A2", at_ms=shop.now_ms()))
    deliver(shop)
    assert [shown(message) for message in sent if message.order_number == "A2"] == [[KEYS[1]]]


def test_a_picture_that_cannot_be_read_proves_nothing(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "card.png"
    path.write_bytes(drawn.picture(KEYS[0])[:-9])
    with pytest.raises(InputRefused, match="cut off") as caught:
        reconcile_stock(shop, [path], "compared with the chats")
    assert caught.value.code == "KM-E900"


def test_a_replacement_waits_for_a_route_that_carries_pictures(
    shop: Shop, sent: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace as changed

    from kmtool.errors import Rejected

    sold(shop)
    monkeypatch.setattr(fakes.Fake, "features", changed(fakes.FEATURES, attachments=False))
    with pytest.raises(Rejected, match="carries no pictures") as caught:
        replace(shop, "A1", BAD)
    assert "by_hand" in caught.value.next_step() and "shop1" in caught.value.next_step()
    assert caught.value.code == "KM-E702"
    assert line(shop)["state"] == "delivered" and states(shop) == {"delivered": 2, "free": 3}


def test_a_waiting_replacement_that_no_route_carries_stops_nobody_else(
    shop: Shop, sent: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace as changed

    pictures(shop, drawn.source("cards", KEYS[:2]), sku="P1")
    listed(shop, "P1")
    pull(shop, order("A1", quantity=2, amount=2000))
    deliver(shop)
    assert replace(shop, "A1", BAD).waiting == 1
    monkeypatch.setattr(fakes.Fake, "features", changed(fakes.FEATURES, attachments=False))
    pictures(shop, drawn.source("more", KEYS[2:]), sku="P1")
    shelf(shop, "S2", 1, item="i2")
    pull(shop, order("A2", item="i2"))
    assert deliver(shop).delivered == 1
    assert "carries no pictures" in line(shop)["reason"]
    assert [one.command for one in status(shop).needs_you] == ["kmtool deliver A1"]
    assert why(shop, "A1").lines[0].command == "kmtool deliver A1"
    monkeypatch.setattr(fakes.Fake, "features", changed(fakes.FEATURES, attachments=True))
    assert deliver(shop).delivered == 1
    assert shown(sent[-1]) == [KEYS[2]] and broken(shop) == []


@pytest.mark.parametrize("form", ["{{ key }}", "二维码{{ key }}", "code_{{ key }}", "QR{{ key }}"])
def test_a_template_may_write_something_right_before_the_name(
    shop: Shop, sent: list[Message], form: str
) -> None:
    """`QR{{ key }}` in a template: the message left without its pictures."""
    body = "{% for line in lines %}{% for key in line['keys'] %}FORM\n{% endfor %}{% endfor %}"
    put(shop, body.replace("FORM", form))
    sold(shop)
    assert line(shop)["state"] == "delivered"
    assert len(sent[0].attachments) == 2
