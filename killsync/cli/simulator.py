"""`killsync simulator`: the simulator of ESI and SSO alone, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from killsync.cli.console import stop
from killsync.cli.inprocess import stop_signal


def simulator(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8081,
    seed: Annotated[int, typer.Option(help="Seed of the universe.")] = 1,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    url: Annotated[
        str, typer.Option(help="Its address as browsers and Killsync write it, where that is another.")
    ] = "",
) -> None:
    """Run the ESI and SSO simulator alone."""
    from simulator import SimulatorConfig, run_in_thread

    config = SimulatorConfig(seed=seed, new_kill_interval=45.0)
    try:
        handle = run_in_thread(config, host, port)
    except OSError as error:
        raise stop(
            f"port {port} on {host} cannot be bound ({os.strerror(error.errno or 0)}): choose another by --port", 2
        ) from None
    if url:
        handle.simulator.url = url.rstrip("/")
    print(f"ESI and SSO simulator on {handle.url}; client {' / '.join(next(iter(config.clients.items())))}", flush=True)
    stop_signal().wait()
    handle.stop()
