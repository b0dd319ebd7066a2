-- The contents of a notice: the rule, the workflow, its measurements and those of the period before, the
-- version that the failures began with, and the last failed runs. Computed for transitions only. Slug and name
-- are for display: a tenant's may be of any length, so they are cut.
create or replace function meshmetrics.alert_notice(
  rule public.workflow_alert_rules,
  workflow_slug text,
  ids uuid[],
  kind text,
  incident_id uuid,
  opened_at timestamptz,
  as_of timestamptz,
  cause text,
  close_reason text,
  window_from timestamptz,
  successes bigint,
  failures bigint,
  last_finished_at timestamptz
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  bounds record;
  before record;
  failed jsonb;
  began record;
  called text;
begin
  select * into bounds from meshmetrics_parts.wilson_interval(successes, successes + failures);
  select * into before from meshmetrics.alert_count(
    ids, window_from - (as_of - window_from), window_from - interval '1 microsecond'
  );
  select coalesce(jsonb_agg(to_jsonb(l) order by l.finished_at desc), '[]') into failed
  from (
    select c.run_id, c.finished_at
    from meshmetrics.counted_runs c
    where c.workflow_id = any (ids) and c.outcome = 'failure' and c.finished_at >= window_from
    and c.finished_at <= as_of
    order by c.finished_at desc
    limit 5
  ) l;
  select c.workflow_id, d.version into began
  from meshmetrics.counted_runs c
  join public.workflow_definitions d on d.id = c.workflow_id
  where c.workflow_id = any (ids) and c.outcome = 'failure' and c.finished_at >= window_from
    and c.finished_at <= as_of
  order by c.finished_at
  limit 1;
  select left(d.name, 200) into called
  from public.workflow_definitions d
  where d.id = any (ids) and workflow_slug <> ''
  order by d.version desc
  limit 1;
  return jsonb_build_object(
    'kind', kind,
    'at', as_of,
    'project_id', rule.project_id,
    'incident_id', incident_id,
    'opened_at', opened_at,
    'seconds', extract(epoch from as_of - opened_at),
    'cause', cause,
    'close_reason', close_reason,
    'rule', jsonb_build_object(
      'id', rule.id, 'name', rule.name, 'severity', rule.severity, 'metric', rule.metric,
      'comparison', rule.comparison, 'threshold', rule.threshold,
      'window_seconds', rule.window_seconds, 'consecutive', rule.consecutive,
      'no_data_after_seconds', rule.no_data_after_seconds
    ),
    'workflow', case when workflow_slug <> '' then jsonb_build_object('slug', left(workflow_slug, 200), 'name', called) end,
    'measured', jsonb_build_object(
      'from', nullif(window_from, '-infinity'), 'to', as_of,
      'success_count', successes, 'failure_count', failures,
      'success_rate', successes::double precision / nullif(successes + failures, 0),
      'success_rate_low', bounds.low, 'success_rate_high', bounds.high,
      'last_finished_at', nullif(last_finished_at, '-infinity')
    ),
    'open', case
      when rule.metric in ('overdue_count', 'open_too_long') then (
        select jsonb_build_object(
          'open', coalesce(sum(c.open_count), 0), 'overdue', coalesce(sum(c.overdue_count), 0),
          'oldest_open_at', min(c.oldest_open_at)
        )
        from public.workflow_run_open_counts c
        where c.workflow_id = any (ids)
      )
    end,
    'previous', jsonb_build_object(
      'success_count', before.successes, 'failure_count', before.failures,
      'success_rate',
      before.successes::double precision / nullif(before.successes + before.failures, 0)
    ),
    'began_with', case
      when began.workflow_id is not null
        then jsonb_build_object('workflow_id', began.workflow_id, 'version', began.version)
    end,
    'failed_runs', failed
  );
end;
$$;
