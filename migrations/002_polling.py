"""When each list is polled: the index of the tick, claims, corporations and who polls their lists."""

from typing import Any

STATEMENTS = (
    'ALTER TABLE "user" ADD COLUMN claimed_until {time}',
    "CREATE INDEX user_turn ON \"user\" (priority DESC, next_sync_at) WHERE status = 'active'",
    """CREATE TABLE membership (
        user_id BIGINT PRIMARY KEY, corporation_id BIGINT NOT NULL, checked_at {time} NOT NULL, refused_at {time})""",
    "CREATE INDEX membership_corporation ON membership (corporation_id)",
    """CREATE TABLE corporation_feed (
        corporation_id BIGINT PRIMARY KEY, user_id BIGINT, next_sync_at {time} NOT NULL, last_sync_at {time},
        works_until {time})""",
    "CREATE INDEX corporation_feed_due ON corporation_feed (next_sync_at)",
    "CREATE INDEX corporation_feed_user ON corporation_feed (user_id)",
    """CREATE TABLE corporation_killmail (
        corporation_id BIGINT NOT NULL, killmail_id BIGINT NOT NULL, PRIMARY KEY (corporation_id, killmail_id))""",
)


def migrate(migrator: Any, database: Any, **kwargs: Any) -> None:
    moment = "TIMESTAMPTZ" if type(database).__name__.endswith("PostgresqlDatabase") else "DATETIME"
    for statement in STATEMENTS:
        migrator.sql(statement.format(time=moment))
