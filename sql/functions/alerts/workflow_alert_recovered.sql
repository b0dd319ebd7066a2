-- Whether an open incident may close. Either the window's rate is beyond the recovery threshold
-- (and min_runs runs finished since it opened), or enough runs in a row succeeded and the rate
-- since it opened is on the right side of the threshold. Closing needs more than not opening.
--
-- since_…: of the runs that finished after those it was opened for.
create or replace function public.workflow_alert_recovered(
  rule public.workflow_alert_rules,
  successes bigint,
  failures bigint,
  since_successes bigint,
  since_failures bigint,
  successes_in_row integer
)
returns boolean
language plpgsql
immutable
set search_path = pg_catalog, public, pg_temp
as $$
declare
  t constant double precision := rule.threshold;
  trials constant bigint := successes + failures;
  since_trials constant bigint := since_successes + since_failures;
  of_success constant boolean := rule.metric = 'success_rate';
  -- Watches for trouble; else for a fix.
  trouble constant boolean := of_success = (rule.comparison = 'below');
  goal double precision;
  rate double precision;
  since_rate double precision;
begin
  if rule.metric in ('no_runs', 'overdue_count', 'open_too_long') then
    return false; -- it closes as soon as it no longer breaks the rule: see evaluate_alerts
  end if;
  if rule.metric = 'consecutive_failures' then
    return successes_in_row >= rule.recovery_runs;
  end if;
  if rule.metric = 'failure_count' then
    if rule.comparison = 'above' then
      return failures <= coalesce(rule.recovery_threshold, floor(t / 2));
    end if;
    return failures >= coalesce(rule.recovery_threshold, t);
  end if;

  -- Half way from the threshold to where all is well; watching for a fix, half as far back.
  goal := coalesce(
    rule.recovery_threshold,
    case
      when of_success and trouble then (1 + t) / 2
      when of_success then greatest(0, t - (1 - t) / 2)
      when trouble then t / 2
      else least(1, t * 1.5)
    end
  );
  if trials >= rule.min_runs and since_trials >= rule.min_runs then
    rate := (case when of_success then successes else failures end)::double precision / trials;
    if (rule.comparison = 'below' and rate >= goal) or (rule.comparison = 'above' and rate <= goal) then
      return true;
    end if;
  end if;
  if not trouble or successes_in_row < rule.recovery_runs or since_trials = 0 then
    return false;
  end if;
  since_rate := (case when of_success then since_successes else since_failures end)::double precision
    / since_trials;
  return case rule.comparison when 'below' then since_rate >= t else since_rate <= t end;
end;
$$;
