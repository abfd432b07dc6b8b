"""One run of reconcile over some files, as every test of the books makes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kmtool.operations.reconcile import Reconciliation, reconcile
from kmtool.operations.statements import Answers
from kmtool.shop import Shop


def run(shop: Shop, *paths: Path, **answers: Any) -> Reconciliation:
    return reconcile(shop, paths, Answers(**answers))
