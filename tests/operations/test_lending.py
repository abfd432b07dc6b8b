"""Lent keys: on record before the file, never sold meanwhile, back only on proof."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from kmtool.clock import ManualClock
from kmtool.domain.keyfiles import JOINER
from kmtool.domain.states import OrderStatus
from kmtool.errors import Broken, ConfigError, InputRefused, NotFound, Refused, UsageError
from kmtool.operations import doctor, lending, lending_back, pool_forms
from kmtool.operations.deliver import deliver
from kmtool.operations.lending import LendWish
from kmtool.operations.replay import replay
from kmtool.shop import Shop
from kmtool.store import house, sessions, settlements
from kmtool.store import lending as store
from tests.fakes import order
from tests.operations.delivery_kit import broken, keys_at, line, pull, states, tick
from tests.operations.lending_kit import FORM, cards, export, lend, read, sound
from tests.operations.stock import shelf


def test_a_lent_key_is_on_record_before_its_file_and_for_the_owner_only(
    shop: Shop, tmp_path: Path
) -> None:
    keys = shelf(shop)
    result = lending.lend(shop, LendWish("S1", "kq", 2, FORM), tmp_path / "k.csv")
    assert cards(tmp_path / "k.csv") == keys[:2]
    assert stat.S_IMODE((tmp_path / "k.csv").stat().st_mode) == 0o600
    assert (result.keys, result.left, result.cost_minor) == (2, 3, 1000)
    assert states(shop) == {"free": 3, "lent": 2}
    sent = list(shop.journal.read())
    assert [(e.kind, e.channel, e.order, e.line) for e in sent] == [
        ("SEND", "pool-kq", result.number, "1"),
        ("SEND", "pool-kq", result.number, "2"),
    ]
    assert sound(shop)
    found = lending.lent(shop, "kq").lendings[0]
    assert (found.lent, found.used, found.cost_minor) == (2, 0, 1000)


def test_a_lent_key_is_never_sold_by_us(shop: Shop, tmp_path: Path) -> None:
    shelf(shop, n=3)
    lend(shop, tmp_path, 3)
    pull(shop, order("A1"))
    assert deliver(shop).held == {"stock": 1}
    assert states(shop) == {"lent": 3}


def test_nothing_is_lent_that_is_not_there_or_not_to_be_lent(shop: Shop, tmp_path: Path) -> None:
    shelf(shop, n=2)
    path = tmp_path / "k.csv"
    for wish, error in (
        (LendWish("S1", "kq", 3, FORM), Refused),
        (LendWish("none", "kq", 1, FORM), NotFound),
        (LendWish("S1", "kq", 0, FORM), UsageError),
        (LendWish("S1", "../x", 1, FORM), UsageError),
        (LendWish("S1", "kq", 1, "nowhere"), ConfigError),
        (LendWish("S1", "kq", 1, "../../x"), ConfigError),
        (LendWish("S1", "kq", 1, "pinduoduo"), UsageError),
        (LendWish("S1", "kq", 1, FORM, "none"), NotFound),
    ):
        with pytest.raises(error):
            lending.lend(shop, wish, path)
    with shop.db.tx():
        house.pause(shop.db, "sku:S1", "x", shop.now_ms())
    with pytest.raises(Refused, match="paused"):
        lending.lend(shop, LendWish("S1", "kq", 1, FORM), path)
    with pytest.raises(NotFound):
        lending.lent(shop, "kq")
    assert (states(shop), path.exists(), list(shop.journal.read())) == ({"free": 2}, False, [])


def test_a_rehearsal_takes_nothing(shop: Shop, tmp_path: Path) -> None:
    shelf(shop)
    with shop.db.rehearsal():
        told = lending.lend(shop, LendWish("S1", "kq", 2, FORM), tmp_path / "k.csv")
    assert (told.keys, told.file, states(shop)) == (2, "", {"free": 5})
    assert not (tmp_path / "k.csv").exists()


def test_a_file_that_could_not_be_written_is_written_again(shop: Shop, tmp_path: Path) -> None:
    keys = shelf(shop)
    (tmp_path / "wall").write_text("no folder", encoding="utf-8")
    with pytest.raises(InputRefused):
        lending.lend(shop, LendWish("S1", "kq", 2, FORM), tmp_path / "wall" / "k.csv")
    assert states(shop) == {"free": 3, "lent": 2}, "they may be seen: never free by themselves"
    number = lending.lent(shop).lendings[0].number
    told = lending.again(shop, number, tmp_path / "k.csv")
    assert (told.keys, cards(tmp_path / "k.csv"), sound(shop)) == (2, keys[:2], True)
    with pytest.raises(Refused):
        lending.again(shop, number, tmp_path / "k.csv")


def test_the_pools_forms_hold_card_and_password(shop: Shop, tmp_path: Path) -> None:
    from kmtool import sheets

    shelf(shop, n=2, prefix=f"CARD{JOINER}PASS")
    path = tmp_path / "p.xlsx"
    told = lending.lend(shop, LendWish("S1", "pdd", 2, "pinduoduo"), path)
    rows = sheets.read_tables(path.read_bytes(), path.name)[0].rows
    assert [cells for _, cells in rows] == [
        ["卡号", "卡密"],
        ["CARD", "PASS-S1-00000"],
        ["CARD", "PASS-S1-00001"],
    ]
    assert told.check, "no real upload has confirmed it"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_used_key_is_a_sale_under_the_platforms_number(shop: Shop, tmp_path: Path) -> None:
    keys = shelf(shop)
    lend(shop, tmp_path)
    rows = [(keys[0], "已使用", "T9001"), (keys[1], "已使用", "T9001"), (keys[2], "未使用", "")]
    told = read(shop, export(shop, tmp_path, rows))
    assert (told.used, told.orders, told.unused, told.still_lent) == (2, ("pool-kq:T9001",), 1, 1)
    assert told.cost_minor == 1000
    assert (line(shop, "T9001")["state"], line(shop, "T9001")["needed"]) == ("delivered", 2)
    assert states(shop) == {"delivered": 2, "free": 2, "lent": 1}
    owed = settlements.open_keys(shop.db, "sup1", "CNY")
    assert [(row["order_number"], row["amount_minor"]) for row in owed] == [("T9001", 500)] * 2
    assert sound(shop)
    again = read(shop, export(shop, tmp_path, rows))
    assert (again.used, again.known, again.orders) == (0, 2, ())
    assert len(settlements.open_keys(shop.db, "sup1", "CNY")) == 2


def test_a_used_key_goes_to_the_platforms_order_that_waits_for_it(
    shop: Shop, tmp_path: Path
) -> None:
    keys = shelf(shop)
    pull(shop, order("A1", status=OrderStatus.SHIPPED), order("A2", status=OrderStatus.SHIPPED))
    deliver(shop)
    assert line(shop, "A1")["gate"] == "shipped"
    lend(shop, tmp_path, channel="shop1")
    rows = [(keys[0], "已使用", "A1"), (keys[1], "已使用", "A2"), (keys[2], "已使用", "A2")]
    told = read(shop, export(shop, tmp_path, rows))
    assert told.orders == ("shop1:A1", "pool-kq:A2"), "A2 paid for one key, the pool gave two"
    assert (line(shop, "A1")["state"], line(shop, "A1")["gate"]) == ("delivered", "")
    assert sound(shop)


def test_without_an_order_number_the_read_back_is_the_order(shop: Shop, tmp_path: Path) -> None:
    keys = shelf(shop)
    lend(shop, tmp_path)
    told = read(shop, export(shop, tmp_path, [(keys[0],)], "卡号"), assume="used")
    assert told.orders == ("pool-kq:P20261122-1",)
    assert read(shop, export(shop, tmp_path, [(keys[1],)], "卡号"), assume="used").orders == (
        "pool-kq:P20261122-2",
    )
    with pytest.raises(InputRefused, match="used from unused"):
        read(shop, export(shop, tmp_path, [(keys[2],)], "卡号"))
    with pytest.raises(InputRefused, match="column of cards"):
        read(shop, export(shop, tmp_path, [(keys[2],)], "什么"))
    assert sound(shop)


def test_unused_keys_come_back_only_when_asked_and_with_proof(
    shop: Shop, tmp_path: Path, clock: ManualClock
) -> None:
    keys = shelf(shop, n=3)
    early = export(shop, tmp_path, [(key, "未使用", "") for key in keys])
    tick(shop, 60_000)
    lend(shop, tmp_path)
    with pytest.raises(Refused, match="too old"):
        read(shop, early, take_back=True)
    tick(shop, 60_000)
    rows = [(keys[0], "未使用", ""), (keys[1], "未使用", ""), (keys[2], "冻结", "")]
    proof = export(shop, tmp_path, rows)
    assert read(shop, proof).returned == 0
    assert states(shop) == {"lent": 3}
    clock.advance(lending_back.FRESH_MS + 1)
    with pytest.raises(Refused, match="too old"):
        read(shop, proof, take_back=True)
    told = read(shop, export(shop, tmp_path, rows), take_back=True)
    assert (told.returned, told.still_lent, told.unclear) == (2, 1, ("row 4: 冻结",))
    assert states(shop) == {"free": 2, "lent": 1}
    kinds = [entry.kind for entry in shop.journal.read()]
    assert kinds == ["SEND"] * 3 + ["RELEASE"] * 2
    audit = house.audit_of(shop.db, "pool:kq")
    assert any("sha256" in row["detail"] for row in audit if row["action"] == "key.release")
    assert sound(shop)


def test_a_key_that_came_back_is_sold_once(shop: Shop, tmp_path: Path) -> None:
    keys = shelf(shop, n=1)
    lend(shop, tmp_path, 1)
    tick(shop, 1000)
    read(shop, export(shop, tmp_path, [(keys[0], "未使用", "")]), take_back=True)
    pull(shop, order("A1"), order("A2"))
    assert deliver(shop).delivered == 1
    assert keys_at("A1") | keys_at("A2") == {keys[0]}
    assert sound(shop)


def test_what_a_file_does_not_name_stays_lent_and_what_was_not_lent_is_told(
    shop: Shop, tmp_path: Path
) -> None:
    keys = shelf(shop)
    lend(shop, tmp_path)
    rows = [(keys[0], "已使用", "T1"), (keys[4], "已使用", "T2"), ("OTHER-KEY-0009", "未使用", "")]
    told = read(shop, export(shop, tmp_path, rows), take_back=True)
    assert (told.used, told.missing, told.still_lent, told.returned) == (1, 2, 2, 0)
    assert told.strange == (f"row 3: …{keys[4][-4:]}", "row 4: …0009")
    assert states(shop) == {"delivered": 1, "free": 2, "lent": 2}


def test_used_wins_when_a_file_says_both(shop: Shop, tmp_path: Path) -> None:
    keys = shelf(shop)
    lend(shop, tmp_path)
    tick(shop, 1000)
    rows = [(keys[0], "未使用", ""), (keys[0], "已使用", "T1"), (keys[0], "未使用", "")]
    told = read(shop, export(shop, tmp_path, rows), take_back=True)
    assert (told.used, told.returned) == (1, 0)


def test_cards_are_found_by_card_and_password(shop: Shop, tmp_path: Path) -> None:
    keys = shelf(shop, n=3, prefix=f"CARD{JOINER}PASS")
    lend(shop, tmp_path)
    tick(shop, 1000)
    head = "卡号,密码,状态"
    rows = [
        ("CARD", "PASS-S1-00000", "已使用"),
        ("CARD", "OTHER", "已使用"),
        ('"=""CARD"""', "PASS-S1-00002\t", "未使用"),
    ]
    told = read(shop, export(shop, tmp_path, rows, head), take_back=True)
    assert (told.used, told.returned, len(told.strange)) == (1, 1, 1)
    joined = read(shop, export(shop, tmp_path, [(keys[1], "未使用")], "卡密,状态"), take_back=True)
    assert joined.returned == 1


