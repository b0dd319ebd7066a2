-- Compares one workflow's buckets with its ledger entries and retired runs, and its counters with
-- its day buckets and its last runs: one row for each difference. All that is written in one
-- transaction, so what differs is wrong, and never merely pending. A workflow whose counters are missing is
-- compared as well: the audit begins from the ledger, not from what may be missing.
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
  stored as materialized (
    select
      f.grain, f.bucket_start, f.success_count, f.failure_count, f.canceled_count,
      f.project_id is distinct from (
        select m.project_id from public.workflow_run_metrics m where m.workflow_id = workflow
      ) as misplaced
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
      || case when f.misplaced then ' of another project than its workflow' else '' end
  from due d
  full join stored f on f.grain = d.grain and f.bucket_start = d.bucket_start
  where (coalesce(d.success_count, 0), coalesce(d.failure_count, 0), coalesce(d.canceled_count, 0))
    <> (coalesce(f.success_count, 0), coalesce(f.failure_count, 0), coalesce(f.canceled_count, 0))
    or f.misplaced
  union all
  select
    'counter', null, null,
    format('%s success, %s failure, %s canceled', d.success_count, d.failure_count, d.canceled_count)
      || case when t.differ then format('; last at %s, %s', d.last_success_at, d.last_failure_at) else '' end,
    case
      when m.workflow_id is null then 'nothing'
      else
        format('%s success, %s failure, %s canceled', m.success_count, m.failure_count, m.canceled_count)
        || case when t.differ then format('; last at %s, %s', m.last_success_at, m.last_failure_at) else '' end
    end
  from meshmetrics.due_counters(workflow) d
  left join public.workflow_run_metrics m on m.workflow_id = workflow
  cross join lateral (
    select (d.last_success_at, d.last_failure_at)
      is distinct from (m.last_success_at, m.last_failure_at) as differ
  ) t
  where t.differ
    or (d.success_count, d.failure_count, d.canceled_count)
      <> (coalesce(m.success_count, 0), coalesce(m.failure_count, 0), coalesce(m.canceled_count, 0));
$$;
