"""`killsync queue user-killmails`: the seed's queue script."""

from __future__ import annotations

import peewee
from dramatiq.errors import ConnectionError as BrokerConnectionError
from rich.console import Console

from killsync.broker.connection import BrokerAway, ping
from killsync.broker.queues import USER_KILLMAILS
from killsync.settings import Settings
from killsync.startup import broker_away
from killsync.sync import corporation_polls, corporations
from killsync.sync.characters import send_user
from models import User, connection
from models.users import ACTIVE


def queue_users(settings: Settings, character_ids: list[int], console: Console, problems: Console) -> int:
    """Queue every active user that has a token, or those of *character_ids*; the exit code."""
    say = lambda text="": console.print(text, markup=False, soft_wrap=True)  # noqa: E731
    say("📡 Queueing users for ESI killmail sync...\n")
    with connection():
        condition: peewee.Expression = (User.status == ACTIVE) & User.refresh_token.is_null(False)
        if character_ids:
            condition &= User.character_id.in_(character_ids)
        users = list(User.select().where(condition).order_by(User.priority.desc(), User.id))
    if absent := sorted(set(character_ids) - {user.character_id for user in users}):
        problems.print(
            f"killsync: no active user with a token has character {', '.join(map(str, absent))}", markup=False
        )
        return 1
    if not users:
        say("No active users found")
        say(f"💡 Users need to log in first: open {settings.public_url}/auth/login")
        return 0
    say(f"✓ Found {len(users)} active user(s) with valid tokens")
    say(f"📤 Adding to queue: {USER_KILLMAILS}\n")
    try:
        ping()
        for user in users:
            send_user(user.id)
            say(f"   Queued: {user.character_name} (ID: {user.character_id})")
        with connection():
            for user in users:
                if (corporation_id := corporation_polls.read_by(user.id)) is not None:
                    corporations.send(corporation_id)
                    say(f"   Queued: the list of corporation {corporation_id}, read by {user.character_name}")
    except (BrokerAway, BrokerConnectionError):
        problems.print(f"killsync: {broker_away(settings)}", markup=False, soft_wrap=True)
        return 1
    say(f"\n✅ Successfully queued {len(users)} user(s)!\n")
    say("💡 Now run the worker to process them:\n   dramatiq actors")
    return 0
