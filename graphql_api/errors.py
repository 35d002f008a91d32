"""What a client gets when something goes wrong: known errors with a code, all others with an id that is in the log."""

from __future__ import annotations

import secrets
from typing import Any

from tartiflette.types.exceptions.tartiflette import CoercionError, GraphQLSyntaxError, TartifletteError

from killsync.logging import get_logger
from models.errors import is_away
from models.threads import Busy
from models.work import CURRENT, OutOfTime, OverBudget, Work

log = get_logger("graphql")

#: The most time one query or mutation may take, seconds.
MOST_SECONDS = 20.0
#: Messages quote what the client sent; a quote is cut here.
_MOST_CHARACTERS = 400


class ApiError(TartifletteError):
    """An error that a client may see as it is; `code` says what it is to programs."""

    code = "BAD_REQUEST"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message, extensions={"code": self.code, **details})


class BadInput(ApiError):
    """An argument has the right type but no sensible value."""

    code = "BAD_USER_INPUT"


class NotInLog(ApiError):
    """The log does not go back, or on, to the number that a subscriber gave."""

    code = "NOT_IN_LOG"


class Unauthenticated(ApiError):
    """Only for those who are logged in."""

    code = "UNAUTHENTICATED"

    def __init__(self) -> None:
        super().__init__("log in first")


class Forbidden(ApiError):
    """Not for this caller."""

    code = "FORBIDDEN"


class NeedsLogin(ApiError):
    """The character's tokens are no longer valid."""

    code = "NEEDS_LOGIN"


class RateLimited(ApiError):
    """Too often."""

    code = "RATE_LIMITED"

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many requests: try again in {retry_after} s", retryAfter=retry_after)


class Refused(ApiError):
    """The document is larger, deeper or costlier than one operation may be. Says the limit and what was found."""

    code = "QUERY_TOO_LARGE"

    def __init__(self, what: str, found: int | str, limit: int) -> None:
        super().__init__(f"the query has {found} {what}; the limit is {limit}", found=found, limit=limit, what=what)


class OverCost(ApiError):
    """The operation did more than one may, and was stopped. Says what it came to."""

    code = "QUERY_TOO_LARGE"

    def __init__(self, error: OverBudget) -> None:
        super().__init__(
            f"{error}: ask for fewer killmails or fields at a time",
            found=error.found, limit=error.limit, what=error.what,
        )  # fmt: skip


class BadDocument(ApiError):
    """The document is not GraphQL."""

    code = "GRAPHQL_PARSE_FAILED"


class Invalid(Exception):
    """The document does not fit the schema."""

    def __init__(self, errors: list[Exception]) -> None:
        super().__init__("the document does not fit the schema")
        self.errors = errors


class NotExecuted(Exception):
    """The operation was not executed; *errors* are as a client sees them."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__("the operation was not executed")
        self.errors = errors


class Unavailable(ApiError):
    """A part that is needed does not answer now."""

    code = "UNAVAILABLE"


class TimedOut(ApiError):
    """The operation took too long. Says how long one may take, and what it had come to by then if that is known."""

    code = "TIMEOUT"

    def __init__(self, seconds: float, work: Work | None = None) -> None:
        cost = {} if work is None else {"rows": work.rows, "values": work.values}
        super().__init__(f"the operation took longer than {seconds:.0f} s", **cost)


async def coerce_error(exception: Exception, error: dict[str, Any]) -> dict[str, Any]:
    """Tartiflette's error coercer: what a client gets to see of *exception*."""
    original = getattr(exception, "original_error", None)
    if isinstance(original, OverBudget):
        original = OverCost(original)
    elif isinstance(original, OutOfTime):
        original = TimedOut(MOST_SECONDS, CURRENT.get())
    seen = original if isinstance(original, ApiError) else exception
    if isinstance(seen, ApiError):
        answer = {"message": seen.message, "extensions": dict(seen.extensions)}
    elif isinstance(exception, GraphQLSyntaxError):
        answer = _known(exception, BadDocument.code)
    elif isinstance(exception, CoercionError):
        answer = _known(exception, BadInput.code)
    elif isinstance(original, Busy) or (original is not None and is_away(original)):
        answer = {
            "message": str(original) if isinstance(original, Busy) else "the database does not answer",
            "extensions": {"code": Unavailable.code},
        }
    elif isinstance(exception, TartifletteError) and original is None:
        answer = _known(exception, "GRAPHQL_VALIDATION_FAILED")
    else:
        answer = _internal(original or exception)
    if error.get("locations"):
        answer["locations"] = error["locations"]
    if error.get("path"):
        answer["path"] = error["path"]
    return answer


def _known(exception: TartifletteError, code: str) -> dict[str, Any]:
    message = str(exception.message)
    if len(message) > _MOST_CHARACTERS:
        message = message[:_MOST_CHARACTERS] + "…"
    return {"message": message, "extensions": {"code": code}}


def _internal(exception: BaseException) -> dict[str, Any]:
    error_id = secrets.token_hex(6)
    log.error("internal error", error_id=error_id, exc_info=exception)
    return {
        "message": f"Internal error; its id in the log is {error_id}",
        "extensions": {"code": "INTERNAL_ERROR", "id": error_id},
    }
