"""The rows of alerts as the caller: every statement in a transaction of the caller's role, so that
row-level security decides what there is, and column privileges what may be written."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
from pydantic import BaseModel

from meshmetrics.alerts.rule import State
from meshmetrics.api.alerts.rule_schemas import Rule, RuleFailure, RuleState
from meshmetrics.api.alerts.schemas import Channel, Delivery, Event, Incident
from meshmetrics.api.http.as_caller import Reader
from meshmetrics.api.http.auth import Caller
from meshmetrics.api.http.problems import Problem
from meshmetrics.database.errors import is_quota
from meshmetrics.database.store import Connection


def _list(model: type[BaseModel]) -> str:
    return ", ".join(name for name in model.model_fields if name not in ("states", "state_counts"))


RULES = "public.workflow_alert_rules"
CHANNELS = "public.workflow_alert_channels"
INCIDENTS = "public.workflow_alert_incidents"
DELIVERIES = "public.workflow_alert_deliveries"
COLUMNS = {
    RULES: _list(Rule),
    CHANNELS: _list(Channel),
    INCIDENTS: _list(Incident),
    DELIVERIES: _list(Delivery),
}
_TIMES = {INCIDENTS: "opened_at", DELIVERIES: "created_at"}
MISSING = "there is no such thing, or it is not yours"
PREVIEW_RUNS = 20_000
QUOTA_SECONDS = 900
"""When to come again after a quota of an hour is used up: it may be free by then."""
MAX_STATES = 2000
"""States in one answer, of all its rules together. A rule may have one for each workflow."""

_SHOWN = (
    "case when s.incident_id is not null and r.silenced_until > now() then 'silenced'"
    " else s.state end"
)
_STATE = (
    "s.workflow_slug, s.since, s.incident_id, s.success_count, s.failure_count,"
    " nullif(s.window_from, '-infinity') as window_from, s.evaluated_at,"
    f" {_SHOWN} as state"
)
_STATES = "public.workflow_alert_states s join public.workflow_alert_rules r on r.id = s.rule_id"
_RANK = (
    "s.incident_id is null, coalesce(array_position("
    "array['firing', 'flapping', 'recovering', 'no_data', 'pending', 'insufficient'], s.state), 9)"
)
"""Those with an incident first."""

# All names below are ours (COLUMNS and fields of our models): no text of a caller's is SQL.


class Rows:
    """One transaction of a caller."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def one(self, table: str, row_id: UUID) -> dict[str, Any]:
        """A row. Raises Problem (404)."""
        row = await self._connection.fetchrow(
            f"select {COLUMNS[table]} from {table} where id = $1",  # noqa: S608
            row_id,
        )
        return _found(row)

    async def oldest(
        self, table: str, project_id: UUID | None, limit: int, after: UUID | None
    ) -> list[dict[str, Any]]:
        """Rows of a project or of every one, oldest first, behind another one."""
        rows = await self._connection.fetch(
            f"select {COLUMNS[table]} from {table}"  # noqa: S608
            " where ($1::uuid is null or project_id = $1)"
            f" and ($3::uuid is null or (created_at, id) > (select created_at, id from {table}"
            " where id = $3)) order by created_at, id limit $2",
            project_id,
            limit,
            after,
        )
        return [dict(row) for row in rows]

    async def page(
        self, table: str, filters: Mapping[str, Any], limit: int, after: UUID | None
    ) -> list[dict[str, Any]]:
        """Rows behind another one, newest first; one more than `limit`, if there is one.

        `filters`: conditions with a `?` for their value; None is left out."""
        time = _TIMES[table]
        conditions, values = ["true"], []
        for condition, value in filters.items():
            if value is not None:
                values.append(value)
                conditions.append(condition.replace("?", f"${len(values)}"))
        if after is not None:
            values.append(after)
            conditions.append(
                f"({time}, id) < (select {time}, id from {table} where id = ${len(values)})"  # noqa: S608
            )
        rows = await self._connection.fetch(
            f"select {COLUMNS[table]} from {table} where {' and '.join(conditions)}"  # noqa: S608
            f" order by {time} desc, id desc limit {limit + 1:d}",
            *values,
        )
        return [_decoded(row) for row in rows]

    async def add(self, table: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Insert a row. Raises Problem (404) where the project is not the caller's."""
        names = list(values)
        places = ", ".join(f"${n}" for n in range(1, len(names) + 1))
        row = await self._connection.fetchrow(
            f"insert into {table} ({', '.join(names)}) values ({places})"  # noqa: S608
            f" returning {COLUMNS[table]}",
            *values.values(),
        )
        return _found(row)

    async def change(
        self, table: str, row_id: UUID, values: Mapping[str, Any], only: str = "true"
    ) -> dict[str, Any]:
        """Update a row. Raises Problem: 404; 409 where it is there and not as `only` says."""
        if not values:
            return await self.one(table, row_id)
        names = ", ".join(f"{name} = ${n}" for n, name in enumerate(values, 2))
        row = await self._connection.fetchrow(
            f"update {table} set {names} where id = $1 and {only}"  # noqa: S608
            f" returning {COLUMNS[table]}",
            row_id,
            *values.values(),
        )
        if row is None:
            await self.one(table, row_id)
            raise Problem(409, f"it is not in a state for this: {only}")
        return _decoded(row)

    async def remove(self, table: str, row_id: UUID) -> None:
        """Delete a row. Raises Problem (404)."""
        done = await self._connection.execute(
            f"delete from {table} where id = $1",  # noqa: S608
            row_id,
        )
        if done == "DELETE 0":
            raise Problem(404, MISSING)

    async def states(self, rule_ids: Sequence[UUID]) -> dict[UUID, list[RuleState]]:
        """How rules stand, the worst states first; at most MAX_STATES of all together. Firing while
        silenced is `silenced`."""
        rows = await self._connection.fetch(
            f"select rule_id, {_STATE} from {_STATES} where s.rule_id = any($1)"  # noqa: S608
            f" order by {_RANK}, s.rule_id, s.workflow_slug limit {MAX_STATES:d}",
            list(rule_ids),
        )
        found: dict[UUID, list[RuleState]] = {}
        for row in rows:
            found.setdefault(row["rule_id"], []).append(RuleState(**dict(row)))
        return found

    async def state_counts(self, rule_ids: Sequence[UUID]) -> dict[UUID, dict[State, int]]:
        """With how many workflows each rule is in which state."""
        rows = await self._connection.fetch(
            f"select rule_id, {_SHOWN} as state, count(*) as workflows from {_STATES}"  # noqa: S608
            " where s.rule_id = any($1) group by 1, 2",
            list(rule_ids),
        )
        found: dict[UUID, dict[State, int]] = {}
        for row in rows:
            found.setdefault(row["rule_id"], {})[row["state"]] = row["workflows"]
        return found

    async def states_of(self, rule_id: UUID, limit: int, after: str | None) -> list[RuleState]:
        """A page of a rule's states, by workflow."""
        rows = await self._connection.fetch(
            f"select {_STATE} from {_STATES} where s.rule_id = $1"  # noqa: S608
            ' and ($3::text is null or s.workflow_slug collate "C" > $3)'
            ' order by s.workflow_slug collate "C" limit $2',
            rule_id,
            limit,
            after,
        )
        return [RuleState(**dict(row)) for row in rows]

    async def events(self, incident_id: UUID) -> list[Event]:
        """The history of an incident."""
        rows = await self._connection.fetch(
            f"select {_list(Event)} from public.workflow_alert_events"  # noqa: S608
            " where incident_id = $1 order by id limit 1000",
            incident_id,
        )
        return [Event(**dict(row)) for row in rows]

    async def failures(self, project_id: UUID | None) -> list[RuleFailure]:
        """Projects whose rules cannot be evaluated."""
        rows = await self._connection.fetch(
            f"select {_list(RuleFailure)} from public.workflow_alert_failures"  # noqa: S608
            " where $1::uuid is null or project_id = $1 order by since, project_id limit 200",
            project_id,
        )
        return [RuleFailure(**dict(row)) for row in rows]

    async def preview(self, project_id: UUID, rule: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What a rule would have done. Raises Problem (404) for a project that is not there."""
        known = await self._connection.fetchval(
            "select $1 in (select public.user_project_ids())", project_id
        )
        if not known:
            raise Problem(404, MISSING)
        rows = await self._connection.fetch(
            "select * from public.workflow_alert_preview($1, $2, $3)",
            json.dumps(rule, default=str),
            project_id,
            PREVIEW_RUNS,
        )
        return [dict(row) for row in rows]


@asynccontextmanager
async def rows_of(reader: Reader, caller: Caller) -> AsyncIterator[Rows]:
    """A transaction of the caller that may write. Raises Problem for what is refused."""
    async with reader.writing(caller) as connection:
        try:
            yield Rows(connection)
        except (asyncpg.InsufficientPrivilegeError, asyncpg.ForeignKeyViolationError):
            raise Problem(404, MISSING) from None
        except asyncpg.ProgramLimitExceededError as error:
            raise Problem(409, str(error.args[0])) from None
        except (asyncpg.CheckViolationError, asyncpg.DataError) as error:
            name = getattr(error, "constraint_name", None) or "a value"
            raise Problem(422, f"the database does not take this: {name}") from None
        except asyncpg.PostgresError as error:
            if is_quota(error):
                headers = {"Retry-After": str(QUOTA_SECONDS)}
                raise Problem(429, str(error.args[0]), headers=headers) from None
            raise


def _decoded(row: asyncpg.Record) -> dict[str, Any]:
    found = dict(row)
    if "notice" in found:
        found["notice"] = json.loads(found["notice"])
    return found


def _found(row: asyncpg.Record | None) -> dict[str, Any]:
    if row is None:
        raise Problem(404, MISSING)
    return _decoded(row)
