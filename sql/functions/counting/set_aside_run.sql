-- Notes that a run cannot be counted, until its row changes. For what the database refused; flaws
-- that count_runs knows are set aside by itself.
create or replace function meshmetrics.set_aside_run(run uuid, why text)
returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  insert into meshmetrics.set_aside_runs (run_id, workflow_id, reason, run_updated_at)
  select r.id, r.workflow_id, left(why, 500), r.updated_at
  from public.workflow_runs r
  where r.id = run
  on conflict (run_id) do update
  set reason = excluded.reason, run_updated_at = excluded.run_updated_at;
$$;
