"""What nothing reads any more: the run of a list is gone, and a session need not say when it was last seen.

Processes of the version before may run beside this: they never name `mail_list.run_id`, but write `last_seen_at` at each
login. So that column stays for them, and may be empty; a later migration drops it.
"""

from typing import Any

STATEMENTS = (
    "ALTER TABLE mail_list DROP COLUMN run_id",
    # SQLite cannot take a NOT NULL away; what the column held is of no use to anybody.
    "ALTER TABLE web_session DROP COLUMN last_seen_at",
    "ALTER TABLE web_session ADD COLUMN last_seen_at {time}",
)


def migrate(migrator: Any, database: Any, **kwargs: Any) -> None:
    moment = "TIMESTAMPTZ" if type(database).__name__.endswith("PostgresqlDatabase") else "DATETIME"
    for statement in STATEMENTS:
        migrator.sql(statement.format(time=moment))
