"""The maintainer: what it watches beside its chores."""

from __future__ import annotations

import asyncpg
from structlog.testing import capture_logs

from meshmetrics.counting.counter import quiet_counter
from meshmetrics.counting.maintainer import Maintainer
from meshmetrics.counting.source import SourceWatch
from meshmetrics.counting.store import CountingStore
from meshmetrics.runtime.telemetry import Telemetry
from tests.support import Workflow, eventually, insert_run
from tests.support.counting import working


async def test_runs_of_unknown_statuses_are_a_metric_of_bounded_size(
    owner: asyncpg.Connection, store: CountingStore, telemetry: Telemetry, workflow: Workflow
) -> None:
    await owner.execute("alter table workflow_runs drop constraint workflow_runs_status_check")
    for n in range(25):
        await insert_run(owner, workflow, f"odd{n:02}")
    await insert_run(owner, workflow, "odd07")

    def value(status: str) -> float | None:
        return telemetry.registry.get_sample_value(
            "meshmetrics_unknown_status_runs", {"status": status}
        )

    maintainer = Maintainer(
        store, quiet_counter(store, 10), SourceWatch(store), telemetry, interval=0.05, batch=10
    )
    with capture_logs() as logged:
        async with working(maintainer):
            await eventually(lambda: value("odd07") == 2)
            assert (value("odd00"), value("odd24"), value("other")) == (1, None, 5)
            await owner.execute("delete from workflow_runs")
            await eventually(lambda: value("odd07") is None)
            assert value("other") is None
    assert [line["event"] for line in logged].count("status.unknown") == 1


async def test_a_table_made_anew_is_noticed_while_the_daemon_works(
    owner: asyncpg.Connection, store: CountingStore, telemetry: Telemetry
) -> None:
    maintainer = Maintainer(
        store, quiet_counter(store, 10), SourceWatch(store), telemetry, interval=0.05, batch=10
    )
    with capture_logs() as logged:
        async with working(maintainer):
            await owner.execute(
                "begin; create table runs_anew (like workflow_runs including defaults);"
                "drop table workflow_runs cascade;"
                "alter table runs_anew rename to workflow_runs;"
                "alter table workflow_runs enable row level security; commit"
            )
            await eventually(lambda: [line for line in logged if line["event"] == "source.changed"])
    [line] = [line for line in logged if line["event"] == "source.changed"]
    assert len(line["flaws"]) == 2
    assert "meshmetrics migrate" in line["remedy"]
