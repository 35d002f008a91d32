"""`python -m tests.attack [WORD ...]`: every attack, or those with a word in their name, and the table of docs/security.md.

Real processes on loopback alone. `--short` plays each with less, as `make test` does, and writes nothing. Exit code 1: somebody was
hurt. All of them take about five minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import re
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import simulator
from tests.attack import doors, everybody, people, receivers, rooms
from tests.attack.target import Attack, Outcome, Target, fill, play
from tests.support.deployment import deployed
from tests.support.resources import PROJECT

ATTACKS: tuple[Attack, ...] = (
    *doors.ATTACKS, *people.ATTACKS, *receivers.ATTACKS, *everybody.ATTACKS, *rooms.ATTACKS,
)  # fmt: skip
PAGE = PROJECT / "docs" / "security.md"


@contextlib.contextmanager
def attacked(folder: Path, *, short: bool) -> Iterator[Target]:
    """A web process over a filled database."""
    handle = simulator.run_in_thread(simulator.SimulatorConfig(kills=(5, 5)))
    try:
        with (
            deployed(folder, handle, LOG_LEVEL="INFO", **doors.PROXIED, **receivers.PRIVATE) as place,
            ThreadPoolExecutor() as pool,
        ):
            # Processes take seconds to begin: all at once.
            filling = pool.submit(fill, place.settings["DATABASE_URL"], 8 if short else 60, 1_000)
            modes_of_files = pool.submit(doors.modes_of_files, handle)
            place.start_web()
            target = Target(place, handle, modes_of_files, short=short)
            try:
                filling.result()
                yield target
            finally:
                target.close()
    finally:
        handle.stop()


def run(words: list[str], *, short: bool) -> list[tuple[Attack, Outcome]]:
    """Play the attacks and say what came of each."""
    results = []
    with tempfile.TemporaryDirectory() as name, attacked(Path(name), short=short) as target:
        for attack in ATTACKS:
            if words and not any(word in attack.name for word in words):
                continue
            began = time.monotonic()
            outcome = play(attack, target)
            results.append((attack, outcome))
            if not short:
                write(results[-1:])
            print(
                f"{'BAD' if outcome.problems else 'ok '} {attack.name}: {outcome.text} [{time.monotonic() - began:.1f} s]",
                *outcome.problems,
                sep="\n      ",
                flush=True,
            )
    return results


def write(results: list[tuple[Attack, Outcome]]) -> None:
    """Put the rows into the page: new figures replace old ones, attacks that are gone go."""
    page = PAGE.read_text()
    match = re.search(r"<!-- attacks -->\n(.*)<!-- /attacks -->", page, re.DOTALL)
    assert match is not None, "docs/security.md has lost its marks"
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in match[1].splitlines() if line.startswith("| ")}
    for attack, outcome in results:
        after = outcome.text if not outcome.problems else f"{outcome.text}: **not kept**: {'; '.join(outcome.problems)}"
        rows[attack.name] = f"| {attack.name} | {attack.before} | {after} |"
    today = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    note = f"Written by `make attack`, last on {today}, on a machine with {os.cpu_count()} cores."
    ours = [rows[attack.name] for attack in ATTACKS if attack.name in rows]
    table = "\n".join(["| Attack | Before | After |", "|---|---|---|", *ours, "", note, ""])
    PAGE.write_text(page[: match.start(1)] + table + page[match.end(1) :])


def main() -> int:
    """Play them; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("words", nargs="*", help="only attacks with one of these in their name")
    parser.add_argument("--short", action="store_true", help="less of each, and nothing is written")
    arguments = parser.parse_args()
    results = run(arguments.words, short=arguments.short)
    return int(any(outcome.problems for _, outcome in results))


if __name__ == "__main__":
    raise SystemExit(main())
