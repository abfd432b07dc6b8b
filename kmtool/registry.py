"""Finds adapters by name: ("channel", "woocommerce") → `adapters.channels.woocommerce`.

A dotted name (`my_shop.adapters.ozon`) is imported as it stands: third parties need no hook.
Loading by name keeps every static edge from the core to an adapter out of the house.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, cast

from kmtool.errors import ConfigError
from kmtool.ports import Features

FOLDERS = {
    "channel": "adapters.channels",
    "courier": "adapters.couriers",
    "supplier": "adapters.suppliers",
    "notifier": "adapters.notifiers",
    "statement": "adapters.statements",
}


def module(kind: str, name: str) -> Any:
    """Import the adapter module; an unknown name is a `ConfigError` that lists the known ones."""
    path = name if "." in name else f"{FOLDERS[kind]}.{name}"
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not (path + ".").startswith(error.name + "."):
            raise
        known = ", ".join(names(kind))
        raise ConfigError(
            detail="there is no {sort} adapter 「{name}」 (there are: {known})",
            sort=kind,
            name=name,
            known=known,
        ) from None


def features(kind: str, name: str) -> Features:
    """Return what an adapter declares, without building it."""
    return cast(Features, module(kind, name).FEATURES)


def names(kind: str) -> list[str]:
    """Return the names of the shipped adapters of one kind."""
    package = importlib.import_module(FOLDERS[kind])
    return sorted(found.name for found in pkgutil.iter_modules(package.__path__))
