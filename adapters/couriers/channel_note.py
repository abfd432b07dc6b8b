"""Hands keys over as a note in the order, written through the channel, which tells the buyer.

A note is not idempotent (every call writes another one and mails it), but it can be read back:
after an unknown outcome the marker in the text says whether it is there.
"""

from __future__ import annotations

from kmtool.errors import ConfigError
from kmtool.ports import (
    AdapterSettings,
    Channel,
    Courier,
    Features,
    Message,
    Receipt,
    Repeat,
    Verdict,
)

FEATURES = Features(
    title="Order note 订单备注",
    kind="courier",
    approval="none: uses the channel's access",
    automatic="sends, and reads the notes back when in doubt",
    proved="WooCommerce 11.0.1",
    repeat=Repeat.QUERYABLE,
    repeat_max=5,
    text_max=15_000,
    parallel=4,
)


class ChannelNote:
    """The courier port over a channel's notes."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    @property
    def features(self) -> Features:
        """Return how this route repeats, probes and limits."""
        return FEATURES

    def refusal(self, message: Message) -> str:
        """Refuse what a note cannot carry, or could not be found again."""
        text = message.text.text()
        limit = self._channel.features.text_max or FEATURES.text_max
        if limit is not None and len(text) > limit:
            return f"the message has {len(text)} characters, a note takes {limit}"
        if not message.marker or message.marker not in text:
            return "the message does not hold the mark by which it is found again"
        return ""

    def send(self, message: Message) -> Receipt:
        """Write the note."""
        return self._channel.post_note(message)

    def query(self, message: Message) -> Verdict:
        """Look for the note."""
        return self._channel.find_note(message)


def build(settings: AdapterSettings) -> Courier:
    """Build the courier over the channel it serves."""
    if settings.channel is None or not settings.channel.features.notes:
        raise ConfigError(
            detail="route {name} needs a channel whose orders carry notes",
            name=settings.name,
            mend="give the channel another route, such as email",
        )
    return ChannelNote(settings.channel)
