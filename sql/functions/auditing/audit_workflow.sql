-- Compares one workflow's buckets with its ledger entries and retired runs, and its counters with
-- its day buckets and its last runs: one row for each difference. All that is written in one
-- transaction, so what differs is wrong, and never merely pending.
--
-- after and before (null: open) narrow the buckets to whole UTC days.
create or replace function meshmetrics.audit_workflow(
  workflow uuid, after timestamptz, before timestamptz
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
  there as materialized (
    select f.grain, f.bucket_start, f.success_count, f.failure_count, f.canceled_count
    from public.workflow_run_buckets f
    cross join bounds b
    join meshmetrics.kept_from k on k.grain = f.grain and f.bucket_start >= k.since
    where f.workflow_id = workflow and f.bucket_start >= b.lower and f.bucket_start < b.upper
  ),
  due as materialized (
    select u.* from bounds b cross join lateral meshmetrics.due_buckets(workflow, b.lower, b.upper) u
  )
  select
    'bucket', coalesce(d.grain, f.grain), coalesce(d.bucket_start, f.bucket_start),
    format('%s success, %s failure, %s canceled',
      coalesce(d.success_count, 0), coalesce(d.failure_count, 0), coalesce(d.canceled_count, 0)),
    format('%s success, %s failure, %s canceled',
      coalesce(f.success_count, 0), coalesce(f.failure_count, 0), coalesce(f.canceled_count, 0))
  from due d
  full join there f on f.grain = d.grain and f.bucket_start = d.bucket_start
  where (coalesce(d.success_count, 0), coalesce(d.failure_count, 0), coalesce(d.canceled_count, 0))
    <> (coalesce(f.success_count, 0), coalesce(f.failure_count, 0), coalesce(f.canceled_count, 0))
  union all
  select
    'counter', null, null,
    format('%s success, %s failure, %s canceled', d.success_count, d.failure_count, d.canceled_count)
      || case when t.differ then format('; last at %s, %s', d.last_success_at, d.last_failure_at) else '' end,
    format('%s success, %s failure, %s canceled', m.success_count, m.failure_count, m.canceled_count)
      || case when t.differ then format('; last at %s, %s', m.last_success_at, m.last_failure_at) else '' end
  from public.workflow_run_metrics m
  cross join lateral meshmetrics.due_counters(workflow) d
  cross join lateral (
    select (d.last_success_at, d.last_failure_at)
      is distinct from (m.last_success_at, m.last_failure_at) as differ
  ) t
  where m.workflow_id = workflow
    and (
      t.differ
      or (d.success_count, d.failure_count, d.canceled_count)
        <> (m.success_count, m.failure_count, m.canceled_count)
    );
$$;
