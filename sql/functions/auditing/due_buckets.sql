-- The buckets that a workflow should have, of whole UTC days from `lower` to before `upper`: the
-- sums of its ledger entries and of what deleted runs left behind.
create or replace function meshmetrics.due_buckets(workflow uuid, lower timestamptz, upper timestamptz)
returns table (
  grain text,
  bucket_start timestamptz,
  success_count integer,
  failure_count integer,
  canceled_count integer
)
language sql
stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set jit = off
set enable_seqscan = off -- as in count_runs
as $$
  with quarters as materialized (
    select
      date_bin('15 minutes', l.finished_at, '2000-01-01 00:00:00+00') as bucket_start,
      count(*) filter (where l.outcome = 'success') as success,
      count(*) filter (where l.outcome = 'failure') as failure,
      count(*) filter (where l.outcome = 'canceled') as canceled
    from meshmetrics.counted_runs l
    where l.workflow_id = workflow
      -- Says nothing, but lets the index lead to the days asked for.
      and l.outcome = any (enum_range(null::meshmetrics.outcome))
      and l.finished_at >= lower and l.finished_at < upper
    group by 1
  ),
  parts as (
    select 'quarter' as grain, q.* from quarters q
    union all
    select 'day', date_trunc('day', q.bucket_start), q.success, q.failure, q.canceled from quarters q
    union all
    select
      'minute', date_trunc('minute', l.finished_at),
      count(*) filter (where l.outcome = 'success'),
      count(*) filter (where l.outcome = 'failure'),
      count(*) filter (where l.outcome = 'canceled')
    from meshmetrics.counted_runs l
    where l.workflow_id = workflow
      and l.outcome = any (enum_range(null::meshmetrics.outcome))
      and l.finished_at >= greatest(
        lower, (select k.since from meshmetrics.kept_from k where k.grain = 'minute')
      )
      and l.finished_at < upper
    group by 2
    union all
    select r.grain, r.bucket_start, r.success_count, r.failure_count, r.canceled_count
    from meshmetrics.retired_buckets r
    where r.workflow_id = workflow and r.bucket_start >= lower and r.bucket_start < upper
  )
  select
    p.grain, p.bucket_start,
    sum(p.success)::integer, sum(p.failure)::integer, sum(p.canceled)::integer
  from parts p
  join meshmetrics.kept_from k on k.grain = p.grain and p.bucket_start >= k.since
  group by 1, 2;
$$;
