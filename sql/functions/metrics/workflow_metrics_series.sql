-- All selected workflows together, over time: their finished runs in each bucket of a period, in
-- order, with the success rate (null for no runs) and its 95 % interval. The buckets add up to
-- workflow_metrics_totals of the same period; the first and the last may be `partial`.
--
-- bucket and zone: see bucket and edges; the column `bucket` is
-- what 'auto' came to. The other parameters are those of members.
create or replace function public.workflow_metrics_series(
  from_at timestamptz,
  to_at timestamptz,
  bucket_wanted text default 'auto',
  zone text default 'UTC',
  project_ids uuid[] default null,
  workflow_ids uuid[] default null,
  version_mode text default 'all'
)
returns table (
  bucket text,
  starts_at timestamptz,
  ends_at timestamptz,
  partial boolean,
  success_count bigint,
  failure_count bigint,
  canceled_count bigint,
  success_rate double precision,
  success_rate_low double precision,
  success_rate_high double precision
)
language plpgsql
stable
set search_path = pg_catalog, public, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  period record;
  edges record;
  chosen text;
  version_ids uuid[];
begin
  select p.* into period from meshmetrics_parts.period(from_at, to_at) p;
  chosen := meshmetrics_parts.bucket(period.starts_at, period.ends_at, bucket_wanted);
  select e.* into edges
  from meshmetrics_parts.edges(period.starts_at, period.ends_at, chosen, zone) e;
  if workflow_ids is not null or version_mode = 'newest' then
    version_ids := array(
      select m.workflow_id
      from meshmetrics_parts.members(project_ids, workflow_ids, null, version_mode) m
    );
  end if;
  return query
  select
    chosen, edges.first_at[s.n], edges.last_at[s.n], edges.partial[s.n],
    s.success_count, s.failure_count, s.canceled_count,
    s.success_count::double precision / nullif(s.success_count + s.failure_count, 0),
    w.low, w.high
  from meshmetrics_parts.sums(edges.first_at, edges.last_at, project_ids, version_ids) s
  cross join lateral meshmetrics_parts.wilson_interval(s.success_count, s.success_count + s.failure_count) w
  order by s.n;
end;
$$;
