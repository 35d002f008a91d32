"""The tables that commands print: narrow, so that they fit a terminal of 80 columns without broken words."""

from __future__ import annotations

from rich import box
from rich.table import Table


def new_table(title: str, *columns: str) -> Table:
    """An empty table: its first column is text, the others are figures."""
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False,
        padding=(0, 1, 0, 0),
    )  # fmt: skip
    for position, column in enumerate(columns):
        if position == 0:
            # The one that may take two lines, between words: Rich takes room from it before it takes any from the others.
            table.add_column(column, overflow="ellipsis", min_width=8)
        else:
            table.add_column(column, justify="right", no_wrap=True)
    return table
