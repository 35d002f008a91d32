"""CCP's static data: what types and systems are, where they belong, and which gates lead where."""

from typing import Any

STATEMENTS = (
    "CREATE TABLE item_category (category_id BIGINT PRIMARY KEY, name TEXT)",
    "CREATE TABLE item_group (group_id BIGINT PRIMARY KEY, name TEXT, category_id BIGINT NOT NULL)",
    "CREATE TABLE market_group (market_group_id BIGINT PRIMARY KEY, name TEXT, parent_group_id BIGINT)",
    "CREATE TABLE meta_group (meta_group_id BIGINT PRIMARY KEY, name TEXT)",
    "CREATE TABLE region (region_id BIGINT PRIMARY KEY, name TEXT)",
    "CREATE TABLE constellation (constellation_id BIGINT PRIMARY KEY, name TEXT, region_id BIGINT NOT NULL)",
    "CREATE TABLE stargate (system_id BIGINT NOT NULL, destination_id BIGINT NOT NULL, PRIMARY KEY (system_id, destination_id))",
    "CREATE TABLE static_data_build (id BIGINT PRIMARY KEY, build_number BIGINT, released_at {time}, loaded_at {time}, "
    "newest_build_number BIGINT, checked_at {time})",
    *(
        f"ALTER TABLE {table} ADD COLUMN {column}"
        for table, columns in (
            (
                "item_type",
                ("group_id BIGINT", "market_group_id BIGINT", "meta_group_id BIGINT", "published BOOLEAN",
                 "volume {double}", "mass {double}"),
            ),
            (
                "solar_system",
                ("constellation_id BIGINT", "region_id BIGINT", "security_status {double}", "position_x {double}",
                 "position_y {double}", "position_z {double}"),
            ),
        )
        for column in columns
    ),
    "CREATE INDEX item_type_group ON item_type (group_id)",
    "CREATE INDEX solar_system_region ON solar_system (region_id)",
)  # fmt: skip


def migrate(migrator: Any, database: Any, **kwargs: Any) -> None:
    is_postgres = type(database).__name__.endswith("PostgresqlDatabase")
    words = {
        "time": "TIMESTAMPTZ" if is_postgres else "DATETIME",
        "double": "DOUBLE PRECISION" if is_postgres else "REAL",
    }
    for statement in STATEMENTS:
        migrator.sql(statement.format(**words))
