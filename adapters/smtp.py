"""Mail over SMTP, with one question kept in view: has the server taken the message or not?

Up to the server's answer to DATA nothing was handed over: a break or a 4xx is `Retriable`, a 5xx
`Rejected` (the address) or `NeedsOperator` (login, sender, TLS). From then on only the final reply
decides; a break before it is `Unknown`. After a 250 nothing can undo the message any more.

An address whose name is not ASCII needs a server that takes such (SMTPUTF8); a mail that is larger
than the server says it takes is refused before a byte of it leaves.

Errors carry status codes only: the server's own words often repeat addresses.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, formataddr, parseaddr

from kmtool.clock import Clock
from kmtool.domain.secret import Secret
from kmtool.errors import (
    ConfigError,
    NeedsOperator,
    OutsideError,
    Rejected,
    Retriable,
    Unknown,
    told,
)
from kmtool.ports import AdapterSettings, Attachment

OPTIONS = {
    "host": "the mail server",
    "port": "its port; by default 587 (starttls), 465 (ssl) or 25 (none)",
    "from": "the sender, such as My shop <shop@shop.example>",
    "reply_to": "where answers go, when not to the sender",
    "tls": "starttls (default), ssl, or none (only on this machine, or without a login)",
    "ca_file": "a certificate to trust besides the usual ones (an own mail server)",
}
CREDENTIALS = ("user", "password")

CONNECT_S = 10.0
READ_S = 60.0
FINAL_S = 120.0
"""Servers scan before they answer; breaking off early makes an unknown of an accepted mail."""
TOTAL_S = 300.0  # for all of it: a socket's time-outs count from byte to byte
LINE_MAX, LINES_MAX = 8_192, 1_000

_PORTS = {"starttls": 587, "ssl": 465, "none": 25}
_LOCAL = ("127.0.0.1", "::1", "localhost")
_ADDRESS = re.compile(
    r"(?:[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]|[^\W\x00-\x7f]){1,64}@[^@\s<>,;:\"()\[\]\\]{1,253}"
)
_MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9][a-z0-9.+-]{0,60}")
_ENHANCED = re.compile(r"\b[245]\.\d{1,3}\.\d{1,3}\b")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")
_IN_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

Answer = tuple[int, bytes]


@dataclass(frozen=True, slots=True, repr=False)
class MailServer:
    """Where mail is handed in, and as whom. `who` names it in errors."""

    who: str
    host: str
    port: int
    tls: str
    sender: str
    sender_name: str
    clock: Clock
    user: Secret | None = None
    password: Secret | None = None
    ca_file: str = ""
    reply_to: str = ""


def mail_server(settings: AdapterSettings) -> MailServer:
    """Return the server that an adapter's settings name; raises `ConfigError`."""
    options, given = settings.options, settings.credentials
    host, tls = str(options.get("host", "")), str(options.get("tls", "starttls"))
    name, sender = parseaddr(str(options.get("from", "")))
    reply_to = str(options.get("reply_to", ""))
    problem = ""
    if not host:
        problem = told("it needs a host")
    elif tls not in _PORTS:
        problem = told("tls is starttls, ssl or none")
    elif address(sender) is None:
        problem = told("from is no address")
    elif reply_to and address(reply_to) is None:
        problem = told("reply_to is no address")
    elif ("user" in given) != ("password" in given):
        problem = told("user and password belong together")
    elif tls == "none" and "user" in given and host not in _LOCAL:
        problem = told("a password does not go over a connection without TLS")
    port = options.get("port", _PORTS.get(tls, 0))
    if not isinstance(port, int) or not 0 < port < 65_536:
        problem = problem or told("port is a number")
    if problem:
        raise ConfigError(detail="{name}: {problem}", name=settings.name, problem=problem)
    assert isinstance(port, int)
    return MailServer(
        who=settings.name,
        host=host,
        port=port,
        tls=tls,
        sender=sender,
        sender_name=name,
        clock=settings.clock,
        user=given.get("user"),
        password=given.get("password"),
        ca_file=str(options.get("ca_file", "")),
        reply_to=(address(reply_to) or "") if reply_to else "",
    )


def address(text: str) -> str | None:
    """Return an address as it goes over the wire (domain in ASCII), None when it is none."""
    text = text.strip()
    if not _ADDRESS.fullmatch(text):
        return None
    local, _, domain = text.partition("@")
    try:
        return f"{local}@{domain.encode('idna').decode('ascii')}"
    except UnicodeError:
        return None


@dataclass(frozen=True, slots=True, repr=False)
class Mail:
    """One message. `number` becomes its Message-ID, together with the sender's domain."""

    to: str
    subject: str
    text: str
    number: str
    attachments: Sequence[Attachment] = ()


def deliver(server: MailServer, mail: Mail) -> tuple[str, str]:
    """Hand in a message and return (its Message-ID, the server's final answer)."""
    message_id = _message_id(server, mail.number)
    payload = _payload(server, mail, message_id)
    # Raised here, outside any `except`: smtplib's own errors hold addresses.
    result = _converse(server, mail.to, payload)
    if isinstance(result, OutsideError):
        raise result
    return message_id, result


