"""What ESI's rate limit has left, shared by every process, and what was spent."""

from __future__ import annotations

from peewee import BigIntegerField, CompositeKey, TextField

from models.fields import BaseModel, UtcDateTimeField, utcnow


class EsiBucket(BaseModel):
    """One token bucket of ESI, shared by every process: `account` is the JSON of its floating window."""

    name = TextField(primary_key=True)
    account = TextField()
    updated_at = UtcDateTimeField(default=utcnow)

    class Meta:
        table_name = "esi_bucket"


class EsiUsage(BaseModel):
    """What was spent at ESI, by hour, route and outcome."""

    hour = UtcDateTimeField()
    route = TextField()
    outcome = TextField()
    requests = BigIntegerField(default=0)
    tokens = BigIntegerField(default=0)

    class Meta:
        table_name = "esi_usage"
        primary_key = CompositeKey("hour", "route", "outcome")
