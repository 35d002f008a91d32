"""What things cost: ESI's prices a type and day, and the days of which there are any."""

from __future__ import annotations

from peewee import BigIntegerField, CompositeKey, DateField

from models.fields import BaseModel, IskField, UtcDateTimeField, utcnow


class ItemPrice(BaseModel):
    """The prices of a type on a day, ISK: traded on average over 30 days, and CCP's own."""

    type_id = BigIntegerField()
    day = DateField()
    average = IskField(null=True)
    adjusted = IskField(null=True)

    class Meta:
        table_name = "item_price"
        primary_key = CompositeKey("day", "type_id")


class PriceDay(BaseModel):
    """A day of which there are prices. `settled_at`: since when every killmail that they count for is valued by them."""

    day = DateField(primary_key=True)
    stored_at = UtcDateTimeField(default=utcnow)
    settled_at = UtcDateTimeField(null=True)

    class Meta:
        table_name = "price_day"
