"""Whether an answer given to `killsync init` works: each check asks the service that the answer is about.

A check gives None when all is well, else one line that says what to do. Nothing here asks the person or writes a file.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiohttp
import psycopg2

from killsync import http_session
from killsync.answers import answered, said
from killsync.broker.connection import BrokerAway, ping
from killsync.broker.setup import make_broker
from killsync.causes import cause
from killsync.settings import Settings
from killsync.sso import login
from killsync.sso.errors import SsoAway
from killsync.sso.metadata import Directory, SsoAnswer
from killsync.startup import broker_away, database_problem
from models.db import create_database, postgres_parameters

#: Whether something that is missing shall be made: asked with a line that says what.
Agree = Callable[[str], bool]


def database(settings: Settings, agree: Agree) -> str | None:
    """PostgreSQL lets us into the database, which is made where it does not exist; SQLite's folder can be written."""
    if not settings.uses_postgres:
        return _sqlite(settings)
    parts = urlsplit(settings.database_url)
    name = unquote(parts.path.lstrip("/")) or "postgres"
    if _connects(settings, name):
        return None
    problem = database_problem(settings)
    administrative = next((other for other in ("postgres", "template1") if _connects(settings, other)), None)
    if administrative is not None and agree(f"There is no database {name}. Create it?"):
        reason = _create_database(settings, administrative, name)
        return None if reason is None else f"the database {name} could not be created: {reason}"
    if "let us in" in problem.text:
        user = parts.username or "killsync"
        return (
            f"{problem.text}. Or make both as PostgreSQL's administrator: `sudo -u postgres createuser --pwprompt {user}`, "
            f"`sudo -u postgres createdb --owner={user} {name}`"
        )
    return problem.text


def _sqlite(settings: Settings) -> str | None:
    folder = Path(settings.database_url.removeprefix("sqlite:///")).absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".killsync-{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return f"the folder {folder} cannot be written ({error.strerror})"
    return None


def _connects(settings: Settings, name: str) -> bool:
    try:
        psycopg2.connect(dbname=name, **{**postgres_parameters(settings.database_url), "connect_timeout": "5"}).close()
    except psycopg2.Error:
        return False
    return True


def _create_database(settings: Settings, through: str, name: str) -> str | None:
    try:
        create_database(settings.database_url, through, name)
    except psycopg2.Error as error:
        return str(error).strip().splitlines()[0]
    return None


def broker(settings: Settings, agree: Agree) -> str | None:
    """RabbitMQ lets us into the vhost, which is made where it does not exist and RabbitMQ's own command is at hand."""
    if settings.uses_memory_broker:
        return settings.missing("broker")
    problem = broker_problem(settings)
    if problem is None or "vhost" not in problem or shutil.which("rabbitmqctl") is None:
        return problem
    parts = urlsplit(settings.broker_url)
    vhost, user = unquote(parts.path.lstrip("/")) or "/", unquote(parts.username or "guest")
    if not agree(f"There is no vhost {vhost} for {user}. Create it?"):
        return problem
    rights = ("set_permissions", "-p", vhost, user, ".*", ".*", ".*")
    made = all(_rabbitmqctl(*arguments) for arguments in (("add_vhost", vhost), rights))
    return broker_problem(settings) if made else f"{problem}; as root: `rabbitmqctl add_vhost {vhost}`"


def broker_problem(settings: Settings) -> str | None:
    """Why RabbitMQ cannot be used, as one line; None when it answers."""
    make_broker(settings)
    try:
        ping()
    except BrokerAway as error:
        return broker_away(settings, error)
    return None


def _rabbitmqctl(*arguments: str) -> bool:
    command = ["rabbitmqctl", "-q", *arguments]
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0  # noqa: S603


def esi(settings: Settings, _agree: Agree) -> str | None:
    """ESI answers."""

    async def ask() -> tuple[int, bytes]:
        headers = {"User-Agent": settings.user_agent, "X-Compatibility-Date": settings.esi_compatibility_date}
        address = f"{settings.esi_url}/status"
        async with http_session.session().get(address, headers=headers, allow_redirects=False) as answer:
            return answer.status, await answer.content.read(65_536)

    try:
        status, body = http_session.run(ask())
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return f"{settings.esi_url} does not answer ({cause(error)}): check the network, and ESI_URL"
    # 5xx: ESI is down every day at 11:00 UTC, and that is no mistake of anybody's.
    is_well = status == 200 or status >= 500
    return None if is_well else f"{answered('ESI', status, said(body))} ({settings.esi_url})"


def sso(settings: Settings, _agree: Agree) -> str | None:
    """EVE's login answers."""
    try:
        http_session.run(Directory(settings).endpoints())
    except (SsoAway, SsoAnswer) as error:
        return f"{settings.sso_url} does not answer as EVE's login does ({error}): check the network, and SSO_URL"
    return None


def client(settings: Settings, _agree: Agree) -> str | None:
    """EVE's login knows the application and its secret."""
    if not (settings.sso_client_id and settings.sso_client_secret):
        return None
    try:
        reason = http_session.run(login.check_client(settings))
    except (SsoAway, SsoAnswer) as error:
        return f"{settings.sso_url} does not answer as EVE's login does ({error}): check the network, and SSO_URL"
    return f"{reason}: copy client id and secret from the application's page once more" if reason else None
