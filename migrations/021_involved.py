"""Who took part in a killmail, in a quarter of the rows and about half of the bytes: a column and an index for each kind.

The new table is filled in batches beside whoever reads and stores. What was stored or classified meanwhile is done once more
while nothing else can be stored, which takes seconds. Processes of the version before go on reading and storing by a view that
has the name of the old table; a later migration drops it.

Attackers and items are only ever looked for by their killmail: the index of their numbers was an entry each for nothing.
"""

import time
from typing import Any

from psycopg2.errors import DeadlockDetected, LockNotAvailable

KINDS = ("character_id", "corporation_id", "alliance_id", "ship_type_id", "ship_group_id")
#: Killmails of one statement.
BATCH = 20_000
#: A table that is in use is asked for so often, with a pause in between, seconds: what was filled would be lost otherwise.
ATTEMPTS, PAUSE = 12, 5.0

TABLE = f"""CREATE TABLE involved ({", ".join(f"{kind} BIGINT" for kind in KINDS)},
    killmail_time {{time}} NOT NULL, killmail_id BIGINT NOT NULL, sides SMALLINT NOT NULL)"""

#: Each party once with the sides it stood on, those of the same sides side by side. What was not classified yet gets its groups
#: when it is.
FILL = f"""
WITH party AS (
    SELECT v.killmail_id, 1 AS side, v.character_id, v.corporation_id, v.alliance_id, v.ship_type_id
    FROM victim v WHERE {{some}}
    UNION ALL
    SELECT v.killmail_id, 2, v.character_id, v.corporation_id, v.alliance_id, v.ship_type_id FROM attacker v WHERE {{some}}
), seen AS (
    {
    " UNION ALL ".join(
        f"SELECT killmail_id, {kind} AS kind, {column} AS entity_id, side FROM party"
        for kind, column in enumerate(KINDS[:4])
    )
}
    UNION ALL SELECT p.killmail_id, 4, t.group_id, p.side FROM party p JOIN item_type t ON t.type_id = p.ship_type_id
    JOIN killmail k ON k.killmail_id = p.killmail_id WHERE k.classified_by > 0
), once AS (
    SELECT killmail_id, kind, entity_id, MIN(side) | MAX(side) AS sides FROM seen WHERE entity_id IS NOT NULL
    GROUP BY killmail_id, kind, entity_id
), numbered AS (
    SELECT killmail_id, kind, entity_id, sides,
        row_number() OVER (PARTITION BY killmail_id, sides, kind ORDER BY entity_id) AS place FROM once
)
INSERT INTO involved ({", ".join(KINDS)}, killmail_time, killmail_id, sides)
SELECT {", ".join(f"MAX(CASE WHEN n.kind = {kind} THEN n.entity_id END)" for kind in range(len(KINDS)))},
    k.killmail_time, k.killmail_id, n.sides
FROM numbered n JOIN killmail k ON k.killmail_id = n.killmail_id
GROUP BY k.killmail_time, k.killmail_id, n.sides, n.place
"""

INDEXES = tuple(
    f"CREATE UNIQUE INDEX involved_{kind.removesuffix('_id')} ON involved ({kind}, killmail_time, killmail_id) "
    # PostgreSQL tells kills from losses by the index alone.
    f"{{sides}} WHERE {kind} IS NOT NULL"
    for kind in KINDS
)

AT_LAST = (
    "DROP TABLE involvement",
    "CREATE VIEW involvement AS "
    + " UNION ALL ".join(
        f"SELECT {number}::smallint AS kind, {kind} AS entity_id, killmail_time, killmail_id, sides FROM involved "
        f"WHERE {kind} IS NOT NULL"
        for number, kind in enumerate(KINDS, 1)
    ),
    """CREATE OR REPLACE FUNCTION enter_involvement() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO involved VALUES ("""
    + ", ".join(f"CASE WHEN NEW.kind = {number} THEN NEW.entity_id END" for number in range(1, len(KINDS) + 1))
    + ", NEW.killmail_time, NEW.killmail_id, NEW.sides); RETURN NEW; END $$",
    "CREATE TRIGGER involvement_entered INSTEAD OF INSERT ON involvement FOR EACH ROW EXECUTE FUNCTION enter_involvement()",
    "ALTER TABLE attacker DROP CONSTRAINT attacker_pkey",
    "ALTER TABLE killmail_item DROP CONSTRAINT killmail_item_pkey",
)


def migrate(migrator: Any, database: Any, fake: bool = False, **kwargs: Any) -> None:
    if fake:
        return
    is_postgres = type(database).__name__.endswith("PostgresqlDatabase")
    run = database.execute_sql
    run(TABLE.format(time="TIMESTAMPTZ" if is_postgres else "DATETIME"))
    begun = _oldest_running(run) if is_postgres else None
    _fill(run, "%s" if is_postgres else "?")
    for index in INDEXES:
        run(index.format(sides="INCLUDE (sides)" if is_postgres else ""))
    if not is_postgres:
        run("DROP TABLE involvement")
        return
    # For what follows alone.
    run("CREATE INDEX involved_killmail ON involved (killmail_id)")
    for is_last in (False, True):
        if is_last:
            # Who stores or classifies begins with this table. Who reads is not in the way.
            _patiently(database, ("LOCK TABLE killmail IN SHARE ROW EXCLUSIVE MODE",))
        again = _oldest_running(run)
        _fill_changed(run, begun)
        begun = again
    run("DROP INDEX involved_killmail")
    _patiently(database, AT_LAST)


def _fill(run: Any, mark: str) -> None:
    last = -(2**63)
    while True:
        ids = f"SELECT killmail_id FROM killmail WHERE killmail_id > {mark} ORDER BY killmail_id LIMIT {BATCH}"
        ((until,),) = run(f"SELECT MAX(killmail_id) FROM ({ids}) AS batch", (last,)).fetchall()
        if until is None:
            return
        run(FILL.format(some=f"v.killmail_id > {last} AND v.killmail_id <= {until}"))
        last = until


def _oldest_running(run: Any) -> str:
    """The oldest transaction that is not over: whatever is written later than now has its number or a higher one."""
    ((number,),) = run("SELECT txid_snapshot_xmin(txid_current_snapshot())").fetchall()
    return str(number % 2**32)


def _fill_changed(run: Any, since: str | None) -> None:
    """Once more for the killmails that were stored or changed by the transaction *since* or a later one."""
    run("CREATE TEMPORARY TABLE changed (killmail_id BIGINT PRIMARY KEY) ON COMMIT DROP")
    run(f"INSERT INTO changed SELECT killmail_id FROM killmail WHERE age(xmin) <= age('{since}'::xid)")
    run("ANALYZE changed")
    run("DELETE FROM involved USING changed WHERE involved.killmail_id = changed.killmail_id")
    run(FILL.format(some="v.killmail_id IN (SELECT killmail_id FROM changed)"))
    run("DROP TABLE changed")


def _patiently(database: Any, statements: tuple[str, ...]) -> None:
    """Run statements for which a table must be free of others for a moment."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with database.savepoint():
                for statement in statements:
                    database.execute_sql(statement)
                return
        except Exception as error:
            is_in_use = isinstance(getattr(error, "orig", None), LockNotAvailable | DeadlockDetected)
            if not is_in_use or attempt == ATTEMPTS:
                raise
        time.sleep(PAUSE)