def text_refusal(text: str) -> str:
    """Return why a mail would not carry `text` unchanged, empty when it would."""
    if _IN_TEXT.search(text.replace("\r\n", "\n")):
        return told("the text holds control characters, which a mail does not keep")
    try:
        text.encode()
    except UnicodeEncodeError:
        return told("the text is not UTF-8")
    return ""


def rejected(server: MailServer, detail: str) -> OutsideError:
    """Return a refusal of our own: nothing was sent."""
    return Rejected(who=server.who, detail="{reason}", reason=detail)


def _message_id(server: MailServer, number: str) -> str:
    """Return the Message-ID of `number`; a long one is hashed, because folding would break it."""
    local = re.sub(r"[^A-Za-z0-9._-]", lambda found: f"={ord(found[0]):02X}", number)
    whole = f"<{local}@kmtool.{server.sender.partition('@')[2]}>"
    if len(whole) <= 64 and ".." not in local and not local.startswith("."):
        return whole
    return f"<{hashlib.sha256(whole.encode()).hexdigest()[:40]}@kmtool.invalid>"


def _payload(server: MailServer, mail: Mail, message_id: str) -> bytes:
    """Return the message in wire form: UTF-8 as quoted-printable, CRLF, leading dots doubled."""
    message = EmailMessage(policy=SMTP if mail.to.isascii() else SMTPUTF8)
    message["From"] = formataddr((_CONTROLS.sub(" ", server.sender_name), server.sender))
    message["To"] = mail.to
    message["Subject"] = _CONTROLS.sub(" ", mail.subject).strip()
    moment = datetime.fromtimestamp(server.clock.now_ms() // 1000, UTC)
    message["Date"] = format_datetime(moment)
    message["Message-ID"] = message_id
    message["Auto-Submitted"] = "auto-generated"
    if server.reply_to:
        message["Reply-To"] = server.reply_to
    message.set_content(mail.text, charset="utf-8", cte="quoted-printable")
    for attachment in mail.attachments:
        _attach(message, attachment)
    if mail.attachments:  # the same mail again is the same mail, byte for byte but its date
        message.set_boundary(f"km={hashlib.sha256(message_id.encode()).hexdigest()[:32]}")
    wire = message.as_bytes()
    wire = wire if wire.endswith(b"\r\n") else wire + b"\r\n"
    return re.sub(rb"(?m)^\.", b"..", wire) + b".\r\n"


def _attach(message: EmailMessage, attachment: Attachment) -> None:
    kind = attachment.media_type.lower()
    main, _, sub = (kind if _MEDIA_TYPE.fullmatch(kind) else "application/octet-stream").partition(
        "/"
    )
    name = _CONTROLS.sub("", attachment.name).replace("/", "_").replace("\\", "_").strip()
    if main in ("text", "message", "multipart"):  # nothing that a mailbox would take apart
        main, sub = "application", "octet-stream"
    message.add_attachment(
        attachment.data.reveal(), maintype=main, subtype=sub, filename=name or "file"
    )


def _converse(server: MailServer, to: str, payload: bytes) -> str | OutsideError:
    connection = _unconnected(server)
    watch = threading.Timer(TOTAL_S, _drop, [connection])
    watch.daemon = True
    watch.start()
    try:
        return _watched(server, connection, to, payload)
    finally:
        watch.cancel()


def _watched(
    server: MailServer, connection: smtplib.SMTP, to: str, payload: bytes
) -> str | OutsideError:
    try:
        _connect(server, connection)
        refusal = _hand_in(server, connection, to, len(payload))
    except (smtplib.SMTPException, OSError, ValueError) as error:
        refusal = _not_sent(server, error)
    if refusal is not None:
        _close(connection)
        return refusal
    try:
        if connection.sock is None:  # dropped in this very moment
            raise smtplib.SMTPServerDisconnected("time is up")
        connection.sock.settimeout(FINAL_S)
        connection.send(payload)
        code, words = _reply(connection)
    except (smtplib.SMTPException, OSError, ValueError) as error:
        _close(connection)
        return _unclear(server, type(error).__name__)
    result = _final(server, (code, words))
    _close(connection, quit_first=True)
    return result


def _unconnected(server: MailServer) -> smtplib.SMTP:
    own_name = server.sender.partition("@")[2]  # the machine's own name is nobody's business
    kind = smtplib.SMTP_SSL if server.tls == "ssl" else smtplib.SMTP
    connection = kind(local_hostname=own_name, timeout=CONNECT_S)
    connection._host = server.host  # type: ignore[attr-defined]  # the name TLS asks for
    return connection


def _connect(server: MailServer, connection: smtplib.SMTP) -> None:
    context = ssl.create_default_context()
    if server.ca_file:
        context.load_verify_locations(server.ca_file)
    if isinstance(connection, smtplib.SMTP_SSL):
        connection.context = context
    code, words = connection.connect(server.host, server.port)
    if code != 220:
        raise smtplib.SMTPConnectError(code, words)
    assert connection.sock is not None
    connection.sock.settimeout(READ_S)
    connection.ehlo_or_helo_if_needed()
    if server.tls == "starttls":
        connection.starttls(context=context)
        connection.ehlo_or_helo_if_needed()
    if server.user is not None and server.password is not None:
        connection.login(server.user.text(), server.password.text())


def _drop(connection: smtplib.SMTP) -> None:
    """Break a connection that another thread waits at."""
    with contextlib.suppress(OSError, AttributeError):
        socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)  # type: ignore[arg-type]


