-- Whether this verdict opens an incident; it is the incident's cause then. The only list of causes, apart
-- from the check constraint of workflow_alert_incidents.
create or replace function meshmetrics.alert_is_cause(verdict text)
returns boolean
language sql
immutable
as $$
  select verdict in ('rate', 'count', 'consecutive', 'overdue', 'open', 'no_data')
$$;
