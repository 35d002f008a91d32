"""`killsync queue user-killmails`: puts a sync of every active user, or of those named, into the queue."""

from __future__ import annotations

from typing import Annotated

import peewee
import typer
from dramatiq.errors import BrokerConnectionError

from killsync import startup
from killsync.broker.connection import BrokerAway, ping
from killsync.broker.queues import USER_KILLMAILS
from killsync.broker.setup import make_broker
from killsync.cli.console import complain, say
from killsync.settings import Settings
from killsync.startup import broker_away
from killsync.sync import corporations, directors
from killsync.sync.characters import send_user
from models import User, connection
from models.users import ACTIVE


def user_killmails(
    character: Annotated[list[int] | None, typer.Option(help="Only this character; may be given again.")] = None,
) -> None:
    """Queue a sync of every active user, or of the characters named."""
    settings = startup.start("database", "broker", wait=False)
    make_broker(settings)
    raise typer.Exit(_queue(settings, character or []))


def _queue(settings: Settings, character_ids: list[int]) -> int:
    """Queue every active user that has a token, or those of *character_ids*; the exit code."""
    say("📡 Queueing users for ESI killmail sync...\n")
    with connection():
        users = _users(character_ids)
    if absent := sorted(set(character_ids) - {user.character_id for user in users}):
        complain(f"no active user with a token has character {', '.join(map(str, absent))}")
        return 1
    if not users:
        say("No active users found")
        say(f"💡 Users need to log in first: open {settings.public_url}/auth/login")
        return 0
    say(f"✓ Found {len(users)} active user(s) with valid tokens")
    say(f"📤 Adding to queue: {USER_KILLMAILS}\n")
    try:
        ping()
        _send(users)
    except (BrokerAway, BrokerConnectionError) as error:
        complain(broker_away(settings, error))
        return 1
    say(f"\n✅ Successfully queued {len(users)} user(s)!\n")
    say("💡 Now run the worker to process them:\n   dramatiq actors")
    return 0


def _users(character_ids: list[int]) -> list[User]:
    condition: peewee.Expression = (User.status == ACTIVE) & User.refresh_token.is_null(False)
    if character_ids:
        condition &= User.character_id.in_(character_ids)
    return list(User.select().where(condition).order_by(User.priority.desc(), User.id))


def _send(users: list[User]) -> None:
    """Send a message for each user, and one for each corporation whose list one of them reads."""
    for user in users:
        send_user(user.id)
        say(f"   Queued: {user.character_name} (ID: {user.character_id})")
    with connection():
        for user in users:
            if (corporation_id := directors.read_by(user.id)) is not None:
                corporations.send(corporation_id)
                say(f"   Queued: the list of corporation {corporation_id}, read by {user.character_name}")
