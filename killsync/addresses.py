"""The forms that addresses in settings may have; each function gives the address as it is used, or says what is wrong with it."""

from __future__ import annotations

from urllib.parse import urlsplit


def _check_port(url: str) -> None:
    """Raise ValueError for an address whose port is no number from 1 to 65535."""
    try:
        port = urlsplit(url).port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("its port has to be a number from 1 to 65535")


def database(value: str) -> str:
    """A database, or nothing."""
    if not value:
        return value
    scheme = value.split("://", 1)[0]
    if scheme == "postgres":
        return "postgresql" + value[len("postgres") :]
    if scheme == "sqlite" and not value.startswith("sqlite:///"):
        raise ValueError("write sqlite:///relative/path or sqlite:////absolute/path")
    if scheme not in {"sqlite", "postgresql"} or "://" not in value:
        raise ValueError("use sqlite:///path or postgresql://user:password@host:5432/name")
    _check_port(value)
    return value


def broker(value: str) -> str:
    """A message broker."""
    if value != "memory://" and not value.startswith(("amqp://", "amqps://")):
        raise ValueError("use amqp://user:password@host:5672/ or memory://")
    _check_port(value)
    return value


def origin(value: str) -> str:
    """A web service, without a slash at its end."""
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("use an address such as https://esi.evetech.net")
    _check_port(value)
    return value.rstrip("/")


def callback(value: str) -> str:
    """Where EVE SSO sends people back to."""
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path != "/auth/callback":
        raise ValueError("use the address of this web server followed by /auth/callback")
    _check_port(value)
    return value
