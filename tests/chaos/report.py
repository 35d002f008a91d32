"""The table of what the faults did: on the terminal, and in docs/reliability.md between two marks."""

from __future__ import annotations

import datetime
import os
import re

from tests.chaos.play import Fault
from tests.chaos.world import Verdict
from tests.support.resources import PROJECT

PAGE = PROJECT / "docs" / "reliability.md"
Results = list[tuple[Fault, Verdict | str]]

_HEAD = (
    "| Fault | Promise | How it is made | Listed | Stored | Doubled | Lost | Told | Channel | Recovered after |",
    "|---|---|---|---:|---:|---:|---:|---:|---:|---:|",
)


def is_kept(verdict: Verdict) -> bool:
    """Whether the promise was kept."""
    return not verdict.problems and not verdict.lost and not verdict.doubled and verdict.stored == verdict.listed


def channel(verdict: Verdict) -> str:
    """Of how many killmails the channel was told, and how many messages came once more."""
    return f"{verdict.channel} (+{verdict.again})" if verdict.again else str(verdict.channel)


def show(results: Results) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("Fault", "Listed", "Stored", "Doubled", "Lost", "Told", "Channel", "Recovered after", "")
    for fault, result in results:
        if isinstance(result, str):
            table.add_row(fault.name, "", "", "", "", "", "", "", f"skipped: {result}")
        else:
            figures = (result.listed, result.stored, result.doubled, result.lost, result.told, channel(result))
            table.add_row(
                fault.name, *map(str, figures), f"{result.seconds:.1f} s", "; ".join(result.problems) or "kept"
            )
    Console(width=150).print(table)


def write(results: Results, names: list[str]) -> None:
    """Put the rows into the page, in the order of *names*: new figures replace old ones, faults that are gone go."""
    page = PAGE.read_text()
    match = re.search(r"<!-- faults -->\n(.*)<!-- /faults -->", page, re.DOTALL)
    assert match is not None, "docs/reliability.md has lost its marks"
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in match[1].splitlines() if line.startswith("| ")}
    rows.update({fault.name: _row(fault, result) for fault, result in results})
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    note = f"Written by `make chaos`, last on {stamp}, on a machine with {os.cpu_count()} cores."
    table = "\n".join([*_HEAD, *(rows[name] for name in names if name in rows), "", note, ""])
    PAGE.write_text(page[: match.start(1)] + table + page[match.end(1) :])


def put(mark: str, lines: list[str]) -> None:
    """Put *lines* between the marks `<!-- mark -->` and `<!-- /mark -->` of the page."""
    page = PAGE.read_text()
    match = re.search(rf"<!-- {mark} -->\n(.*)<!-- /{mark} -->", page, re.DOTALL)
    assert match is not None, f"docs/reliability.md has lost its marks of {mark}"
    PAGE.write_text(page[: match.start(1)] + "\n".join([*lines, ""]) + page[match.end(1) :])


def _row(fault: Fault, result: Verdict | str) -> str:
    if isinstance(result, str):
        return f"| {fault.name} | {fault.promise} | {fault.how} | | | | | | | skipped: {result} |"
    recovered = f"{result.seconds:.1f} s" if is_kept(result) else "**not kept**: " + "; ".join(result.problems)
    figures = (
        f"{result.listed} | {result.stored} | {result.doubled} | {result.lost} | {result.told} | {channel(result)}"
    )
    return f"| {fault.name} | {fault.promise} | {fault.how} | {figures} | {recovered} |"
