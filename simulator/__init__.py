"""A strict simulator of EVE's ESI and SSO over a universe generated from a seed.

It enforces what the real ones enforce: token buckets, the error limit, caches and ETags, scopes, JWTs, hashes. It knows
nothing of who asks.
"""

from simulator.app import Handle, Simulator, run_in_thread
from simulator.config import SimulatorConfig
from simulator.faults import Fault

__all__ = ["Fault", "Handle", "Simulator", "SimulatorConfig", "run_in_thread"]
