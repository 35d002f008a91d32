"""`killsync doctor`: checks settings and services one by one and says what to do about each."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from killsync import http_session
from killsync import settings as settings_module


def examine(console: Console) -> int:
    """Check everything; 0 when all is well, 1 when something needs doing, 2 when a setting is wrong."""
    try:
        settings = settings_module.read()
    except settings_module.SettingsError as error:
        return _end(console, [("settings", str(error))], 2)
    settings_module.current.cache_clear()
    checks: list[tuple[str, Callable[[settings_module.Settings], str | None]]] = [
        ("settings", lambda settings: settings.missing("esi", "sso", "secrets", "broker")),
        ("database", _database),
        ("schema", _schema),
        ("stored tokens", _vault),
        ("broker", _broker),
        ("ESI", _esi),
        ("EVE SSO", _sso),
    ]
    findings = []
    for name, check in checks:
        problem = check(settings)
        findings.append((name, problem))
        console.print(
            f"{'✗' if problem else '✓'} {name}{': ' + problem if problem else ''}", markup=False, soft_wrap=True
        )
        if name == "database" and problem:
            findings.append(("schema", "not checked"))
            break
    http_session.close()
    return 1 if any(problem for _, problem in findings) else 0


def _end(console: Console, findings: list[tuple[str, str]], code: int) -> int:
    for name, problem in findings:
        console.print(f"✗ {name}: {problem}", markup=False, soft_wrap=True)
    return code


def _database(settings: settings_module.Settings) -> str | None:
    from killsync.startup import database_away
    from models import connect, connection
    from models.sql import rows

    connect(settings)
    try:
        with connection():
            rows("SELECT 1")
    except Exception:
        return database_away(settings)
    return None


def _schema(_settings: settings_module.Settings) -> str | None:
    from models import connection, schema

    try:
        with connection():
            schema.check()
    except schema.SchemaError as error:
        return str(error)
    return None


def _vault(settings: settings_module.Settings) -> str | None:
    import peewee

    from killsync.sso.errors import VaultError
    from killsync.sso.vault import Vault
    from models import User, connection

    if not settings.secret_keys:
        return "SECRET_KEYS is not set: run `killsync generate-key` and put its line into .env"
    try:
        with connection():
            user = User.select().where(User.refresh_token.is_null(False)).first()
        if user is not None:
            Vault(settings.secret_keys).decrypt(user.refresh_token)
    except VaultError as error:
        return str(error)
    except peewee.PeeweeException:
        return "cannot be read before `killsync migrate`"
    return None


def _broker(settings: settings_module.Settings) -> str | None:
    from killsync.broker.connection import BrokerAway, ping
    from killsync.broker.setup import make_broker
    from killsync.startup import broker_away

    make_broker(settings)
    try:
        ping()
    except BrokerAway:
        return broker_away(settings)
    return None


def _esi(settings: settings_module.Settings) -> str | None:
    from killsync.esi.client import EsiClient
    from killsync.esi.errors import EsiError
    from models import connection

    try:
        with connection():
            EsiClient(settings).status()
    except EsiError as error:
        return f"{settings.esi_url} does not answer as ESI does ({error}): check ESI_URL and the network"
    except Exception as error:
        return f"could not be asked ({type(error).__name__}): mend what is named above first"
    return None


def _sso(settings: settings_module.Settings) -> str | None:
    from killsync.sso.errors import SsoAway
    from killsync.sso.metadata import Directory, SsoAnswer

    try:
        http_session.run(Directory(settings).endpoints())
    except (SsoAway, SsoAnswer) as error:
        return f"{settings.sso_url} does not answer as EVE SSO does ({error}): check SSO_URL and the network"
    return None
