"""Hands keys over through the owner's own hands: copy, paste, say that it was sent.

Nothing here sends. `kmtool deliver --by-hand` shows one message after the other and records the
answers; an automatic run that meets this route stops with «needs you».
"""

from __future__ import annotations

from kmtool.errors import NeedsOperator
from kmtool.ports import AdapterSettings, Features, Message, Receipt, Repeat, Verdict

FEATURES = Features(
    title="By hand 手动粘贴",
    kind="by hand",
    approval="none",
    automatic="no: you paste, kmtool keeps the books",
    proved="tests",
    repeat=Repeat.NONE,
    by_hand=True,
    attachments=True,
)


class ByHand:
    """The courier port of a person."""

    features = FEATURES

    def refusal(self, message: Message) -> str:
        """Refuse nothing: a person finds a way."""
        return ""

    def send(self, message: Message) -> Receipt:
        """Never send by itself."""
        raise NeedsOperator(
            who="by hand",
            detail="order {order_number} waits to be pasted",
            order_number=message.order_number,
            where=message.channel,
            mend="kmtool deliver --by-hand",
        )

    def query(self, message: Message) -> Verdict:
        """Not know: only the person does."""
        return Verdict.UNCLEAR


def build(settings: AdapterSettings) -> ByHand:
    """Build the courier."""
    return ByHand()
