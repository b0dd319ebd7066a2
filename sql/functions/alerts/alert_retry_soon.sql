-- A member who changes the rules may have fixed them: try again soon, at most once in 30 seconds.
create or replace function meshmetrics.alert_retry_soon()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, public, pg_temp
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
