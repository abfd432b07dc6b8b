"""`python -m kmtool`."""

from __future__ import annotations

import sys

from kmtool.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
