"""All mutants, in one table."""

from __future__ import annotations

from dataclasses import replace

from bench.mutants import Mutant
from bench.mutants.list_brakes import BRAKES
from bench.mutants.list_lending import LENDING
from bench.mutants.list_recovery import RECOVERY
from bench.mutants.list_refund import REFUND
from bench.mutants.list_restore import RESTORING
from bench.mutants.list_sending import SENDING
from bench.mutants.list_stock import STOCK

MUTANTS: tuple[Mutant, ...] = (
    *SENDING,
    *(replace(mutant, script="machines") for mutant in (*RECOVERY, *RESTORING)),
    *REFUND,
    *BRAKES,
    *STOCK,
    *LENDING,
)
