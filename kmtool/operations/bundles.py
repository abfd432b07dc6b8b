"""Bundles: one product that is made of several others, handed over all or nothing.

A part is a product with keys or a text; what is bought when sold, and other bundles, cannot be
one. A bundle that was sold keeps its parts: delivered lines are checked against them for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kmtool.domain.states import LineKind, is_unlimited
from kmtool.errors import NotFound, Refused, UsageError
from kmtool.shop import Shop
from kmtool.store import products as store

PARTS_MAX = 50
UNITS_MAX = 1_000
EXAMPLE = "--bundle SKU:2,SKU2"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a bundle: how many units of a product; `free` is None for what never runs out."""

    sku: str
    units: int
    title: str
    free: int | None


def parse(text: str) -> tuple[tuple[str, int], ...]:
    """Return (SKU, units) pairs from `SKU:2,SKU2`; `UsageError` for anything else."""
    found: dict[str, int] = {}
    for piece in text.replace("，", ",").split(","):
        sku, colon, units = piece.strip().rpartition(":")
        if not colon or not units.strip().isdecimal():
            sku, units = piece.strip(), "1"
        if not sku or sku in found or not 1 <= int(units) <= UNITS_MAX:
            raise UsageError(
                detail="the parts of a bundle cannot be read: {text}", text=text, mend=EXAMPLE
            )
        found[sku] = int(units)
    return tuple(found.items())


def set_parts(shop: Shop, sku: str, given: Sequence[tuple[str, int]]) -> None:
    """Say what a bundle is made of, inside the open transaction."""
    if not 1 <= len(given) <= PARTS_MAX:
        raise UsageError(detail="a bundle has 1 to {n} parts", n=PARTS_MAX, mend=EXAMPLE)
    before = [(row["sku"], row["units"]) for row in store.bundle_parts(shop.db, sku)]
    if before and sorted(before) != sorted(given) and store.was_sold(shop.db, sku):
        raise Refused(
            detail="bundle {sku} was sold already; it keeps its parts",
            sku=sku,
            mend="kmtool product add NEW_SKU --bundle …, and map the listing to it",
        )
    for part, _units in given:
        found = store.product(shop.db, part)
        if found is None:
            raise NotFound(kind="product", name=part)
        if part == sku or found["kind"] not in {LineKind.KEY, LineKind.TEXT}:
            raise UsageError(
                detail="{part} cannot be part of a bundle: only keys and texts can",
                part=part,
                mend=EXAMPLE,
            )
    store.set_bundle(shop.db, sku, given)
    told = ", ".join(f"{units} × {part}" for part, units in given)
    shop.audit("product.bundle", f"product:{sku}", told)


def parts(shop: Shop, sku: str) -> tuple[Part, ...]:
    """Return the parts of a bundle."""
    return tuple(
        Part(
            sku=row["sku"],
            units=row["units"],
            title=row["title"],
            free=None if is_unlimited(row["kind"]) else row["free"],
        )
        for row in store.bundle_parts(shop.db, sku)
    )


def whole(of: Sequence[Part]) -> int:
    """Return how many whole bundles can be made."""
    counted = [part.free // part.units for part in of if part.free is not None]
    return min(counted, default=0)
