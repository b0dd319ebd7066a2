"""The database that meshmetrics reads, created from scratch: Supabase's parts and MeshHook's."""

from pathlib import Path

import asyncpg

FILES = ("supabase.sql", "meshhook.sql")


async def create_source(connection: asyncpg.Connection) -> None:
    """Make roles, schemas and MeshHook's tables in an empty database, in one transaction."""
    async with connection.transaction():
        for name in FILES:
            await connection.execute(Path(__file__).with_name(name).read_text())
