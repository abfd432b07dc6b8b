"""Every fault of sending × every act of every adapter × every state an order's send can be in.

python -m bench.sendfaults

Each pair of an act and a fault is one call against a platform on loopback that goes wrong so; what
the adapter takes it for is held against the rules (tests/faults/rules.py), and what was done is
looked up over there. Then whole orders meet every fault in every state and go on to their rest.
Exit 1 when a pair is not classified as the rules want it, or an order ends otherwise.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from kmtool.ports import Features
from kmtool.registry import features
from tests.faults import matrix, walks
from tests.faults.rules import ACTS


def main() -> int:
    """Print the figures; 1 when something is wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {"KMTOOL_HOME": str(folder / "home"), "KMTOOL_LANG": "en"}
        since = time.monotonic()
        pairs = matrix.run(folder)
        wrong = [pair.trouble for pair in pairs if pair.trouble]
        wanted = sum(len(act.phases()) for act in ACTS)
        right = wanted - len({(p.act, p.phase) for p in pairs if p.trouble})
        print(
            f"{len(ACTS)} acts of {len({act.adapter for act in ACTS})} adapters:"
            f" {right} of {wanted} pairs classified ({len(pairs)} calls)"
        )
        for route in dict.fromkeys(walk.route for walk in walks.WALKS):
            mine = [walk for walk in walks.WALKS if walk.route == route]
            (folder / route).mkdir()
            steps = walks.run(mine, folder / route, every=True)
            bad = [step.trouble for step in steps if step.trouble]
            wrong += bad
            print(
                f"{route:12} {len(mine):2} walks, {len(steps) - len(bad):5} sends", _repeats(route)
            )
        print(f"{len(wrong)} wrong, {time.monotonic() - since:.0f} s")
        for one in wrong:
            print("  ", one)
    return int(bool(wrong))


def _repeats(route: str) -> str:
    courier: Features = features(
        "courier", {"woocommerce": "channel_note", "demo": "demo", "email": "email"}[route]
    )
    return f"({courier.repeat})"


if __name__ == "__main__":
    sys.exit(main())
