"""The scalars whose rules differ from Tartiflette's own: moments in UTC, and numbers of damage beyond 32 bits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tartiflette.constants import UNDEFINED_VALUE
from tartiflette.language.ast import StringValueNode
from tartiflette.scalar.builtins.int import ScalarInt


class DateTimeScalar:
    """ISO 8601 in and out; always UTC out."""

    def coerce_output(self, value: datetime) -> str:
        return moment_text(value)

    def coerce_input(self, value: Any) -> datetime:
        if not isinstance(value, str):
            raise TypeError("a DateTime is text such as 2026-08-18T11:05:00Z")
        return parse_moment(value)

    def parse_literal(self, ast: Any) -> Any:
        if not isinstance(ast, StringValueNode):
            return UNDEFINED_VALUE
        try:
            return parse_moment(ast.value)
        except ValueError:
            return UNDEFINED_VALUE


class IntScalar(ScalarInt):  # type: ignore[misc]
    """GraphQL's Int, but that a result beyond 32 bits is given in full instead of failing the page."""

    def coerce_output(self, value: Any) -> int:
        if isinstance(value, int):
            return int(value)
        raise TypeError("an Int is a whole number")


def moment_text(moment: datetime) -> str:
    """*moment* as clients see it: UTC with a Z, fractions only if there are any."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def parse_moment(text: str) -> datetime:
    """The moment a client wrote, aware, in UTC.

    Raises:
        ValueError: it is no ISO 8601 date or time, or lies beyond the calendar.
    """
    if len(text) > 40:
        raise ValueError("not a date or time in ISO 8601")
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("not a date or time in ISO 8601") from None
