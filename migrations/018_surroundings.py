"""Tickers are found by their beginning, without regard to case."""

from typing import Any


def migrate(migrator: Any, database: Any, **kwargs: Any) -> None:
    is_postgres = type(database).__name__.endswith("PostgresqlDatabase")
    for table in ("corporation", "alliance"):
        key = '(lower(ticker)) COLLATE "C"' if is_postgres else "ticker COLLATE NOCASE"
        migrator.sql(f"CREATE INDEX {table}_ticker ON {table} ({key})")
