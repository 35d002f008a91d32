"""Logging for every process: structlog over the standard library, text for people or JSON for machines.

The last processor is a second wall against secrets: it blanks what looks like a token, wherever it stands.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from typing import Any

import structlog

from killsync.settings import Settings

#: JWTs, access keys, bearer headers, Fernet ciphertext and the form fields that carry credentials.
_SECRET = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"
    r"|killsync_[0-9a-f]{12}_[\w-]{8,}"
    r"|(?i:bearer|basic)\s+[\w.~+/=-]{12,}"
    r"|gAAAAA[\w-]{20,}={0,2}"
    r"|(?i:(?:refresh_token|access_token|client_secret|code_verifier|code)['\"]?\s*[=:]\s*['\"]?)[\w.~+/%=-]{8,}"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)


def redact(text: str) -> str:
    """*text* with everything that looks like a secret blanked."""
    return _SECRET.sub("[redacted]", text)


def _redact_event(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = redact(value)
        elif value is not None and not isinstance(value, int | float | bool):
            text = str(value)
            if _SECRET.search(text):
                event[key] = redact(text)
    return event


#: What a line is about, bound while a message is processed. In text it stands at the end of the line.
CONTEXT = ("user_id", "run_id", "killmail_id", "webhook_id", "actor", "message_id")


def bind_context(**ids: Any) -> None:
    """Bind ids to every line that this thread, and what it waits for, logs until `clear_context`."""
    structlog.contextvars.bind_contextvars(**{name: value for name, value in ids.items() if value is not None})


def clear_context() -> None:
    """Forget what `bind_context` bound."""
    structlog.contextvars.clear_contextvars()


def _context_last(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """What happened first, whom it was about after it; of a message's id as much as tells it from others."""
    if "message_id" in event:
        event["message_id"] = str(event["message_id"])[:8]
    for name in CONTEXT:
        if name in event:
            event[name] = event.pop(name)
    return event


def setup_logging(settings: Settings) -> None:
    """Send all logging of this process through one handler on standard error, in the configured form."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[Any]
    if settings.log_format == "json":
        renderer = [structlog.processors.format_exc_info, _redact_event, structlog.processors.JSONRenderer()]
    else:
        console = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,
            pad_event_to=0,
            sort_keys=False,
        )
        renderer = [structlog.processors.format_exc_info, _redact_event, _context_last, console]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    # What pika has to say at a lost connection is said once, in our own words, by whoever used it.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    for noisy in ("apscheduler", "asyncio", "aiohttp.access", "peewee", "peewee.pool", "peewee_migrate.logs"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if settings.log_level != "DEBUG":
        for quiet in ("dramatiq", "tartiflette"):
            logging.getLogger(quiet).setLevel(logging.WARNING)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger named *name* under `killsync`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(f"killsync.{name}")
    return logger


#: A `Quiet` log says the same thing at most once in this time, seconds.
QUIET_SECONDS = 10.0


class Quiet:
    """A log that says each thing at most once in `QUIET_SECONDS`, and how often it would have."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._said: dict[str, tuple[float, int]] = {}

    def __call__(self, event: str, **details: Any) -> None:
        key = f"{event} {details.get('reason')}"
        at, times = self._said.get(key, (float("-inf"), 0))
        now = time.monotonic()
        if now - at < QUIET_SECONDS:
            self._said[key] = (at, times + 1)
            return
        self._said[key] = (now, 0)
        self._log.warning(event, **details, times=times + 1)
