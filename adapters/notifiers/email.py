"""Tells the owner of alerts by mail (SMTP)."""

from __future__ import annotations

import secrets

from adapters import smtp
from kmtool.errors import ConfigError
from kmtool.ports import AdapterSettings, Features, Notifier

FEATURES = Features(
    title="E-mail 邮件",
    kind="notifier",
    approval="none: a mailbox that may send by SMTP",
    automatic="yes",
    proved="tests",
    credentials=smtp.CREDENTIALS,
    options={**smtp.OPTIONS, "to": "the owner's address"},
)


class EmailNotifier:
    """The notifier port over one mail server."""

    def __init__(self, settings: AdapterSettings) -> None:
        self._server = smtp.mail_server(settings)
        to = smtp.address(str(settings.options.get("to", "")))
        if to is None:
            raise ConfigError(detail="{name}: to is no address", name=settings.name)
        self._to = to

    def notify(self, subject: str, text: str) -> None:
        """Send the owner a mail."""
        mail = smtp.Mail(self._to, subject, text, f"alert.{secrets.token_hex(12)}")
        smtp.deliver(self._server, mail)


def build(settings: AdapterSettings) -> Notifier:
    """Build the notifier; raises `ConfigError` when the settings cannot work."""
    return EmailNotifier(settings)
