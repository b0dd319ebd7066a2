-- Records that a project's rules could not be evaluated. It is tried again after 30 seconds, then after twice
-- as long each time, up to ten minutes.
create or replace function meshmetrics.record_alert_failure(
  of_project uuid,
  why text,
  out failures integer,
  out retry_in interval
)
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  insert into public.workflow_alert_failures as f (project_id, reason, since, failed_at, retry_at)
  values (
    of_project, left(why, 500), clock_timestamp(), clock_timestamp(),
    clock_timestamp() + interval '30 seconds'
  )
  on conflict (project_id) do update
  set reason = excluded.reason,
      failures = f.failures + 1,
      failed_at = excluded.failed_at,
      retry_at = excluded.failed_at
        + least(interval '30 seconds' * 2 ^ least(f.failures, 10), interval '10 minutes')
  returning f.failures, f.retry_at - f.failed_at;
$$;
