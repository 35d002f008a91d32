"""What subscribers are notified of, written in the transaction that made it true."""

from __future__ import annotations

from peewee import BigAutoField, BigIntegerField, TextField

from models.fields import BaseModel, UtcDateTimeField, utcnow

KILLMAIL_SAVED = "killmail"
SYNC_PROGRESS = "sync"


class Event(BaseModel):
    """One thing that subscribers are notified of."""

    id = BigAutoField()
    kind = TextField()
    subject_id = BigIntegerField()
    user_id = BigIntegerField(null=True)
    created_at = UtcDateTimeField(default=utcnow)

    class Meta:
        table_name = "event"
        indexes = ((("created_at",), False),)
