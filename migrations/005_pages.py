"""For the pages: names found by their beginning or a part, counts from the index alone, tickers asked for once a day."""

from typing import Any

NAMED = ("character", "corporation", "alliance", "item_type", "solar_system")

BOTH = tuple(f"ALTER TABLE {table} ADD COLUMN ticker_asked_at {{time}}" for table in ("corporation", "alliance"))

SQLITE = tuple(f"CREATE INDEX {table}_search ON {table} (name COLLATE NOCASE)" for table in NAMED)

POSTGRES = (
    *(f'CREATE INDEX {table}_search ON {table} ((lower(name)) COLLATE "C")' for table in NAMED),
    # The key carries the side as well: kills and losses are counted without visiting the table.
    "CREATE UNIQUE INDEX involvement_key ON involvement (kind, entity_id, killmail_time, killmail_id) INCLUDE (sides)",
    "ALTER TABLE involvement DROP CONSTRAINT involvement_pkey, "
    "ADD CONSTRAINT involvement_pkey PRIMARY KEY USING INDEX involvement_key",
    # Parts of names need PostgreSQL's own trigram extension to be found fast. Without the right to install it, or
    # without its package, they are found by reading every name.
    """DO $$ BEGIN
        CREATE EXTENSION IF NOT EXISTS pg_trgm;
    EXCEPTION WHEN insufficient_privilege OR undefined_file OR feature_not_supported OR invalid_parameter_value THEN
        RAISE NOTICE 'pg_trgm is not available: parts of names are found slowly';
    END $$""",
    "DO $$ BEGIN IF EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm') THEN "
    + "".join(
        f"EXECUTE 'CREATE INDEX {table}_part ON {table} USING gin ((lower(name) COLLATE \"C\") gin_trgm_ops)'; "
        for table in NAMED
    )
    + "END IF; END $$",
)


def migrate(migrator: Any, database: Any, **kwargs: Any) -> None:
    is_postgres = type(database).__name__.endswith("PostgresqlDatabase")
    for statement in BOTH:
        migrator.sql(statement.format(time="TIMESTAMPTZ" if is_postgres else "DATETIME"))
    for statement in POSTGRES if is_postgres else SQLITE:
        migrator.sql(statement)
