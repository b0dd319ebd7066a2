"""Secrets at rest: sealed with a key from the settings before they reach the database."""

from __future__ import annotations

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class SealError(Exception):
    """What was sealed cannot be opened: another key, or not sealed by us."""


class Seal:
    """Seals with the first key, opens with any of them: a new key is put before the old ones."""

    def __init__(self, keys: str) -> None:
        """`keys`: Fernet keys, commas between. Raises ValueError for anything else."""
        self._fernet = MultiFernet([Fernet(key.strip()) for key in keys.split(",")])

    def seal(self, text: str) -> str:
        """Encrypt it: only the key opens it."""
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """Raises SealError."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except (InvalidToken, ValueError):
            raise SealError("the channel's secrets were sealed with another key") from None
