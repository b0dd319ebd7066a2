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

-- The project's rules were evaluated. Returns whether they had failed before.
create or replace function meshmetrics.clear_alert_failure(of_project uuid)
returns boolean
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  with cleared as (
    delete from public.workflow_alert_failures f where f.project_id = of_project returning 1
  )
  select exists (select from cleared);
$$;

-- How many projects' rules cannot be evaluated.
create or replace function meshmetrics.count_alert_failures()
returns bigint
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  select count(*)
  from public.workflow_alert_failures f
  where exists (
    select from public.workflow_alert_rules r where r.project_id = f.project_id and r.enabled
  );
$$;

-- A member who changes the rules may have fixed them: try again soon, at most once in 30 seconds.
create or replace function meshmetrics.alert_retry_soon()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  update public.workflow_alert_failures f
  set retry_at = least(f.retry_at, f.failed_at + interval '30 seconds')
  where f.project_id = coalesce(new.project_id, old.project_id);
  return null;
end;
$$;

create or replace trigger retry_soon
after insert or update or delete on public.workflow_alert_rules
for each row execute function meshmetrics.alert_retry_soon();
