"""`killsync generate-key` and `killsync rotate-keys`: the keys that encrypt what is secret in the database."""

from __future__ import annotations

from killsync import startup
from killsync.accounts import accounts
from killsync.cli.console import console, stop
from killsync.sso import vault
from killsync.sso.errors import VaultError
from models import connection


def generate_key() -> None:
    """Print a new key for SECRET_KEYS."""
    print(vault.generate_key())


def rotate_keys() -> None:
    """Encrypt every stored token and webhook address anew with the first of SECRET_KEYS."""
    settings = startup.start("database", "secrets", wait=False)
    try:
        with connection():
            number = accounts.rotate_keys(vault.Vault(settings.secret_keys).rotate)
    except VaultError as error:
        raise stop(str(error)) from None
    console.print(f"{number} secrets now use the first of SECRET_KEYS; the other keys may be removed.")
