"""Mail: the courier and the notifier, against a real SMTP server and one that breaks off."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from hypothesis import given
from hypothesis import strategies as st

from adapters import smtp
from adapters.couriers import email as courier_module
from adapters.notifiers import email as notifier_module
from kmtool.clock import ManualClock
from kmtool.domain.secret import Secret
from kmtool.errors import (
    ConfigError,
    NeedsOperator,
    OutsideError,
    Rejected,
    Retriable,
    Unknown,
)
from kmtool.ports import AdapterSettings, Buyer, Courier, Message, Verdict
from tests.adapters.channel_world import quiet
from tests.adapters.smtp_server import SmtpPeer
from tests.adapters.tls import server_context

KEY = "SECRET-KEY-7Q7Q"
TO = "buyer@example.test"


def settings(clock: Any, at: int, folder: Path, **more: Any) -> AdapterSettings:
    options = {"host": "127.0.0.1", "port": at, "from": "小店 <shop@shop.example>", "tls": "none"}
    credentials = more.pop("credentials", {})
    return AdapterSettings(
        name="mail",
        options=options | more,
        credentials=credentials,
        clock=clock,
        zone="Asia/Shanghai",
        currency="CNY",
        inbox=folder,
        exports=folder,
    )


def message(text: str = f"您的卡密:\n{KEY}\n", effect_id: str = "e-1", to: str = TO) -> Message:
    whole = Secret(f"{text}km:{effect_id}")
    return Message(effect_id, "woo", "17", "您的订单 17", whole, f"km:{effect_id}", Buyer(email=to))


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmtpPeer]:
    for name in ("CONNECT_S", "READ_S", "FINAL_S"):
        monkeypatch.setattr(smtp, name, 0.4)
    made = SmtpPeer()
    yield made
    made.close()


@pytest.fixture
def courier(peer: SmtpPeer, clock: ManualClock, tmp_path: Path) -> Courier:
    return courier_module.build(settings(clock, peer.port, tmp_path))


def read(raw: bytes) -> EmailMessage:
    """Return a mail as a mailbox would read it: the doubled dots are single again."""
    plain = b"\r\n".join(line[line.startswith(b".") :] for line in raw.split(b"\r\n"))
    made = message_from_bytes(plain, policy=policy.default)
    assert isinstance(made, EmailMessage)
    return made


def body(raw: bytes) -> str:
    return str(read(raw).get_content()).replace("\r\n", "\n")


def test_a_mail_arrives_as_it_was_written(peer: SmtpPeer, courier: Courier) -> None:
    text = (
        "您的卡密:\n.leading dot\n..two\n  AB--CD = 3x5 <b> &amp; \\n  \nFrom me\n.\n" + "长" * 500
    )
    receipt = courier.send(message(text))
    (raw,) = peer.taken
    mail = read(raw)
    assert body(raw).rstrip("\n") == f"{text}km:e-1"
    assert max(len(line) for line in raw.split(b"\r\n")) <= 78
    assert (mail["To"], mail["Subject"]) == (TO, "您的订单 17")
    assert mail["From"] == "小店 <shop@shop.example>"
    assert mail["Date"] == "Sun, 22 Nov 2026 00:00:00 +0000"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert receipt.reference == mail["Message-ID"]
    assert receipt.detail == "250 2.0.0"
    assert peer.lines[0] == "ehlo shop.example", "the machine's own name stays here"


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=300))
def test_no_text_is_changed_on_the_way(text: str) -> None:
    server = smtp.MailServer("m", "h", 25, "none", "s@shop.example", "", ManualClock())
    lines = text.replace("|", "\n")
    assert smtp.text_refusal(lines) == ""
    raw = smtp._payload(server, smtp.Mail(TO, text, lines, "e-1"), "<e@x>")
    assert raw.endswith(b"\r\n.\r\n")
    assert b"\n.\r\n" not in raw[:-3]
    assert body(raw[:-3]).removesuffix("\n") == lines.removesuffix("\n")


def test_every_attempt_carries_the_same_message_id(
    peer: SmtpPeer, courier: Courier, clock: ManualClock
) -> None:
    first = courier.send(message())
    clock.advance(3_600_000)
    again = courier.send(message())
    other = courier.send(message(effect_id="e-2"))
    elsewhere = courier.send(replace(message(), channel="other"))
    assert first.reference == again.reference
    assert first.reference.startswith("<e-1.")
    assert first.reference.endswith("@kmtool.shop.example>")
    assert len({first.reference, other.reference, elsewhere.reference}) == 3
    strange = courier.send(replace(message(), effect_id="hand_over:7 <x>@" + "y" * 200))
    assert read(peer.taken[-1])["Message-ID"] == strange.reference
    assert peer.taken[-1].count(b"Message-ID: <") == 1


BEFORE = [(step, fault) for step in ("greeting", "ehlo", "mail", "rcpt", "data")
          for fault in ("drop", "hang", "half", "421 later", "451 4.3.0 later")]  # fmt: skip


@pytest.mark.parametrize(("step", "fault"), BEFORE)
def test_until_the_answer_to_data_nothing_was_sent(
    step: str, fault: str, peer: SmtpPeer, courier: Courier
) -> None:
    peer.faults[step] = fault
    if step == "ehlo" and fault[0] == "4":
        peer.faults["helo"] = fault
    with pytest.raises(Retriable) as raised:
        courier.send(message())
    assert peer.texts == []
    quiet(raised.value, KEY, TO)
    peer.faults.clear()
    courier.send(message())
    assert len(peer.taken) == 1


@pytest.mark.parametrize(
    ("step", "fault", "kind"),
    [
        ("greeting", "554 no service", NeedsOperator),
        ("mail", "550 5.7.1 not you", NeedsOperator),
        ("mail", "530 5.7.0 log in first", NeedsOperator),
        ("rcpt", f"550 5.1.1 <{TO}> unknown", Rejected),
        ("rcpt", "530 5.7.0 log in first", NeedsOperator),
        ("data", "554 5.7.1 no", Rejected),
        ("text", f"554 5.7.1 {KEY} looks like spam", Rejected),
        ("text", "451 4.7.1 greylisted", Retriable),
        ("text", "drop", Unknown),
        ("text", "lost", Unknown),
        ("text", "half", Unknown),
        ("text", "hang", Unknown),
        ("text", "999 what", Unknown),
        ("text", "no number", Unknown),
        ("text", "554" + " x" * 9_000, Unknown),
    ],
)
def test_what_a_refusal_means(
    step: str,
    fault: str,
    kind: type[OutsideError],
    peer: SmtpPeer,
    courier: Courier,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    peer.faults[step] = fault
    with pytest.raises(OutsideError) as raised:
        courier.send(message())
    assert type(raised.value) is kind
    quiet(raised.value, KEY, TO)
    assert KEY not in caplog.text
    if kind in (Rejected, Retriable, NeedsOperator):
        assert peer.taken == []
    assert courier.query(message()) is Verdict.UNCLEAR


def test_what_goes_wrong_after_the_final_reply_changes_nothing(
    peer: SmtpPeer, courier: Courier
) -> None:
    for fault in ("drop", "hang", "half", "500 what", "421 bye"):
        peer.faults["quit"] = fault
        courier.send(message())
    assert len(peer.taken) == 5


def test_nobody_listening_is_surely_not_sent(
    peer: SmtpPeer, clock: ManualClock, tmp_path: Path
) -> None:
    for change in ({"port": 9}, {"host": "no-such-host.invalid"}):
        courier = courier_module.build(settings(clock, peer.port, tmp_path, **change))
        with pytest.raises(Retriable):
            courier.send(message())


@pytest.mark.parametrize(
    "to",
    ["", "  ", "é", "buyer", "a@", "@b", "a@b@c", "a b@c.example", "a@b.example, c@d.example",
     "a@b.example\r\nRCPT TO:<x@y.example>", "<a@b.example>", "é@b@c.example", "a@" + "b" * 300],
)  # fmt: skip
def test_an_address_that_cannot_work_is_refused_before_anything_is_sent(
    to: str, peer: SmtpPeer, courier: Courier
) -> None:
    assert courier.refusal(message(to=to))
    with pytest.raises(Rejected):
        courier.send(message(to=to))
    assert peer.lines == []


def test_what_a_mail_cannot_carry_is_refused(courier: Courier) -> None:
    assert courier.refusal(message()) == ""
    assert courier.refusal(message(to=" 12345@qq.example ")) == ""
    assert courier.refusal(message(to="a@邮件.example")) == ""
    assert "characters" in courier.refusal(message("x" * 100_001))
    assert "control" in courier.refusal(message("a\x1bb"))
    assert "UTF-8" in courier.refusal(replace(message(), text=Secret(b"\xff")))


def test_a_subject_adds_no_header(peer: SmtpPeer, courier: Courier) -> None:
    courier.send(replace(message(), subject="17\r\nBcc: x@y.example\x00" + "题" * 100))
    mail = read(peer.taken[0])
    assert "Bcc" not in mail
    assert mail["Subject"].startswith("17 Bcc: x@y.example 题")


@pytest.mark.parametrize(
    "change",
    [{"host": ""}, {"tls": "yes"}, {"from": "shop"}, {"port": "x"}, {"port": 0},
     {"credentials": {"user": Secret("u")}},
     {"host": "mail.example", "credentials": {"user": Secret("u"), "password": Secret("p")}}],
)  # fmt: skip
def test_settings_that_cannot_work_are_named(
    change: dict[str, Any], clock: ManualClock, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError):
        courier_module.build(settings(clock, 25, tmp_path, **change))


class Inbox:
    """The hook of the real server: keeps what it takes."""

    def __init__(self) -> None:
        self.mails: list[Any] = []

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        self.mails.append((session, envelope))
        return "250 2.0.0 OK"


class Plain(Controller):
    """aiosmtpd, which looks at start whether it runs; here without speaking TLS to itself."""

    def _trigger_server(self) -> None:
        with socket.create_connection((self.hostname, self.port), 1):
            pass


@contextmanager
def real_server(folder: Path, *, direct: bool = False) -> Iterator[tuple[Inbox, int, Path]]:
    """Run aiosmtpd with TLS and a login."""
    context, trusted = server_context(folder / "tls")
    inbox = Inbox()

    def login(server: SMTP, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        right = LoginPassword(b"user", b"pass word")
        return AuthResult(success=data == right, handled=False)

    tls: dict[str, ssl.SSLContext] = {"ssl_context" if direct else "tls_context": context}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Plain(
        inbox,
        hostname="127.0.0.1",
        port=port,
        authenticator=login,
        auth_required=True,
        auth_require_tls=not direct,
        **tls,
    )
    controller.start()
    try:
        yield inbox, port, trusted
    finally:
        controller.stop()


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize("tls", ["starttls", "ssl"])
def test_tls_and_login_with_a_real_server(tls: str, clock: ManualClock, tmp_path: Path) -> None:
    right = {"user": Secret("user"), "password": Secret("pass word")}
    wrong = right | {"password": Secret("nope")}
    with real_server(tmp_path, direct=tls == "ssl") as (inbox, port, trusted):
        build = lambda **more: courier_module.build(  # noqa: E731
            settings(clock, port, tmp_path, tls=tls, **more)
        )
        build(ca_file=str(trusted), credentials=right).send(message())
        ((_, envelope),) = inbox.mails
        assert (envelope.mail_from, envelope.rcpt_tos) == ("shop@shop.example", [TO])
        assert KEY in body(envelope.content)
        for refused in (
            build(ca_file=str(trusted), credentials=wrong),
            build(ca_file=str(trusted)),
            build(credentials=right),
            build(ca_file=str(tmp_path / "none"), credentials=right),
        ):
            with pytest.raises(NeedsOperator) as raised:
                refused.send(message())
            quiet(raised.value, KEY, "nope", "pass word")
        assert len(inbox.mails) == 1


def test_a_server_without_starttls_is_not_trusted_with_a_key(
    peer: SmtpPeer, clock: ManualClock, tmp_path: Path
) -> None:
    courier = courier_module.build(settings(clock, peer.port, tmp_path, tls="starttls"))
    with pytest.raises(NeedsOperator):
        courier.send(message())
    assert peer.texts == []


def test_the_owner_hears_of_an_alert(peer: SmtpPeer, clock: ManualClock, tmp_path: Path) -> None:
    notifier = notifier_module.build(settings(clock, peer.port, tmp_path, to="owner@shop.example"))
    notifier.notify("库存不足", "Steam 50: 3 left")
    notifier.notify("库存不足", "Steam 50: 3 left")
    first, second = (read(raw) for raw in peer.taken)
    assert (first["To"], first["Subject"]) == ("owner@shop.example", "库存不足")
    assert first.get_content().strip() == "Steam 50: 3 left"
    assert first["Message-ID"] != second["Message-ID"]
    peer.faults["rcpt"] = "550 no"
    with pytest.raises(OutsideError):
        notifier.notify("a", "b")
    with pytest.raises(ConfigError):
        notifier_module.build(settings(clock, peer.port, tmp_path))
