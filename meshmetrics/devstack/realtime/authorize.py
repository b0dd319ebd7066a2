"""Who may read and write a private channel: the policies on realtime.messages decide.

As on the real server, a message is put into the table in a transaction that is always rolled back,
and the client's role tries to select it (to read) or to insert one (to write).
"""

from __future__ import annotations

import json
from typing import Any

import asyncpg

from meshmetrics.devstack.realtime.database import Connection, Database
from meshmetrics.devstack.realtime.visibility import TAKE_ROLE

_PROBE = """
insert into realtime.messages (topic, extension, event, payload, private)
values ($1, $2, 'probe', '{}', true)
"""
_REFUSALS = (asyncpg.SyntaxOrAccessError, asyncpg.DataError, asyncpg.RaiseError)


class Authorizer:
    """Asks Postgres what a client may do. Every method raises when Postgres is not there."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def may_read(self, claims: dict[str, Any], topic: str) -> bool:
        """Whether the client may join the private channel `topic` (without `realtime:`)."""
        async with self._database.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                probe = await connection.fetchval(_PROBE + " returning id", topic, "broadcast")
                await _become(connection, claims, topic)
                seen = await connection.fetchval(
                    "select 1 from realtime.messages where id = $1", probe
                )
            except _REFUSALS:
                return False
            finally:
                if not connection.is_closed():
                    await transaction.rollback()
            return seen is not None

    async def may_write(
        self, claims: dict[str, Any], topic: str, extension: str = "broadcast"
    ) -> bool:
        """Whether the client may send to the private channel `topic`."""
        async with self._database.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                await _become(connection, claims, topic)
                await connection.execute(_PROBE, topic, extension)
            except _REFUSALS:
                return False
            finally:
                if not connection.is_closed():
                    await transaction.rollback()
            return True


async def _become(connection: Connection, claims: dict[str, Any], topic: str) -> None:
    # The topic first: not every role may set what its session never had.
    await connection.execute("select set_config('realtime.topic', $1, true)", topic)
    await connection.execute(TAKE_ROLE, claims["role"], json.dumps(claims))
