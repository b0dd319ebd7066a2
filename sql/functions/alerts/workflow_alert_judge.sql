-- What a rule says of a window: ok, insufficient, pending (beyond the threshold, but it may be
-- chance), or why it breaks the rule: rate, count, consecutive; overdue and open, which depend on
-- open_value alone and on no window: see alert_measures. no_runs looks at no window either: ok.
--
-- method wilson: the 95 % bound of the rate has to be beyond the threshold, not the rate alone.
-- Failures in a row break a rule that watches for trouble whatever the rate, with fewer than
-- min_runs too.
create or replace function public.workflow_alert_judge(
  rule public.workflow_alert_rules,
  successes bigint,
  failures bigint,
  failures_in_row integer,
  open_value double precision default null
)
returns text
language plpgsql
immutable
set search_path = pg_catalog, public, pg_temp
as $$
declare
  trials constant bigint := successes + failures;
  hits constant bigint := case rule.metric when 'success_rate' then successes else failures end;
  rate double precision;
  bound double precision;
begin
  if rule.metric = 'no_runs' then
    return 'ok';
  end if;
  if rule.metric in ('overdue_count', 'open_too_long') then
    return case
      when open_value > rule.threshold
        then case rule.metric when 'overdue_count' then 'overdue' else 'open' end
      else 'ok'
    end;
  end if;
  if rule.metric = 'consecutive_failures' then
    return case
      when failures_in_row >= rule.consecutive then 'consecutive'
      when failures_in_row > 0 then 'pending'
      else 'ok'
    end;
  end if;
  if rule.metric = 'failure_count' then
    if rule.comparison = 'above' then
      return case when failures > rule.threshold then 'count' else 'ok' end;
    end if;
    return case
      when trials < rule.min_runs then 'insufficient'
      when failures < rule.threshold then 'count'
      else 'ok'
    end;
  end if;

  if rule.consecutive > 0 and failures_in_row >= rule.consecutive
    and (rule.metric = 'success_rate') = (rule.comparison = 'below')
  then
    return 'consecutive';
  end if;
  if trials < rule.min_runs then
    return 'insufficient';
  end if;
  rate := hits::double precision / trials;
  if (rule.comparison = 'below' and rate >= rule.threshold)
    or (rule.comparison = 'above' and rate <= rule.threshold)
  then
    return 'ok';
  end if;
  if rule.method = 'plain' then
    return 'rate';
  end if;
  if rule.comparison = 'below' then
    select w.high into bound from public.workflow_metrics_wilson(hits, trials) w;
    return case when bound < rule.threshold then 'rate' else 'pending' end;
  end if;
  select w.low into bound from public.workflow_metrics_wilson(hits, trials) w;
  return case when bound > rule.threshold then 'rate' else 'pending' end;
end;
$$;
