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


def on_machines(some: tuple[Mutant, ...]) -> tuple[Mutant, ...]:
    """Let mutants that do not say otherwise be tried where machines fail."""
    return tuple(replace(one, script="machines") if one.script == "owner" else one for one in some)


AREAS: dict[str, tuple[Mutant, ...]] = {
    "sending": SENDING,
    "recovery and journal": on_machines(RECOVERY),
    "restore": on_machines(RESTORING),
    "refunds and changes": REFUND,
    "brakes and gates": BRAKES,
    "keys and counters": STOCK,
    "lending, suppliers, money": LENDING,
}
MUTANTS: tuple[Mutant, ...] = tuple(one for some in AREAS.values() for one in some)
