"""`killsync simulator`: the simulator of ESI and SSO alone, until Ctrl-C or SIGTERM."""

from __future__ import annotations

from typing import Annotated

import typer

from killsync.cli.inprocess import stop_signal


def simulator(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8081,
    seed: Annotated[int, typer.Option(help="Seed of the universe.")] = 1,
) -> None:
    """Run the ESI and SSO simulator alone."""
    from simulator import SimulatorConfig, run_in_thread

    config = SimulatorConfig(seed=seed, new_kill_interval=45.0)
    handle = run_in_thread(config, "127.0.0.1", port)
    print(f"ESI and SSO simulator on {handle.url}; client {' / '.join(next(iter(config.clients.items())))}", flush=True)
    stop_signal().wait()
    handle.stop()
