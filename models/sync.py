"""How far each killmail list was read, what each sync did, whose corporations are read by whom, and named leases."""

from __future__ import annotations

from peewee import BigAutoField, BigIntegerField, CompositeKey, IntegerField, TextField

from models.expressions import now
from models.fields import BaseModel, UtcDateTimeField

QUEUED = "queued"
RUNNING = "running"
WAITING = "waiting"
SUCCEEDED = "succeeded"
FAILED = "failed"

#: The `user_id` of a corporation's list whose Director deleted the account.
NOBODY = 0

CHARACTER_LIST = "character"
CORPORATION_LIST = "corporation"


class SyncRun(BaseModel):
    """One sync of one user: its pages, then the details of the killmails its pages were the first to name."""

    id = BigAutoField()
    user_id = BigIntegerField(index=True)
    kind = TextField(default=CHARACTER_LIST)
    started_at = UtcDateTimeField(default=now)
    finished_at = UtcDateTimeField(null=True)
    status = TextField(default=QUEUED)
    walked = IntegerField(default=0)
    pages = IntegerField(default=0)
    found = IntegerField(default=0)
    saved = IntegerField(default=0)
    skipped = IntegerField(default=0)
    errors = IntegerField(default=0)
    esi_requests = IntegerField(default=0)
    esi_tokens = IntegerField(default=0)
    error = TextField(null=True)

    class Meta:
        table_name = "sync_run"


class MailList(BaseModel):
    """One `killmails/recent` list: `next_page` is where an unfinished pagination goes on, `walked_at` when the last one ended."""

    id = BigAutoField()
    user_id = BigIntegerField(index=True)
    kind = TextField()
    subject_id = BigIntegerField()
    next_page = IntegerField(null=True)
    walked_at = UtcDateTimeField(null=True)
    leased_by = TextField(null=True)
    leased_until = UtcDateTimeField(null=True)

    class Meta:
        table_name = "mail_list"
        indexes = ((("kind", "subject_id"), True),)


class Membership(BaseModel):
    """A user's corporation, as far as it matters; `refused_at` is when ESI last refused them its list."""

    user_id = BigIntegerField(primary_key=True)
    corporation_id = BigIntegerField(index=True)
    checked_at = UtcDateTimeField()
    refused_at = UtcDateTimeField(null=True)
    #: When this user's token last had its turn at the corporation's list: Directors take turns.
    turn_at = UtcDateTimeField(null=True)

    class Meta:
        table_name = "membership"


class CorporationFeed(BaseModel):
    """A corporation whose list is read, and by whose token. Its members rely on it until `works_until`."""

    corporation_id = BigIntegerField(primary_key=True)
    user_id = BigIntegerField(null=True, index=True)
    next_sync_at = UtcDateTimeField(index=True)
    last_sync_at = UtcDateTimeField(null=True)
    works_until = UtcDateTimeField(null=True)

    class Meta:
        table_name = "corporation_feed"


class PollTable(BaseModel):
    """What the board's own history tells of when people fight: JSON, made anew by `killsync.sync.poll_table`."""

    name = TextField(primary_key=True)
    content = TextField()
    #: Killmails of users' lists that were counted for it.
    killmails = BigIntegerField()
    made_at = UtcDateTimeField(default=now)

    class Meta:
        table_name = "poll_table"


class ListPage(BaseModel):
    """What ESI said of one page: its ETag and when it may be asked for again."""

    list_id = BigIntegerField()
    page = IntegerField()
    etag = TextField(null=True)
    last_modified = TextField(null=True)
    expires_at = UtcDateTimeField(null=True)
    pages = IntegerField(null=True)

    class Meta:
        table_name = "list_page"
        primary_key = CompositeKey("list_id", "page")


class Lease(BaseModel):
    """A named right that one process holds for a while, such as being the scheduler that ticks."""

    name = TextField(primary_key=True)
    holder = TextField()
    until = UtcDateTimeField()

    class Meta:
        table_name = "lease"
