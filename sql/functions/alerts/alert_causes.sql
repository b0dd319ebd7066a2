-- Whether this verdict opens an incident; it is the incident's cause then. The only list of causes, apart
-- from the check constraint of workflow_alert_incidents.
create or replace function meshmetrics.alert_is_cause(verdict text)
returns boolean
language sql
immutable
as $$
  select verdict in ('rate', 'count', 'consecutive', 'overdue', 'open', 'no_data')
$$;

-- Whether an incident with this cause was opened by the outcomes of finished runs, which can change later.
create or replace function meshmetrics.alert_cause_is_of_runs(cause text)
returns boolean
language sql
immutable
as $$
  select cause in ('rate', 'count', 'consecutive')
$$;
