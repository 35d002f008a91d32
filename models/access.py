"""Who may log in and read: where characters belong, keys of programs, and what is on record of both."""

from __future__ import annotations

from peewee import BigAutoField, BigIntegerField, TextField

from models.fields import BaseModel, UtcDateTimeField, utcnow

#: What a key may read: killmails, or beside them what belongs to its owner.
KILLMAILS = "killmails"
RUNS = "runs"
SCOPES = (KILLMAILS, RUNS)


class Affiliation(BaseModel):
    """Corporation and alliance of a character as ESI last said; an answer without it changes nothing here.

    `asked_at`: when it was last asked for, answered or not.
    """

    character_id = BigIntegerField(primary_key=True)
    corporation_id = BigIntegerField(null=True)
    alliance_id = BigIntegerField(null=True)
    checked_at = UtcDateTimeField(null=True)
    asked_at = UtcDateTimeField(null=True)

    class Meta:
        table_name = "affiliation"


class AccessKey(BaseModel):
    """A program's key. The table holds the SHA-256 of its secret alone; `public_id` is the part of it that names it.

    Without an account it is the operator's own, made by `killsync keys`.
    """

    id = BigAutoField()
    account_id = BigIntegerField(null=True, index=True)
    name = TextField()
    scope = TextField(default=KILLMAILS)
    public_id = TextField(unique=True)
    secret_hash = TextField()
    created_at = UtcDateTimeField(default=utcnow)
    last_used_at = UtcDateTimeField(null=True)
    revoked_at = UtcDateTimeField(null=True)

    class Meta:
        table_name = "access_key"


class AccessLog(BaseModel):
    """One thing that somebody did or was refused. `subject` is a name as it was then; `address` is empty unless wanted."""

    id = BigAutoField()
    at = UtcDateTimeField(default=utcnow, index=True)
    event = TextField()
    account_id = BigIntegerField(null=True)
    character_id = BigIntegerField(null=True)
    key_id = BigIntegerField(null=True)
    subject = TextField(default="")
    detail = TextField(default="")
    address = TextField(null=True)

    class Meta:
        table_name = "access_log"
