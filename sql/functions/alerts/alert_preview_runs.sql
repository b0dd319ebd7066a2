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
set plan_cache_mode = force_generic_plan -- one statement for each transition: planned once
as $$
declare
  shown_from constant timestamptz := now() - interval '30 days';
  width interval;
  last_runs integer;
  flow record;
  step record;
  state text;
  epoch integer; -- runs before the window's new beginning
  opened_until integer; -- runs until the open incident was opened
begin
  select w.width, w.last_runs into width, last_runs from meshmetrics.alert_window(rule) w;
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
              partition by o.slug order by o.at range between width preceding and current row
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
    workflow_slug := flow.slug;
    runs := flow.runs;
    opened_at := null;
    state := 'ok';
    epoch := 0;
    opened_until := 0;
    loop
      -- The next moment with a transition.
      select k.n, w.successes, w.failures, t.action, t.next_state, t.cause
      into step
      from (select generate_series(greatest(epoch, opened_until) + 1, flow.runs) as n) k
      cross join lateral (
        select greatest(epoch, least(flow.before_window[k.n], k.n - last_runs)) as before
        offset 0
      ) b
      cross join lateral (
        select
          s.successes::bigint as successes, (k.n - b.before - s.successes)::bigint as failures,
          s.since_successes::bigint as since_successes,
          (k.n - opened_until - s.since_successes)::bigint as since_failures,
          least(k.n - flow.last_success[k.n], k.n - epoch) as failures_in_row,
          least(k.n - flow.last_failure[k.n], k.n - opened_until) as successes_in_row
        from (
          select
            flow.successes[k.n] - coalesce(flow.successes[b.before], 0) as successes,
            flow.successes[k.n] - coalesce(flow.successes[opened_until], 0) as since_successes
        ) s
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
        state, v.verdict, false, r.recovered, null, false, false
      ) t
      where flow.is_moment[k.n] and t.action is not null
      limit 1;
      exit when not found;
      if step.cause is not null then
        opened_at := flow.at[step.n];
        opened_until := step.n;
        cause := step.cause;
        success_count := step.successes;
        failure_count := step.failures;
      else
        closed_at := flow.at[step.n];
        if closed_at > shown_from then
          return next;
        end if;
        opened_at := null;
        epoch := step.n;
      end if;
      state := step.next_state;
    end loop;
    if opened_at is not null then
      closed_at := null;
      return next;
    end if;
  end loop;
end;
$$;
