"""`killsync init`: asks for what is needed, one thing at a time, checks each answer as it comes, and writes `.env`.

What is given as an option, stands in the environment or in a `.env` that is there is the answer offered; `--yes` takes it without
asking. The file is written whole, readable by its owner alone, in the form that every reader of it reads alike.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import peewee
import psycopg2
import typer

from killsync import env_file, http_session, process
from killsync import settings as settings_module
from killsync.cli import init_checks, migrate
from killsync.cli.console import say, stop
from killsync.settings import Settings, SettingsError
from killsync.sso.vault import generate_key
from killsync.startup import connect_models
from models import connection, schema

APPLICATIONS = "https://developers.eveonline.com/applications"
SIMULATOR = "http://simulator.localhost:8081"
Check = Callable[[Settings, init_checks.Agree], str | None]


@dataclass(frozen=True)
class Question:
    """One variable: what to say about it, its answer when nobody gives one, and the check of an answer."""

    name: str
    text: str
    default: str = ""
    check: Check | None = None
    secret: bool = False
    optional: bool = False


QUESTIONS = (
    Question(
        "DATABASE_URL",
        "Where everything is stored: postgresql://user:password@host:5432/name. (PostgreSQL: https://www.postgresql.org/download/)",
        "postgresql://killsync:killsync@127.0.0.1:5432/killsync", init_checks.database,
    ),
    Question(
        "BROKER_URL",
        "The message broker: amqp://user:password@host:5672/vhost. (RabbitMQ: https://www.rabbitmq.com/docs/download)",
        "amqp://guest:guest@127.0.0.1:5672/", init_checks.broker,
    ),
    Question(
        "ESI_USER_AGENT",
        "Who asks ESI: a name, a version, and how CCP reaches you, such as Killsync/1.0 (you@example.org).\n"
        "Why: https://developers.eveonline.com/docs/services/esi/best-practices/",
        check=init_checks.esi,
    ),
    Question(
        "SSO_CALLBACK_URL",
        "Where EVE's login sends people back to: the address of your page, followed by /auth/callback.\n"
        f"The application at {APPLICATIONS} needs the same one.",
        "http://127.0.0.1:8080/auth/callback", init_checks.sso,
    ),
    Question(
        "SSO_CLIENT_ID",
        f"The client id of your application: {APPLICATIONS}, scope {settings_module.KILLMAIL_SCOPE}\n"
        f"(and {settings_module.CORPORATION_SCOPE}, if directors shall be able to grant it).",
    ),
    Question("SSO_CLIENT_SECRET", "Its secret, from the same page.", check=init_checks.client, secret=True),
    Question(
        "ADMIN_CHARACTER_IDS",
        "Ids of the characters, comma separated, that see the operator dashboard; empty: nobody.\n"
        "An id is the number in the address of a character at https://evewho.com/.",
        optional=True,
    ),
)  # fmt: skip
#: What else may be given as an option; it is not asked for.
GIVEN_ALONE = ("ESI_URL", "SSO_URL")
HEADER = """# Written by `killsync init`. docs/configuration.md explains each variable, .env.example lists them all.
# A value with spaces, # or $ stands in single quotes; then honcho, compose and systemd read it as Killsync does.
"""


def init(
    database_url: Annotated[str, typer.Option(help="DATABASE_URL")] = "",
    broker_url: Annotated[str, typer.Option(help="BROKER_URL")] = "",
    esi_user_agent: Annotated[str, typer.Option(help="ESI_USER_AGENT")] = "",
    sso_callback_url: Annotated[str, typer.Option(help="SSO_CALLBACK_URL")] = "",
    sso_client_id: Annotated[str, typer.Option(help="SSO_CLIENT_ID")] = "",
    sso_client_secret: Annotated[str, typer.Option(help="SSO_CLIENT_SECRET; others on this host can read it")] = "",
    admin_character_ids: Annotated[str, typer.Option(help="ADMIN_CHARACTER_IDS")] = "",
    esi_url: Annotated[str, typer.Option(help="ESI_URL, where it is not the real one.")] = "",
    sso_url: Annotated[str, typer.Option(help="SSO_URL, where it is not the real one.")] = "",
    compose: Annotated[bool, typer.Option("--compose", help="For compose.yaml: its services, new passwords.")] = False,
    demo: Annotated[bool, typer.Option("--demo", help="For compose.yaml with the simulator in EVE's place.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a .env that is there.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing: take options, environment, defaults.")] = False,
) -> None:
    """Ask for what is needed, check it, and write .env."""
    given = {name.upper(): value for name, value in locals().items() if isinstance(value, str) and value}
    try:
        _Init(given, asks=not yes, compose=compose or demo, demo=demo, force=force).run()
    finally:
        http_session.close()


class _Init:
    """One run of the command."""

    def __init__(self, given: dict[str, str], *, asks: bool, compose: bool, demo: bool, force: bool) -> None:
        self._given, self._asks, self._compose, self._demo, self._force = given, asks, compose, demo, force
        self._values: dict[str, str] = {}
        self._problems: list[str] = []

    def run(self) -> None:
        path = env_file.PATH
        known = self._known(path)
        self._ask_to_overwrite(path)
        if self._compose:
            known |= self._of_compose(known)
        for name in GIVEN_ALONE:
            if self._given.get(name) or known.get(name):
                self._values[name] = self._given.get(name) or known[name]
        for question in QUESTIONS:
            self._answer(question, self._given.get(question.name) or known.get(question.name) or question.default)
        if port := _own_port(self._values.get("SSO_CALLBACK_URL", "")):
            self._values["WEB_PORT"] = known.get("WEB_PORT") or port
        self._values["SECRET_KEYS"] = known.get("SECRET_KEYS") or generate_key()
        rest = {name: value for name, value in env_file.values(env_file.text_of(path)).items() if value}
        _write(path, {**rest, **self._values})
        say(
            f"\nWritten: {path.absolute()}, readable by you alone. Keep a copy of SECRET_KEYS: it opens the stored tokens."
        )
        if not self._compose:
            self._make_tables()
        self._next()

    def _known(self, path: Path) -> dict[str, str]:
        """What the environment and the file that is there say."""
        try:
            found = env_file.combined(env_file.text_of(path), os.environ)
        except (OSError, UnicodeDecodeError):
            raise stop(f"{path} is there and cannot be read: remove it, or correct its rights", 2) from None
        ours = {name.upper() for name in Settings.model_fields} | {"POSTGRES_PASSWORD", "RABBITMQ_PASSWORD"}
        return {name: value for name, value in found.items() if name in ours and value}

    def _ask_to_overwrite(self, path: Path) -> None:
        if not path.exists() or self._force:
            return
        if not self._asks:
            raise stop(f"{path} exists and stays as it is: --force overwrites it, with its values as defaults")
        if not typer.confirm(f"{path} exists. Overwrite it? Its values are offered as answers", default=False):
            raise stop(f"{path} stays as it is")

    def _of_compose(self, known: dict[str, str]) -> dict[str, str]:
        """The addresses inside of compose.yaml, whose services get passwords of their own; kept where they are there."""
        postgres = known.get("POSTGRES_PASSWORD") or secrets.token_urlsafe(24)
        rabbitmq = known.get("RABBITMQ_PASSWORD") or secrets.token_urlsafe(24)
        found = {
            "POSTGRES_PASSWORD": postgres,
            "RABBITMQ_PASSWORD": rabbitmq,
            "DATABASE_URL": f"postgresql://killsync:{postgres}@postgres:5432/killsync",
            "BROKER_URL": f"amqp://killsync:{rabbitmq}@rabbitmq:5672/",
        }
        if self._demo:
            found |= {"COMPOSE_PROFILES": "demo", "ESI_URL": SIMULATOR, "SSO_URL": SIMULATOR}
            found |= {"STATIC_DATA_URL": f"{SIMULATOR}/static-data", "ESI_USER_AGENT": "Killsync/1.0 (demo@localhost)"}
            found |= {"SSO_CLIENT_ID": "simulator-client", "SSO_CLIENT_SECRET": "simulator-secret"}
        self._values |= found
        return found

    def _answer(self, question: Question, offered: str) -> None:
        """Get the answer to a question, and check it; when nobody is asked, what is wrong with it is told at the end."""
        is_settled = self._compose and question.name in self._values
        asks = self._asks and not is_settled and question.name not in self._given
        if asks:
            say(f"\n{question.text}")
        while True:
            answer = offered
            if asks:
                shown = bool(offered) and not question.secret
                answer = typer.prompt(
                    question.name, default=offered, show_default=shown, hide_input=question.secret
                ).strip()
            problem, is_form = self._wrong(question, answer)
            if problem is None:
                break
            if is_form and not asks:
                raise stop(f"{question.name}: {problem}", 2)
            say(f"✗ {question.name}: {problem}")
            if not asks:
                self._problems.append(f"{question.name}: {problem}")
                break
            if not is_form and not typer.confirm("Another answer? (No keeps this one)", default=True):
                break
        if answer:
            self._values[question.name] = answer
            if problem is None:
                say(f"✓ {question.name}")

    def _wrong(self, question: Question, answer: str) -> tuple[str | None, bool]:
        """What is wrong with an answer, and whether it is its form; else what the service that it is about has to say."""
        if not answer:
            return (None, False) if question.optional else ("it is needed", self._asks)
        try:
            env_file.written(answer)
            settings = _settings({**self._values, question.name: answer})
        except (env_file.CannotBeWritten, SettingsError) as error:
            return str(error).removeprefix(f"{question.name} is wrong: "), True
        in_compose = self._compose and (question.name in ("DATABASE_URL", "BROKER_URL") or self._demo)
        if question.check is None or in_compose:
            return None, False
        process.begin(settings)
        return question.check(settings, self._agree), False

    def _agree(self, text: str) -> bool:
        return typer.confirm(text, default=True) if self._asks else True

    def _make_tables(self) -> None:
        """Bring the database to this version's schema, if it can be reached."""
        if any(problem.startswith("DATABASE_URL") for problem in self._problems):
            return
        connect_models(process.begin(_settings(self._values)))
        try:
            with connection():
                schema.check()
        except schema.SchemaError:
            if self._agree("The database has not the tables of this version. Make them?"):
                migrate.migrate()
        except (peewee.PeeweeException, psycopg2.Error):
            say("✗ the tables could not be looked at: run `killsync migrate` once the database answers")

    def _next(self) -> None:
        for problem in self._problems:
            say(f"To do: {problem}")
        if self._compose:
            say("Next: `docker compose up -d`, then `docker compose run --rm killsync doctor`.")
        else:
            say("Next: `killsync doctor` checks everything, `honcho start` starts it.")


def _settings(values: dict[str, str]) -> Settings:
    """The settings of *values*, among which others may be.

    Raises:
        SettingsError: one is wrong.
    """
    fields = {name.lower(): value for name, value in values.items()}
    return settings_module.read(**{name: value for name, value in fields.items() if name in Settings.model_fields})


def _own_port(callback: str) -> str | None:
    """The port that the web server needs for *callback* when no proxy stands before it, and that is not the default."""
    parts = urlsplit(callback)
    return str(parts.port) if parts.scheme == "http" and parts.port not in (None, 8080) else None


def _write(path: Path, values: dict[str, str]) -> None:
    """Write the file whole, or leave the one that is there; nobody else may read it at any moment."""
    lines = [f"{name}={env_file.written(value)}" for name, value in values.items()]
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(HEADER + "\n".join(lines) + "\n")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
