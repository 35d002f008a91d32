"""How the services that Killsync asks are, as all processes together have found: one row a service."""

from __future__ import annotations

from peewee import TextField

from models.fields import BaseModel, UtcDateTimeField, utcnow


class Health(BaseModel):
    """What is known of a service: `state` is JSON, read and written by the feature that asks it."""

    name = TextField(primary_key=True)
    state = TextField()
    updated_at = UtcDateTimeField(default=utcnow)

    class Meta:
        table_name = "health"
