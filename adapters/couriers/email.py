"""Hands keys over as a mail of the shop's own (SMTP), to the address the channel gives.

A mail cannot be asked after. The same mail may be sent again when the answer to it was lost: it
carries the same Message-ID every time, so the buyer's mailbox can tell a copy from a second order.
"""

from __future__ import annotations

import hashlib

from adapters import smtp
from kmtool.ports import AdapterSettings, Courier, Features, Message, Receipt, Repeat, Verdict

SIZE_MAX = 18_000_000
"""Bytes of pictures: with the third that coding adds, most mailboxes take no more."""

FEATURES = Features(
    title="E-mail 邮件",
    kind="courier",
    approval="none: a mailbox that may send by SMTP",
    automatic="sends; asks nobody, so a lost answer is repeated up to 3 times",
    proved="RFC 5321 server with faults at every step, in the tests",
    repeat=Repeat.REPEAT_SAFE,
    repeat_max=3,
    text_max=100_000,
    attachments=True,
    needs_email=True,
    parallel=2,
    credentials=smtp.CREDENTIALS,
    options=smtp.OPTIONS,
)


class Email:
    """The courier port over one mail server."""

    def __init__(self, settings: AdapterSettings) -> None:
        self._server = smtp.mail_server(settings)

    @property
    def features(self) -> Features:
        """Return how this route repeats, probes and limits."""
        return FEATURES

    def refusal(self, message: Message) -> str:
        """Refuse an order without a usable address, and texts a mail does not carry unchanged."""
        if not message.buyer.email.strip():
            return "the order has no e-mail address"
        if smtp.address(message.buyer.email) is None:
            return "the order's e-mail address is not a valid one"
        text = message.text.text()
        if FEATURES.text_max is not None and len(text) > FEATURES.text_max:
            return f"the message has {len(text)} characters, a mail takes {FEATURES.text_max}"
        size = sum(len(one.data) for one in message.attachments)
        if size > SIZE_MAX:
            return f"the pictures have {size} bytes, a mail takes {SIZE_MAX}"
        return smtp.text_refusal(text)

    def send(self, message: Message) -> Receipt:
        """Hand the mail to the server; `Unknown` when its answer to the text does not come."""
        refusal = self.refusal(message)
        to = smtp.address(message.buyer.email)
        if refusal or to is None:
            raise smtp.rejected(self._server, refusal)
        mail = smtp.Mail(
            to, message.subject, message.text.text(), _number(message), message.attachments
        )
        message_id, answer = smtp.deliver(self._server, mail)
        return Receipt(reference=message_id, detail=answer)

    def query(self, message: Message) -> Verdict:
        """Not know: a mail cannot be asked after."""
        return Verdict.UNCLEAR


def build(settings: AdapterSettings) -> Courier:
    """Build the courier; raises `ConfigError` when the settings cannot work."""
    return Email(settings)


def _number(message: Message) -> str:
    """Return what names this mail for ever: the same on every attempt, no other shop's.

    Mailboxes drop a mail whose Message-ID they have seen, and effect ids start at 1 in every shop.
    """
    whole = "\0".join((message.channel, message.order_number, message.marker, message.effect_id))
    return f"{message.effect_id}.{hashlib.sha256(whole.encode()).hexdigest()[:12]}"
