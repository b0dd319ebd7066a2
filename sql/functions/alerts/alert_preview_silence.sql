-- The preview of a no_runs rule: each time without an ended run that it calls no_data. It opens when the time
-- is up, and the next run closes it.
create or replace function meshmetrics.alert_preview_silence(
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
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select
    g.slug, g.at + make_interval(secs => (rule).no_data_after_seconds), g.next_at, v.verdict,
    0::bigint, 0::bigint, g.runs
  from (
    select
      s.slug, r.finished_at as at, count(*) over (partition by s.slug) as runs,
      lead(r.finished_at) over (partition by s.slug order by r.finished_at) as next_at
    from meshmetrics.ended_runs(
      of_project, (rule).workflow_slug, '{success,failure,canceled}',
      now() - interval '60 days', max_runs
    ) r
    cross join lateral (
      select case when (rule).scope = 'project' then '' else r.slug end as slug
    ) s
  ) g
  cross join lateral meshmetrics.alert_verdict(
    rule, 0, 0, 0, extract(epoch from coalesce(g.next_at, now()) - g.at)::double precision
  ) v
  where meshmetrics.alert_is_cause(v.verdict)
    and coalesce(g.next_at, 'infinity') > now() - interval '30 days'
  order by g.slug, g.at;
$$;
