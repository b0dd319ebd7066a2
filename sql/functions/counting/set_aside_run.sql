-- Notes that the database refused to count a run, and why. It is tried again when its row changes, and with
-- growing pauses. Flaws that count_runs finds itself are noted there.
create or replace function meshmetrics.set_aside_run(run uuid, why text)
returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  insert into meshmetrics.set_aside_runs as a (run_id, workflow_id, reason, run_updated_at, retry_at)
  select r.id, r.workflow_id, left(why, 500), r.updated_at, clock_timestamp() + meshmetrics.set_aside_pause(1)
  from public.workflow_runs r
  where r.id = run
  on conflict (run_id) do update
  set reason = excluded.reason,
      run_updated_at = excluded.run_updated_at,
      attempts = a.attempts + 1,
      retry_at = clock_timestamp() + meshmetrics.set_aside_pause(a.attempts + 1);
$$;
