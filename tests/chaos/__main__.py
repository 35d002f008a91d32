"""`python -m tests.chaos [WORD ...]`: every fault, or those with a word in their name, and the table of what came of it.

`--random` plays schedules of several at once instead, see `tests/chaos/schedule.py`.

What came of each is written into the table of docs/reliability.md. All of them take about half an hour. `--soak MINUTES` runs without faults and watches memory,
connections and queues instead. Exit code 1: something was lost, doubled or did not recover.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.chaos import broker, database, esi, processes, report, schedule, soak
from tests.chaos.play import Fault, Skipped, play
from tests.chaos.services import Missing, Postgres, Rabbit
from tests.chaos.world import Verdict

FAULTS: tuple[Fault, ...] = (*processes.FAULTS, *broker.FAULTS, *database.FAULTS, *esi.FAULTS)


@contextlib.contextmanager
def services() -> Iterator[tuple[Postgres, Rabbit]]:
    """A PostgreSQL and a RabbitMQ of the suite's own."""
    with tempfile.TemporaryDirectory(prefix="killsync-services-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        postgres, rabbit = Postgres(folder), Rabbit(folder)
        try:
            rabbit.start(wait=False)
            postgres.start()
            rabbit.wait()
            yield postgres, rabbit
        finally:
            rabbit.end()
            with contextlib.suppress(RuntimeError):
                postgres.stop("immediate")


def main() -> int:
    """Play them; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("words", nargs="*", help="only faults with one of these in their name")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="run without faults for so long instead")
    parser.add_argument("--random", action="store_true", help="play several at once, at random moments, instead")
    parser.add_argument("--seed", type=int, help="of one schedule of random faults; a new one each time otherwise")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to play random faults; 10")
    parser.add_argument("--list", action="store_true", help="name the faults and end")
    arguments = parser.parse_args()
    # However it is told to stop, it stops what it started.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(130))
    chosen = [fault for fault in FAULTS if not arguments.words or any(word in fault.name for word in arguments.words)]
    if arguments.list:
        print("\n".join(fault.name for fault in chosen))
        return 0
    try:
        with services() as (postgres, rabbit):
            if arguments.soak:
                return soak.run(postgres, rabbit, arguments.soak)
            if arguments.random:
                return schedule.run(postgres, rabbit, arguments.seed, arguments.minutes)
            results: report.Results = []
            for fault in chosen:
                results.append((fault, _play(fault, postgres, rabbit)))
                report.write(results[-1:], [each.name for each in FAULTS])
    except Missing as missing:
        print(f"not run: {missing}")
        return 1
    report.show(results)
    return int(any(isinstance(result, Verdict) and not report.is_kept(result) for _, result in results))


def _play(fault: Fault, postgres: Postgres, rabbit: Rabbit) -> Verdict | str:
    began = time.monotonic()
    try:
        result = play(fault, postgres, rabbit)
    except Skipped as skipped:
        print(f"-   {fault.name}: {skipped}", flush=True)
        return str(skipped)
    except Exception as error:
        result = Verdict(problems=[f"{type(error).__name__}: {error}"])
    mark = "ok " if report.is_kept(result) else "BAD"
    print(
        f"{mark} {fault.name}: {result.listed} listed, {result.stored} stored, {result.doubled} doubled, {result.lost} lost, "
        f"{result.seconds:.1f} s to recover, {time.monotonic() - began:.0f} s in all"
        + "".join(f"\n      {problem}" for problem in result.problems),
        flush=True,
    )
    return result


if __name__ == "__main__":
    raise SystemExit(main())
