-- The counters that a workflow should have: the sums of its day buckets, and its last runs by the
-- ledger. A deleted run may have been the last one: what stands is kept where its day has retired
-- runs of that outcome.
create or replace function meshmetrics.due_counters(workflow uuid)
returns table (
  success_count bigint,
  failure_count bigint,
  canceled_count bigint,
  last_success_at timestamptz,
  last_failure_at timestamptz
)
language sql
stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set jit = off
set enable_seqscan = off -- as in count_runs
as $$
  select
    coalesce(d.success, 0), coalesce(d.failure, 0), coalesce(d.canceled, 0),
    greatest(
      (
        select l.finished_at from meshmetrics.counted_runs l
        where l.workflow_id = workflow and l.outcome = 'success'
        order by l.finished_at desc limit 1
      ),
      (
        select m.last_success_at from meshmetrics.retired_buckets r
        where r.workflow_id = workflow and r.grain = 'day'
          and r.bucket_start = date_trunc('day', m.last_success_at) and r.success_count > 0
      )
    ),
    greatest(
      (
        select l.finished_at from meshmetrics.counted_runs l
        where l.workflow_id = workflow and l.outcome = 'failure'
        order by l.finished_at desc limit 1
      ),
      (
        select m.last_failure_at from meshmetrics.retired_buckets r
        where r.workflow_id = workflow and r.grain = 'day'
          and r.bucket_start = date_trunc('day', m.last_failure_at) and r.failure_count > 0
      )
    )
  from (
    select
      sum(y.success_count) as success, sum(y.failure_count) as failure,
      sum(y.canceled_count) as canceled
    from public.workflow_run_buckets y
    where y.workflow_id = workflow and y.grain = 'day'
  ) d
  left join public.workflow_run_metrics m on m.workflow_id = workflow;
$$;
