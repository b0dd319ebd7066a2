-- How often a rule would have opened in the last 30 days, and when: the runs that the caller may
-- see, one after the other, judged as the daemon judges them. `wanted` has the columns of a rule;
-- those that are missing are the defaults. At most the last most_runs runs are looked at.
--
-- Of open runs there is no history: a rule on those has no row here.
--
-- A window begins as the daemon's does; it looks at the moment of each run's end only, so that what
-- only time brings about (a count that falls) is seen at the next run.
create or replace function public.workflow_alert_preview(wanted jsonb, project uuid, most_runs integer)
returns table (
  workflow_slug text,
  opened_at timestamptz,
  closed_at timestamptz,
  cause text,
  success_count bigint,
  failure_count bigint,
  runs bigint -- that were looked at, of the workflow
)
language plpgsql
stable
set search_path = pg_catalog, public, pg_temp
set timezone = 'UTC'
as $$
#variable_conflict use_column
declare
  defaults constant jsonb := '{
    "scope": "workflow", "metric": "success_rate", "comparison": "below", "threshold": 0.95,
    "window_seconds": 86400, "window_min_runs": 20, "min_runs": 5, "method": "wilson",
    "consecutive": 3, "recovery_runs": 10
  }';
  rule public.workflow_alert_rules;
  began constant timestamptz := now() - interval '30 days';
  flow record;
  n integer; -- runs of the workflow
  first_in integer; -- index of the first in the window of time
  epoch_at integer; -- index of the last before the window's new beginning
  opened_index integer;
  fail_row integer;
  good_row integer;
  last_failure integer;
  lo integer;
  s bigint;
  f bigint;
  since_s bigint; -- after the run that it opened with
  since_f bigint;
  verdict text;
begin
  rule := jsonb_populate_record(null::public.workflow_alert_rules, defaults || wanted);
  if rule.metric in ('overdue_count', 'open_too_long') then
    return;
  end if;
  for flow in
    select
      case when rule.scope = 'project' then '' else r.slug end as slug,
      array_agg(r.at order by r.at, r.outcome desc) as at,
      array_agg((r.outcome = 'success')::integer order by r.at, r.outcome desc) as good
    from (
      select d.slug, coalesce(w.finished_at, w.updated_at) as at,
        case w.status when 'succeeded' then 'success' when 'failed' then 'failure' end as outcome
      from public.workflow_runs w
      join public.workflow_definitions d on d.id = w.workflow_id and d.project_id = w.project_id
      where w.project_id = project
        and w.status in ('succeeded', 'failed')
        and w.started_at > began - interval '30 days'
        and (rule.workflow_slug is null or d.slug = rule.workflow_slug)
      order by w.started_at desc
      limit most_runs
    ) r
    group by 1
    order by 1
  loop
    n := cardinality(flow.at);
    workflow_slug := flow.slug;
    runs := n;
    opened_at := null;
    opened_index := 0;
    epoch_at := 0;
    first_in := 1;
    fail_row := 0;
    good_row := 0;
    last_failure := 0;
    s := 0;
    f := 0;
    since_s := 0;
    since_f := 0;
    lo := 1;
    for i in 1..n loop
      if rule.metric = 'no_runs' then
        if i > 1 and flow.at[i] > began
          and flow.at[i] - flow.at[i - 1] >= make_interval(secs => rule.no_data_after_seconds)
        then
          opened_at := flow.at[i - 1] + make_interval(secs => rule.no_data_after_seconds);
          closed_at := flow.at[i];
          cause := 'no_data';
          success_count := 0;
          failure_count := 0;
          return next;
        end if;
        if i = n and now() - flow.at[i] >= make_interval(secs => rule.no_data_after_seconds) then
          opened_at := flow.at[i] + make_interval(secs => rule.no_data_after_seconds);
          closed_at := null;
          cause := 'no_data';
          success_count := 0;
          failure_count := 0;
          return next;
        end if;
        continue;
      end if;

      fail_row := case flow.good[i] when 0 then fail_row + 1 else 0 end;
      good_row := case flow.good[i] when 1 then good_row + 1 else 0 end;
      s := s + flow.good[i];
      f := f + 1 - flow.good[i];
      since_s := since_s + flow.good[i];
      since_f := since_f + 1 - flow.good[i];
      -- The window's beginning only ever moves on.
      while first_in <= i and flow.at[first_in] < flow.at[i] - make_interval(secs => rule.window_seconds) loop
        first_in := first_in + 1;
      end loop;
      while lo < greatest(
        epoch_at + 1,
        case
          when rule.metric in ('success_rate', 'failure_rate')
            then least(first_in, greatest(i - rule.window_min_runs + 1, 1))
          else first_in
        end
      ) loop
        s := s - flow.good[lo];
        f := f - 1 + flow.good[lo];
        lo := lo + 1;
      end loop;

      verdict := public.workflow_alert_judge(rule, s, f, least(fail_row, i - epoch_at));
      if opened_at is null then
        if verdict in ('rate', 'count', 'consecutive') then
          opened_at := flow.at[i];
          opened_index := i;
          since_s := 0;
          since_f := 0;
          cause := verdict;
          success_count := s;
          failure_count := f;
        end if;
      elsif public.workflow_alert_recovered(
        rule, s, f, since_s, since_f, least(good_row, i - opened_index)
      ) then
        closed_at := flow.at[i];
        if closed_at > began then
          return next;
        end if;
        opened_at := null;
        closed_at := null;
        epoch_at := i;
      end if;
    end loop;
    if opened_at is not null and rule.metric <> 'no_runs' then
      closed_at := null;
      return next;
    end if;
  end loop;
end;
$$;