def _hand_in(
    server: MailServer, connection: smtplib.SMTP, to: str, size: int
) -> OutsideError | None:
    """Walk up to the answer to DATA; return the refusal, None when the text may come."""
    options = []
    if connection.has_extn("size"):
        options.append(f"size={size}")
        most = connection.esmtp_features.get("size", "").strip()
        if most.isdecimal() and 0 < int(most) < size:
            return rejected(
                server, told("the mail has {size} bytes, it takes {most}", size=size, most=most)
            )
    if not to.isascii():
        if not connection.has_extn("smtputf8"):
            return rejected(server, told("it takes no address that is not ASCII"))
        options += ["SMTPUTF8", "BODY=8BITMIME"]
    steps: tuple[tuple[str, str, Callable[[], Answer], range], ...] = (
        ("MAIL", "sender", lambda: connection.mail(server.sender, options), range(200, 300)),
        ("RCPT", "address", lambda: connection.rcpt(to), range(200, 300)),
        ("DATA", "message", lambda: connection.docmd("DATA"), range(354, 355)),
    )
    for step, subject, ask, wanted in steps:
        code, words = ask()
        if code in wanted:
            continue
        detail = told(
            "it does not take the {subject} ({codes})",
            subject=told(subject),
            codes=_codes((code, words)),
        )
        if 500 <= code <= 599:
            login = code in (530, 535) or (step == "MAIL" and code != 552)
            error = NeedsOperator if login else Rejected
            return error(who=server.who, detail=detail)
        return Retriable(after_s=60.0, who=server.who, detail=detail)
    return None


def _not_sent(server: MailServer, error: Exception) -> OutsideError:
    """Return what a failure before the answer to DATA means: nothing was handed over."""
    who, what = server.who, type(error).__name__
    code = error.smtp_code if isinstance(error, smtplib.SMTPResponseException) else 0
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return NeedsOperator(who=who, detail="it has no TLS or no login of a kind we know")
    if isinstance(error, ssl.SSLCertVerificationError):
        return NeedsOperator(who=who, detail="its certificate is not valid for this name")
    if isinstance(error, UnicodeError):
        return NeedsOperator(who=who, detail="host, user or password hold letters it cannot take")
    if isinstance(error, FileNotFoundError):
        return NeedsOperator(who=who, detail="the ca_file is not there")
    if 500 <= code <= 599:
        return NeedsOperator(who=who, detail="it does not let us in ({code})", code=code)
    return Retriable(after_s=60.0, who=who, detail="no connection ({code})", code=code or what)


def _reply(connection: smtplib.SMTP) -> Answer:
    """Read the final reply; a line that breaks off is none (smtplib takes it for a whole one)."""
    assert connection.sock is not None
    file = connection.file or connection.sock.makefile("rb")
    words: list[bytes] = []
    line = b"000-"
    while line[3:4] == b"-":
        line = file.readline(LINE_MAX)
        words.append(line[4:].strip())
        if not line.endswith(b"\n") or len(words) > LINES_MAX:
            raise smtplib.SMTPServerDisconnected("the reply breaks off")
    return int(line[:3]), b"\n".join(words)


def _final(server: MailServer, answer: Answer) -> str | OutsideError:
    code = answer[0]
    if 200 <= code <= 299:
        return _codes(answer)
    if 400 <= code <= 499:
        return Retriable(
            after_s=60.0,
            who=server.who,
            detail="it did not take the text ({answer})",
            answer=_codes(answer),
        )
    if 500 <= code <= 599:
        return Rejected(
            who=server.who, detail="it refused the text ({answer})", answer=_codes(answer)
        )
    return _unclear(server, told("no answer we know"))


def _unclear(server: MailServer, what: str) -> OutsideError:
    return Unknown(
        who=server.who, detail="the mail was sent, its answer did not come ({what})", what=what
    )


def _codes(answer: Answer) -> str:
    found = _ENHANCED.search(answer[1].decode("ascii", "replace"))
    return f"{answer[0]} {found[0]}" if found else str(answer[0])


def _close(connection: smtplib.SMTP | None, *, quit_first: bool = False) -> None:
    """Hang up. Nothing that goes wrong here changes what the server has said."""
    if connection is None:
        return
    try:
        if quit_first and connection.sock is not None:
            connection.sock.settimeout(CONNECT_S)
            connection.quit()
        connection.close()
    except (smtplib.SMTPException, OSError, ValueError):
        connection.close()
