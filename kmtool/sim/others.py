"""What another actor may do while a process stands still in the middle of something.

That is how races are played by one thread: the process that stands still is in a call that has not
returned; here somebody else acts, through a connection and a session of his own.
"""

from __future__ import annotations

from dataclasses import replace

from kmtool.errors import KmError
from kmtool.operations import sender
from kmtool.operations.deliver import deliver_all
from kmtool.operations.reserve import reserve_due
from kmtool.operations.sync import sync
from kmtool.shop import Shop
from kmtool.sim import buyers
from kmtool.sim.stage import Act, Stage


def take_over(stage: Stage) -> None:
    """A second sender takes over (`run --take-over`) and works one round."""
    stage.count["take-overs"] += 1

    def work(shop: Shop) -> None:
        if sender.take_over(shop):
            for one in stage.senders():
                if one is not stage.process and one.sends:  # else it begins after this one
                    one.taken_over = one.taken_over or stage.process.last_commit
        with sender.sending(replace(shop, actor="daemon"), "run") as mine:
            stage.process.sends = True
            sync(mine)
            deliver_all(mine)

    pauses = (500, 5_000, 25_000, 50_000)
    if not stage.stands_at.startswith("call"):  # from the first byte on nobody can hold it back
        pauses = (500, 25_000, 90_000, 400_000)
    stage.clock.advance(stage.random.choice(pauses))
    stage.command("run --take-over", work)


def pull(stage: Stage) -> None:
    """Another process pulls the orders."""
    stage.command("sync", sync)


def reserve(stage: Stage) -> None:
    """A command beside the daemon decides what may go (`deliver` does, then it nudges)."""
    stage.command("reserve", reserve_due)


def refund(stage: Stage) -> None:
    """A buyer asks his money back right now; half of the time somebody pulls it too."""
    buyers.refund(stage)
    if stage.random.random() < 0.5:
        stage.command("sync", sync)


def stand(stage: Stage) -> None:
    """Nobody acts: the process only stood still for a while."""
    stage.clock.advance(stage.random.choice((1_000, 15_000, 45_000, 400_000)))


def sweep(stage: Stage) -> None:
    """Another command looks for sessions that died."""

    def work(shop: Shop) -> None:
        try:
            sender.sweep(shop)
        except KmError as error:
            stage.refused("sweep", error)

    stage.command("sweep", work)


OTHERS = (
    Act(4, "take over", take_over),
    Act(3, "pull", pull),
    Act(2, "reserve", reserve),
    Act(4, "refund", refund),
    Act(2, "stand", stand),
    Act(1, "sweep", sweep),
)
