"""What becomes of an exported file: taken once, moved when stored, left alone while it grows."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.channels.file import FileChannel
from kmtool.clock import ManualClock
from kmtool.domain.states import OrderStatus
from kmtool.ports import Page
from tests.adapters.file_channel.exports import (
    HEADER,
    ROW,
    build,
    orders,
    pull,
    put,
    refusal,
    table,
    workbook,
)


def test_a_file_is_moved_once_it_is_stored_and_never_before(
    channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    path = put(inbox, clock, table(ROW.format("A1")))
    (page,) = pull(channel)
    assert page.done == str(path)
    assert path.exists()
    channel.acknowledge(page)
    assert not path.exists()
    assert (inbox / "done" / "orders.csv").exists()
    assert pull(channel) == [Page((), last=True)]


def test_the_same_content_again_does_nothing(
    channel: FileChannel, inbox: Path, clock: ManualClock, tmp_path: Path
) -> None:
    text = table(ROW.format("A1"))
    put(inbox, clock, text)
    channel.acknowledge(pull(channel)[0])
    put(inbox, clock, text, "orders.csv", age_s=5)
    (page,) = pull(build(clock, tmp_path))
    assert (page.orders, page.rejects) == ((), ())
    channel.acknowledge(page)
    names = sorted(found.name for found in (inbox / "done").iterdir())
    assert names == ["orders (2).csv", "orders.csv"]


def test_what_was_taught_reads_the_same_content_again_with_its_first_time(
    channel: FileChannel, inbox: Path, clock: ManualClock, tmp_path: Path
) -> None:
    text = table(ROW.format("A1").replace("等待卖家发货", "冻结中"))
    put(inbox, clock, text, age_s=600)
    (first,) = pull(channel)
    channel.acknowledge(first)
    put(inbox, clock, text, age_s=5)
    taught = build(clock, tmp_path, status={"冻结中": "paid"})
    (again,) = pull(taught)
    assert [order.status for order in again.orders] == [OrderStatus.PAID]
    assert again.orders[0].revision_ms == first.orders[0].revision_ms
    taught.acknowledge(again)
    put(inbox, clock, text, age_s=4)
    assert [page.orders for page in pull(taught)] == [()]


def test_the_noise_of_binary_fractions_is_not_money(
    channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    cells: list[object] = list(ROW.format("A1").split(","))
    cells[6] = 0.1 + 0.2
    put(inbox, clock, workbook([HEADER.split(","), cells]), "a.xlsx")
    assert orders(channel)[0].total_minor == 30
    cells[6] = 0.305
    put(inbox, clock, workbook([HEADER.split(","), cells]), "a.xlsx")
    assert "row 2, total" in refusal(channel)


def test_a_bad_file_does_not_stop_the_others(
    channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    put(inbox, clock, table(ROW.format("A1")), "a.csv")
    put(inbox, clock, b"\x89PNG\r\n\x1a\n", "b.csv")
    put(inbox, clock, "x", "c.png")
    put(inbox, clock, b"PK\x03\x04broken", "d.xlsx")
    put(inbox, clock, table(ROW.format("A1"), ROW.format("A2").replace("56", "x")), "e.csv")
    put(inbox, clock, table(ROW.format("A3")), "f.csv")
    pages = pull(channel)
    assert [order.number for page in pages for order in page.orders] == ["A1", "A3"]
    for page in pages:
        channel.acknowledge(page)
    failed = sorted(path.name for path in (inbox / "failed").iterdir())
    assert failed == [
        "b.csv", "b.csv.report.txt", "c.png", "c.png.report.txt",
        "d.xlsx", "d.xlsx.report.txt", "e.csv", "e.csv.report.txt",
    ]  # fmt: skip
    report = (inbox / "failed" / "e.csv.report.txt").read_text(encoding="utf-8-sig")
    assert "row 3, total" in report
    assert [path.name for path in inbox.iterdir() if path.is_file()] == [".seen"]
    # Mended, the same file is taken.
    put(inbox, clock, table(ROW.format("A1"), ROW.format("A2")), "e.csv")
    assert [order.number for order in orders(channel)] == ["A1", "A2"]


@pytest.mark.parametrize("name", ["~$orders.xlsx", "a.csv.tmp", "a.csv.crdownload", ".a.csv"])
def test_what_is_not_ready_is_left_alone(
    name: str, channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    path = put(inbox, clock, table(ROW.format("A1")), name)
    assert pull(channel) == [Page((), last=True)]
    assert path.exists()


def test_a_file_that_still_grows_is_left_for_the_next_look(
    channel: FileChannel, inbox: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(inbox, clock, table(ROW.format("A1")), "still.csv", age_s=1)
    growing = put(inbox, clock, table(ROW.format("A2")), "growing.csv", age_s=1)
    waited: list[float] = []

    def grow(seconds: float) -> None:
        waited.append(seconds)
        with growing.open("a", encoding="utf-8") as more:
            more.write(ROW.format("A3") + "\n")

    monkeypatch.setattr(clock, "sleep", grow)
    assert [order.number for order in orders(channel)] == ["A1"]
    assert waited == [2.0]


def test_a_long_file_comes_in_pages_and_is_done_with_the_last(
    channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    put(inbox, clock, table(*(ROW.format(f"A{n}") for n in range(1201))))
    pages = pull(channel)
    assert [len(page.orders) for page in pages] == [500, 500, 201]
    assert [bool(page.done) for page in pages] == [False, False, True]


def test_a_file_that_vanishes_is_nobodys_fault(
    channel: FileChannel, inbox: Path, clock: ManualClock
) -> None:
    put(inbox, clock, table(ROW.format("A1")))
    (page,) = pull(channel)
    (inbox / "orders.csv").unlink()
    channel.acknowledge(page)
    assert not (inbox / "done" / "orders.csv").exists()


def test_the_folder_is_looked_at(channel: FileChannel, inbox: Path, clock: ManualClock) -> None:
    put(inbox, clock, table(ROW.format("A1")))
    report = channel.auth_check()
    assert report.ok
    assert "1 files waiting" in report.detail
