"""A mail server on loopback that goes wrong at every line: a real one behind a front that spoils.

Behind stands aiosmtpd, which takes mails as any server does; what it took is the truth. The front
passes lines on, speaks TLS to the caller, and plays one phase of `rules.SMTP` at a time.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from tests.adapters.tls import server_context
from tests.faults.doors import DOORS, HOST, RESET, Doors

CODES = {
    "banner_4xx": "421 4.3.2 closing", "banner_5xx": "554 no service here",
    "banner_other": "HTTP/1.1 400 Bad Request",
    "ehlo_4xx": "421 4.3.2 closing", "ehlo_5xx": "550 who are you",
    "starttls_4xx": "454 4.7.0 TLS not available", "starttls_5xx": "554 5.7.0 no TLS",
    "auth_4xx": "454 4.7.0 try later", "auth_5xx": "535 5.7.8 wrong",
    "mail_4xx": "451 4.3.0 try later", "mail_5xx": "550 5.7.1 sender refused",
    "mail_size": "552 5.3.4 too large",
    "rcpt_4xx": "450 4.2.0 mailbox busy", "rcpt_5xx": "550 5.1.1 no such mailbox",
    "rcpt_login": "530 5.7.0 login first",
    "data_4xx": "451 4.3.0 try later", "data_5xx": "554 5.7.1 no", "data_250": "250 fine",
    "dot_4xx": "451 4.3.0 try later", "dot_421": "421 4.3.2 closing", "dot_5xx": "554 5.7.1 spam",
}  # fmt: skip
"""Phases in which the front answers by itself; the mail does not reach the server."""
LIES = {"dot_other_after": b"HTTP/1.1 200 OK\r\n", "dot_3xx_after": b"354 go on\r\n"}
CUTS = {
    "dot_closed_after": b"", "dot_half_after": b"25", "dot_half_line": b"250",
    "dot_half_lines": b"250-2.0.0 queued, and\r\n",
}  # fmt: skip
STEPS = {"ehlo", "helo", "starttls", "auth", "mail", "rcpt", "data", "quit"}


class HangUp(Exception):
    """The phase says to hang up."""


class Inbox:
    """The hook of the real server: what it took."""

    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self.recipients: list[list[str]] = []

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        self.texts.append(envelope.content)
        self.recipients.append(envelope.rcpt_tos)
        return "250 2.0.0 queued as 7Q for buyer@example.test"

    def has(self, mark: str) -> bool:
        """Tell whether a mail with that mark was taken."""
        return any(mark.encode() in text for text in self.texts)


class _Real(Controller):
    """aiosmtpd without its look at itself."""

    def _trigger_server(self) -> None:
        with socket.create_connection((self.hostname, self.port), 1):
            pass


def _login(server: SMTP, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    return AuthResult(success=data == LoginPassword(b"user", b"pass word"), handled=False)


class MailFront(Doors):
    """The front. `lines` are the commands that callers gave; `phase` is what goes wrong now."""

    def __init__(self, backend: int, context: ssl.SSLContext, stranger: ssl.SSLContext) -> None:
        self.backend, self.context, self.stranger = backend, context, stranger
        self.phase = ""
        self.lines: list[str] = []
        super().__init__()

    @contextmanager
    def failing(self, phase: str) -> Iterator[None]:
        """Let conversations go wrong."""
        self.phase = phase
        self.move_door(phase if phase in DOORS else "")
        try:
            yield
        finally:
            self.settle()
            self.phase = ""
            self.move_door("")

    def serve(self, connection: socket.socket) -> None:
        """Hold one conversation."""
        connection.settimeout(5)
        talk = _Talk(self, connection, self.phase)
        try:
            talk.hold()
        except HangUp:
            pass
        except OSError:
            pass  # the caller has hung up
        finally:
            talk.close()


class _Talk:
    """One conversation: the caller on one side, the real server on the other."""

    def __init__(self, front: MailFront, caller: socket.socket, phase: str) -> None:
        self.front, self.caller, self.phase = front, caller, phase
        self.there = socket.create_connection((HOST, front.backend), 5)
        self.reader = caller.makefile("rb")
        self.answers = self.there.makefile("rb")
        self.is_secret = False

    def close(self) -> None:
        for one in (self.reader, self.answers, self.caller, self.there):
            with contextlib.suppress(OSError):
                one.close()

    def hold(self) -> None:
        self._step("banner", self._answer())
        while line := self.reader.readline():
            verb = line.split()[0].decode().lower() if line.split() else ""
            self.front.lines.append(line.decode().strip())
            if verb == "starttls":
                self._start_tls()
            elif verb in STEPS:
                self._command(verb.replace("helo", "ehlo"), line)
            else:
                self.caller.sendall(self._ask(line))
            if verb == "data" and self.phase != "data_250":
                self._text()
            if verb == "quit":
                return

    def _command(self, step: str, line: bytes) -> None:
        if f"{step}_closed" == self.phase:
            raise HangUp
        answer = CODES.get(self.phase, "") if self.phase.startswith(step + "_") else ""
        if answer:
            self.caller.sendall(answer.encode() + b"\r\n")
            if step == "data" and self.phase != "data_250":
                raise HangUp
            return
        found = self._ask(line)
        self._step(step, self._offers(found) if step == "ehlo" else found)
        while step == "auth" and found.startswith(b"334"):
            found = self._ask(self.reader.readline())
            self.caller.sendall(found)

    def _offers(self, found: bytes) -> bytes:
        """Offer TLS in the clear and a login behind it."""
        kept = [
            line[4:]
            for line in found.splitlines()
            if b"STARTTLS" not in line
            and not (b"AUTH" in line and (not self.is_secret or self.phase == "auth_missing"))
        ]
        if not self.is_secret and self.phase != "starttls_missing":
            kept.append(b"STARTTLS")
        return b"".join(
            b"250%s%s\r\n" % (b"-" if n < len(kept) else b" ", text)
            for n, text in enumerate(kept, 1)
        )

    def _start_tls(self) -> None:
        if self.phase == "starttls_closed":
            raise HangUp
        if self.phase in ("starttls_4xx", "starttls_5xx"):
            self.caller.sendall(CODES[self.phase].encode() + b"\r\n")
            return
        self.caller.sendall(b"220 go on\r\n")
        if self.phase == "starttls_garbage":
            self.caller.recv(100)
            self.caller.sendall(b"250 what do you mean\r\n" * 20)
            raise HangUp
        front = self.front
        context = front.stranger if self.phase == "starttls_stranger" else front.context
        self.reader.close()
        self.caller = context.wrap_socket(self.caller, server_side=True)
        self.reader = self.caller.makefile("rb")
        self.is_secret = True

    def _text(self) -> None:
        if self.phase == "text_no_reader":
            raise HangUp
        if self.phase in ("text_half_read", "text_reset"):
            self.reader.read(300)
            self._break(hard=self.phase == "text_reset")
        text = b"".join(iter(self.reader.readline, b".\r\n")) + b".\r\n"
        if self.phase == "dot_closed":
            raise HangUp
        if self.phase in ("dot_4xx", "dot_421", "dot_5xx"):
            self.caller.sendall(CODES[self.phase].encode() + b"\r\n")
            raise HangUp
        found = self._ask(text)
        assert found.startswith(b"250"), found
        self._answer_taken(found)

    def _answer_taken(self, found: bytes) -> None:
        """Say that the mail was taken, or let that go wrong."""
        if self.phase == "dot_reset_after":
            self._break(hard=True)
        if self.phase == "dot_hang_after":
            self._hang()
        if self.phase == "dot_drip_after":
            self._drip(found)
            return
        cut = CUTS.get(self.phase)
        if cut is not None:
            self.caller.sendall(cut)
            raise HangUp
        self.caller.sendall(LIES.get(self.phase, found))

    def _step(self, step: str, answer: bytes) -> None:
        """Give an answer, or spoil it as the phase wants."""
        if self.phase == f"{step}_closed":
            raise HangUp
        if self.phase in (f"{step}_hang", f"{step}_missing") and self.phase != "auth_missing":
            self._hang()
        if self.phase == f"{step}_drip":
            self._drip(answer)
            return
        if self.phase == f"{step}_reset":
            self._break(hard=True)
        if self.phase == f"{step}_half":
            self.caller.sendall(answer[:2])
            raise HangUp
        if self.phase.startswith("banner_") and step == "banner":
            self.caller.sendall(CODES[self.phase].encode() + b"\r\n")
            raise HangUp
        self.caller.sendall(answer)

    def _ask(self, line: bytes) -> bytes:
        self.there.sendall(line)
        return self._answer()

    def _answer(self) -> bytes:
        """Read one whole answer of the real server."""
        found = self.answers.readline()
        while found.splitlines()[-1][3:4] == b"-":
            found += self.answers.readline()
        return found

    def _drip(self, answer: bytes) -> None:
        """Say it in the end, when nobody should be there any more."""
        self.caller.sendall(answer[:4])
        for _ in range(80):
            self.caller.sendall(b" ")
            threading.Event().wait(0.05)
        self.caller.sendall(answer[4:])

    def _hang(self) -> None:
        while self.caller.recv(4096):
            pass
        raise HangUp

    def _break(self, *, hard: bool) -> None:
        if hard:
            self.reader.close()
            self.caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        raise HangUp


@contextmanager
def mail_desk(folder: Path) -> Iterator[tuple[MailFront, Inbox, Path]]:
    """Yield the front, the real server's inbox, and the certificate that callers trust."""
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)
    context, trusted = server_context(folder / "tls")
    stranger, _ = server_context(folder / "stranger")
    inbox = Inbox()
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    real = _Real(inbox, hostname=HOST, port=port, authenticator=_login, auth_require_tls=False)
    real.start()
    front = MailFront(port, context, stranger)
    try:
        yield front, inbox, trusted
    finally:
        front.close()
        real.stop()
    assert front.troubles == []
