"""Commands and a daemon on tables that the engine altered: changes are named, nothing is lost."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from meshmetrics.auditing.store import AuditStore
from tests.commands.conftest import Command
from tests.daemon.conftest import World
from tests.support import eventually, insert_run

HARM = [
    (
        "alter table workflow_runs rename finished_at to completed_at",
        "public.workflow_runs has no column finished_at",
    ),
    (
        "alter table workflow_runs alter column finished_at type text using finished_at::text",
        "public.workflow_runs.finished_at is of type text",
    ),
    (
        "alter table workflow_runs rename status to state",
        "public.workflow_runs has no column status",
    ),
    (
        "alter table workflow_runs rename to runs",
        "the table public.workflow_runs is missing",
    ),
]


@pytest.mark.parametrize(("harm", "named"), HARM, ids=[named for _, named in HARM])
async def test_every_command_names_what_changed(
    world: World, command: Command, harm: str, named: str
) -> None:
    await world.owner.execute(harm)
    doctor = await command("doctor")
    assert (doctor.status, named in doctor.out) == (1, True), doctor
    verify = await command("verify", "--patience", "0")
    assert (verify.status, named in verify.err) == (1, True), verify


async def test_a_daemon_names_a_renamed_column_and_counts_all_once_it_is_back(
    world: World, audits: AuditStore
) -> None:
    async def insert() -> None:
        await insert_run(world.owner, world.workflow, "failed", finished_at=datetime.now(UTC))

    await insert()
    async with world.running() as running:
        await eventually(world.counted)
        with capture_logs() as logged:
            await world.owner.execute("alter table workflow_runs rename finished_at to ended_at")
            await world.owner.execute(
                "insert into workflow_runs (project_id, workflow_id, status, ended_at)"
                " values ($1, $2, 'succeeded', now())",
                world.workflow.project_id,
                world.workflow.id,
            )
            await eventually(lambda: named(logged), what="the column being named")
            await eventually(lambda: running.value("service_failures_total", service="counter"))
            assert (await running.get("/readyz")).status_code == 503
            await world.owner.execute("alter table workflow_runs rename ended_at to finished_at")
            await insert()
            await eventually(world.counted, 40)
    failures = [line for line in logged if line["event"] == "service.failed"]
    assert all("meshmetrics doctor" in line["remedy"] for line in failures), failures
    assert sum(line["event"] == "source.changed" for line in logged) == 1
    assert await world.owner.fetchval("select count(*) from meshmetrics.set_aside_runs") == 0


def named(logged: Sequence[MutableMapping[str, Any]]) -> bool:
    flaws = [line["flaws"] for line in logged if line["event"] == "source.changed"]
    return flaws == [("public.workflow_runs has no column finished_at",)]


async def test_everything_works_on_over_a_column_of_another_type(
    world: World, command: Command
) -> None:
    async with world.running():
        await insert_run(world.owner, world.workflow, "failed", finished_at=datetime.now(UTC))
        await eventually(world.counted)
        await world.owner.execute("alter table workflow_runs alter column status type varchar(20)")
        await insert_run(world.owner, world.workflow, "succeeded", finished_at=datetime.now(UTC))
        await eventually(world.counted)
        verified = await command("verify")
        assert (verified.status, "exact" in verified.out) == (0, True), verified
        assert (await command("statuses")).status == 0
