"""What the catalogue says of us: row-level security, search paths, definers, privileges."""

from __future__ import annotations

import os
import re
from pathlib import Path

import asyncpg
import pytest

FUNCTION_FILES = Path(__file__).parents[2] / "sql" / "functions"
GOLDEN = Path(__file__).with_name("privileges.golden.txt")

# Functions that run as their owner: the worker's whole reach. A new one is a decision.
DEFINERS = {
    "abandoned_evidence",
    "account",
    "admit_mail",
    "advance_checkpoint",
    "alert_projects",
    "alert_retry_soon",
    "alert_quota",
    "audit",
    "audit_project",
    "audit_runs",
    "audit_slices",
    "audit_workflow",
    "changed_since",
    "claim_acknowledgements",
    "claim_alert_messages",
    "clear_alert_failure",
    "condition",
    "count_alert_failures",
    "confirm_mail",
    "count_open_runs",
    "count_runs",
    "counted_totals",
    "due_set_aside",
    "engine_habits",
    "estimate_runs",
    "evaluate_alerts",
    "find_abandoned",
    "finish_alert_message",
    "follow_workflows",
    "forget_workflows",
    "last_audit",
    "maintain",
    "maintain_alerts",
    "map_status",
    "note_mail",
    "oldest_transaction",
    "read_checkpoint",
    "record_alert_failure",
    "record_audit",
    "refresh_deadlines",
    "release_alert_message",
    "release_lease",
    "receipt",
    "repair_effect",
    "repair_project",
    "repair_workflow",
    "retry_set_aside",
    "runs_of_status",
    "set_aside_run",
    "settle_abandoned",
    "settled_until",
    "source_flaws",
    "statuses",
    "stream_slot_active",
    "take_lease",
    "tenant_sample",
    "transactions_seen",
    "uncounted_runs",
    "unknown_statuses",
    "unsettled_since",
    "unsubscribe_mail",
    "workflow_alert_preview",
    "last_outcome",
    "workflow_metrics_recent",
    "workflow_metrics_unknown_statuses",
}

# Inlined into their callers, which a setting of their own would prevent; every name in them is
# qualified, and they run in their caller's path.
INLINED = {
    "alert_cause_is_of_runs",
    "alert_is_cause",
    "alert_recovered",
    "alert_reopenable",
    "alert_transition",
    "alert_verdict",
    "alert_window",
    "ended_runs",
    "run_states",
    "uncounted",
}

OURS = """
  (n.nspname = 'meshmetrics'
   or (n.nspname = 'public' and c.relname ~ '^workflow_(run|alert)_'))
"""

# A function is ours when its schema is, or when no table of MeshHook's came with it.
FUNCTIONS = """
select p.oid, p.oid::regprocedure::text as name, p.proname, p.prosecdef, p.proconfig, p.proacl,
  has_function_privilege('authenticated', p.oid, 'execute')
  or exists (
    select from pg_trigger t
    where t.tgfoid = p.oid
      and has_any_column_privilege('authenticated', t.tgrelid, 'insert, update')
  ) as tenants
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname in ('meshmetrics', 'meshmetrics_parts')
  or (n.nspname = 'public' and p.proname like 'workflow\\_%')
"""

PRIVILEGES = f"""
select format('%s %s: %s %s', kind, name,
              case grantee when 0 then 'public' else pg_get_userbyid(grantee) end,
              string_agg(privilege_type, ', ' order by privilege_type)) as line
from (
  select 'table' as kind, c.oid::regclass::text as name, a.grantee, a.privilege_type, c.relowner
  from pg_class c join pg_namespace n on n.oid = c.relnamespace,
       aclexplode(coalesce(c.relacl, acldefault(
         case c.relkind when 'S' then 's'::"char" else 'r' end, c.relowner))) a
  where {OURS} and c.relkind in ('r', 'v', 'p', 'S')
  union all
  select 'column', c.oid::regclass::text || '.' || t.attname, a.grantee, a.privilege_type,
         c.relowner
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute t on t.attrelid = c.oid,
       aclexplode(t.attacl) a
  where {OURS} and c.relkind in ('r', 'v', 'p') and not t.attisdropped
  union all
  select 'function', p.oid::regprocedure::text, a.grantee, a.privilege_type, p.proowner
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace,
       aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
  where n.nspname in ('meshmetrics', 'meshmetrics_parts')
  or (n.nspname = 'public' and p.proname like 'workflow\\_%')
  union all
  select 'schema', n.nspname, a.grantee, a.privilege_type, n.nspowner
  from pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
  where n.nspname in ('meshmetrics', 'meshmetrics_parts')
) granted (kind, name, grantee, privilege_type, owner)
where grantee <> owner
group by kind, name, grantee
order by 1
"""


