"""Hands keys over as a message of the simulated shop's own chat; asks the shop when in doubt."""

from __future__ import annotations

from kmtool.errors import ConfigError
from kmtool.ports import AdapterSettings, Channel, Features, Message, Receipt, Repeat, Verdict

FEATURES = Features(
    title="Message in the simulated shop 模拟店铺消息",
    kind="demo",
    approval="none",
    automatic="yes",
    proved="every fault of the simulated shop, in the tests",
    repeat=Repeat.QUERYABLE,
    repeat_max=8,
    grace_ms=5_000,
    text_max=2_000,
)


class DemoCourier:
    """The courier port over the channel's messages."""

    features = FEATURES

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def refusal(self, message: Message) -> str:
        """Refuse what the shop would: more than 2,000 characters."""
        assert FEATURES.text_max is not None
        size = len(message.text.text())
        if size > FEATURES.text_max:
            return f"the message has {size} characters, the shop takes {FEATURES.text_max}"
        return ""

    def send(self, message: Message) -> Receipt:
        """Send the message into the order's chat."""
        return self._channel.post_note(message)

    def query(self, message: Message) -> Verdict:
        """Ask whether that message is in the chat."""
        return self._channel.find_note(message)


def build(settings: AdapterSettings) -> DemoCourier:
    """Build the courier over the channel it serves."""
    if settings.channel is None or not settings.channel.features.notes:
        raise ConfigError(
            detail="route {name} needs a channel that carries messages",
            name=settings.name,
            mend="give it to a channel with the adapter demo",
        )
    return DemoCourier(settings.channel)
