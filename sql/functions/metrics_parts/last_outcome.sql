-- When the last run of a workflow version with this outcome finished, until now: where its counters name a time to
-- come, because a run was written with a clock that is ahead.
--
-- Definer, because tenants have no access to the ledger: only versions of projects that user_project_ids()
-- returns to the caller are looked up.
create or replace function meshmetrics_parts.last_outcome(version_id uuid, of_outcome text)
returns timestamptz
language sql
stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
  select max(c.finished_at)
  from meshmetrics.counted_runs c
  join public.workflow_definitions d on d.id = c.workflow_id
  where c.workflow_id = version_id and c.outcome = of_outcome::meshmetrics.outcome
    and c.finished_at <= now()
    and d.project_id in (select public.user_project_ids());
$$;
