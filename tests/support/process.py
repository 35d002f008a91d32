"""This process as Killsync's own: settings that no environment and no `.env` has a part in, and a new state for each test."""

from __future__ import annotations

from typing import Any

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from killsync import process
from killsync import settings as settings_module
from killsync.settings import Settings
from killsync.sso.vault import generate_key
from models import connect, schema
from models.db import database
from tests.support.deployment import CLIENT
from tests.support.resources import free_port


class _Explicit(Settings):
    """Settings of what is given and of defaults."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, **_others: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def explicit(**values: Any) -> Settings:
    """Settings of *values*, named as in the environment or as fields; text is read as there."""
    return _Explicit(**{name.lower(): value for name, value in values.items()})


def settings_for(database_url: str, **values: Any) -> Settings:
    """Settings of a whole Killsync in this process; ESI and SSO do not answer unless *values* say where they are."""
    port = free_port()
    return explicit(
        **{
            "DATABASE_URL": database_url,
            "BROKER_URL": "memory://",
            "ESI_URL": "http://127.0.0.1:9",
            "SSO_URL": "http://127.0.0.1:9",
            "STATIC_DATA_URL": "http://127.0.0.1:9",
            "SSO_CLIENT_ID": CLIENT[0],
            "SSO_CLIENT_SECRET": CLIENT[1],
            "SSO_CALLBACK_URL": f"http://127.0.0.1:{port}/auth/callback",
            "ESI_USER_AGENT": "Killsync-Tests/1.0 (tests@localhost)",
            "SECRET_KEYS": generate_key(),
            "WEB_PORT": port,
            **values,
        }
    )


def change_settings(**values: Any) -> Settings:
    """The settings of this process with other *values*, from now on."""
    held = settings_module.current()
    changed = explicit(**{**held.model_dump(), **{name.lower(): value for name, value in values.items()}})
    settings_module.use(changed)
    return changed


def begin(settings: Settings, *, migrated: bool = True) -> Settings:
    """Start this process's state anew on *settings*, with the models on its database."""
    process.begin(settings)
    connect(settings)
    if migrated:
        schema.migrate()
    return settings


def end() -> None:
    """Give up the database, as a process that ends does; what is left of it works on nothing."""
    disconnect()
    process.begin(NOTHING)


def disconnect() -> None:
    """Close every connection of this process."""
    if database.obj is None:
        return
    if not database.is_closed():
        database.close()
    for name in ("close_all", "close_writer"):
        close = getattr(database.obj, name, None)
        if close is not None:
            close()


#: What this process is between tests: the in-memory broker, and neither a database nor ESI.
NOTHING = explicit(
    DATABASE_URL="sqlite:///:memory:",
    BROKER_URL="memory://",
    ESI_URL="http://127.0.0.1:9",
    SSO_URL="http://127.0.0.1:9",
)
