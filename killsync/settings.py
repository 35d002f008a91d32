"""Every environment variable Killsync reads, once: its name, default, check and, when it is wrong, the way to mend it.

Values come from the environment first and from a `.env` file in the working directory second. A process calls
`load(needs=...)` with what it is about to do; a missing or bad value ends it with one line and exit code 2.
This module never opens a connection.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn
from urllib.parse import urlsplit

from pydantic import Field, FilePath, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from killsync import addresses, env_file, value_lists
from killsync.hints import runnable

REAL_ESI = "https://esi.evetech.net"
REAL_SSO = "https://login.eveonline.com"
KILLMAIL_SCOPE = "esi-killmails.read_killmails.v1"
CORPORATION_SCOPE = "esi-killmails.read_corporation_killmails.v1"

#: What a process is about to do, and the settings it cannot do that without.
Need = Literal["database", "broker", "esi", "sso", "secrets"]


class SettingsError(Exception):
    """A setting is missing or wrong; the text names it and says what to do. Never carries the value of a secret."""


class Settings(BaseSettings):
    """The settings of one process. Field descriptions are the text of docs/configuration.md."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True, frozen=True)

    @classmethod
    def settings_customise_sources(  # type: ignore[override]
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, **_others: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_file.Source(settings_cls)

    database_url: str = Field(
        "sqlite:///data/killsync.db",
        repr=False,
        description="Where everything is stored: `postgresql://user:password@host:5432/name` or `sqlite:///path`.",
    )
    database_pool_size: int = Field(
        40, ge=1, le=1000, description="Most PostgreSQL connections one process may hold at a time."
    )
    database_statement_seconds: int = Field(
        60, ge=0, le=86_400,
        description="Longest that PostgreSQL works on one statement before it gives up; 0: for ever. Migrations, backups and "
        "the removal of old rows have no limit.",
    )  # fmt: skip
    database_listen_url: str = Field(
        "",
        repr=False,
        description="PostgreSQL URL for LISTEN and migrations when DATABASE_URL leads through a transaction-pooling "
        "PgBouncer; empty: the same.",
    )
    broker_url: str = Field(
        "memory://",
        repr=False,
        description="The message broker: `amqp://user:password@host:5672/vhost`, or `memory://` inside one process.",
    )
    esi_url: str = Field(REAL_ESI, description="Origin of the ESI API.")
    sso_url: str = Field(REAL_SSO, description="Origin of EVE SSO; its metadata document names everything else.")
    esi_compatibility_date: str = Field("2026-08-18", description="Sent as `X-Compatibility-Date` with each request.")
    static_data_url: str = Field(
        "https://developers.eveonline.com/static-data/tranquility",
        description="Where CCP's static data export lies: `latest.jsonl` and the archives of its builds.",
    )
    price_file: FilePath | None = Field(
        None,
        description="File with prices of your own, which come before ESI's: lines such as `11567, 75000000000`, a type and ISK.",
    )
    esi_user_agent: str = Field(
        "",
        description="Sent to ESI and the SSO, such as `Killsync/1.0 (admin@example.org)`. Required with the real ESI.",
    )
    esi_egress: str = Field(
        "default",
        description="Name of the public address this host's requests leave from. "
        "Hosts behind one address share the name, and with it the killmail budget.",
    )
    esi_reserve_percent: int = Field(
        5, ge=0, le=50, description="Share of each token bucket that a backlog leaves to fresh killmails and polls."
    )
    sso_client_id: str = Field("", description="Client id of the application registered with CCP.")
    sso_client_secret: str = Field("", description="Its secret.", repr=False)
    sso_callback_url: str = Field(
        "http://127.0.0.1:8080/auth/callback",
        description="The callback registered with it, ending in `/auth/callback`.",
    )
    secret_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        repr=False,
        description="Fernet keys, comma separated: the first encrypts, all decrypt. `killsync generate-key` prints one.",
    )
    web_host: str = Field("127.0.0.1", description="Address the web server binds.")
    web_port: int = Field(8080, ge=0, le=65535, description="Port the web server binds.")
    sync_interval_seconds: int = Field(
        300, ge=1, le=86_400, description="The shortest time between two polls of one character."
    )
    sync_ceiling_seconds: int = Field(
        21_600, ge=60, le=2_592_000, description="The longest time between two polls of a quiet character."
    )
    sync_busy_gap_seconds: int = Field(
        10_800, ge=1, le=31_536_000,
        description="A list expected to bring a killmail this often is polled at the shortest time; one that brings a "
        "quarter of that, at twice the time. Higher asks more and knows sooner.",
    )  # fmt: skip
    max_pages: int = Field(50, ge=1, le=1000, description="Most pages of one killmail list that are walked.")
    admin_character_ids: Annotated[frozenset[int], NoDecode] = Field(
        frozenset(), description="Characters, comma separated, whose accounts see the operator dashboard."
    )
    login_allowed: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Who may log in, comma separated: `corporation:ID`, `alliance:ID`, `character:ID`; empty: everyone. "
        "Characters of ADMIN_CHARACTER_IDS always may.",
    )
    readers: Literal["everyone", "members"] = Field(
        "everyone",
        description="Who may read killmails: `everyone`, or `members`: who may log in, and programs with a key.",
    )
    access_log_addresses: bool = Field(
        False, description="1: the audit trail notes the address that each entry came from."
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Addresses or networks, comma separated, whose `X-Forwarded-For` and `-Proto` are believed."
    )
    eve_images: bool = Field(False, description="1: pages show pictures from CCP's image server.")
    feed: bool = Field(True, description="0: no R2Z2, no `/api/`, no `/events`: see feeds.md.")
    killmail_log_days: int = Field(7, ge=1, le=365, description="Days for which feeds and subscribers can go back.")
    graphql_introspection: bool = Field(True, description="0: the GraphQL endpoint answers no introspection.")
    webhook_allow_private: bool = Field(
        False, description="1: webhooks may lead to private addresses and over plain http. For tests only."
    )
    metrics_host: str = Field("127.0.0.1", description="Address on which workers and scheduler serve their metrics.")
    metrics_allowed: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Addresses or networks, comma separated, that may read the web server's `/metrics` beside this host.",
    )
    worker_metrics_port: int = Field(
        0, ge=0, le=65535, description="Port on which the workers of this host serve `/metrics`; 0: they do not."
    )
    scheduler_metrics_port: int = Field(
        0, ge=0, le=65535, description="Port on which the scheduler serves `/metrics`; 0: it does not."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least severe line logged.")
    log_format: Literal["text", "json"] = Field("text", description="`text` for people, `json` for machines.")

    _databases = field_validator("database_url", "database_listen_url")(addresses.database)
    _broker = field_validator("broker_url")(addresses.broker)
    _origins = field_validator("esi_url", "sso_url", "static_data_url")(addresses.origin)
    _callback = field_validator("sso_callback_url")(addresses.callback)
    _lists = field_validator("secret_keys", "trusted_proxies", "metrics_allowed", "login_allowed", mode="before")(
        value_lists.split
    )
    _ids = field_validator("admin_character_ids", mode="before")(value_lists.ids)
    _fernet_keys = field_validator("secret_keys")(value_lists.fernet_keys)
    _networks = field_validator("trusted_proxies", "metrics_allowed")(value_lists.networks)
    _members = field_validator("login_allowed")(value_lists.members)

    @field_validator("esi_compatibility_date")
    @classmethod
    def _date(cls, value: str) -> str:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
            raise ValueError("use a date such as 2026-08-18")
        return value

    @field_validator("esi_user_agent", "sso_client_id", "sso_client_secret")
    @classmethod
    def _header_safe(cls, value: str) -> str:
        if any(ord(character) < 32 or ord(character) > 126 for character in value):
            raise ValueError("use printable ASCII characters only")
        return value

    @field_validator("log_level", "readers", mode="before")
    @classmethod
    def _case(cls, value: Any, field: ValidationInfo) -> Any:
        if not isinstance(value, str):
            return value
        return value.strip().upper() if field.field_name == "log_level" else value.strip().lower()

    @property
    def members_only(self) -> bool:
        """Whether killmails are read by members alone."""
        return self.readers == "members"

    @property
    def uses_postgres(self) -> bool:
        return self.database_url.startswith("postgresql://")

    @property
    def uses_memory_broker(self) -> bool:
        return self.broker_url == "memory://"

    @property
    def public_url(self) -> str:
        """The address at which people reach this web server, without a slash at its end."""
        return self.sso_callback_url.removesuffix("/auth/callback")

    @property
    def user_agent(self) -> str:
        """The User-Agent of each request; ESI asks for a name, a version and a contact."""
        return self.esi_user_agent or "Killsync/1.0 (local simulator; no contact)"

    def missing(self, *needs: Need) -> str | None:
        """The first thing that is absent for *needs*, as one line that says what to do; None when all is there."""
        if (
            "esi" in needs
            and not self.esi_user_agent
            and urlsplit(self.esi_url).hostname == urlsplit(REAL_ESI).hostname
        ):
            return (
                "ESI_USER_AGENT is not set: name the application and a contact, such as Killsync/1.0 (you@example.org)"
            )
        if "sso" in needs:
            hint = "register an application at developers.eveonline.com and copy it into .env"
            if not self.sso_client_id:
                return f"SSO_CLIENT_ID is not set: {hint}"
            if not self.sso_client_secret:
                return f"SSO_CLIENT_SECRET is not set: {hint}"
        if "secrets" in needs and not self.secret_keys:
            return "SECRET_KEYS is not set: run `killsync generate-key` and put its line into .env"
        if "broker" in needs and self.uses_memory_broker:
            return (
                "BROKER_URL=memory:// works inside one process only (`make run`): "
                "set it to RabbitMQ, such as amqp://guest:guest@127.0.0.1:5672/"
            )
        return None


def read(**explicit: Any) -> Settings:
    """Read the settings. What is given in *explicit*, by the name of its field, is not looked for elsewhere.

    Raises:
        SettingsError: a value is wrong; the text names the variable, not its value.
    """
    try:
        return Settings(**explicit)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        name = str(first["loc"][0]).upper() if first["loc"] else "the environment"
        reason = str(first["msg"]).removeprefix("Value error, ")
        raise SettingsError(f"{name} is wrong: {reason}") from None
    except OSError as error:
        raise SettingsError(f".env cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(".env is not a text file in UTF-8") from None


_current: Settings | None = None


def current() -> Settings:
    """The settings of this process: those that `use` chose, else those of the environment, read once."""
    global _current
    if _current is None:
        _current = read()
    return _current


def use(settings: Settings) -> None:
    """Make *settings* those of this process. What was made from earlier ones keeps them: see `killsync.process`."""
    global _current
    _current = settings


def load(*needs: Need) -> Settings:
    """The settings of a process that is about to start; what is wrong ends it with one line and exit code 2."""
    try:
        settings = current()
    except SettingsError as error:
        refuse(str(error))
    if problem := settings.missing(*needs):
        refuse(problem)
    return settings


def refuse(reason: str) -> NoReturn:
    """End the process with one clear line on standard error and exit code 2."""
    print(f"killsync: {runnable(reason)}", file=sys.stderr, flush=True)
    raise SystemExit(2)


def project_root() -> Path:
    """The folder that holds the project, for files that ship with it."""
    return Path(__file__).resolve().parent.parent
