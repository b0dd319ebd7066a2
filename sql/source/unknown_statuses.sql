-- The statuses of runs that no row of status_outcomes names, with how many runs have each.
--
-- One step in the engine's index on status for each status there is, whatever the number of runs.
create or replace function meshmetrics.unknown_statuses()
returns table (status text, runs bigint)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
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
  select p.status::text, (select count(*) from public.workflow_runs r where r.status = p.status)
  from present p
  where p.status is not null
    and not exists (select from meshmetrics.status_outcomes o where o.status = p.status::text);
$$;
