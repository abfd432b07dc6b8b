"""What may be said of a product: kinds, figures, uses, the account and supplier of a top-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmtool.domain import accounts
from kmtool.domain.states import LineKind
from kmtool.errors import UsageError
from kmtool.shop import Shop

if TYPE_CHECKING:
    from kmtool.operations.products import Fields

FIGURE_MAX = 10**12
USES_MAX = 1_000_000


def check(shop: Shop, fields: Fields) -> None:
    """Refuse what makes no sense; raises `UsageError` with the word to use."""
    if fields.kind is not None and fields.kind not in set(LineKind):
        raise UsageError(
            detail="there is no kind {sort}",
            sort=fields.kind,
            mend="--kind key|topup|text, or --bundle SKU:2,SKU2",
        )
    if fields.parts is not None and fields.kind not in {None, LineKind.BUNDLE.value}:
        raise UsageError(detail="--bundle makes it a bundle", mend="leave --kind out")
    if fields.state is not None and fields.state not in {"on", "off"}:
        raise UsageError(
            detail="a product is on or off, not {state}", state=fields.state, mend="--state on"
        )
    for name in ("price_minor", "floor_minor", "low_stock", "buffer", "cap_minor", "shelf_floor"):
        value = getattr(fields, name)
        if value is not None and not 0 <= value <= FIGURE_MAX:
            raise UsageError(
                detail="{name} cannot be {value}", name=name.removesuffix("_minor"), value=value
            )
    if fields.uses is not None and not 1 <= fields.uses <= USES_MAX:
        raise UsageError(detail="a key serves 1 to {n} buyers", n=f"{USES_MAX:,}", mend="--uses 5")
    if fields.account_rule:
        problem = accounts.rule_problem(fields.account_rule)
        if problem:
            raise UsageError(
                detail="{problem}",
                problem=problem,
                mend="--account {example}",
                example=accounts.EXAMPLE,
            )
    if fields.supplier and fields.supplier not in shop.config.suppliers:
        raise UsageError(
            detail="there is no [suppliers.{name}] in kmtool.toml",
            name=fields.supplier,
            mend="add it there, then: kmtool config check",
        )
