-- How this engine says that a run failed: whether there are runs at all, whether any has a status that is a
-- failure, and whether the engine writes events, from which failures are taken otherwise (abandoned runs).
--
-- One step in the engine's index on status for each status there is, as in unknown_statuses.
create or replace function meshmetrics.engine_habits(
  out has_runs boolean,
  out writes_failures boolean,
  out writes_events boolean
)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
set enable_seqscan = off
as $$
  with recursive present (status) as (
    (select r.status from public.workflow_runs r order by r.status limit 1)
    union all
    select (
      select r.status from public.workflow_runs r where r.status > p.status order by r.status limit 1
    )
    from present p
    where p.status is not null
  )
  select
    exists (select from present p where p.status is not null),
    exists (
      select from present p
      join meshmetrics.status_outcomes o on o.status = p.status::text and o.outcome = 'failure'
    ),
    to_regclass('public.workflow_events') is not null;
$$;
