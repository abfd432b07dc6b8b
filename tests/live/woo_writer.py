"""A process of its own that changes orders of a real shop while they are pulled and delivered.

`python -m tests.live.woo_writer PLAN LOG`: PLAN is JSON (seed, seconds, victims, unpaid, items,
fresh); LOG gets one JSON object per deed, ending with {"end": true}.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from tests.live.woo_hands import CLOCK, DEEDS, Owner, basket


def main(plan_path: str, log_path: str) -> None:
    """Do all deeds of the plan, in random order, spread over its seconds."""
    plan = json.loads(Path(plan_path).read_text(encoding="utf-8"))
    chance = random.Random(plan["seed"])
    deeds: list[tuple[str, str]] = [(chance.choice(DEEDS), n) for n in plan["victims"]]
    deeds += [("pay", n) for n in plan["unpaid"]] + [("fresh", "")] * plan["fresh"]
    chance.shuffle(deeds)
    pause = plan["seconds"] / max(1, len(deeds))
    owner = Owner()
    with Path(log_path).open("w", encoding="utf-8") as log:
        for deed, number in deeds:
            if deed == "fresh":
                number = owner.order([basket(plan["items"], chance)])[0]
            elif deed == "pay":
                owner.pay(number)
            done = deed if not number or deed in {"pay", "fresh"} else ""
            done = done or owner.disturb(number, deed, chance)
            row = {"number": number, "deed": done, "at_ms": CLOCK.now_ms()}
            log.write(json.dumps(row) + "\n")
            log.flush()
            CLOCK.sleep(pause * chance.random())
        log.write(json.dumps({"end": True}) + "\n")
    owner.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
