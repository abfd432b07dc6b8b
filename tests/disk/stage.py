"""A shop in the middle of its work, made once; every test starts from the same files and buyers."""

from __future__ import annotations

import copy
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from adapters.demo_shop import DemoShop, Good
from kmtool import words
from kmtool.app import create_shop
from kmtool.cli import doors
from kmtool.cli.main import main
from kmtool.clock import ManualClock, local_text
from kmtool.config import load
from kmtool.domain.states import RefundState
from kmtool.ports import LineFact, RefundFact
from kmtool.store.db import connect
from tests import fakes
from tests.cli.bad_inputs import BILL, ORDER_HEAD, ORDER_ROW
from tests.cli.conftest import Told, _Input, _Output
from tests.conftest import START_MS

TOML = """schema = 1
[deliver]
reread_after = "1h"
[brakes]
sku_pieces_per_hour = 0
sku_value_per_hour = "0"
buyer_pieces_per_hour = 0
[channels.shop1]
adapter = "tests.fakes"
mode = "auto"
couriers = ["tests.fakes"]
account = "alipay"
[accounts.alipay]
channels = ["shop1"]
[channels.birch]
adapter = "tests.fakes"
mode = "ask"
couriers = ["tests.fakes"]
[suppliers.toplab]
adapter = "demo"
spend_per_day = "50.00"
spend_per_order = "20.00"
credentials = {{ token = "demo-token", secret = "demo-secret" }}
options = {{ url = "{url}" }}
"""
BILL_ROW = (
    "1{0:018d},2{0:018d},{1},月卡,2026-11-22 0{0}:30:00,demo,{3}.00,0.00,{2}.00,支付宝,在线支付,\n"
)
KEY = re.compile(r"KEY-[A-Z0-9]+-\d{4}")
TRIES = {
    "sessions", "audit", "audit_heads", "job_runs", "alerts", "routes", "route_uses", "watched",
    "sqlite_sequence", "_sqlite_migrations",
}  # fmt: skip
"""Tables that tell that one tried; in all others something half-done would show."""
SETUP = """
supplier add z | supplier add y
import s1.txt --sku S1 --supplier z --cost 5 --new --yes
import s2.txt --sku S2 --supplier y --cost 7 --new --yes
import s3.txt --sku S3 --supplier y --cost 7 --new --yes
product add T1 --kind topup --account phone-cn --supplier toplab --item TEL-10 --cap 9.80
product map shop1 i1 S1 | product map shop1 i2 S2 | product map shop1 i4 T1
product map birch i1 S1
product add T9 --kind text | product set T9 --text guide.txt
channel add leaf --by-file orders.csv --mode auto
product map leaf 8801 S1
secret set old IN hidden
key lend S3 --pool kq -n 3 --form 91kaquan -o lent.csv
ORDERS
sync | deliver | deliver
deliver --by-hand IN ,s,s,,
supplier set z --settle-days 0 | supplier set y --settle-days 0
settle close z --yes
order refund A3 --record --reason bad --key void --bearer supplier --yes
template set guide.txt --kind subject
statement import bill.csv --account alipay
reconcile --account alipay
recon link 1 A1 --reason x
db backup
pause S3
"""
SETTING_UP = {"deliver": {0, 3}, "reconcile --account alipay": {0, 8}}
LATE = ("A7", "A8", "A9")
"""Orders that come after the delivery: they wait."""


