"""`killsync simulator`: the simulator of ESI and SSO alone, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from killsync.cli.console import stop
from killsync.cli.inprocess import stop_signal


def simulator(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1.")] = 8081,
    seed: Annotated[int, typer.Option(help="Seed of the universe.")] = 1,
) -> None:
    """Run the ESI and SSO simulator alone."""
    from simulator import SimulatorConfig, run_in_thread

    config = SimulatorConfig(seed=seed, new_kill_interval=45.0)
    try:
        handle = run_in_thread(config, "127.0.0.1", port)
    except OSError as error:
        raise stop(
            f"port {port} on 127.0.0.1 cannot be bound ({os.strerror(error.errno or 0)}): choose another by --port", 2
        ) from None
    print(f"ESI and SSO simulator on {handle.url}; client {' / '.join(next(iter(config.clients.items())))}", flush=True)
    stop_signal().wait()
    handle.stop()
