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

AREAS: dict[str, tuple[Mutant, ...]] = {
    "sending": SENDING,
    "recovery and journal": tuple(replace(one, script="machines") for one in RECOVERY),
    "restore": tuple(replace(one, script="machines") for one in RESTORING),
    "refunds and changes": REFUND,
    "brakes and gates": BRAKES,
    "keys and counters": STOCK,
    "lending, suppliers, money": LENDING,
}
MUTANTS: tuple[Mutant, ...] = tuple(one for some in AREAS.values() for one in some)
