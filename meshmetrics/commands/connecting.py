"""The database, for a command that is run once: there and migrated, or a message that helps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from meshmetrics.auditing.store import AuditStore
from meshmetrics.database.pool import open_pool
from meshmetrics.database.store import is_schema_error, is_transient
from meshmetrics.runtime.logs import describe
from meshmetrics.settings.fields import Settings

CONNECTIONS = 3
RESTORE = (
    "`meshmetrics migrate` restores index and publication; a column that was renamed or retyped"
    " needs its old name or type, or a meshmetrics that knows the new one"
)
_REFUSED = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)


class CommandError(Exception):
    """The command cannot be carried out: what is wrong, and what helps. For the operator."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(f"{what}: {mend}")
        self.what = what
        self.mend = mend


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[AuditStore]:
    """The store, once it has answered.

    Raises CommandError, also where the connection is lost while it is in use.
    """
    dsn = settings.database_url.get_secret_value()
    pooler = settings.transaction_pooler
    try:
        async with open_pool(dsn, size=CONNECTIONS, transaction_pooler=pooler) as pool:
            store = AuditStore(pool, transaction_pooler=pooler)
            try:
                await store.condition()
                yield store
            except asyncpg.PostgresError as error:
                if flaws := await _flaws(store, error):
                    raise CommandError(
                        f"the engine's tables are not as meshmetrics reads them: {flaws}",
                        RESTORE,
                    ) from error
                raise
    except Exception as error:
        told = explain(error)
        if told is None:
            raise
        raise told from error


async def _flaws(store: AuditStore, error: asyncpg.PostgresError) -> str:
    """What changed in the engine's tables, where that may be what the error comes from."""
    if not is_schema_error(error):
        return ""
    try:
        return "; ".join(await store.source_flaws())
    except asyncpg.PostgresError:
        return ""  # the function is not there: our own schema is missing or older


def explain(error: Exception) -> CommandError | None:
    """What to tell the operator of a database that does not do what it should; None where that is
    for a traceback to say."""
    said = describe(error)
    if isinstance(error, (asyncpg.UndefinedFunctionError, asyncpg.InvalidSchemaNameError)):
        return CommandError(
            "the database is not migrated to this version", "run `meshmetrics migrate`"
        )
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return CommandError(
            f"DATABASE_URL's user may not do this ({said})",
            "make it a member of meshmetrics_worker",
        )
    if is_schema_error(error):
        return CommandError(
            f"our tables or functions are not as they were migrated ({said})",
            "run `meshmetrics migrate`",
        )
    if is_transient(error) or isinstance(error, _REFUSED):
        return CommandError(
            f"the database cannot be reached ({said})", "DATABASE_URL says where it is"
        )
    return None
