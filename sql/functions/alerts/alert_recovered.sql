-- Whether an open incident may close because the workflow recovered. Closing takes more than not opening, so
-- that an incident does not close and reopen with every run:
--
-- - rates: either the window's rate is beyond the recovery threshold and min_runs runs finished since the
--   incident opened, or recovery_runs runs in a row succeeded and the rate since then is on the right side of
--   the threshold;
-- - failure_count: the count is beyond its recovery threshold;
-- - consecutive_failures: recovery_runs runs in a row succeeded;
-- - all others: the verdict has stopped being a cause.
--
-- since_…: runs that finished after those the incident was opened for.
create or replace function meshmetrics.alert_recovered(
  rule public.workflow_alert_rules,
  verdict text,
  successes bigint,
  failures bigint,
  since_successes bigint,
  since_failures bigint,
  consecutive_successes integer
)
returns table (recovered boolean)
language sql
immutable
rows 1
as $$
  select case
    when (rule).metric in ('no_runs', 'overdue_count', 'open_too_long')
      then not meshmetrics.alert_is_cause(verdict)
    when (rule).metric = 'consecutive_failures' then consecutive_successes >= (rule).recovery_runs
    when (rule).metric = 'failure_count' and (rule).comparison = 'above'
      then failures <= coalesce((rule).recovery_threshold, floor((rule).threshold / 2))
    when (rule).metric = 'failure_count'
      then failures >= coalesce((rule).recovery_threshold, (rule).threshold)
    -- success_rate and failure_rate
    when successes + failures >= (rule).min_runs and n.since_trials >= (rule).min_runs
      and case (rule).comparison
        when 'below' then n.hits::double precision / (successes + failures) >= g.goal
        else n.hits::double precision / (successes + failures) <= g.goal
      end
      then true
    when not n.watches_failures or consecutive_successes < (rule).recovery_runs or n.since_trials = 0
      then false
    when (rule).comparison = 'below'
      then n.since_hits::double precision / n.since_trials >= (rule).threshold
    else n.since_hits::double precision / n.since_trials <= (rule).threshold
  end
  from (
    select
      since_successes + since_failures as since_trials,
      case (rule).metric when 'success_rate' then successes else failures end as hits,
      case (rule).metric when 'success_rate' then since_successes else since_failures end as since_hits,
      ((rule).metric = 'success_rate') = ((rule).comparison = 'below') as watches_failures
  ) n
  -- Half way from the threshold to a perfect rate; for a rule that watches for a fix, half as far back.
  cross join lateral (
    select coalesce(
      (rule).recovery_threshold,
      case
        when (rule).metric = 'success_rate' and n.watches_failures then (1 + (rule).threshold) / 2
        when (rule).metric = 'success_rate'
          then greatest(0, (rule).threshold - (1 - (rule).threshold) / 2)
        when n.watches_failures then (rule).threshold / 2
        else least(1, (rule).threshold * 1.5)
      end
    ) as goal
  ) g
$$;
