"""The evidence sheet: every step with its time, masked keys, the same bytes for the same books."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import pytest

from kmtool.errors import NotFound, UsageError
from kmtool.operations.deliver import deliver
from kmtool.operations.order_add import note
from kmtool.operations.order_evidence import write
from kmtool.operations.order_refund import decide
from kmtool.operations.order_replace import ReplaceWish, replace
from kmtool.operations.refund_records import Answer, Decision
from kmtool.shop import Shop
from tests.fakes import order
from tests.operations.delivery_kit import KEY, outside, pull, tick
from tests.operations.refund_kit import AT, refund
from tests.operations.stock import shelf

FORMATS = ("html", "json", "txt")
HOSTILE = '<script>alert("x")</script>\x1b[31m'


@pytest.fixture
def story(shop: Shop) -> Shop:
    """An order with everything in it: two tries, a replacement, a refund that was refused."""
    shelf(shop)
    title = (order("A1").lines[0].__class__("1", "i1", "", HOSTILE, 2, 2000),)
    pull(shop, order("A1", lines=title, at_ms=AT))
    outside().faults = ["down"]
    deliver(shop)
    tick(shop, 60_000)
    deliver(shop)
    replace(shop, "A1", ReplaceWish(reason="坏卡", key="0000"))
    deliver(shop)
    note(shop, "A1", "a difficult buyer")
    refund(shop)
    decide(shop, "A1", Decision(Answer.REFUSE, reason="已使用"))
    deliver(shop)
    return shop


@pytest.mark.parametrize("suffix", FORMATS)
def test_it_tells_all_and_hides_the_keys(story: Shop, tmp_path: Path, suffix: str) -> None:
    made = write(story, "A1", tmp_path / f"e.{suffix}")
    text = (tmp_path / f"e.{suffix}").read_text(encoding="utf-8")
    assert KEY.findall(text) == [] and "KEY-S1" not in text
    codes = ("hand_over", "refund_reply") if suffix == "json" else ("发卡", "答复退款")
    for said in ("…0000", "…0001", "…0002", *codes, "坏卡", "已使用",
                 "connection refused", "R-A1", "SEND", "2026-11-22"):  # fmt: skip
        assert said in text, said
    if suffix != "json":
        code = re.search(r"hand_over|refund_case|refund_reply|delivered|rejected", text)
        assert code is None, f"the platform's people read {code}"
    assert "difficult" not in text, "notes are the shop's own"
    assert made.keys == 3 and made.attempts >= 4
    assert made.sha256 == hashlib.sha256(text.encode()).hexdigest()
    digests = story.db.all("SELECT digest FROM attempts")
    assert all(row["digest"] in text for row in digests)
    assert "<script>alert" not in text or suffix != "html"
    assert "\x1b" not in text


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_same_books_give_the_same_bytes(story: Shop, tmp_path: Path, suffix: str) -> None:
    first = write(story, "A1", tmp_path / f"1.{suffix}")
    tick(story, 86_400_000)
    write(story, "A1", tmp_path / f"r.{suffix}", reveal=True)
    second = write(story, "A1", tmp_path / f"2.{suffix}")
    assert first.sha256 == second.sha256


def test_the_page_loads_and_runs_nothing(story: Shop, tmp_path: Path) -> None:
    write(story, "A1", tmp_path / "e.html")
    page = (tmp_path / "e.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page and '<html lang="zh-CN">' in page
    assert re.findall(r"<(script|link|img|iframe)|https?://|\son\w+=| style=", page) == []
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    policy = re.search(r"sha256-([^']+)'", page)
    assert style and policy
    import base64

    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert digest == policy[1]


def test_json_is_one_document_with_every_try(story: Shop, tmp_path: Path) -> None:
    write(story, "A1", tmp_path / "e.json")
    found = json.loads((tmp_path / "e.json").read_text(encoding="utf-8"))
    first = found["effects"][0]
    assert [a["outcome"] for a in first["attempts"]] == ["rejected", "ok"]
    assert found["keys"][0]["state"] == "defective"
    assert len(found["journal"]) >= 4 and found["journal"][0]["record"] == 1
    assert found["decisions"][0]["answer"] == "refuse"
    assert found["replacements"][0]["new_key"] == "…0002"


def test_whole_keys_are_audited_and_for_the_owner_alone(story: Shop, tmp_path: Path) -> None:
    made = write(story, "A1", tmp_path / "e.txt", reveal=True)
    text = (tmp_path / "e.txt").read_text(encoding="utf-8")
    assert len(set(re.findall(r"KEY-S1-\d{5}", text))) == 3
    assert made.revealed
    assert story.db.value("SELECT count(*) FROM audit WHERE action = 'key.reveal'") == 3
    if os.name == "posix":
        assert (tmp_path / "e.txt").stat().st_mode & 0o777 == 0o600


def test_a_wrong_name_or_order_writes_nothing(story: Shop, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="format"):
        write(story, "A1", tmp_path / "e.pdf")
    with pytest.raises(NotFound):
        write(story, "none", tmp_path / "e.txt")
    assert list(tmp_path.glob("e.*")) == []


def test_what_was_never_sent_has_no_text(shop: Shop, tmp_path: Path) -> None:
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    write(shop, "A1", tmp_path / "e.json")
    found = json.loads((tmp_path / "e.json").read_text(encoding="utf-8"))
    assert (found["keys"], found["effects"], found["journal"]) == ([], [], [])
