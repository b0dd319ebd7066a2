"""Classifies database errors. No other module knows SQLSTATEs.

| kind | what to do |
|---|---|
| transient | retry the same call later |
| data | report the values: the caller's, or those of a run, are at fault |
| schema | report it: a table, column, type or function differs from what our SQL expects |
| refused | report it: only the operator can fix user, password or database name |
"""

from __future__ import annotations

import asyncpg

_TRANSIENT = frozenset({"08", "40", "53", "55", "57", "58"})
"""Classes: connection, rollback, resources, state (locks), operator intervention, system error."""
_READ_ONLY = "25006"
"""A former primary after a failover."""
_TOO_MUCH = frozenset({"53200", "53400"})
"""Out of memory, and beyond a configured limit such as temp_file_limit."""
_DATA = frozenset({"22", "23"})
"""Classes: data exception, integrity constraint violation."""


def _state(error: BaseException) -> str:
    return (error.sqlstate or "") if isinstance(error, asyncpg.PostgresError) else ""


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed later with the same data: connection and resource errors,
    cancellation, conflicts, shutdowns."""
    if isinstance(error, asyncpg.PostgresError):
        state = _state(error)
        return (
            state[:2] in _TRANSIENT
            or state == _READ_ONLY
            # The engine altered a table, so a cached plan is invalid. asyncpg drops it.
            or isinstance(error, asyncpg.InvalidCachedStatementError)
        )
    # InternalClientError: the connection broke during a call.
    return isinstance(
        error, (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)
    )


def is_of_the_work(error: BaseException) -> bool:
    """Whether what the call was to do is at fault, rather than the connection, the schema or the
    server: a part of it, or other work, may succeed at once."""
    return is_too_long(error) or (
        isinstance(error, asyncpg.PostgresError)
        and (not is_transient(error) or _state(error) in _TOO_MUCH)
        and not is_schema_error(error)
        and not is_forbidden(error)
    )


def is_quota(error: BaseException) -> bool:
    """Whether a caller asked for more than a quota allows. PostgREST answers it with 429."""
    return _state(error) == "PT429"


def is_too_long(error: BaseException) -> bool:
    """Whether a timeout ended the call, ours or the database's: less work may fit into it."""
    return isinstance(error, (TimeoutError, asyncpg.QueryCanceledError))


def is_data_error(error: BaseException) -> bool:
    """Whether the values of the call are at fault. Errors while connecting never are."""
    return _state(error)[:2] in _DATA


def is_schema_error(error: BaseException) -> bool:
    """Whether a table, column, type or function differs from what our SQL expects: class 42 except
    missing privileges."""
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
    """The fix for an error that is not a bug of ours and that waiting does not fix; None for any
    other."""
    if is_schema_error(error):
        return "run `meshmetrics doctor`: it names what changed in the database"
    if is_forbidden(error):
        return "make DATABASE_URL's user a member of meshmetrics_worker"
    return None
