"""Plays life after life on one copy of the program until a promise breaks or the time is over.

Started by `run` with the copy as its only way to the program; prints one line of JSON. Time is that
of the processor: what others do on the machine meanwhile gives a mutant no life less.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

STILL_S = 120.0
ORDINARY = 0
"""A seed whose life is an ordinary one."""
BOLD = frozenset(
    {"replace", "sell", "redeliver", "answer a refund", "paste", "look", "coupon", "price slip"}
) | {"burst", "mode", "write down", "write down what is known"}
POOLS = frozenset({"lend", "pool gives out", "read a pool back"})
COSTLY = "costly"
SCRIPTS: dict[str, frozenset[str]] = {
    "owner": frozenset({COSTLY}),
    "duel": frozenset({COSTLY}),
    "machines": BOLD | POOLS,
    "pools": BOLD,
    "lists": BOLD | {COSTLY},
    "rare": frozenset({COSTLY}),
    "topups": frozenset({COSTLY}),
    "clocks": BOLD | POOLS | {COSTLY},
    "returned": (BOLD | POOLS) - {"replace"},
}
"""name → acts that are left out of a life of that kind (costly: all that happens to machines)"""
MORE = {
    "owner": ("SELDOM",),
    "lists": ("LISTS",),
    "rare": ("SELDOM", "RARE"),
    "topups": ("TOPUPS",),
    "clocks": ("TOPUPS",),
}
"""name → tables of `kmtool.sim.acts` that are played as well"""
OFTEN = {"clocks": (frozenset({"jump", "spell"}), 10), "returned": (frozenset({"replace"}), 5)}
"""name → acts that come up so many times as often"""
TRACEBACK = "no command ends in a traceback"
"""The simulator's name for an error of the program that nobody expected."""


def watch() -> None:
    """End this process when it waits for something that never comes."""
    worked, since = time.process_time(), time.monotonic()
    while True:
        time.sleep(1.0)
        if time.process_time() - worked > 1.0:
            worked, since = time.process_time(), time.monotonic()
        elif time.monotonic() - since > STILL_S:
            told = {"fate": "hung", "seconds": round(worked, 1), "rule": "a life ends"}
            print(json.dumps(told), flush=True)
            os._exit(0)


def choose(script: str) -> None:
    """Let lives consist of what concerns a mutant: what is seldom does not come up in a minute.

    `owner`: all that buyers and owner do, seldom acts too, and three times as many take-overs; no
    machine is lost.
    `duel`: who stands still is mostly taken over meanwhile.
    `machines`: set-backs, copies, moves and lost files three times as often; of what the owner does
    the plain part. `pools`: the same, with keys lent to pools. `lists`: keys lent to pools, read
    back by lists that are old, broken off or too early; no machine is lost.
    `rare`: as `owner`, with what happens to a shop once a year. `topups`: as `owner`, with orders
    for which a supplier charges an account. `clocks`: the plain part, with wrong clocks and lost
    answers all the time, and top-ups. `returned`: as `machines`, with many keys that are replaced.
    """
    from kmtool.sim import acts, driver
    from kmtool.sim.others import OTHERS

    times = 30 if script == "duel" else 3

    def mine(found: Sequence[Any]) -> list[Any]:
        whole = COSTLY in SCRIPTS[script]
        seldom = {"take over"} if whole else acts.COSTLY
        out = SCRIPTS[script] | (acts.COSTLY if whole else frozenset())
        names, more_often = OFTEN.get(script, (frozenset(), 1))
        often = {**dict.fromkeys(seldom, times), **dict.fromkeys(names, more_often)}
        kept = [act for act in found if act.name not in out]
        return [replace(act, weight=act.weight * often.get(act.name, 1)) for act in kept]

    more = [act for table in MORE.get(script, ()) for act in getattr(acts, table)]
    every = mine([*driver.acts(ORDINARY), *more])
    driver.acts = lambda seed: every
    driver.OTHERS = tuple(mine(OTHERS))  # type: ignore[attr-defined]
    driver.SMALL = tuple(mine(acts.SMALL))  # type: ignore[attr-defined]


def main(words: list[str]) -> int:
    """Play the lives of `words`: copy, seconds, script, and which seeds (JSON; none: from 1 on, all
    of them, whatever breaks)."""
    copy, seconds, seeds = Path(words[0]), float(words[1]), json.loads(words[3])
    sys.path.insert(0, str(copy))
    Thread(target=watch, daemon=True).start()
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(copy.name) % len(cores)]})
    import kmtool
    from kmtool.sim.driver import play
    from kmtool.sim.ground import prepared

    assert Path(kmtool.__file__).is_relative_to(copy), "this is not the copy"
    choose(words[2])
    found: dict[str, Any] = {"fate": "survived", "lives": 0, "good": [], "bad": []}
    try:
        with prepared(copy) as ground:
            for seed in seeds or count(1):
                if time.process_time() > seconds:
                    break
                life = play(seed, ground)
                found["lives"] += 1
                found["bad" if life.rule else "good"].append(seed)
                if life.rule and (seeds or found["fate"] == "survived"):
                    fate = "crashed" if life.rule == TRACEBACK else "killed"
                    found |= {"fate": fate, "seed": seed, "rule": life.rule, "told": life.told}
                if life.rule and seeds:
                    break
    except Exception as error:  # noqa: BLE001  (a mutant may break even what makes the shop)
        found |= {"fate": "crashed", "rule": TRACEBACK, "told": f"{type(error).__name__}: {error}"}
    found["seconds"] = round(time.process_time(), 1)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
