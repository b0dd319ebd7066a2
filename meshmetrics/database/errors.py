"""What an error of the database means. The only place that knows SQLSTATEs.

| kind | what to do |
|---|---|
| transient | wait, and make the same call again |
| data | the values of the call are at fault: the caller's, or those of a run |
| schema | a table, column, type or function is not as our SQL takes it to be |
| refused | user, password or database name: only the operator can help |
"""

from __future__ import annotations

import asyncpg

_TRANSIENT = frozenset({"08", "40", "53", "55", "57", "58"})
"""Classes: connection, rollback, resources, state (locks), operator intervention, system error."""
_READ_ONLY = "25006"
"""A server that was the primary until a failover."""
_DATA = frozenset({"22", "23"})
"""Classes: data exception, integrity constraint violation."""


def _state(error: BaseException) -> str:
    return (error.sqlstate or "") if isinstance(error, asyncpg.PostgresError) else ""


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed later although nothing in the data changes: connection and
    resource trouble, cancellation, conflicts, shutdowns."""
    if isinstance(error, asyncpg.PostgresError):
        state = _state(error)
        return (
            state[:2] in _TRANSIENT
            or state == _READ_ONLY
            # A cached plan is invalid after the engine altered a table. asyncpg drops it.
            or isinstance(error, asyncpg.InvalidCachedStatementError)
        )
    # InternalClientError: a connection that was cut in the middle of something.
    return isinstance(
        error, (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)
    )


def is_quota(error: BaseException) -> bool:
    """Whether a caller asked for more than a quota allows. PostgREST answers it with 429."""
    return _state(error) == "PT429"


def is_too_long(error: BaseException) -> bool:
    """Whether a timeout ended the call, ours or the database's: less work may fit into it."""
    return isinstance(error, (TimeoutError, asyncpg.QueryCanceledError))


def is_data_error(error: BaseException) -> bool:
    """Whether the values of the call are at fault. No error met while connecting is one."""
    return _state(error)[:2] in _DATA


def is_schema_error(error: BaseException) -> bool:
    """Whether a table, column, type or function is not as our SQL takes it to be: class 42 but for
    privileges, which do not belong to the schema."""
    return _state(error)[:2] == "42" and not is_forbidden(error)


def is_forbidden(error: BaseException) -> bool:
    """Whether the database's user lacks a privilege."""
    return isinstance(error, asyncpg.InsufficientPrivilegeError)


def is_unmigrated(error: BaseException) -> bool:
    """Whether our own schema or one of its functions is missing."""
    return isinstance(error, (asyncpg.UndefinedFunctionError, asyncpg.InvalidSchemaNameError))


def is_refused(error: BaseException) -> bool:
    """Whether the database refuses the login: wrong user or password, no such database."""
    return isinstance(
        error, (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
    )


def remedy(error: BaseException) -> str | None:
    """What the operator can do about an error that is no bug of ours and that waiting does not
    cure; None for any other."""
    if is_schema_error(error):
        return "run `meshmetrics doctor`: it names what changed in the database"
    if is_forbidden(error):
        return "make DATABASE_URL's user a member of meshmetrics_worker"
    return None
