"""Runs the benchmarks, each against a peer in the same run: `python -m bench [NAME…]`.

Behind one name its own options may stand: `python -m bench crowd --minutes 5`.
"""

from __future__ import annotations

import importlib
import sys

NAMES = ("start", "import_keys", "claim", "loopback", "latency", "crash", "crash_workers", "week",
         "restore", "crowd", "crash_rest", "tamper", "peers", "sendfaults", "powercut")  # fmt: skip


def main(words: list[str]) -> int:
    """Run the named benchmarks, all of them without a name; 1 when one misses its bar."""
    first = next((at for at, word in enumerate(words) if word.startswith("-")), len(words))
    words, options = words[:first], words[first:]
    unknown = [word for word in words if word not in NAMES]
    if unknown:
        print(f"there is no benchmark {unknown[0]}; there are: {', '.join(NAMES)}")
        return 2
    failed = 0
    for name in words or NAMES:
        print(f"== {name}")
        sys.argv = [name, *options]
        failed += importlib.import_module(f"bench.{name}").main() != 0
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
