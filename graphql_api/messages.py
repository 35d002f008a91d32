"""Messages and codes of graphql-transport-ws (https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md). Pure."""

from __future__ import annotations

from typing import Any

import msgspec

INVALID, UNAUTHORIZED, FORBIDDEN, NO_PROTOCOL, INIT_TIMEOUT, DOUBLE_ID, DOUBLE_INIT = (
    4400,
    4401,
    4403,
    4406,
    4408,
    4409,
    4429,
)


class Close(Exception):
    """The socket closes with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def read(text: str) -> dict[str, Any]:
    """A message that a client sent.

    Raises:
        Close: it is none.
    """
    try:
        message = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        raise Close(INVALID, "Messages are JSON") from None
    if not isinstance(message, dict):
        raise Close(INVALID, "Messages are JSON objects")
    return message


def operation_id(message: dict[str, Any]) -> str:
    """The id by which a client knows an operation.

    Raises:
        Close: there is none.
    """
    number = message.get("id")
    if not isinstance(number, str) or not 0 < len(number) <= 200:
        raise Close(INVALID, "A message of this type has an id")
    return number
