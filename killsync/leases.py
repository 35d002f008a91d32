"""Named leases: a right that one process at a time holds for a while, over all hosts, by the database's clock."""

from __future__ import annotations

from models.db import in_transaction
from models.fields import LONG_AGO
from models.sql import insert_rows, run, sql_now


def acquire(name: str, holder: str, seconds: float) -> bool:
    """Take or renew a named right over all processes; False while another holder has it."""

    def work() -> bool:
        insert_rows("lease", ("name", "holder", "until"), [(name, "", LONG_AGO)], "ON CONFLICT DO NOTHING")
        return bool(
            run(
                f"UPDATE lease SET holder = %s, until = {sql_now(seconds)} "
                f"WHERE name = %s AND (until <= {sql_now()} OR holder = %s)",
                (holder, name, holder),
            )
        )

    return in_transaction(work)


def release(name: str, holder: str) -> None:
    """Give a named right back."""
    in_transaction(lambda: run("DELETE FROM lease WHERE name = %s AND holder = %s", (name, holder)))


def expire(name: str) -> None:
    """End a named right, whoever has it."""
    in_transaction(lambda: run("DELETE FROM lease WHERE name = %s", (name,)))
