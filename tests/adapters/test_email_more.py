"""Mail with pictures, other letters, answers elsewhere, a size limit; breaks before the login."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller

from adapters import smtp
from adapters.couriers import email as courier_module
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
from kmtool.ports import Attachment, Courier, Message
from tests.adapters.channel_world import quiet
from tests.adapters.smtp_server import SmtpPeer
from tests.adapters.test_email import KEY, TO, Inbox, message, read, settings

PICTURE = bytes(range(256)) * 9
UNICODE_TO = "买家é@例子.example"


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


def with_pictures(*names: str, media_type: str = "image/png", size: int = 1) -> Message:
    return replace(
        message(),
        attachments=tuple(Attachment(name, media_type, Secret(PICTURE * size)) for name in names),
    )


class Plain(Controller):
    """aiosmtpd, which looks at start whether it runs; here without speaking to itself."""

    def _trigger_server(self) -> None:
        with socket.create_connection((self.hostname, self.port), 1):
            pass


@pytest.fixture
def mailbox() -> Iterator[tuple[Inbox, int]]:
    """A real server that takes other letters, and 30,000 bytes."""
    inbox = Inbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Plain(
        inbox, hostname="127.0.0.1", port=port, enable_SMTPUTF8=True, data_size_limit=30_000
    )
    controller.start()
    yield inbox, port
    controller.stop()


def test_pictures_arrive_byte_for_byte(peer: SmtpPeer, courier: Courier) -> None:
    courier.send(with_pictures("卡密 1.png", "2.png"))
    mail = read(peer.taken[0])
    text, *pictures = mail.iter_parts()
    assert KEY in text.get_content()
    assert [one.get_content() for one in pictures] == [PICTURE, PICTURE]
    assert [one.get_filename() for one in pictures] == ["卡密 1.png", "2.png"]
    assert {one.get_content_type() for one in pictures} == {"image/png"}


def test_the_same_mail_again_is_the_same_but_for_its_date(
    peer: SmtpPeer, courier: Courier, clock: ManualClock
) -> None:
    for _ in range(2):
        courier.send(with_pictures("1.png"))
        clock.advance(60_000)
    first, again = (b"\n".join(x for x in raw.split(b"\r\n") if not x.startswith(b"Date:"))
                    for raw in peer.taken)  # fmt: skip
    assert first == again
    assert peer.taken[0] != peer.taken[1]


@pytest.mark.parametrize(
    ("name", "media_type", "wanted"),
    [
        ("a\r\nBcc: x@y.example\r\n.png", "image/png", "aBcc: x@y.example.png"),
        ("../../etc/x.png", "image/png\r\nBcc: x@y.example", ".._.._etc_x.png"),
        ("\x00", "text/html", "file"),
        ("x.eml", "message/rfc822", "x.eml"),
    ],
)
def test_a_picture_adds_no_header_and_no_part(
    name: str, media_type: str, wanted: str, peer: SmtpPeer, courier: Courier
) -> None:
    courier.send(with_pictures(name, media_type=media_type))
    mail = read(peer.taken[0])
    parts = list(mail.walk())
    assert len(parts) == 3
    assert all(part["Bcc"] is None for part in parts)
    assert parts[2].get_filename() == wanted
    assert parts[2].get_content_type() in {"image/png", "application/octet-stream"}
    assert parts[2].get_payload(decode=True) == PICTURE


def test_pictures_too_large_for_a_mail_are_refused_before_anything_is_sent(
    peer: SmtpPeer, courier: Courier
) -> None:
    large = with_pictures("1.png", size=courier_module.SIZE_MAX // len(PICTURE) + 1)
    assert "bytes" in courier.refusal(large)
    with pytest.raises(Rejected):
        courier.send(large)
    assert peer.lines == []
    assert courier.features.attachments


def test_answers_may_go_elsewhere(peer: SmtpPeer, clock: ManualClock, tmp_path: Path) -> None:
    given = settings(clock, peer.port, tmp_path, reply_to="help@shop.example")
    courier_module.build(given).send(message())
    courier_module.build(settings(clock, peer.port, tmp_path)).send(message())
    first, second = (read(raw) for raw in peer.taken)
    assert first["Reply-To"] == "help@shop.example"
    assert second["Reply-To"] is None
    for wrong in ("help", "a@b.example\r\nBcc: x@y.example", "A <a@b.example>"):
        with pytest.raises(ConfigError, match="reply_to"):
            courier_module.build(settings(clock, peer.port, tmp_path, reply_to=wrong))


def test_a_real_server_takes_other_letters_and_pictures(
    mailbox: tuple[Inbox, int], clock: ManualClock, tmp_path: Path
) -> None:
    inbox, port = mailbox
    courier = courier_module.build(settings(clock, port, tmp_path))
    courier.send(replace(with_pictures("1.png"), buyer=message(to=UNICODE_TO).buyer))
    ((_, envelope),) = inbox.mails
    assert envelope.rcpt_tos == ["买家é@xn--fsqu00a.example"]
    mail = read(envelope.content)
    assert mail["Subject"] == "您的订单 17"
    assert "买家é@" in str(mail["To"])
    with pytest.raises(Rejected, match="30000"):
        courier.send(with_pictures(*(f"{n}.png" for n in range(12))))
    assert len(inbox.mails) == 1


def test_a_server_that_takes_ascii_only_refuses_the_address(
    peer: SmtpPeer, courier: Courier
) -> None:
    with pytest.raises(Rejected, match="ASCII") as raised:
        courier.send(message(to=UNICODE_TO))
    quiet(raised.value, KEY, UNICODE_TO)
    assert not any(line.lower().startswith(("mail", "data")) for line in peer.lines)


@pytest.mark.parametrize(
    ("step", "fault", "kind"),
    [
        ("mail", "552 5.3.4 too large", Rejected),
        ("mail", "452 4.3.1 no room", Retriable),
        ("rcpt", "450 4.2.0 busy", Retriable),
        ("rcpt", "551 5.1.6 moved", Rejected),
        ("rcpt", "553 5.1.3 bad address", Rejected),
        ("data", "552 5.3.4 too large", Rejected),
        ("text", "552 5.3.4 too large", Rejected),
        ("text", "452 4.3.1 no room", Retriable),
        ("text", "354 go on", Unknown),
    ],
)
def test_what_an_answer_means_for_the_order(
    step: str, fault: str, kind: type[OutsideError], peer: SmtpPeer, courier: Courier
) -> None:
    peer.faults[step] = fault
    with pytest.raises(OutsideError) as raised:
        courier.send(message())
    assert type(raised.value) is kind
    quiet(raised.value, KEY, TO)


STARTTLS = "250-mail.example.test\r\n250 STARTTLS"
LOGIN = "250-mail.example.test\r\n250 AUTH PLAIN LOGIN"


@pytest.mark.parametrize("fault", ["drop", "hang", "half", "454 4.7.0 not now"])
@pytest.mark.parametrize("phase", ["starttls", "auth"])
def test_a_break_before_or_at_the_login_is_surely_not_sent(
    phase: str, fault: str, peer: SmtpPeer, clock: ManualClock, tmp_path: Path
) -> None:
    more: dict[str, object] = {"tls": "starttls"}
    peer.faults["ehlo"] = STARTTLS
    if phase == "auth":
        login = {"user": Secret("u"), "password": Secret("pass word")}
        more = {"tls": "none", "credentials": login}
        peer.faults["ehlo"] = LOGIN
    peer.faults[phase] = fault
    courier = courier_module.build(settings(clock, peer.port, tmp_path, **more))
    with pytest.raises((Retriable, NeedsOperator)) as raised:
        courier.send(message())
    quiet(raised.value, KEY, TO, "pass word")
    assert peer.texts == []
    if fault in {"drop", "hang", "half"}:
        assert type(raised.value) is Retriable
