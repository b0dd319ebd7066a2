-- Compares a project's buckets with the sums of its workflows' buckets: one row for each
-- difference, in the shape of audit_workflow.
create or replace function meshmetrics.audit_project(
  project uuid, after timestamptz, before timestamptz
)
returns table (
  kind text,
  grain text,
  bucket_start timestamptz,
  expected text,
  found text
)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set jit = off
set enable_seqscan = off -- as in count_runs
as $$
  with bounds as materialized (
    select
      coalesce(date_trunc('day', after), '-infinity') as lower,
      coalesce(date_trunc('day', before), 'infinity') as upper
  ),
  due as materialized (
    select u.*
    from bounds b
    cross join lateral meshmetrics.due_project_buckets(project, b.lower, b.upper) u
  ),
  stored as materialized (
    select
      f.grain, f.bucket_start,
      sum(f.success_count)::integer as success_count, sum(f.failure_count)::integer as failure_count,
      sum(f.canceled_count)::integer as canceled_count
    from public.workflow_run_project_buckets f
    cross join bounds b
    join meshmetrics.kept_from k on k.grain = f.grain and f.bucket_start >= k.since
    where f.project_id = project and f.bucket_start >= b.lower and f.bucket_start < b.upper
    group by 1, 2
  )
  select
    'bucket', coalesce(d.grain, f.grain), coalesce(d.bucket_start, f.bucket_start),
    format('%s success, %s failure, %s canceled',
      coalesce(d.success_count, 0), coalesce(d.failure_count, 0), coalesce(d.canceled_count, 0)),
    format('%s success, %s failure, %s canceled',
      coalesce(f.success_count, 0), coalesce(f.failure_count, 0), coalesce(f.canceled_count, 0))
  from due d
  full join stored f on f.grain = d.grain and f.bucket_start = d.bucket_start
  where (coalesce(d.success_count, 0), coalesce(d.failure_count, 0), coalesce(d.canceled_count, 0))
    <> (coalesce(f.success_count, 0), coalesce(f.failure_count, 0), coalesce(f.canceled_count, 0));
$$;
