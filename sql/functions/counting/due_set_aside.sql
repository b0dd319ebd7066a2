-- The runs set aside whose next attempt is due, max_runs at most, the longest due first.
create or replace function meshmetrics.due_set_aside(max_runs integer)
returns uuid[]
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(a.run_id), '{}')
  from (
    select s.run_id from meshmetrics.set_aside_runs s
    where s.retry_at <= now()
    order by s.retry_at
    limit max_runs
  ) a;
$$;
