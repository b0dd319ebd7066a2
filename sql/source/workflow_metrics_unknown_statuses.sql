-- The statuses of the caller's runs that no outcome is mapped to, the 20 with the most runs, and how many runs have
-- each: counted to 1,000, as a page asks for it, and a renamed status may be that of millions.
--
-- Definer, because tenants have no access to the mapping: only runs of projects that user_project_ids() returns
-- to the caller are counted, which is what every policy says. As unknown_statuses goes through the index.
create or replace function public.workflow_metrics_unknown_statuses()
returns table (status text, runs integer)
language plpgsql
stable
security definer
set search_path = pg_catalog, public, pg_temp
set jit = off
as $$
declare
  mine constant uuid[] := array(select public.user_project_ids());
begin
  return query
  with recursive present (status) as (
    (select r.status from public.workflow_runs r order by r.status limit 1)
    union all
    select (
      select r.status from public.workflow_runs r where r.status > p.status order by r.status limit 1
    )
    from present p
    where p.status is not null
  )
  select p.status::text, c.runs
  from present p
  cross join lateral (
    select count(*)::integer as runs
    from (
      select from public.workflow_runs r
      where r.status = p.status and r.project_id = any (mine)
      limit 1000
    ) r
  ) c
  where p.status is not null
    and not exists (select from meshmetrics.status_outcomes o where o.status = p.status::text)
    and c.runs > 0
  order by 2 desc, 1
  limit 20;
end;
$$;
