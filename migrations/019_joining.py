"""Since when a character belongs to its account, and as which one a browser logged in: what each may do to the others.

Both may be empty: processes of the version before write neither, and run beside this.
"""

from typing import Any


def migrate(migrator: Any, database: Any, **kwargs: Any) -> None:
    is_postgres = type(database).__name__.endswith("PostgresqlDatabase")
    moment = "TIMESTAMPTZ" if is_postgres else "DATETIME"
    migrator.sql(f'ALTER TABLE "user" ADD COLUMN joined_at {moment}')
    migrator.sql(f"ALTER TABLE web_session ADD COLUMN user_id {'BIGINT' if is_postgres else 'INTEGER'}")
