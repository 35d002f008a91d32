"""What is remembered of bad days: refusals by the SSO and of names, and whose turn a Director's token is."""

from typing import Any

STATEMENTS = (
    'ALTER TABLE "user" ADD COLUMN refusals INTEGER NOT NULL DEFAULT 0',
    'ALTER TABLE "user" ADD COLUMN doubted_until {time}',
    "ALTER TABLE membership ADD COLUMN turn_at {time}",
    *(
        f"ALTER TABLE {table} ADD COLUMN refusals INTEGER NOT NULL DEFAULT 0"
        for table in ('"character"', "corporation", "alliance", "faction", "item_type", "solar_system")
    ),
    "CREATE TABLE health (name TEXT PRIMARY KEY, state TEXT NOT NULL, updated_at {time} NOT NULL)",
    # Corporations of the game itself have no killmail list.
    "DELETE FROM corporation_feed WHERE corporation_id <= 1999999",
)


def migrate(migrator: Any, database: Any, **kwargs: Any) -> None:
    moment = "TIMESTAMPTZ" if type(database).__name__.endswith("PostgresqlDatabase") else "DATETIME"
    for statement in STATEMENTS:
        migrator.sql(statement.format(time=moment))
