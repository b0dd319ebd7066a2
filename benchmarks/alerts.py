"""Row "alerts": one round over 10,000 rules on 2,000 workflows, all of which changed."""

from __future__ import annotations

import time

from benchmarks.figures import Figure, at_most
from benchmarks.stack import database, insert_finished
from meshmetrics.database import open_pool
from meshmetrics.store_alerts import AlertStore

ROW = "alerts"
WORKFLOWS = 2000
RULES_EACH = 5
ROUNDS = 7


async def measure(*, quick: bool = False) -> list[Figure]:
    runs = 100_000 if quick else 400_000
    async with (
        database(workflows=WORKFLOWS) as stack,
        open_pool(stack.dsn, size=2, transaction_pooler=False) as pool,
    ):
        await insert_finished(stack.owner, runs, days=7)
        ids = [row["id"] for row in await stack.owner.fetch("select id from workflow_runs")]
        for n in range(0, len(ids), 20_000):
            await stack.store.count_runs(ids[n : n + 20_000])
        await stack.owner.execute("alter table workflow_alert_rules disable trigger user")
        await stack.owner.execute(
            "insert into workflow_alert_rules"
            " (project_id, name, workflow_slug, threshold, window_seconds)"
            " select project_id, 'r', slug, 0.8, (array[3600, 21600, 86400, 86400, 604800])[k]"
            " from workflow_definitions, generate_series(1, $1::integer) k",
            RULES_EACH,
        )
        await stack.owner.execute("vacuum analyze")
        store = AlertStore(pool)
        await store.evaluate_alerts(None)  # makes the states
        times = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            found = await store.evaluate_alerts(None)
            times.append(time.perf_counter() - began)
            if found.evaluated != WORKFLOWS * RULES_EACH:
                raise RuntimeError(f"{found.evaluated} rules were looked at")
    median = sorted(times)[len(times) // 2]
    return [at_most(ROW, "a round, 10,000 rules", median * 1000, 250, "ms")]
