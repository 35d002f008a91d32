"""What can go wrong between Killsync and EVE SSO. No text carries a token, a code or a verifier."""

from __future__ import annotations


def spoken(seconds: float) -> str:
    """A span as people say it: 12 minutes, 6 hours."""
    minutes = max(1, round(seconds / 60))
    if minutes < 120:
        return f"{minutes} minute{'' if minutes == 1 else 's'}"
    return f"{round(minutes / 60)} hours"


class SsoError(Exception):
    """Something about the SSO went wrong."""


class SsoAway(SsoError):
    """The SSO cannot be asked now (5xx, HTML, time-outs, too many at once); ask again after `retry_after` seconds."""

    def __init__(self, reason: str, retry_after: float = 10.0) -> None:
        super().__init__(f"EVE SSO: {reason}")
        self.retry_after = retry_after


class SsoDoubt(SsoError):
    """The SSO refused a user's refresh token, which may be its own trouble; it is asked again after `retry_after` seconds."""

    def __init__(self, user_id: int, reason: str, retry_after: float) -> None:
        super().__init__(f"{reason}; asked again in {spoken(retry_after)}")
        self.user_id, self.retry_after = user_id, retry_after


class LoginRefused(SsoError):
    """A login cannot be completed; the text is for the person who tried."""


class NeedsLogin(SsoError):
    """The user's tokens are of no more use; only a new login helps."""

    def __init__(self, user_id: int, reason: str) -> None:
        super().__init__(f"user {user_id} needs to log in again: {reason}")
        self.user_id = user_id


class Disabled(SsoError):
    """The user disconnected; there is no token."""

    def __init__(self, user_id: int) -> None:
        super().__init__(f"user {user_id} is disconnected")


class BadToken(SsoError):
    """An access token that the SSO did not issue for this application."""


class VaultError(SsoError):
    """A stored secret cannot be read with SECRET_KEYS. Nothing is deleted: put the old key back."""
