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
