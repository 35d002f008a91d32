"""`python -m bench [part ...] [options]`: runs the benchmarks, prints their figures, writes them down."""

from __future__ import annotations

import argparse
import importlib
import os

from bench import report

#: Each part is a module with `run(options) -> dict[str, Any]`: its figures by name, ratios first.
PARTS = {
    "pipeline": "bench.pipeline",
    "embedded": "bench.embedded",
    "latency": "bench.latency",
    "graphql": "bench.pages",
    "growth": "bench.growth",
    "memory": "bench.memory",
    "reservations": "bench.reservations",
    "tick": "bench.tick",
    "trackers": "bench.trackers",
}
#: Parts that run only when they are named: `polling` has a make target of its own, `storage` needs 30 GB of disk, `feed` wrk,
#: `first-login` an hour, `import` has its figures in docs/import.md and `polling-cost` in docs/polling.md.
BY_NAME = {
    "feed": "bench.feed",
    "first-login": "bench.first_login",
    "polling": "bench.polling",
    "polling-cost": "bench.polling_cost",
    "storage": "bench.storage",
    "import": "bench.imports",
}


def main() -> None:
    """Run the chosen parts, print a table of each, write bench/results/latest.json and docs/performance.md."""
    options = argparse.ArgumentParser(prog="python -m bench", description="Benchmarks of Killsync.")
    options.add_argument("parts", nargs="*", choices=[*PARTS, *BY_NAME, []], help="which parts")
    options.add_argument("--runs", type=int, default=3, help="runs of each measurement; the median counts")
    options.add_argument("--killmails", type=int, default=10_000, help="killmails through the pipeline")
    options.add_argument("--stored", type=int, default=1_000_000, help="most killmails stored for the growth")
    options.add_argument("--backfill", type=int, default=5_000, help="killmails fetched while latency is measured")
    options.add_argument("--probes", type=int, default=60, help="killmails whose latency is measured when idle")
    options.add_argument("--clients", type=int, default=50, help="GraphQL clients at a time")
    options.add_argument("--seconds", type=float, default=6.0, help="how long the GraphQL clients ask")
    chosen = options.parse_args()
    os.environ["BROKER_URL"] = "memory://"  # of this process; those that are measured have their own
    results = report.earlier()
    for part in chosen.parts or PARTS:
        measured = report.stamp()
        results[part] = {**importlib.import_module((PARTS | BY_NAME)[part]).run(chosen), "measured": measured}
        report.show(part, results[part])
        report.write(results)


if __name__ == "__main__":
    main()
