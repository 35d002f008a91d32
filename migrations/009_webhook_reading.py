"""How far the reader of events has looked, which ids it has not seen, what receivers asked for, and which are slow."""

from typing import Any

STATEMENTS = (
    "ALTER TABLE event_reader ADD COLUMN read_id BIGINT NOT NULL DEFAULT 0",
    "UPDATE event_reader SET read_id = last_id",
    "CREATE TABLE event_gap (event_id BIGINT PRIMARY KEY)",
    "ALTER TABLE webhook ADD COLUMN asked_until {time}",
    "ALTER TABLE webhook ADD COLUMN is_slow BOOLEAN NOT NULL DEFAULT {no}",
)


def migrate(migrator: Any, database: Any, **kwargs: Any) -> None:
    is_postgres = type(database).__name__.endswith("PostgresqlDatabase")
    words = {"time": "TIMESTAMPTZ", "no": "FALSE"} if is_postgres else {"time": "DATETIME", "no": "0"}
    for statement in STATEMENTS:
        migrator.sql(statement.format(**words))
