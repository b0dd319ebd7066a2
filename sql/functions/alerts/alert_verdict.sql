-- How a rule judges its window: ok, insufficient (too few runs to judge), pending (beyond the threshold, but
-- perhaps by chance), or the cause of an incident (alert_is_cause.sql).
--
-- value: what rules without a window judge. no_runs: seconds since the last finished run;
-- overdue_count: overdue runs; open_too_long: the age of the oldest open run in seconds.
--
-- method wilson: not the rate but its 95 % bound must be beyond the threshold. Consecutive failures break
-- any rule that watches for failures, also with fewer than min_runs runs.
--
-- Inlined into its callers, like all functions here without `set`: a call costs nothing.
create or replace function meshmetrics.alert_verdict(
  rule public.workflow_alert_rules,
  successes bigint,
  failures bigint,
  consecutive_failures integer,
  value double precision
)
returns table (verdict text)
language sql
immutable
rows 1
as $$
  select case
    when (rule).metric = 'no_runs'
      then case when value >= (rule).no_data_after_seconds then 'no_data' else 'ok' end
    when (rule).metric = 'overdue_count'
      then case when value > (rule).threshold then 'overdue' else 'ok' end
    when (rule).metric = 'open_too_long'
      then case when value > (rule).threshold then 'open' else 'ok' end
    when (rule).metric = 'consecutive_failures' then case
      when consecutive_failures >= (rule).consecutive then 'consecutive'
      when consecutive_failures > 0 then 'pending'
      else 'ok'
    end
    when (rule).metric = 'failure_count' and (rule).comparison = 'above'
      then case when failures > (rule).threshold then 'count' else 'ok' end
    when (rule).metric = 'failure_count' then case
      when n.trials < (rule).min_runs then 'insufficient'
      when failures < (rule).threshold then 'count'
      else 'ok'
    end
    -- success_rate and failure_rate
    when (rule).consecutive > 0 and consecutive_failures >= (rule).consecutive
      and ((rule).metric = 'success_rate') = ((rule).comparison = 'below')
      then 'consecutive'
    when n.trials < (rule).min_runs then 'insufficient'
    when (rule).comparison = 'below' then case
      when n.hits::double precision / n.trials >= (rule).threshold then 'ok'
      when (rule).method = 'plain' then 'rate'
      when (select w.high from meshmetrics_parts.wilson_interval(n.hits, n.trials) w) < (rule).threshold
        then 'rate'
      else 'pending'
    end
    when n.hits::double precision / n.trials <= (rule).threshold then 'ok'
    when (rule).method = 'plain' then 'rate'
    when (select w.low from meshmetrics_parts.wilson_interval(n.hits, n.trials) w) > (rule).threshold
      then 'rate'
    else 'pending'
  end
  from (
    select
      successes + failures as trials,
      case (rule).metric when 'success_rate' then successes else failures end as hits
  ) n
$$;
