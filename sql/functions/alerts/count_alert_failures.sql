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
