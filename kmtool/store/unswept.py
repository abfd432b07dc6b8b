"""Keeps Python's search for cycles out of short, busy stretches of work.

A chunk of orders makes a hundred thousand small objects and frees them all by itself; looking for
cycles among them, and through the whole program each time, costs a tenth of the work.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unswept() -> Iterator[None]:
    """Put the collector off until the stretch ends."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
