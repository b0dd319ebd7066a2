-- Every status that is mapped or that a run has: its outcome (success, failure, canceled, open, or unknown
-- if it is not mapped) and how many runs have it.
create or replace function meshmetrics.statuses()
returns table (status text, outcome text, runs bigint)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
  select
    o.status, coalesce(o.outcome::text, 'open'),
    (select count(*) from public.workflow_runs r where r.status::text = o.status)
  from meshmetrics.status_outcomes o
  union all
  select u.status, 'unknown', u.runs from meshmetrics.unknown_statuses() u
  order by 1;
$$;
