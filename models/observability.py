"""Figures by the minute, for the operator's charts."""

from __future__ import annotations

from peewee import BigIntegerField, CompositeKey, TextField

from models.fields import BaseModel, UtcDateTimeField


class Tally(BaseModel):
    """What happened in one minute."""

    minute = UtcDateTimeField()
    name = TextField()
    detail = TextField()
    number = BigIntegerField()

    class Meta:
        table_name = "tally"
        primary_key = CompositeKey("minute", "name", "detail")
