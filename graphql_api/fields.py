"""Where GraphQL's camelCase meets Killsync's values: the one mapping from a field to the attribute that answers it."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from models.work import CURRENT, SINGLE_SECONDS

#: Fields whose attribute has another name than the field's own in snake_case.
_ATTRIBUTES = {("Killmail", "id"): "killmail_id", ("Killmail", "value"): "value_or_nothing"}


@cache
def attribute_of(type_name: str, field_name: str) -> str:
    """The attribute that answers a field; introspection's types have GraphQL's own names."""
    if type_name.startswith("__"):
        return field_name
    snake_case = re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", field_name)
    return _ATTRIBUTES.get((type_name, field_name), snake_case)


async def resolve(parent: Any, _arguments: Any, _context: Any, info: Any) -> Any:
    """The default resolver: a field of a value by its attribute, an enum's value in capitals.

    It runs for every value that `tartiflette.fast_completion` does not build, so here is where those are counted.
    """
    work = CURRENT.get()
    if work is not None:
        work.build(1, SINGLE_SECONDS)
        await work.breathe()
    if isinstance(parent, dict):
        return parent.get(info.field_name)
    value = getattr(parent, attribute_of(info.parent_type.name, info.field_name), None)
    return enum_value(value) if isinstance(value, str) and is_enum(info) else value


def enum_value(value: str) -> str:
    """A value of an enum as GraphQL writes it."""
    return value.upper()


def is_enum(info: Any) -> bool:
    """Whether the field is one of our own enums."""
    graphql_type = info.return_type
    while graphql_type.is_wrapping_type:
        graphql_type = graphql_type.wrapped_type
    return hasattr(graphql_type, "get_value") and not info.parent_type.name.startswith("__")
