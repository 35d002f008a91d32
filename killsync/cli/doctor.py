"""`killsync doctor`: checks settings, services and static data one by one and says what to do about each."""

from __future__ import annotations

import os
from collections.abc import Callable

import peewee
import typer

from killsync import env_file, http_session
from killsync import settings as settings_module
from killsync.access import admission
from killsync.cli import init_checks
from killsync.cli.console import say
from killsync.esi.client import EsiClient
from killsync.esi.errors import EsiError
from killsync.settings import Settings
from killsync.sso.errors import SsoAway, VaultError
from killsync.sso.metadata import Directory, SsoAnswer
from killsync.sso.vault import Vault
from killsync.startup import connect_models, database_away
from killsync.static_data import download, store
from models import User, connection, database, schema


def doctor() -> None:
    """Check the configuration and every service, and say what to do."""
    raise typer.Exit(_examine())


def _examine() -> int:
    """Check everything; 0 when all is well, 1 when something needs doing, 2 when a setting is wrong."""
    try:
        settings = settings_module.read()
    except settings_module.SettingsError as error:
        say(f"✗ settings: {error}")
        return 2
    settings_module.use(settings)
    checks: list[tuple[str, Callable[[Settings], str | None]]] = [
        ("settings", lambda settings: settings.missing("esi", "sso", "secrets", "broker")),
        (".env", _env_file),
        ("database", _database),
        ("schema", _schema),
        ("stored tokens", _vault),
        ("broker", init_checks.broker_problem),
        ("ESI", _esi),
        ("EVE SSO", _sso),
        ("SSO client", lambda settings: init_checks.client(settings, lambda _text: False)),
    ]
    if settings.login_allowed:
        checks.append(("who may log in", _members))
    problems = 0
    for name, check in checks:
        problem = check(settings)
        say(f"✗ {name}: {problem}" if problem else f"✓ {name}")
        problems += problem is not None
        if name == "database" and problem:
            break
    else:
        say(_static_data(settings))
    http_session.close()
    return 1 if problems else 0


def _env_file(_settings: Settings) -> str | None:
    path = env_file.PATH
    if path.exists() and os.name == "posix" and path.stat().st_mode & 0o077:
        return "others on this host can read it: `chmod 600 .env`"
    lines = env_file.differing(env_file.text_of(path))
    if not lines:
        return None
    number, name = lines[0]
    return (
        f"line {number}{f' ({name})' if name else ''} means something else to systemd, compose or honcho: "
        f"write {name or 'NAME'}='the value', without spaces around = and without a remark behind it"
    )


def _database(settings: Settings) -> str | None:
    connect_models(settings)
    try:
        with connection():
            peewee.Select(columns=[peewee.Value(1)]).bind(database).scalar()
    except Exception:
        return database_away(settings)
    return None


def _schema(_settings: Settings) -> str | None:
    try:
        with connection():
            schema.check()
    except schema.SchemaError as error:
        return str(error)
    return None


def _vault(settings: Settings) -> str | None:
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


def _esi(settings: Settings) -> str | None:
    try:
        with connection():
            EsiClient(settings).status()
    except EsiError as error:
        return f"{settings.esi_url} does not answer as ESI does ({error}): check ESI_URL and the network"
    except Exception:
        return "could not be asked: mend what is named above first"
    return None


def _members(settings: Settings) -> str | None:
    try:
        with connection():
            return admission.unusable(settings)
    except Exception as error:
        return f"could not be looked up ({type(error).__name__}): mend what is named above first"


def _sso(settings: Settings) -> str | None:
    try:
        http_session.run(Directory(settings).endpoints())
    except (SsoAway, SsoAnswer) as error:
        return f"{settings.sso_url} does not answer as EVE SSO does ({error}): check SSO_URL and the network"
    return None


def _static_data(settings: Settings) -> str:
    """A line about CCP's static data. Killsync works without it, so what it lacks is no fault of the installation."""
    try:
        with connection():
            found = store.status()
    except peewee.PeeweeException:
        return "! static data: cannot be read before `killsync migrate`"
    newest, unknown = found.newest, ""
    try:
        newest = http_session.run(download.newest(settings)).number
    except download.DownloadFailed as error:
        unknown = f", the newest build is not known ({error}: check STATIC_DATA_URL and the network)"
    update = "run `killsync static-data update`, or leave it to the scheduler, which looks once a day"
    if found.build is None:
        return f"! static data: none is loaded{unknown}: {update}"
    said = f"static data: build {found.build.number} is loaded"
    if newest is not None and newest > found.build.number:
        return f"! {said}, build {newest} is out{unknown}: {update}"
    return f"! {said}{unknown}" if unknown else f"✓ {said}, the newest"