def test_keys_that_cannot_be_read_back_are_given_up(shop: Shop, tmp_path: Path) -> None:
    shelf(shop)
    lend(shop, tmp_path)
    number = lending.lent(shop).lendings[0].number
    assert lending_back.lost(shop, number, "the pool was closed") == 3
    assert states(shop) == {"free": 2, "quarantine": 3}
    assert (lending.lent(shop).lendings[0].lost, sound(shop)) == (3, True)
    for call in (number, "L0"):
        with pytest.raises((Refused, NotFound)):
            lending_back.lost(shop, call, "x")


def test_a_batch_with_lent_keys_is_not_undone_whole(shop: Shop, tmp_path: Path) -> None:
    from kmtool.operations import keys as stock

    shelf(shop, n=3)
    lend(shop, tmp_path, 2)
    told = stock.undo(shop, "B20261122-01")
    assert (told.removed, dict(told.stay)) == (1, {"lent": 2})


def test_the_doctor_finds_a_lent_key_that_is_nowhere(shop: Shop, tmp_path: Path) -> None:
    shelf(shop)
    lend(shop, tmp_path)
    shop.db.run("UPDATE lent_keys SET state = 'returned' WHERE n = 1")
    shop.db.run("UPDATE keys SET state = 'free' WHERE id IN (SELECT key_id FROM lent_keys"
                " WHERE n = 2)")  # fmt: skip
    found = [row for row in broken(shop) if row.startswith("lent_alone")]
    assert len(found) == 2


