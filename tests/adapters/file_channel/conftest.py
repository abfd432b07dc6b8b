"""A folder for exported files and a channel that looks into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.channels.file import FileChannel
from kmtool.clock import ManualClock
from tests.adapters.file_channel.exports import build


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox" / "orders" / "leaf"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def channel(clock: ManualClock, tmp_path: Path, inbox: Path) -> FileChannel:
    return build(clock, tmp_path)
