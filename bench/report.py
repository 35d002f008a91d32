"""Writes the figures down: a table on the terminal, JSON in bench/results, and the table of docs/performance.md."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results" / "latest.json"
DOCUMENT = ROOT / "docs" / "performance.md"
#: Parts that have a document of their own.
TOLD_ELSEWHERE = ("polling", "polling-cost", "storage", "import")
BEGIN, END = "<!-- figures: written by python -m bench -->", "<!-- end of figures -->"


def earlier() -> dict[str, Any]:
    """The figures of earlier runs, by part."""
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return found


def show(part: str, figures: dict[str, Any]) -> None:
    """Print a part's figures."""
    table = Table(title=part, title_justify="left", show_header=False)
    for name, value in figures.items():
        table.add_row(name, _text(value))
    Console().print(table)


def write(results: dict[str, Any]) -> None:
    """Write all parts to the JSON file and into the document."""
    results["machine"] = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    text = DOCUMENT.read_text()
    if BEGIN in text and END in text:
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        DOCUMENT.write_text(f"{before}{BEGIN}\n\n{_markdown(results)}\n{END}{after}")


def _markdown(results: dict[str, Any]) -> str:
    machine = results["machine"]
    lines = [f"Measured on {machine['cores']} cores ({machine['system']}, Python {machine['python']})."]
    for part, figures in results.items():
        if part in ("machine", *TOLD_ELSEWHERE):
            continue
        lines += ["", f"**{part}** ({figures.get('measured', '')})", "", "| Figure | Value |", "|---|---|"]
        lines += [f"| {name} | {_text(value)} |" for name, value in figures.items() if name != "measured"]
    return "\n".join(lines) + "\n"


def stamp() -> str:
    """The day, and how busy others kept the machine before a part began."""
    return f"{datetime.now(UTC):%Y-%m-%d}, load average {os.getloadavg()[0]:.1f} before it began"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {each}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
