"""The ground a life is played on: a folder of its own, and a shop in it that is copied, not made.

Every life begins with the same files at the same place: making a database takes longer than most
lives. Nothing here is the owner's: the user's data folder is another one while a life is played.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from kmtool import bundle
from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.config import Config, load
from kmtool.operations import products, suppliers
from kmtool.operations.products import Fields, Mapping
from kmtool.shop import Shop
from kmtool.sim.sites import SHARED_USES, SITES, WARES, toml
from kmtool.vault import MasterKey

START_MS = 1_795_305_600_000 - 3_600_000
HOME = "KMTOOL_HOME"
MEMORY = Path("/dev/shm")  # noqa: S108  (only where it is there: a disk in memory)
ROOM = 200_000_000
PASSPHRASE_COST = 1 << 4
"""Work factor of made-up passphrases: nobody guesses at them."""

MASTER = MasterKey(sha256(b"simulated wrap").digest(), sha256(b"simulated fingerprint").digest())
"""The same in every simulated shop: the order of fingerprints must not differ between two runs."""


class Ground:
    """A folder and the files of a fresh shop. Use it with `prepared`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.shop = root / "shop"
        self.home = root / "home"
        self.shop.mkdir(parents=True)
        (self.shop / "kmtool.toml").write_text(toml(), encoding="utf-8")
        self._config = load(self.shop / "kmtool.toml")
        clock = ManualClock(START_MS)
        create_shop(self._config, clock, MASTER)
        with open_shop(self._config, clock=clock) as shop:
            _furnish(shop)
        self._files = {
            path.relative_to(root): path.read_bytes()
            for path in sorted(root.rglob("*"))
            if path.is_file() and path.parent.name != "locks"
        }

    def fresh(self) -> Config:
        """Lay the files of a fresh shop down; return its configuration."""
        os.environ[HOME] = str(self.home)
        for path in sorted(self.root.iterdir()):  # what a life left would change the next one
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name, data in self._files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            private = name.parts[0] == "home"
            handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600 if private else 0o644)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
        return self._config


@contextmanager
def prepared(base: Path | None = None) -> Iterator[Ground]:
    """Yield a ground in a folder of its own (in memory where there is room) and remove it."""
    folder = Path(tempfile.mkdtemp(prefix="kmtool-sim-", dir=base or memory()))
    before = os.environ.get(HOME)
    key = os.environ.pop("KMTOOL_MASTER_KEY", None)
    os.environ[HOME] = str(folder / "ground" / "home")
    said = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # alerts of made-up shops are nobody's news
    try:
        with bundle.costing(PASSPHRASE_COST):
            yield Ground(folder / "ground")
    finally:
        logging.disable(said)
        for name, value in ((HOME, before), ("KMTOOL_MASTER_KEY", key)):
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)


def memory() -> Path | None:
    """Return a disk in memory where there is one with room, else None: the temporary folder."""
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < ROOM:
        return None
    return MEMORY


def _furnish(shop: Shop) -> None:
    """Add the products, their listings and suppliers."""
    suppliers.add(shop, "sup1", name="sup1", mode="consignment")
    for ware in WARES:
        parts = ware.parts or None
        kind = {"text": "text", "key": "key", "shared": "key"}.get(ware.kind)
        uses = SHARED_USES if ware.kind == "shared" else None
        if ware.kind == "bundle":
            products.add(shop, ware.sku, Fields(title=ware.sku, parts=parts))
        else:
            products.add(shop, ware.sku, Fields(title=ware.sku, kind=kind, uses=uses))
    for site in SITES:
        for ware in site.wares:
            products.map_listing(
                shop, Mapping(site.name, ware.item_id, "", ware.sku, units=ware.units)
            )