async def test_row_level_security_is_on_everywhere(owner: asyncpg.Connection) -> None:
    tables = await owner.fetch(
        "select c.oid::regclass::text as name, c.relrowsecurity from pg_class c"
        f" join pg_namespace n on n.oid = c.relnamespace where {OURS} and c.relkind in ('r', 'p')"
    )
    assert len(tables) >= 10
    assert [t["name"] for t in tables if not t["relrowsecurity"]] == []


async def test_no_view_of_ours_stands_on_the_engines_tables(owner: asyncpg.Connection) -> None:
    """A view would keep the engine from altering its columns, and would read past row security."""
    views = await owner.fetch(
        "select c.oid::regclass::text as name from pg_class c"
        f" join pg_namespace n on n.oid = c.relnamespace where {OURS} and c.relkind in ('v', 'm')"
    )
    assert [v["name"] for v in views] == []


async def test_every_function_pins_its_search_path(owner: asyncpg.Connection) -> None:
    """With public in it wherever a tenant may be the caller: MeshHook's user_project_ids(), which
    every policy calls, names `projects` without a schema."""
    functions = await owner.fetch(FUNCTIONS)
    assert len(functions) >= 12
    for function in functions:
        if function["proname"] in INLINED:
            assert function["proconfig"] is None, function["name"]
            continue
        path = "pg_catalog, public, pg_temp" if function["tenants"] else "pg_catalog, pg_temp"
        assert f"search_path={path}" in (function["proconfig"] or []), function["name"]


async def test_the_public_executes_nothing(owner: asyncpg.Connection) -> None:
    executable = [
        f["name"]
        for f in await owner.fetch(FUNCTIONS)
        if await owner.fetchval(
            "select has_function_privilege('anon', $1::oid, 'execute')"
            " or exists (select from pg_proc p, aclexplode(coalesce(p.proacl,"
            "   acldefault('f', p.proowner))) a where p.oid = $1 and a.grantee = 0)",
            f["oid"],
        )
    ]
    assert executable == []


async def test_only_the_functions_listed_here_run_as_their_owner(
    owner: asyncpg.Connection,
) -> None:
    functions = await owner.fetch(FUNCTIONS)
    assert {f["proname"] for f in functions if f["prosecdef"]} == DEFINERS


@pytest.mark.generates
async def test_the_privileges_are_the_ones_of_the_golden_file(owner: asyncpg.Connection) -> None:
    """MESHMETRICS_TEST_WRITE_GOLDEN=1 writes it anew: read the difference before committing it."""
    lines = [row["line"] for row in await owner.fetch(PRIVILEGES)]
    # MAINTAIN came with Postgres 17; nobody is granted it by us.
    text = "\n".join(line.replace("MAINTAIN, ", "") for line in lines) + "\n"
    if os.environ.get("MESHMETRICS_TEST_WRITE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


async def test_the_engines_tables_carry_no_trigger_and_one_index_of_ours(
    owner: asyncpg.Connection,
) -> None:
    triggers = await owner.fetch(
        "select tgname from pg_trigger t join pg_proc p on p.oid = t.tgfoid"
        " where tgrelid = 'public.workflow_runs'::regclass"
        " and p.pronamespace = 'meshmetrics'::regnamespace"
    )
    assert triggers == []
    names = {
        row["name"]
        for row in await owner.fetch(
            "select indexrelid::regclass::text as name from pg_index"
            " where indrelid = 'public.workflow_runs'::regclass"
        )
    }
    assert "workflow_runs_updated_at_id" in names
    assert len(names) == 6  # MeshHook's five and ours


@pytest.mark.parametrize("path", sorted(FUNCTION_FILES.rglob("*.sql")), ids=lambda path: path.stem)
def test_a_file_defines_one_function_and_has_its_name(path: Path) -> None:
    assert re.findall(r"^create or replace function \w+\.(\w+)", path.read_text(), re.M) == [
        path.stem
    ]
