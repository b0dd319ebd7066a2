-- The window of a rule: the runs that finished within `width` before the moment of evaluation, or the last
-- `last_runs` runs where those are more. Only rates extend their window to the last runs: a count of
-- failures is a count within the time. Neither reaches back to the state's epoch or before.
--
-- counted: whether the rule judges the window's counts; they are 0 for those that do not.
create or replace function meshmetrics.alert_window(rule public.workflow_alert_rules)
returns table (width interval, last_runs integer, counted boolean)
language sql
immutable
rows 1
as $$
  select
    make_interval(secs => (rule).window_seconds),
    case when (rule).metric in ('success_rate', 'failure_rate') then (rule).window_min_runs else 0 end,
    (rule).metric in ('success_rate', 'failure_rate', 'failure_count')
$$;
