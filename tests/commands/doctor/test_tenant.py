"""doctor reads as a tenant: what fails there is named, and so is what differs from the ledger."""

from __future__ import annotations

import pytest

from meshmetrics.commands.doctor.check import Check
from meshmetrics.commands.doctor.examine import examine
from meshmetrics.counting.store import CountingStore
from tests.commands.conftest import Command
from tests.daemon.conftest import LOSE_PUBLIC, World
from tests.daemon.process import environment
from tests.support import finish_run, insert_run, make_project, make_workflow


@pytest.fixture(autouse=True)
def settings(world: World, login: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The world's settings in this process's environment, with a login that reads as tenants."""
    settings = world.settings(connect_timeout=0.5, database_url=login)
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
async def counted(world: World, store: CountingStore) -> None:
    """Two successes, a failure and a canceled run of one workflow, and one of another project."""
    stranger = await make_workflow(world.owner, await make_project(world.owner))
    runs = [await insert_run(world.owner, stranger)]
    await finish_run(world.owner, runs[0])
    for status in ("succeeded", "succeeded", "failed", "canceled"):
        runs.append(await insert_run(world.owner, world.workflow))
        await finish_run(world.owner, runs[-1], status)
    await store.count_runs(runs)


async def check_of(name: str) -> Check:
    return {check.name: check for check in await examine()}[name]


async def test_the_owner_of_the_newest_run_reads_what_the_ledger_holds(
    world: World, counted: None
) -> None:
    check = await check_of("tenants")
    assert (check.state, check.fix) == ("ok", "")
    assert str(world.workflow.project_id) in check.text
    assert "equals the ledger" in check.text


async def test_deleted_runs_that_were_retired_are_no_difference(
    world: World, store: CountingStore, counted: None
) -> None:
    await world.owner.execute("delete from public.workflow_runs where status = 'failed'")
    assert (await store.maintain(None, 1000)).retired_runs == 1
    assert (await check_of("tenants")).state == "ok"


async def test_functions_without_public_in_their_path_are_named_with_what_the_database_said(
    world: World, command: Command, login: str, counted: None
) -> None:
    await world.owner.execute(LOSE_PUBLIC)
    result = await command("doctor", "--json", DATABASE_URL=login)
    assert result.status == 1
    (check,) = [line for line in result.json["checks"] if line["check"] == "tenants"]
    assert check["state"] == "wrong"
    for what in ("the summary", "reading one workflow", "the rule preview"):
        assert f'{what} fails (UndefinedTableError: relation "projects"' in check["text"]
    assert "migrate --print" in check["fix"]


async def test_one_broken_function_is_named_alone(world: World, counted: None) -> None:
    await world.owner.execute(
        "alter function public.workflow_alert_preview(jsonb, uuid, integer)"
        " set search_path = pg_catalog, pg_temp"
    )
    check = await check_of("tenants")
    assert check.state == "wrong"
    assert "the rule preview fails" in check.text
    assert "the summary fails" not in check.text


async def test_numbers_that_differ_from_the_ledger_are_named(world: World, counted: None) -> None:
    await world.owner.execute(
        "update public.workflow_run_buckets set success_count = success_count + 5"
    )
    check = await check_of("tenants")
    assert check.state == "wrong"
    assert "shows 7 succeeded, 1 failed, 1 canceled" in check.text
    assert "the ledger holds 2 succeeded, 1 failed, 1 canceled" in check.text
    assert "verify" in check.fix


async def test_a_workflow_that_its_owner_cannot_see_is_named(world: World, counted: None) -> None:
    await world.owner.execute('drop policy "select own" on public.workflow_definitions')
    check = await check_of("tenants")
    assert check.state == "wrong"
    assert "one workflow is hidden from the owner of its project" in check.text


async def test_without_a_project_there_is_nothing_to_read(world: World) -> None:
    await world.owner.execute("delete from public.projects")
    check = await check_of("tenants")
    assert (check.state, check.text) == ("note", "there is no project yet, so nothing to read")


async def test_a_project_without_a_workflow_is_read_too(world: World) -> None:
    await world.owner.execute("delete from public.workflow_definitions")
    check = await check_of("tenants")
    assert check.state == "ok"
    assert "it has no workflow yet" in check.text


async def test_a_role_that_cannot_become_a_tenant_is_not_called_broken(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", world.database.worker_dsn)
    assert (await check_of("tenants")).state == "skipped"
    assert (await check_of("REST API")).state == "note"


async def test_an_engine_that_never_writes_failed_is_named_as_such(world: World) -> None:
    assert "failures" not in {check.name for check in await examine()}  # there is no run yet
    await finish_run(world.owner, await insert_run(world.owner, world.workflow))
    check = await check_of("failures")
    assert check.state == "note"
    assert check.text == (
        "this engine has never written `failed`: failures are read from events (abandoned runs)"
    )
    await world.owner.execute("drop table public.workflow_events")
    assert "no table workflow_events" in (await check_of("failures")).text
    await finish_run(world.owner, await insert_run(world.owner, world.workflow), "failed")
    assert (await check_of("failures")).state == "ok"
