"""People: accounts, their characters (the contract's `"user"` table), web sessions and login attempts.

Tokens in these tables are Fernet ciphertext; nothing here can read them.
"""

from __future__ import annotations

from peewee import BigAutoField, BigIntegerField, DoubleField, IntegerField, SmallIntegerField, TextField

from models.fields import BaseModel, UtcDateTimeField, utcnow

ACTIVE = "active"
NEEDS_LOGIN = "needs_login"
DISABLED = "disabled"


class Account(BaseModel):
    """One person with one or more characters."""

    id = BigAutoField()
    created_at = UtcDateTimeField(default=utcnow)

    class Meta:
        table_name = "account"


class User(BaseModel):
    """One EVE character that logged in, and how its tokens and its polling stand."""

    id = BigAutoField()
    #: Empty for a row that an operator's own script entered; the character's first login gives it an account.
    account_id = BigIntegerField(null=True, index=True)
    character_id = BigIntegerField(unique=True)
    character_name = TextField()
    character_owner_hash = TextField(default="")
    access_token = TextField(null=True)
    refresh_token = TextField(null=True)
    expires_at = UtcDateTimeField(null=True)
    scopes = TextField(default="")
    status = TextField(default=ACTIVE)
    priority = SmallIntegerField(default=0)
    last_killmail_sync_at = UtcDateTimeField(null=True)
    next_sync_at = UtcDateTimeField(null=True)
    #: Until when a message that is under way counts as such; none when the next turn is planned.
    claimed_until = UtcDateTimeField(null=True)
    #: How often in a row the SSO refused the refresh token, and before when it is not asked for it again.
    refusals = IntegerField(default=0)
    doubted_until = UtcDateTimeField(null=True)
    #: Their rhythm as of the last poll (`killsync.sync.hazard.Rhythm`): seconds, and killmails of the week before the newest.
    typical_gap = DoubleField(null=True)
    recent_killmails = DoubleField(null=True)
    logged_in_at = UtcDateTimeField(default=utcnow)
    #: Since when it belongs to its account; empty: since `created_at`.
    joined_at = UtcDateTimeField(null=True)
    created_at = UtcDateTimeField(default=utcnow)
    updated_at = UtcDateTimeField(default=utcnow)

    class Meta:
        table_name = "user"


class WebSession(BaseModel):
    """A browser that is logged in. The cookie carries a random id; the table only its SHA-256."""

    id_hash = TextField(primary_key=True)
    account_id = BigIntegerField(index=True)
    #: The character by which the person is here; empty for a session of the version before.
    user_id = BigIntegerField(null=True)
    created_at = UtcDateTimeField(default=utcnow)
    expires_at = UtcDateTimeField()

    class Meta:
        table_name = "web_session"


class LoginAttempt(BaseModel):
    """A login under way at the SSO: single use, ten minutes, bound to one browser."""

    state_hash = TextField(primary_key=True)
    browser_hash = TextField()
    verifier = TextField()
    account_id = BigIntegerField(null=True)
    return_to = TextField(default="/")
    scopes = TextField()
    created_at = UtcDateTimeField(default=utcnow)
    expires_at = UtcDateTimeField()

    class Meta:
        table_name = "login_attempt"
