-- When a rule would have opened and closed incidents in the last 30 days. `fields` has the columns of a rule; those
-- that are missing have their defaults. At most the max_runs runs that started last are evaluated, and 20,000 whatever a
-- caller says.
--
-- A rule on open runs has no rows: they have no history.
--
-- Definer, because tenants have no access to the mapping of statuses nor to the functions that the daemon
-- evaluates rules with: only for a project that user_project_ids() returns to the caller, which is what
-- every policy says.
create or replace function public.workflow_alert_preview(fields jsonb, of_project uuid, max_runs integer)
returns table (
  workflow_slug text,
  opened_at timestamptz,
  closed_at timestamptz,
  cause text,
  success_count bigint,
  failure_count bigint,
  runs bigint -- of the workflow, that were evaluated
)
language plpgsql
stable
security definer
set search_path = pg_catalog, public, pg_temp
set timezone = 'UTC'
set jit = off
as $$
declare
  defaults constant jsonb := '{
    "scope": "workflow", "metric": "success_rate", "comparison": "below", "threshold": 0.95,
    "window_seconds": 86400, "window_min_runs": 20, "min_runs": 5, "method": "wilson",
    "consecutive": 3, "recovery_runs": 10
  }';
  rule constant public.workflow_alert_rules :=
    jsonb_populate_record(null::public.workflow_alert_rules, defaults || fields);
begin
  max_runs := least(max_runs, 20000);
  if of_project in (select public.user_project_ids()) then
    return query
    select * from meshmetrics.alert_preview_runs(rule, of_project, max_runs)
    where rule.metric not in ('no_runs', 'overdue_count', 'open_too_long')
    union all
    select * from meshmetrics.alert_preview_silence(rule, of_project, max_runs)
    where rule.metric = 'no_runs';
  end if;
end;
$$;
