-- The preview of a rule on finished runs: evaluates it as of the end of each run, with the functions that
-- evaluate_alerts uses. What changes with time alone, such as a count of failures that falls, is
-- seen at the next run.
--
-- The runs that the daemon sees at one moment are those that finished until then, so runs that finished at the
-- same time are one moment. Of 60 days, so that at the beginning of the 30 days shown windows are full and
-- incidents are open.
create or replace function meshmetrics.alert_preview_runs(
  rule public.workflow_alert_rules,
  of_project uuid,
  max_runs integer
)
returns table (
  workflow_slug text,
  opened_at timestamptz,
  closed_at timestamptz,
  cause text,
  success_count bigint,
  failure_count bigint,
  runs bigint
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set jit = off
set plan_cache_mode = force_generic_plan -- of the statement for each workflow
as $$
declare
  shown_from constant timestamptz := now() - interval '30 days';
  win record;
  flow record;
begin
  select * into win from meshmetrics.alert_window(rule);
  -- A workflow's runs by time, in arrays. All numbers are numbers of runs, counted from the first.
  for flow in
    select
      m.slug,
      count(*)::integer as runs,
      array_agg(m.at order by m.n) as at,
      array_agg(m.n = m.until order by m.n) as is_moment,
      array_agg(m.successes order by m.n) as successes,
      array_agg(m.until - m.within order by m.n) as before_window,
      array_agg(m.last_success order by m.n) as last_success,
      array_agg(m.last_failure order by m.n) as last_failure
    from (
      select
        p.slug, p.at, p.n, p.until, p.within,
        (count(*) filter (where p.success) over upto)::integer as successes,
        coalesce(max(p.n) filter (where p.success) over upto, 0) as last_success,
        coalesce(max(p.until) filter (where not p.success) over upto, 0) as last_failure
      from (
        select
          o.slug, o.at, o.success,
          -- At one time failures come first: alert_measures takes the last runs in this order too.
          (row_number() over (partition by o.slug order by o.at, o.success))::integer as n,
          (count(*) over (partition by o.slug order by o.at))::integer as until,
          (
            count(*) over (
              partition by o.slug order by o.at range between win.width preceding and current row
            )
          )::integer as within
        from (
          select
            case when rule.scope = 'project' then '' else r.slug end as slug,
            r.finished_at as at, r.outcome = 'success' as success
          from meshmetrics.ended_runs(
            of_project, rule.workflow_slug, '{success,failure}', now() - interval '60 days', max_runs
          ) r
        ) o
      ) p
      window upto as (partition by p.slug order by p.n)
    ) m
    group by m.slug
    order by m.slug
  loop
    -- From each transition to the next, like the daemon from round to round.
    return query
    with recursive steps as (
      select
        0 as n, 'ok' as state, 0 as epoch, 0 as opened_until, false as opens, null::text as cause,
        0::bigint as successes, 0::bigint as failures
      union all
      select
        t.n, t.next_state, case when t.opens then s.epoch else t.n end,
        case when t.opens then t.n else s.opened_until end, t.opens, t.cause, t.successes, t.failures
      from steps s
      cross join lateral (
        select k.n, t.next_state, t.action = 'opened' as opens, t.cause, w.successes, w.failures
        from (select generate_series(s.n + 1, flow.runs) as n) k
        cross join lateral (
          select greatest(s.epoch, least(flow.before_window[k.n], k.n - win.last_runs)) as before
          offset 0
        ) b
        cross join lateral (
          select
            case when win.counted then c.successes::bigint else 0 end as successes,
            case when win.counted then (k.n - b.before - c.successes)::bigint else 0 end as failures,
            c.since_successes::bigint as since_successes,
            (k.n - s.opened_until - c.since_successes)::bigint as since_failures,
            least(k.n - flow.last_success[k.n], k.n - s.epoch) as failures_in_row,
            least(k.n - flow.last_failure[k.n], k.n - s.opened_until) as successes_in_row
          from (
            select
              flow.successes[k.n] - coalesce(flow.successes[b.before], 0) as successes,
              flow.successes[k.n] - coalesce(flow.successes[s.opened_until], 0) as since_successes
          ) c
          offset 0
        ) w
        cross join lateral (
          select v.verdict
          from meshmetrics.alert_verdict(rule, w.successes, w.failures, w.failures_in_row, null) v
          offset 0
        ) v
        cross join lateral meshmetrics.alert_recovered(
          rule, v.verdict, w.successes, w.failures, w.since_successes, w.since_failures,
          w.successes_in_row
        ) r
        cross join lateral meshmetrics.alert_transition(
          s.state, v.verdict, false, r.recovered, null, false, false
        ) t
        where flow.is_moment[k.n] and t.action is not null
        limit 1
      ) t
    )
    select
      flow.slug, flow.at[i.n], flow.at[i.closed_n], i.cause, i.successes, i.failures,
      flow.runs::bigint
    from (
      select s.*, lead(s.n) over (order by s.n) as closed_n from steps s
    ) i
    where i.opens and coalesce(flow.at[i.closed_n], 'infinity') > shown_from
    order by i.n;
  end loop;
end;
$$;
