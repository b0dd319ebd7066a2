-- All selected workflows together: their finished runs in a period, the success rate with its
-- 95 % interval, the period of the same length before, and the change against it (a difference of
-- rates: 0.02 is two percentage points). A rate of no runs is null.
--
-- open, oldest_open_at, overdue: of now, whatever the period. abandoned: how many of the period's failures
-- are runs that the engine left open.
--
-- starts_at, ends_at and previous_starts_at are what the numbers are of: see
-- period. The other parameters are those of members.
create or replace function public.workflow_metrics_totals(
  from_at timestamptz,
  to_at timestamptz,
  project_ids uuid[] default null,
  workflow_ids uuid[] default null,
  search text default null,
  version_mode text default 'all'
)
returns table (
  starts_at timestamptz,
  ends_at timestamptz,
  previous_starts_at timestamptz,
  workflows integer,
  success_count bigint,
  failure_count bigint,
  canceled_count bigint,
  success_rate double precision,
  success_rate_low double precision,
  success_rate_high double precision,
  previous_success_count bigint,
  previous_failure_count bigint,
  previous_canceled_count bigint,
  previous_success_rate double precision,
  previous_success_rate_low double precision,
  previous_success_rate_high double precision,
  success_rate_change double precision,
  open bigint,
  oldest_open_at timestamptz,
  overdue bigint,
  abandoned bigint
)
language plpgsql
stable
set search_path = pg_catalog, public, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  period record;
  members record;
  everything constant boolean :=
    workflow_ids is null and search is null and version_mode <> 'newest';
begin
  select p.* into period from meshmetrics_parts.period(from_at, to_at) p;
  select
    coalesce(array_agg(m.workflow_id), '{}') as version_ids,
    coalesce(array_agg(m.project_id), '{}') as project_ids,
    count(distinct (m.project_id, m.slug))::integer as workflows
  into members
  from meshmetrics_parts.members(project_ids, workflow_ids, search, version_mode) m;
  return query
  with sums as materialized (
    select s.*
    from meshmetrics_parts.sums(
      array[period.previous_starts_at, period.starts_at], array[period.starts_at, period.ends_at],
      project_ids, case when not everything then members.version_ids end
    ) s
  )
  select
    period.starts_at, period.ends_at, period.previous_starts_at, members.workflows,
    c.success_count, c.failure_count, c.canceled_count,
    r.rate, w.low, w.high,
    b.success_count, b.failure_count, b.canceled_count,
    r.rate_before, v.low, v.high, r.rate - r.rate_before,
    o.open, o.oldest_open_at, o.overdue, o.abandoned
  from sums c
  join sums b on b.n = 1
  cross join lateral (
    select
      c.success_count::double precision / nullif(c.success_count + c.failure_count, 0) as rate,
      b.success_count::double precision / nullif(b.success_count + b.failure_count, 0) as rate_before
  ) r
  cross join lateral meshmetrics_parts.wilson_interval(c.success_count, c.success_count + c.failure_count) w
  cross join lateral meshmetrics_parts.wilson_interval(b.success_count, b.success_count + b.failure_count) v
  cross join (
    select
      coalesce(sum(x.open), 0)::bigint as open, min(x.oldest_open_at) as oldest_open_at,
      coalesce(sum(x.overdue), 0)::bigint as overdue, coalesce(sum(x.abandoned), 0)::bigint as abandoned
    from meshmetrics_parts.open_counts(
      members.project_ids, members.version_ids, period.starts_at, period.ends_at
    ) x
  ) o
  where c.n = 2;
end;
$$;
