"""The first schema: every table of the main job."""

from typing import Any

TABLES = (
    "CREATE TABLE account (id {identity}, created_at {time} NOT NULL)",
    """CREATE TABLE "user" (
        id {identity}, account_id BIGINT REFERENCES account (id), character_id BIGINT NOT NULL UNIQUE,
        character_name TEXT NOT NULL, character_owner_hash TEXT NOT NULL DEFAULT '', access_token TEXT,
        refresh_token TEXT, expires_at {time}, scopes TEXT NOT NULL DEFAULT '', status TEXT NOT NULL DEFAULT 'active',
        priority SMALLINT NOT NULL DEFAULT 0, last_killmail_sync_at {time}, next_sync_at {time} DEFAULT {now},
        logged_in_at {time} NOT NULL DEFAULT {now}, created_at {time} NOT NULL DEFAULT {now},
        updated_at {time} NOT NULL DEFAULT {now})""",
    'CREATE INDEX user_account ON "user" (account_id)',
    "CREATE INDEX user_due ON \"user\" (next_sync_at) WHERE status = 'active'",
    """CREATE TABLE web_session (
        id_hash TEXT PRIMARY KEY, account_id BIGINT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
        created_at {time} NOT NULL, last_seen_at {time} NOT NULL, expires_at {time} NOT NULL)""",
    "CREATE INDEX web_session_account ON web_session (account_id)",
    """CREATE TABLE login_attempt (
        state_hash TEXT PRIMARY KEY, browser_hash TEXT NOT NULL, verifier TEXT NOT NULL, account_id BIGINT,
        return_to TEXT NOT NULL, scopes TEXT NOT NULL, created_at {time} NOT NULL, expires_at {time} NOT NULL)""",
    """CREATE TABLE killmail_ref (
        killmail_id BIGINT PRIMARY KEY, killmail_hash TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'pending',
        attempts INTEGER NOT NULL DEFAULT 0, last_error TEXT, discovered_at {time} NOT NULL DEFAULT {now},
        lane SMALLINT NOT NULL DEFAULT 3, due_at {time} NOT NULL DEFAULT {now}, sent_at {time}, refused_at {time},
        run_id BIGINT)""",
    "CREATE INDEX killmail_ref_order ON killmail_ref (lane, killmail_id DESC) WHERE state = 'pending'",
    "CREATE INDEX killmail_ref_sent ON killmail_ref (due_at) WHERE state = 'pending' AND sent_at IS NOT NULL",
    "CREATE INDEX killmail_ref_run ON killmail_ref (run_id, state)",
    """CREATE TABLE user_killmail (
        user_id BIGINT NOT NULL, killmail_id BIGINT NOT NULL, PRIMARY KEY (user_id, killmail_id))""",
    "CREATE INDEX user_killmail_killmail ON user_killmail (killmail_id)",
    """CREATE TABLE killmail (
        killmail_id BIGINT PRIMARY KEY, killmail_hash TEXT NOT NULL, killmail_time {time} NOT NULL,
        solar_system_id BIGINT NOT NULL, moon_id BIGINT, war_id BIGINT, attacker_count INTEGER NOT NULL,
        created_at {time} NOT NULL DEFAULT {now})""",
    "CREATE INDEX killmail_newest ON killmail (killmail_time DESC, killmail_id DESC)",
    "CREATE INDEX killmail_system ON killmail (solar_system_id, killmail_time DESC, killmail_id DESC)",
    """CREATE TABLE victim (
        killmail_id BIGINT PRIMARY KEY REFERENCES killmail (killmail_id) ON DELETE CASCADE, character_id BIGINT,
        corporation_id BIGINT, alliance_id BIGINT, faction_id BIGINT, ship_type_id BIGINT NOT NULL,
        damage_taken BIGINT NOT NULL, position_x {double}, position_y {double}, position_z {double})""",
    "CREATE INDEX victim_character ON victim (character_id)",
    """CREATE TABLE attacker (
        id {identity}, killmail_id BIGINT NOT NULL REFERENCES killmail (killmail_id) ON DELETE CASCADE,
        character_id BIGINT, corporation_id BIGINT, alliance_id BIGINT, faction_id BIGINT, ship_type_id BIGINT,
        weapon_type_id BIGINT, damage_done BIGINT NOT NULL, final_blow BOOLEAN NOT NULL, security_status {double})""",
    "CREATE INDEX attacker_killmail ON attacker (killmail_id)",
    """CREATE TABLE killmail_item (
        id {identity}, killmail_id BIGINT NOT NULL REFERENCES killmail (killmail_id) ON DELETE CASCADE,
        parent_id BIGINT, item_type_id BIGINT NOT NULL, flag INTEGER NOT NULL, quantity_dropped BIGINT,
        quantity_destroyed BIGINT, singleton INTEGER NOT NULL)""",
    "CREATE INDEX killmail_item_killmail ON killmail_item (killmail_id)",
    """CREATE TABLE involvement (
        kind SMALLINT NOT NULL, entity_id BIGINT NOT NULL, killmail_time {time} NOT NULL, killmail_id BIGINT NOT NULL,
        sides SMALLINT NOT NULL, PRIMARY KEY (kind, entity_id, killmail_time, killmail_id))""",
    *(
        f"CREATE TABLE {table} ({key} BIGINT PRIMARY KEY, name TEXT,{extra} updated_at {{time}}, retry_at {{time}})"
        for table, key, extra in (
            ("character", "character_id", ""),
            ("corporation", "corporation_id", " ticker TEXT,"),
            ("alliance", "alliance_id", " ticker TEXT,"),
            ("faction", "faction_id", ""),
            ("item_type", "type_id", ""),
            ("solar_system", "system_id", ""),
        )
    ),
    *(
        f"CREATE INDEX {table}_unnamed ON {table} (retry_at) WHERE name IS NULL"
        for table in ("character", "corporation", "alliance", "faction", "item_type", "solar_system")
    ),
    """CREATE TABLE sync_run (
        id {identity}, user_id BIGINT NOT NULL, kind TEXT NOT NULL DEFAULT 'character',
        started_at {time} NOT NULL DEFAULT {now}, finished_at {time}, status TEXT NOT NULL DEFAULT 'queued',
        walked INTEGER NOT NULL DEFAULT 0, pages INTEGER NOT NULL DEFAULT 0, found INTEGER NOT NULL DEFAULT 0,
        saved INTEGER NOT NULL DEFAULT 0, skipped INTEGER NOT NULL DEFAULT 0, errors INTEGER NOT NULL DEFAULT 0,
        esi_requests INTEGER NOT NULL DEFAULT 0, esi_tokens INTEGER NOT NULL DEFAULT 0, error TEXT)""",
    "CREATE INDEX sync_run_user ON sync_run (user_id, id DESC)",
    "CREATE INDEX sync_run_open ON sync_run (id) WHERE finished_at IS NULL",
    """CREATE TABLE mail_list (
        id {identity}, user_id BIGINT NOT NULL, kind TEXT NOT NULL, subject_id BIGINT NOT NULL, next_page INTEGER,
        walked_at {time}, run_id BIGINT, leased_by TEXT, leased_until {time}, UNIQUE (kind, subject_id))""",
    "CREATE INDEX mail_list_user ON mail_list (user_id)",
    """CREATE TABLE list_page (
        list_id BIGINT NOT NULL REFERENCES mail_list (id) ON DELETE CASCADE, page INTEGER NOT NULL, etag TEXT,
        last_modified TEXT, expires_at {time}, pages INTEGER, PRIMARY KEY (list_id, page))""",
    "CREATE TABLE esi_bucket (name TEXT PRIMARY KEY, account TEXT NOT NULL, updated_at {time} NOT NULL)",
    """CREATE TABLE esi_usage (
        hour {time} NOT NULL, route TEXT NOT NULL, outcome TEXT NOT NULL, requests BIGINT NOT NULL,
        tokens BIGINT NOT NULL, PRIMARY KEY (hour, route, outcome))""",
    """CREATE TABLE event (
        id {identity}, kind TEXT NOT NULL, subject_id BIGINT NOT NULL, user_id BIGINT, created_at {time} NOT NULL)""",
    "CREATE INDEX event_created ON event (created_at)",
    "CREATE TABLE lease (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until {time} NOT NULL)",
)

POSTGRES = {
    "identity": "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
    "time": "TIMESTAMPTZ",
    "double": "DOUBLE PRECISION",
    "now": "clock_timestamp()",
}
SQLITE = {
    "identity": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "time": "DATETIME",
    "double": "REAL",
    "now": "(strftime('%Y-%m-%d %H:%M:%f000+00:00', 'now'))",
}


def migrate(migrator: Any, database: Any, **kwargs: Any) -> None:
    words = POSTGRES if type(database).__name__.endswith("PostgresqlDatabase") else SQLITE
    for statement in TABLES:
        migrator.sql(statement.format(**words))
