"""The message that a worker processes now: its id, and what it counts from one try to the next."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from dramatiq.middleware import CurrentMessage


@dataclass(frozen=True)
class RunningMessage:
    """A message under way. Outside of a worker, in tests and scripts, it is one that was never sent.

    Attributes:
        id: the same each time the broker delivers it.
        options: what travels with it, counters included.
        redelivered: the broker has given it to a worker before, and has not heard that it was done: that worker died, or
            only lost the broker and may still be at it.
    """

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    options: dict[str, Any] = field(default_factory=dict)
    redelivered: bool = False

    @property
    def tries(self) -> int:
        """How often it has come back, after a wait or a failure."""
        return int(self.options.get("retries", 0))

    def increment(self, counter: str) -> int:
        """Add one to a counter that comes back with the message; the new number."""
        self.options[counter] = int(self.options.get(counter, 0)) + 1
        return int(self.options[counter])

    def reset(self, counter: str) -> None:
        """Let a counter begin anew."""
        self.options.pop(counter, None)


def running_message() -> RunningMessage:
    """The message that this thread processes."""
    message = CurrentMessage.get_current_message()
    if message is None:
        return RunningMessage()
    return RunningMessage(str(message.message_id), message.options, bool(getattr(message, "redelivered", False)))
