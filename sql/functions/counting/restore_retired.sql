-- Puts the ledger entries of deleted runs back whose runs are there again, as after a restore from an
-- archive: the buckets have counted them all along. The caller holds the counting lock.
create or replace function meshmetrics.restore_retired(run_ids uuid[])
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set jit = off
set enable_seqscan = off -- as in count_runs
as $$
  with restored as (
    delete from meshmetrics.retired_runs t
    where t.run_id = any (run_ids)
      and exists (select from public.workflow_runs r where r.id = t.run_id)
    returning t.*
  ),
  ledger as (
    insert into meshmetrics.counted_runs (run_id, workflow_id, finished_at, outcome)
    select r.run_id, r.workflow_id, r.finished_at, r.outcome from restored r
    on conflict (run_id) do nothing
    returning workflow_id, finished_at, outcome
  )
  update meshmetrics.retired_buckets b
  set success_count = b.success_count - s.success,
      failure_count = b.failure_count - s.failure,
      canceled_count = b.canceled_count - s.canceled
  from (
    select
      l.workflow_id, t.grain, t.bucket_start,
      count(*) filter (where l.outcome = 'success')::integer as success,
      count(*) filter (where l.outcome = 'failure')::integer as failure,
      count(*) filter (where l.outcome = 'canceled')::integer as canceled
    from ledger l
    cross join lateral (
      values
        ('minute', date_trunc('minute', l.finished_at)),
        ('quarter', date_bin('15 minutes', l.finished_at, '2000-01-01 00:00:00+00')),
        ('day', date_trunc('day', l.finished_at))
    ) t (grain, bucket_start)
    group by 1, 2, 3
  ) s
  where b.workflow_id = s.workflow_id and b.grain = s.grain and b.bucket_start = s.bucket_start;
$$;
