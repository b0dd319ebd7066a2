"""The receipt, and the plain SQL of docs/verify-yourself.md that computes the same."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg

from meshmetrics.counting.store import CountingStore
from tests.commands.conftest import Command
from tests.daemon.conftest import World
from tests.sql.test_open_runs import event, old_run, settle
from tests.support import Project, insert_run, make_workflow

DOCUMENT = Path(__file__).parents[2] / "docs" / "verify-yourself.md"
COUNTS, ABANDONED = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(), re.S)
DAY = timedelta(days=1)


async def computed(owner: asyncpg.Connection, sql: str, receipt: str) -> list[asyncpg.Record]:
    """What the document's SQL answers; psql puts the receipt in as a literal, too."""
    text = receipt.replace("'", "''")
    return await owner.fetch(sql.replace(":'receipt'", f"'{text}'"))


async def test_the_documents_sql_computes_what_the_receipt_says(
    world: World, command: Command, store: CountingStore, tmp_path: Path
) -> None:
    owner, workflow = world.owner, world.workflow
    now = datetime.now(UTC)
    member = await owner.fetchval("select owner from public.projects")
    other = await make_workflow(owner, Project(workflow.project_id, member))
    await owner.execute("alter table workflow_runs drop constraint workflow_runs_status_check")
    await owner.execute("set timezone = 'Asia/Tokyo'")  # the reader's zone changes no hash
    runs: list[UUID] = []
    for index, status in enumerate(("succeeded", "failed", "canceled", "timed_out") * 3):
        at = now - timedelta(minutes=10 + index, microseconds=index)
        to = workflow if index < 8 else other
        runs.append(await insert_run(owner, to, status, finished_at=at))
    runs.append(await insert_run(owner, workflow, "succeeded", finished_at=now - 40 * DAY))
    runs.append(await insert_run(owner, workflow, "running"))
    abandoned = await old_run(owner, workflow)
    await event(owner, abandoned, "step_failed", timedelta(minutes=30))
    assert (await command("statuses", "map", "timed_out", "failure")).status == 0
    await store.count_runs(runs)
    assert await settle(store) == 1

    written = await command("verify", "--receipt", "r.json")
    assert (written.status, "13 runs" in written.out) == (0, True)
    text = (tmp_path / "r.json").read_text()
    receipt = json.loads(text)
    rows = await computed(owner, COUNTS, text)
    said = {
        w["workflow_id"]: (w["success"], w["failure"], w["canceled"], w["hash"])
        for w in receipt["workflows"]
    }
    found = {row["workflow_id"]: tuple(row)[1:] for row in rows}
    assert found.pop("all")[3] == receipt["hash"]
    assert found == said
    assert said[str(workflow.id)][:3] == (2, 5, 2)  # two of timed_out, and the abandoned one
    assert said[str(other.id)][:3] == (1, 2, 1)
    assert [a["run_id"] for a in receipt["abandoned"]] == [str(abandoned)]
    assert await computed(owner, ABANDONED, text) == []


async def test_a_count_that_is_wrong_has_another_hash(
    world: World, command: Command, store: CountingStore, tmp_path: Path
) -> None:
    at = datetime.now(UTC) - timedelta(minutes=5)
    runs = [await insert_run(world.owner, world.workflow, "failed", finished_at=at) for _ in "12"]
    await store.count_runs(runs)
    await world.owner.execute(
        "update meshmetrics.counted_runs set finished_at = finished_at - interval '1 microsecond'"
        " where run_id = $1",
        runs[0],
    )
    await command("verify", "--receipt", "r.json")
    text = (tmp_path / "r.json").read_text()
    (row, _) = await computed(world.owner, COUNTS, text)
    (said,) = json.loads(text)["workflows"]
    assert row["failure"] == said["failure"] == 2
    assert row["hash"] != said["hash"]


async def test_an_empty_period_is_refused(world: World, command: Command) -> None:
    period = ("--from", "2026-02-01", "--to", "2026-01-01")
    result = await command("verify", "--receipt", "r.json", *period)
    assert (result.status, "the period of the receipt is empty" in result.err) == (1, True)
