"""The acts that go by mail: the courier's and the notifier's, before a server that goes wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters import smtp
from adapters.couriers import email as courier
from adapters.notifiers import email as notifier
from kmtool.clock import ManualClock
from kmtool.domain.secret import Secret
from kmtool.ports import AdapterSettings
from tests.faults.desks import message
from tests.faults.mailer import Inbox, MailFront, mail_desk
from tests.faults.rules import Act

WAITS = frozenset(
    {"connect_timeout", "banner_missing", "ehlo_hang", "mail_hang", "dot_hang_after", "quit_hang"}
    | {"banner_drip", "mail_drip", "dot_drip_after"}
)
"""Phases that end by a time-out of ours; it is short for them."""
WAIT_S = 0.4


@dataclass
class MailDesk:
    """The front, what the real server took, and the settings of whoever sends by it."""

    front: MailFront
    inbox: Inbox
    settings: AdapterSettings
    count: int = 0

    def attempt(self, act: Act) -> tuple[Callable[[], object], Callable[[], bool]]:
        """Return how to do the act once, and how to look whether the server took it."""
        self.count += 1
        if act.adapter == "courier/email":
            one = message(f"A{self.count}", self.count)
            port: Any = courier.build(self.settings)
            return lambda: port.send(one), lambda: self.inbox.has(f"SECRET-KEY-{self.count:05d}")
        teller: Any = notifier.build(self.settings)
        mark = f"alert-{self.count:05d}"
        return lambda: teller.notify("maple", mark * 60), lambda: self.inbox.has(mark)


@contextmanager
def desk(folder: Path) -> Iterator[MailDesk]:
    """Yield a desk of its own for one act."""
    with mail_desk(folder) as (front, inbox, trusted):
        options = {
            "host": "127.0.0.1", "port": front.port, "from": "小店 <shop@shop.example>",
            "to": "owner@shop.example", "tls": "starttls", "ca_file": str(trusted),
        }  # fmt: skip
        settings = AdapterSettings(
            name="mail",
            options=options,
            credentials={"user": Secret("user"), "password": Secret("pass word")},
            clock=ManualClock(),
            zone="Asia/Shanghai",
            currency="CNY",
            inbox=folder,
            exports=folder,
        )
        yield MailDesk(front, inbox, settings)


@contextmanager
def few_certificates() -> Iterator[None]:
    """Let nobody trust more than the certificate named: reading the usual ones takes long."""
    before = {name: os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
    os.environ |= dict.fromkeys(before, "/nonexistent")
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def short_waits() -> Iterator[None]:
    """Let a mail server that does not answer be given up quickly."""
    names = ("CONNECT_S", "READ_S", "FINAL_S", "TOTAL_S")
    before = {name: getattr(smtp, name) for name in names}
    for name in names:
        setattr(smtp, name, WAIT_S if name != "TOTAL_S" else 3 * WAIT_S)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(smtp, name, value)
