"""The log of what runs by itself: `logs/kmtool.log`, UTF-8, in the shop's time, never a key.

Only our own loggers and the scheduler's warnings are written: a library's chatter may hold
addresses with credentials.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler

from kmtool.clock import local_text
from kmtool.config import Config

BYTES = 5_000_000
FILES = 5


class _Handler(RotatingFileHandler):
    """A log that finds no room stays silent: what it would tell of goes on."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Leave the line out (the name is the library's)."""


class _Formatter(logging.Formatter):
    def __init__(self, zone: str) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._zone = zone

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the moment in the shop's zone (the name is the library's)."""
        return local_text(round(record.created * 1000), self._zone, "%Y-%m-%d %H:%M:%S")


@contextmanager
def to_file(config: Config) -> Iterator[None]:
    """Write the log of this process while the block runs."""
    folder = config.folder("logs")
    folder.mkdir(parents=True, exist_ok=True)
    handler = _Handler(
        folder / "kmtool.log", maxBytes=BYTES, backupCount=FILES, encoding="utf-8", delay=True
    )
    handler.setFormatter(_Formatter(config.shop.timezone))
    ours, theirs = logging.getLogger("kmtool"), logging.getLogger("apscheduler")
    ours.setLevel(logging.INFO)
    theirs.setLevel(logging.WARNING)
    for logger in (ours, theirs):
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield
    finally:
        for logger in (ours, theirs):
            logger.removeHandler(handler)
        handler.close()
