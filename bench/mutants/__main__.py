"""`python -m bench.mutants`."""

from __future__ import annotations

import sys

from bench.mutants.run import main

sys.exit(main())
