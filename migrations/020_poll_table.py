"""What the board's history tells of when people fight, and how each character uses to: both plan polls.

The columns may be empty: processes of the version before do not write them, and run beside this.
"""

from typing import Any


def migrate(migrator: Any, database: Any, **kwargs: Any) -> None:
    is_postgres = type(database).__name__.endswith("PostgresqlDatabase")
    moment = "TIMESTAMPTZ" if is_postgres else "DATETIME"
    number = "DOUBLE PRECISION" if is_postgres else "REAL"
    migrator.sql(
        "CREATE TABLE poll_table (name TEXT PRIMARY KEY, content TEXT NOT NULL, killmails BIGINT NOT NULL, "
        f"made_at {moment} NOT NULL)"
    )
    migrator.sql(f'ALTER TABLE "user" ADD COLUMN typical_gap {number}')
    migrator.sql(f'ALTER TABLE "user" ADD COLUMN recent_killmails {number}')