class Stage:
    """The shop folder, the user's folder, the files beside it, the clock and the buyers."""

    def __init__(self, root: Path, start_ms: int = START_MS) -> None:
        self.root = root
        self.start_ms = start_ms
        self.live = root / "live"
        self.kept = root / "kept"
        self.shop = self.live / "shop"
        self.given = self.live / "given"
        self.clock = ManualClock(start_ms)
        self.worlds: dict[str, fakes.Outside] = {}
        self.at_ms = start_ms
        self._make()

    def say(self, line: str, typed: str = "", *, tty: bool = False) -> Told:
        """Run one command in this process, as a person would."""
        words_ = [self._word(word) for word in line.split()]
        out, err = _Output("utf-8"), _Output("utf-8")
        here = Path.cwd()
        os.chdir(self.shop)
        try:
            with (
                mock.patch.object(sys, "stdin", _Input(typed, tty)),
                mock.patch.object(sys, "stdout", out),
                mock.patch.object(sys, "stderr", err),
                mock.patch.object(doors, "clock", lambda: self.clock),
                mock.patch.dict(os.environ, {"KMTOOL_HOME": str(self.live / "home")}),
                mock.patch("kmtool.cli.clipboard.find", lambda *_seen: None),
            ):
                code = main(words_)
                return Told(code, out.text(), err.text())
        finally:
            words.use("en")
            os.chdir(here)

    def back(self) -> None:
        """Let everything be as it was when the stage was made."""
        shutil.rmtree(self.live)
        shutil.copytree(self.kept, self.live, symlinks=True)
        self.clock = ManualClock(self.at_ms)
        fakes.WORLDS.clear()
        fakes.WORLDS.update(copy.deepcopy(self.worlds))

    def books(self, folder: Path | None = None) -> dict[str, list[dict[str, Any]]]:
        """Return every row that matters, so that before and after can be compared."""
        path = (folder or self.shop) / "shop" / "shop.db"
        if not path.is_file():
            return {}
        db = connect(path)
        try:
            rows = db.all("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
            names = [row["name"] for row in rows if row["name"] not in TRIES]
            found = {name: db.all(f"SELECT * FROM {name} ORDER BY 1, 2") for name in names}
            # The journal that was looked at is whole, whatever becomes of the command.
            found["meta"] = [
                row for row in found["meta"] if not row["name"].startswith("journal_whole")
            ]
            return found
        finally:
            db.close()

    def files(self) -> dict[str, bytes]:
        """Return all files but the database and what tells of tries, by their names."""
        skip = re.compile(r"shop\.db|/logs/|\.lock$|\.tail$|/journal/|machine\.json")
        return {
            name: path.read_bytes()
            for path in sorted(self.live.rglob("*"))
            if path.is_file() and not skip.search(name := str(path.relative_to(self.live)))
        }

    def unrecorded(self) -> list[str]:
        """Return the keys that a buyer holds and the books do not know as seen."""
        held = {
            key
            for world in fakes.WORLDS.values()
            for texts in world.received.values()
            for key in KEY.findall("\n".join(texts))
        }
        if not held:
            return []
        db = connect(self.shop / "shop" / "shop.db")
        try:
            seen = db.value(
                "SELECT count(*) FROM keys WHERE state IN ('exposed', 'delivered', 'defective')"
            )
        finally:
            db.close()
        return [] if len(held) <= seen else [f"{len(held)} keys are out, {seen} are on record"]

    def _make(self) -> None:
        for folder in (self.shop, self.given):
            folder.mkdir(parents=True)
        self._write_given()
        fakes.WORLDS.clear()
        with DemoShop(self.clock) as lab:
            lab.supply.add_good(Good("TEL-10", "10 yuan", 980, takes=r"1[0-9]{10}"))
            lab.supply.surcharge_minor = 20
            (self.shop / "kmtool.toml").write_text(TOML.format(url=lab.url), encoding="utf-8")
            with mock.patch.dict(os.environ, {"KMTOOL_HOME": str(self.live / "home")}):
                create_shop(load(self.shop / "kmtool.toml"), self.clock)
            for line in self._lines(SETUP):
                words_, _in, typed = line.partition(" IN ")
                if words_ == "ORDERS":
                    self._orders()
                    continue
                told = self.say(words_, typed.replace(",", "\n") + "\n", tty="hand" in words_)
                assert told.code in SETTING_UP.get(words_, {0}), (line, told)
                self.clock.advance(10_000)
            self._later()
        self.worlds = copy.deepcopy(fakes.WORLDS)
        self.at_ms = self.clock.now_ms()
        shutil.copytree(self.live, self.kept, symlinks=True)

    def _lines(self, text: str) -> list[str]:
        return [step.strip() for line in text.strip().split("\n") for step in line.split(" | ")]

    def _word(self, word: str) -> str:
        given = self.given / word
        return str(given) if given.is_file() else word

    def _write_given(self) -> None:
        def keys(sku: str, first: int, n: int) -> str:
            return "".join(f"KEY-{sku}-{i:04d}\n" for i in range(first, first + n))

        for name, text in (
            ("s1.txt", keys("S1", 0, 30)), ("s2.txt", keys("S2", 0, 20)),
            ("s3.txt", keys("S3", 0, 9)), ("more.txt", keys("S1", 100, 40) + "KEY-S1-0001\n"),
            ("two.txt", keys("S2", 100, 10)), ("guide.txt", "how to use it\n"),
            ("back.csv", "卡号,状态\nKEY-S3-0000,已使用\nKEY-S3-0001,未使用\n"),
            ("message.txt", '{% for line in lines %}{{ line["keys"]|join(" ") }}{% endfor %}\n'),
            ("products.csv", "sku,title,price\nP1,one,10\nP2,two,20\n"),
        ):  # fmt: skip
            (self.given / name).write_text(text, encoding="utf-8")
        paid = local_text(self.start_ms - 3_600_000, "Asia/Shanghai", "%Y-%m-%d %H:00:")
        row = ORDER_ROW.replace("2026-11-22 07:00:", paid).replace("2026-11-22 07:01:", paid)
        rows = [ORDER_HEAD, *(row.format(f"L{n}", 1, "48.00") for n in range(1, 4))]
        (self.given / "orders.csv").write_bytes("\n".join(rows).encode("gb18030"))
        rows = [ORDER_HEAD, *(row.format(f"L{n}", 1, "48.00") for n in range(4, 7))]
        (self.given / "orders2.csv").write_bytes("\n".join(rows).encode("gb18030"))
        bill = BILL.format("收入金额（+元）,").replace("2021年", "2026年")
        bill += "".join(
            BILL_ROW.format(n, f"A{n}", n * 10, 25 if n == 3 else 10) for n in (1, 2, 3)
        )
        (self.given / "bill.csv").write_bytes(bill.encode("gb18030"))
        bill2 = BILL.format("收入金额（+元）,").replace("2021年", "2026年")
        bill2 += "".join(BILL_ROW.format(n, f"A{n}", n * 10, 10) for n in (4, 5))
        (self.given / "bill2.csv").write_bytes(bill2.encode("gb18030"))

    def _orders(self) -> None:
        """What is paid at the channels before the shop's first delivery."""
        outside, now = fakes.world("shop1"), self.clock.now_ms()
        for n in range(1, 7):
            outside.orders[f"A{n}"] = fakes.order(f"A{n}", item="i1" if n < 5 else "i2", at_ms=now)
        for number, account in (("C1", "13800138000"), ("C2", "12345")):
            line = LineFact("1", "i4", "", "charge", 1, 1000, account)
            outside.orders[number] = fakes.order(number, lines=(line,), at_ms=now)
        fakes.world("birch").orders["D1"] = fakes.order("D1", at_ms=now)
        self._into_inbox("orders.csv")
        self.clock.advance(60_000)

    def _later(self) -> None:
        """More orders, a refund that is asked for, files in the inbox."""
        outside, now = fakes.world("shop1"), self.clock.now_ms()
        for number in LATE:
            outside.orders[number] = fakes.order(number, at_ms=now)
        outside.orders["A2"] = fakes.order(
            "A2", at_ms=self.start_ms, revision_ms=now, refund=RefundState.OPEN,
            refunds=(RefundFact("R1", 1000, "open", now),),
        )  # fmt: skip
        self.clock.advance(60_000)
        told = self.say("sync shop1")
        assert told.code == 0, told
        outside.orders["B1"] = fakes.order("B1", at_ms=self.clock.now_ms())
        self._into_inbox("orders2.csv")
        self.clock.advance(60_000)

    def _into_inbox(self, name: str) -> None:
        inbox = self.shop / "inbox" / "orders" / "leaf"
        inbox.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.given / name, inbox / name)
        os.utime(inbox / name, (1_700_000_000, 1_700_000_000))  # it has stopped growing


def same(one: Any, two: Any, masked: set[tuple[str, str]]) -> list[str]:
    """Return the tables in which two books differ, but for what is random in both."""

    def plain(name: str, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{k: v for k, v in row.items() if (name, k) not in masked} for row in rows]

    names = one.keys() | two.keys()
    return sorted(n for n in names if plain(n, one.get(n, [])) != plain(n, two.get(n, [])))


def differing(one: Any, two: Any) -> set[tuple[str, str]]:
    """Return the columns in which two runs of the same command differ: random ones."""
    found = set()
    for name in one.keys() & two.keys():
        for a, b in zip(one[name], two[name], strict=False):
            found |= {(name, key) for key in a if a[key] != b[key]}
    return found
