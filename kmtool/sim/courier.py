"""A simulated courier: brings messages to the buyers of its site, and watches what it is given.

Everything that must be true of a message before it leaves is asked here, at the buyers' door:
nothing else in the simulator is so close to the promise.
"""

from __future__ import annotations

from kmtool.ports import AdapterSettings, Features, Message, Receipt, Repeat, Verdict
from kmtool.sim import border, drawn
from kmtool.sim.ground import MASTER
from kmtool.sim.machine import Process
from kmtool.sim.stage import Stage, current
from kmtool.sim.verdict import at_the_door, may_arrive, must_be_carried, must_not_be_renamed
from kmtool.sim.world import Letter, Placed, keys_in
from kmtool.vault import Vault

FEATURES = Features(title="simulated", kind="courier")
SECOND = "_alt"
"""How the name of the second courier of a site ends."""
_FINGERPRINTS = Vault(MASTER)


class Courier:
    """The courier port over one site of the world."""

    def __init__(self, stage: Stage, process: Process, site: str, route: str) -> None:
        self.stage = stage
        self.process = process
        self.site = stage.world.sites[site]
        self.route = route

    @property
    def features(self) -> Features:
        """Return how this route repeats, probes and limits."""
        second = self.site.other if self.route.endswith(SECOND) else None
        return second or self.site.courier

    def refusal(self, message: Message) -> str:
        """Refuse a buyer without an address where one is needed."""
        if self.features.needs_email and not message.buyer.email:
            return "the order has no e-mail address"
        return ""

    def send(self, message: Message) -> Receipt:
        """Bring a message to its buyer."""
        placed = self._placed(message)
        text = drawn.read(message)
        must_be_carried(self.stage, placed, self.features, message)
        at_the_door(self.stage, self.process, placed, message, _FINGERPRINTS.fingerprint)

        def deed() -> Receipt:
            self._arrive(placed, message.marker, text)
            return Receipt(f"sent {message.marker}")

        label = f"{self.route} {message.order_number} {message.marker} {_short(text)}"
        return border.write(self.stage, self.process, label, deed)

    def query(self, message: Message) -> Verdict:
        """Tell whether a message arrived."""
        placed = self._placed(message)

        def ask(_stale: bool) -> Verdict:
            if self.features.repeat is not Repeat.QUERYABLE:
                return Verdict.UNCLEAR
            there = any(letter.marker == message.marker for letter in placed.letters)
            return Verdict.DONE if there else Verdict.NOT_DONE

        label = f"{self.route} there? {message.marker}"
        return border.read(self.stage, self.process, label, ask)

    def _arrive(self, placed: Placed, marker: str, text: str) -> None:
        same = [letter for letter in placed.letters if letter.marker == marker]
        if same and self.features.repeat is Repeat.IDEMPOTENT:
            if same[0].text != text and placed.name not in self.stage.world.owner.rewritten:
                self.stage.fail("a message is the same on every try", f"{placed.name} {marker}")
            return
        if not same:
            must_not_be_renamed(self.stage, placed, text)
        may_arrive(self.stage, placed, self.features, same, text)
        stage = self.stage
        placed.letters.append(
            Letter(stage.tick(), stage.clock.true_ms(), self.route, marker, text, keys_in(text))
        )

    def _placed(self, message: Message) -> Placed:
        placed = self.stage.world.orders.get((message.channel, message.order_number))
        if placed is None:
            self.stage.fail("messages go to buyers that exist", message.order_number)
        return placed


def _short(text: str) -> str:
    return " ".join(keys_in(text))


def build(settings: AdapterSettings) -> Courier:
    """Build the courier for the process that runs now."""
    stage = current[-1]
    return Courier(stage, stage.process, str(settings.options["site"]), settings.name)
