-- Whether an incident with this cause was opened by the outcomes of finished runs, which can change later.
create or replace function meshmetrics.alert_cause_is_of_runs(cause text)
returns boolean
language sql
immutable
as $$
  select cause in ('rate', 'count', 'consecutive')
$$;
