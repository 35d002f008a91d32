"""The log of killmails: numbered without a gap in the order of their commits, and how far those have read who follow it."""

from __future__ import annotations

from peewee import BigIntegerField, SmallIntegerField, TextField

from models.fields import BaseModel, UtcDateTimeField


class KillmailCounter(BaseModel):
    """One row: the newest number. Its lock is what makes the order of numbers the order of commits."""

    id = SmallIntegerField(primary_key=True)
    last = BigIntegerField()

    class Meta:
        table_name = "killmail_counter"


class KillmailLog(BaseModel):
    """One stored killmail, by its number. Old entries are deleted; the number stays with the killmail."""

    sequence = BigIntegerField(primary_key=True)
    killmail_id = BigIntegerField()
    created_at = UtcDateTimeField(index=True)

    class Meta:
        table_name = "killmail_log"


class LogReader(BaseModel):
    """Up to which number a reader has read; there is a row as long as somebody wants what it reads."""

    name = TextField(primary_key=True)
    sequence = BigIntegerField()

    class Meta:
        table_name = "log_reader"
