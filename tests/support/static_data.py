"""The simulator's static data in the database of this process, as `killsync static-data update` leaves it."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from killsync.static_data import archive, catalog, geography, store
from killsync.static_data.archive import StaticData
from killsync.static_data.catalog import Catalog
from models import connection
from simulator import catalog as simulated


@cache
def build() -> StaticData:
    """What the simulator's archive holds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export.zip"
        path.write_bytes(simulated.archive())
        return archive.read(path)


def load(data: StaticData | None = None) -> Catalog:
    """Load *data*, else the simulator's; what this process knows from then on."""
    with connection():
        store.load(data or build())
        geography.current().look()
        return catalog.current().look()
