"""What our sessions and transactions do not take from the database, the role or the pooler.

A role may have any of these as a default (`alter role … set …`): a read-only or serializable
transaction cannot count, and a timeout made for requests ends a back-fill.
"""

from __future__ import annotations

from typing import Final

import asyncpg

SECONDS: Final = 60
"""A statement, and a transaction that is idle between two statements, may take so long."""
_TRANSACTION_TIMEOUT_SINCE: Final = 17
SETTINGS: Final = {
    "default_transaction_isolation": "'read committed'",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "statement_timeout": f"'{SECONDS}s'",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": f"'{SECONDS}s'",
    "search_path": "public",
}


async def configure(connection: asyncpg.Connection) -> None:
    """Set everything for a session that is ours until it ends."""
    settings = dict(SETTINGS)
    if connection.get_server_version().major >= _TRANSACTION_TIMEOUT_SINCE:
        settings["transaction_timeout"] = "0"
    await connection.execute("; ".join(f"set {name} = {to}" for name, to in settings.items()))


def begin(server_major: int) -> str:
    """The statements that begin a transaction, for a session that other clients of a pooler use
    too: everything is set until the transaction ends."""
    local = {
        name: to
        for name, to in SETTINGS.items()
        if not name.startswith("default_transaction_")  # too late for this transaction
    }
    if server_major >= _TRANSACTION_TIMEOUT_SINCE:
        local["transaction_timeout"] = "0"
    return "; ".join(
        [
            "begin isolation level read committed read write",
            *(f"set local {name} = {to}" for name, to in local.items()),
        ]
    )
