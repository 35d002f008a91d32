"""What things cost on which day, and what a killmail was worth. Stored killmails are valued while everything runs."""

from typing import Any

STATEMENTS = (
    # By day first: a day is read as a whole.
    "CREATE TABLE item_price (type_id BIGINT NOT NULL, day DATE NOT NULL, average NUMERIC(24, 6), adjusted NUMERIC(24, 6), "
    "PRIMARY KEY (day, type_id))",
    # The days of which there are prices; `settled_at` is empty until every killmail that they count for is valued by them.
    "CREATE TABLE price_day (day DATE PRIMARY KEY, stored_at {time} NOT NULL, settled_at {time})",
    *(
        f"ALTER TABLE killmail ADD COLUMN {column}"
        for column in (
            "total_value NUMERIC(20, 2) NOT NULL DEFAULT 0",
            "destroyed_value NUMERIC(20, 2) NOT NULL DEFAULT 0",
            "dropped_value NUMERIC(20, 2) NOT NULL DEFAULT 0",
            "fitted_value NUMERIC(20, 2) NOT NULL DEFAULT 0",
            # Empty: it was not valued yet.
            "priced_on DATE",
        )
    ),
    "CREATE INDEX killmail_value ON killmail (total_value DESC, killmail_id DESC)",
    # What is so dear that the newest fifty would be looked for far back.
    "CREATE INDEX killmail_dear ON killmail (killmail_time DESC, killmail_id DESC) WHERE total_value >= 1000000000",
    "CREATE INDEX killmail_unvalued ON killmail (killmail_id) WHERE priced_on IS NULL",
)


def migrate(migrator: Any, database: Any, **kwargs: Any) -> None:
    moment = "TIMESTAMPTZ" if type(database).__name__.endswith("PostgresqlDatabase") else "DATETIME"
    for statement in STATEMENTS:
        migrator.sql(statement.format(time=moment))
