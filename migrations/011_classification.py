"""What a killmail is about, stored beside it: npc, solo, awox, labels, where it happened, what was lost.

What was stored before is classified while everything runs (`killsync static-data classify`, or by itself).
"""

from typing import Any

ORDER = "killmail_time DESC, killmail_id DESC"

STATEMENTS = (
    *(
        f"ALTER TABLE killmail ADD COLUMN {column}"
        for column in (
            "npc BOOLEAN NOT NULL DEFAULT FALSE",
            "solo BOOLEAN NOT NULL DEFAULT FALSE",
            "awox BOOLEAN NOT NULL DEFAULT FALSE",
            "victim_category_id BIGINT",
            "constellation_id BIGINT",
            "region_id BIGINT",
            "security TEXT",
            "label_bits BIGINT NOT NULL DEFAULT 0",
            # By which load of the static data; 0 without any, -1 not yet.
            "classified_by BIGINT NOT NULL DEFAULT -1",
        )
    ),
    f"CREATE INDEX killmail_region ON killmail (region_id, {ORDER})",
    f"CREATE INDEX killmail_constellation ON killmail (constellation_id, {ORDER})",
    # What is so rare that the newest fifty would be looked for far back. Few killmails enter these, so saving stays cheap.
    f"CREATE INDEX killmail_awox ON killmail ({ORDER}) WHERE awox",
    f"CREATE INDEX killmail_large ON killmail ({ORDER}) WHERE attacker_count >= 50",
    f"CREATE INDEX killmail_no_ship ON killmail ({ORDER}) WHERE victim_category_id <> 6",
    f"CREATE INDEX killmail_rare_space ON killmail ({ORDER}) WHERE security IN ('abyssal', 'pochven')",
    f"CREATE INDEX killmail_capital ON killmail ({ORDER}) WHERE (label_bits & 16) = 16",
    "{unclassified}",
    # How often static data was loaded that changed anything: what was classified before may have to be classified again.
    "ALTER TABLE static_data_build ADD COLUMN load_number BIGINT NOT NULL DEFAULT 0",
    "UPDATE static_data_build SET load_number = 1 WHERE build_number IS NOT NULL",
    # Types and systems of which a load says something new, with the group that a type was in before (0: none).
    "CREATE TABLE static_data_change (kind SMALLINT NOT NULL, entity_id BIGINT NOT NULL, former_group_id BIGINT NOT NULL, "
    "load_number BIGINT NOT NULL, PRIMARY KEY (kind, entity_id, former_group_id))",
)

UNCLASSIFIED = {
    True: "CREATE INDEX killmail_unclassified ON killmail (killmail_id) WHERE classified_by <= 0",
    # SQLite compares with a bound value, of which it cannot know that a condition of the index holds.
    False: "CREATE INDEX killmail_unclassified ON killmail (classified_by, killmail_id)",
}


def migrate(migrator: Any, database: Any, **kwargs: Any) -> None:
    is_postgres = type(database).__name__.endswith("PostgresqlDatabase")
    for statement in STATEMENTS:
        migrator.sql(statement.format(unclassified=UNCLASSIFIED[is_postgres]))
