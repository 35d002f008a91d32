"""One log of killmails without gaps, in the place of events: every killmail has its number, and followers read on by it.

Killmails are numbered in the order in which they were stored, those with an event by it. The log begins with what the last
week stored and with what still had an event. A reader of events goes on before the first one that it had not settled: what
it reads again it enters once. Changes of sync runs need no table: whoever watches reads the runs.
"""

from typing import Any

STATEMENTS = (
    "CREATE TABLE killmail_counter (id SMALLINT PRIMARY KEY, last BIGINT NOT NULL)",
    "CREATE TABLE killmail_log (sequence BIGINT PRIMARY KEY, killmail_id BIGINT NOT NULL, created_at {time} NOT NULL)",
    "CREATE INDEX killmail_log_created ON killmail_log (created_at)",
    "CREATE TABLE log_reader (name TEXT PRIMARY KEY, sequence BIGINT NOT NULL)",
    """CREATE TABLE killmail_body (
        killmail_id BIGINT PRIMARY KEY REFERENCES killmail (killmail_id) ON DELETE CASCADE, body TEXT NOT NULL)""",
    "ALTER TABLE killmail ADD COLUMN sequence BIGINT",
    """UPDATE killmail SET sequence = numbered.place FROM (
        SELECT k.killmail_id, row_number() OVER (ORDER BY COALESCE(e.id, 0), k.created_at, k.killmail_id) AS place
        FROM killmail k LEFT JOIN (SELECT subject_id, MIN(id) AS id FROM event WHERE kind = 'killmail' GROUP BY subject_id) e
        ON e.subject_id = k.killmail_id) numbered
        WHERE numbered.killmail_id = killmail.killmail_id""",
    """INSERT INTO killmail_log (sequence, killmail_id, created_at)
        SELECT sequence, killmail_id, created_at FROM killmail WHERE created_at >= {week_ago} OR sequence >= (
        SELECT MIN(k.sequence) FROM event e JOIN killmail k ON k.killmail_id = e.subject_id WHERE e.kind = 'killmail')""",
    "INSERT INTO killmail_counter (id, last) SELECT 1, COALESCE(MAX(sequence), 0) FROM killmail",
    """INSERT INTO log_reader (name, sequence) SELECT name, COALESCE(
        (SELECT MIN(k.sequence) - 1 FROM event e JOIN killmail k ON k.killmail_id = e.subject_id
        WHERE e.kind = 'killmail' AND e.id > event_reader.last_id), (SELECT last FROM killmail_counter)) FROM event_reader""",
    "DROP TABLE event_gap",
    "DROP TABLE event_reader",
    "DROP TABLE event",
)
POSTGRES = {"time": "TIMESTAMPTZ", "week_ago": "now() - interval '7 days'"}
SQLITE = {"time": "DATETIME", "week_ago": "strftime('%Y-%m-%d %H:%M:%f000+00:00', 'now', '-7 days')"}


def migrate(migrator: Any, database: Any, **kwargs: Any) -> None:
    words = POSTGRES if type(database).__name__.endswith("PostgresqlDatabase") else SQLITE
    for statement in STATEMENTS:
        migrator.sql(statement.format(**words))