def test_the_shops_own_form_replaces_the_shipped_one(shop: Shop) -> None:
    folder = shop.config.root / "presets" / "pools"
    folder.mkdir(parents=True)
    form = '[[put]]\ncolumn = "码"\ntext = "{card}"\n[back]\ncard = ["码"]\n'
    (folder / "mine.toml").write_text(form, encoding="utf-8")
    assert pool_forms.load(shop.config.root, "mine").suffix == "csv"
    assert "mine" in pool_forms.names(shop.config.root)
    (folder / "mine.toml").write_text("kind = 'pool'\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"back\.card"):
        pool_forms.load(shop.config.root, "mine")


def test_a_replay_leaves_lent_and_used_keys_where_they_are(shop: Shop, tmp_path: Path) -> None:
    keys = shelf(shop)
    lend(shop, tmp_path)
    tick(shop, 1000)
    rows = [(keys[0], "已使用", "T1"), (keys[1], "未使用", ""), (keys[2], "未使用", "")]
    read(shop, export(shop, tmp_path, rows[:2]), take_back=True)
    before = states(shop)
    assert before == {"delivered": 1, "free": 3, "lent": 1}
    for _ in range(2):
        told = replay(shop)
        assert (told.right, told.bound, told.waiting) == (2, 0, 0)
        assert (states(shop), line(shop, "T1")["state"]) == (before, "delivered")
        assert sound(shop)


def test_a_replay_lends_again_what_an_older_database_has_free(shop: Shop, tmp_path: Path) -> None:
    keys = shelf(shop)
    lend(shop, tmp_path)
    with shop.db.tx():
        shop.db.run("DELETE FROM lent_keys")
        shop.db.run("DELETE FROM lendings")
        shop.db.run("UPDATE keys SET state = 'free', uses_left = 1 WHERE state = 'lent'")
        shop.db.run("UPDATE stock SET free = 5")
    assert not doctor.journal_check(shop).ok
    replay(shop)
    assert states(shop) == {"free": 2, "lent": 3}
    found = lending.lent(shop, "kq").lendings[0]
    assert (found.lent, sound(shop)) == (3, True)
    tick(shop, 1000)
    path = export(shop, tmp_path, [(keys[0], "已使用", "T1")])
    seen = lending_back.look(shop, "kq", path, form=FORM)
    assert lending_back.settle(shop, seen, take_back=False).orders == ("pool-kq:T1",)
    assert sound(shop)


def test_keys_that_came_back_are_told_though_the_disk_is_full_by_then(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed 1002695: an owner who was told that nothing was written left them in the pool."""
    keys = shelf(shop, n=2)
    lend(shop, tmp_path, 2)
    tick(shop, 1000)
    list_of_them = export(shop, tmp_path, [(key, "未使用", "") for key in keys])
    with monkeypatch.context() as full:
        full.setattr(sessions, "finish", _is_full)
        assert read(shop, list_of_them, take_back=True).returned == 2
    assert states(shop) == {"free": 2} and sound(shop)


def test_a_list_that_is_read_in_part_says_that_some_of_it_stands(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = shelf(shop, n=3)
    lend(shop, tmp_path, 3)
    tick(shop, 1000)
    rows = [(keys[0], "已使用", "Q1"), *((key, "未使用", "") for key in keys[1:])]
    path = export(shop, tmp_path, rows)
    with monkeypatch.context() as full:
        full.setattr(store, "back", _is_full)
        with pytest.raises(Broken, match=r"full.*what was booked from it stands") as caught:
            read(shop, path, take_back=True)
    assert caught.value.code == "KM-E101" and "repeat" in caught.value.next_step()
    assert states(shop) == {"delivered": 1, "lent": 2}
    found = read(shop, path, take_back=True)
    assert (found.known, found.returned) == (1, 2) and sound(shop)


def _is_full(*_: object) -> bool:
    raise Broken(detail="database or disk is full; nothing was half-written")
