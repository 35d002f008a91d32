"""`python -m bench [--killmails N] [--stored N] [part ...]`: runs the benchmarks and writes their figures."""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

PARTS = ("reservations", "graphql", "growth", "pipeline", "tick")
#: Parts that run only when they are named: `polling` has a make target of its own, `storage` takes most of an hour.
BY_NAME = ("polling", "storage")


def main() -> None:
    """Run the chosen parts, print a table, write bench/results/latest.json."""
    options = argparse.ArgumentParser(description="Benchmarks of Killsync.")
    options.add_argument("parts", nargs="*", choices=[*PARTS, *BY_NAME, []], help="which parts")
    options.add_argument("--killmails", type=int, default=2_000, help="killmails through the pipeline")
    options.add_argument("--stored", type=int, default=1_000_000, help="most killmails stored for the growth of pages")
    chosen = options.parse_args()
    results: dict[str, Any] = {}
    for part in chosen.parts or PARTS:
        results[part] = _run(part, chosen.killmails, chosen.stored)
        _print(part, results[part])
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
    (folder / "latest.json").write_text(json.dumps({"machine": machine, **results}, indent=2) + "\n")


def _run(part: str, killmails: int, stored: int) -> dict[str, Any]:
    os.environ["BROKER_URL"] = "memory://"
    from bench import pages, pipeline, reservations
    from models import connect, schema
    from settings import Settings
    from tests.places import postgres_database

    if part == "pipeline":
        return pipeline.run(killmails)
    if part == "polling":
        from bench import polling

        return polling.run()
    with postgres_database() as url:
        connect(Settings(database_url=url))  # type: ignore[call-arg]
        schema.migrate()
        if part == "reservations":
            return reservations.run(url)
        if part == "graphql":
            return pages.beside_graphql_core()
        if part == "tick":
            from bench import tick

            return tick.run(url)
        if part == "storage":
            from bench import storage

            return storage.run(url)
        return pages.growth(url, tuple(size for size in (10_000, 100_000, stored) if size <= stored))


def _print(part: str, figures: dict[str, Any]) -> None:
    table = Table(title=part, title_justify="left", show_header=False)
    for name, value in figures.items():
        text = ", ".join(f"{key}: {each}" for key, each in value.items()) if isinstance(value, dict) else str(value)
        table.add_row(name, text)
    Console().print(table)


if __name__ == "__main__":
    main()
