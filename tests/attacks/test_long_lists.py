"""500 rules on each of 300 workflows were an answer of 34 MB, and names of 5 MB one of 150 MB."""

from __future__ import annotations

import asyncpg
import pytest

from tests.api.conftest import Service, signed
from tests.attacks.conftest import assert_unharmed, figure
from tests.support import Project, make_workflow

RULES = "/api/alerts/rules"
MOST_BYTES = 2_000_000


@pytest.fixture
async def rules(owner: asyncpg.Connection, a: Project) -> None:
    """500 rules, each with 60 workflows; one of them fires."""
    await owner.execute(
        "insert into public.workflow_alert_rules (project_id, name)"
        " select $1, 'rule ' || n from generate_series(1, 500) n",
        a.id,
    )
    await owner.execute(
        "insert into public.workflow_alert_states"
        " (rule_id, workflow_slug, project_id, state, since, evaluated_at)"
        " select r.id, 'workflow-' || n, $1, case n when 60 then 'firing' else 'ok' end,"
        " now(), now() from public.workflow_alert_rules r, generate_series(1, 60) n",
        a.id,
    )


async def test_the_rules_are_listed_with_the_worst_of_their_states(
    service: Service, a: Project, b: Project, rules: None
) -> None:
    async def read_b() -> None:
        assert (await service.client.get(RULES, headers=signed(b.owner))).json() == []

    quiet = await figure(read_b)
    answer = await service.client.get(RULES, headers=signed(a.owner))
    assert_unharmed(quiet, await figure(read_b))
    assert len(answer.content) < MOST_BYTES
    found = answer.json()
    assert len(found) == 500
    assert sum(len(rule["states"]) for rule in found) == 2000
    assert all(rule["state_counts"] == {"firing": 1, "ok": 59} for rule in found)
    assert all(rule["states"][0]["workflow_slug"] == "workflow-60" for rule in found)


async def test_rules_and_states_come_in_pages(service: Service, a: Project, rules: None) -> None:
    headers = signed(a.owner)
    seen: list[str] = []
    while True:
        after = {"after": seen[-1]} if seen else {}
        page = await service.client.get(RULES, params={"limit": 200, **after}, headers=headers)
        seen += [rule["id"] for rule in page.json()]
        if len(page.json()) < 200:
            break
    assert len(seen) == len(set(seen)) == 500
    slugs: list[str] = []
    after = {}
    while True:
        page = await service.client.get(
            f"{RULES}/{seen[0]}/states", params={"limit": 25, **after}, headers=headers
        )
        slugs += [state["workflow_slug"] for state in page.json()["states"]]
        if page.json()["next"] is None:
            break
        after = {"after": page.json()["next"]}
    assert sorted(slugs) == sorted(f"workflow-{n}" for n in range(1, 61))


async def test_a_rules_states_are_its_members_alone(
    service: Service, a: Project, b: Project, rules: None
) -> None:
    (rule, *_) = (await service.client.get(RULES, headers=signed(a.owner))).json()
    answer = await service.client.get(f"{RULES}/{rule['id']}/states", headers=signed(b.owner))
    assert answer.status_code == 404


async def test_a_name_of_5_mb_is_cut_wherever_it_is_shown(
    service: Service, owner: asyncpg.Connection, a: Project
) -> None:
    for slug in ("one", "two", "three"):
        await make_workflow(owner, a, slug, name="n" * 5_000_000)
    await owner.execute("update public.projects set name = repeat('p', 5000000)")
    for path in (
        "/api/metrics/catalogue",
        "/api/metrics/workflows/summary?sort=name",
        "/api/metrics/workflows/export.csv",
    ):
        answer = await service.client.get(path, headers=signed(a.owner))
        assert answer.status_code == 200
        assert len(answer.content) < 10_000
        assert "n" * 200 in answer.text


async def test_slugs_of_any_length_page(
    service: Service, owner: asyncpg.Connection, a: Project
) -> None:
    for n in range(3):
        await make_workflow(owner, a, "s" * 2000 + str(n))
    summary = "/api/metrics/workflows/summary"
    params = {"sort": "slug", "limit": "1"}
    seen: list[str] = []
    for _ in range(4):
        answer = (await service.client.get(summary, params=params, headers=signed(a.owner))).json()
        seen += [row["slug"][-1] for row in answer["rows"]]
        if answer["next"] is None:
            break
        params["cursor"] = answer["next"]
    assert sorted(seen) == ["0", "1", "2"]
