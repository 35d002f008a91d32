"""Secrets at rest: Fernet ciphertext under SECRET_KEYS. The first key encrypts, all decrypt."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from killsync.sso.errors import VaultError


def generate_key() -> str:
    """A new key for SECRET_KEYS."""
    return Fernet.generate_key().decode()


class Vault:
    """Encrypts and decrypts with the keys of the settings."""

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise VaultError("SECRET_KEYS is not set: run `killsync generate-key` and put its line into .env")
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def encrypt(self, secret: str) -> str:
        """The ciphertext of *secret*."""
        return self._fernet.encrypt(secret.encode()).decode()

    def decrypt(self, ciphertext: str) -> str:
        """The secret of *ciphertext*.

        Raises:
            VaultError: no key of SECRET_KEYS fits.
        """
        try:
            return self._fernet.decrypt(ciphertext.encode()).decode()
        except InvalidToken:
            raise VaultError(
                "a stored token cannot be decrypted with SECRET_KEYS: put the key it was encrypted with back "
                "(after the new one, separated by a comma)"
            ) from None

    def rotate(self, ciphertext: str) -> str:
        """The same secret under the first key.

        Raises:
            VaultError: no key of SECRET_KEYS fits.
        """
        try:
            return self._fernet.rotate(ciphertext.encode()).decode()
        except InvalidToken:
            raise VaultError("a stored token cannot be decrypted with SECRET_KEYS; nothing was changed") from None
