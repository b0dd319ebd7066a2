-- Compares runs, ledger, buckets and counters in one snapshot: one row for each difference, what
-- is wrong before what is pending.
--
-- run: the ledger does not say of a run what the run says; pending where a sweep or the back-fill
-- is still going to come by. bucket: a bucket is not the sum of its ledger entries and retired
-- runs. counter: a workflow's counters are not the sum of its day buckets. set_aside: a run that
-- cannot be counted, and why. Buckets and counters are written in one transaction with the
-- ledger, so a difference there is never pending.
--
-- after and before narrow the audit to whole UTC days of finished_at; counters are then left out.
create or replace function meshmetrics.audit(after timestamptz, before timestamptz, max_rows integer)
returns table (
  kind text,
  pending boolean,
  workflow_id uuid,
  run_id uuid,
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
as $$
  with bounds as (
    select
      coalesce(date_trunc('day', after), '-infinity') as lower,
      coalesce(date_trunc('day', before), 'infinity') as upper
  ),
  runs as (
    select
      'run' as kind,
      (
        s.updated_at >= (select c.updated_at from meshmetrics.checkpoint c where c.name = 'sweep')
        or exists (
          select from meshmetrics.checkpoint c
          where c.name = 'backfill' and not c.done and (s.updated_at, s.run_id) > (c.updated_at, c.run_id)
        )
      ) as pending,
      s.workflow_id, s.run_id, null::text as grain, null::timestamptz as bucket_start,
      coalesce(s.outcome || ' at ' || s.finished_at, 'nothing') as expected,
      coalesce(l.outcome || ' at ' || l.finished_at, 'nothing') as found
    from (
      select
        r.run_id, r.workflow_id, r.updated_at,
        case when r.flaw is null then r.outcome end as outcome,
        case when r.flaw is null and r.outcome is not null then r.finished_at end as finished_at
      from meshmetrics.run_states r
    ) s
    left join meshmetrics.counted_runs l on l.run_id = s.run_id
    cross join bounds b
    where (s.outcome is not null or l.run_id is not null)
      and (s.workflow_id, s.outcome, s.finished_at)
        is distinct from (l.workflow_id, l.outcome, l.finished_at)
      and (
        (s.finished_at >= b.lower and s.finished_at < b.upper)
        or (l.finished_at >= b.lower and l.finished_at < b.upper)
      )
      and not exists (
        select from meshmetrics.set_aside_runs a
        where a.run_id = s.run_id and a.run_updated_at is not distinct from s.updated_at
      )
  ),
  ledger_quarters as materialized (
    select
      l.workflow_id,
      date_bin('15 minutes', l.finished_at, '2000-01-01 00:00:00+00') as bucket_start,
      count(*) filter (where l.outcome = 'success') as success,
      count(*) filter (where l.outcome = 'failure') as failure,
      count(*) filter (where l.outcome = 'canceled') as canceled
    from meshmetrics.counted_runs l
    cross join bounds b
    where l.finished_at >= b.lower and l.finished_at < b.upper
      and l.workflow_id in (select d.id from public.workflow_definitions d)
    group by 1, 2
  ),
  parts as (
    select 'quarter' as grain, q.workflow_id, q.bucket_start, q.success, q.failure, q.canceled
    from ledger_quarters q
    union all
    select 'day', q.workflow_id, date_trunc('day', q.bucket_start), q.success, q.failure, q.canceled
    from ledger_quarters q
    union all
    select
      'minute', l.workflow_id, date_trunc('minute', l.finished_at),
      (l.outcome = 'success')::integer, (l.outcome = 'failure')::integer, (l.outcome = 'canceled')::integer
    from meshmetrics.counted_runs l
    join meshmetrics.kept_from k on k.grain = 'minute' and l.finished_at >= k.since
    where l.workflow_id in (select d.id from public.workflow_definitions d)
    union all
    select r.grain, r.workflow_id, r.bucket_start, r.success_count, r.failure_count, r.canceled_count
    from meshmetrics.retired_buckets r
  ),
  due as (
    select
      p.grain, p.workflow_id, p.bucket_start,
      sum(p.success) as success, sum(p.failure) as failure, sum(p.canceled) as canceled
    from parts p
    group by 1, 2, 3
  ),
  buckets as (
    select
      'bucket' as kind, false as pending,
      coalesce(d.workflow_id, f.workflow_id) as workflow_id, null::uuid as run_id,
      coalesce(d.grain, f.grain) as grain, coalesce(d.bucket_start, f.bucket_start) as bucket_start,
      format('%s success, %s failure, %s canceled',
        coalesce(d.success, 0), coalesce(d.failure, 0), coalesce(d.canceled, 0)) as expected,
      format('%s success, %s failure, %s canceled',
        coalesce(f.success_count, 0), coalesce(f.failure_count, 0), coalesce(f.canceled_count, 0)) as found
    from due d
    full join public.workflow_run_buckets f
      on f.workflow_id = d.workflow_id and f.grain = d.grain and f.bucket_start = d.bucket_start
    join meshmetrics.kept_from k
      on k.grain = coalesce(d.grain, f.grain) and coalesce(d.bucket_start, f.bucket_start) >= k.since
    cross join bounds b
    where coalesce(d.bucket_start, f.bucket_start) >= b.lower
      and coalesce(d.bucket_start, f.bucket_start) < b.upper
      and (coalesce(d.success, 0), coalesce(d.failure, 0), coalesce(d.canceled, 0))
        <> (coalesce(f.success_count, 0), coalesce(f.failure_count, 0), coalesce(f.canceled_count, 0))
  ),
  day_sums as (
    select
      y.workflow_id,
      sum(y.success_count) as success, sum(y.failure_count) as failure, sum(y.canceled_count) as canceled
    from public.workflow_run_buckets y
    where y.grain = 'day'
    group by 1
  ),
  counters as (
    select
      'counter', false, m.workflow_id, null::uuid, null::text, null::timestamptz,
      format('%s success, %s failure, %s canceled',
        coalesce(y.success, 0), coalesce(y.failure, 0), coalesce(y.canceled, 0)),
      format('%s success, %s failure, %s canceled', m.success_count, m.failure_count, m.canceled_count)
    from public.workflow_run_metrics m
    left join day_sums y on y.workflow_id = m.workflow_id
    where after is null and before is null
      and (coalesce(y.success, 0), coalesce(y.failure, 0), coalesce(y.canceled, 0))
        <> (m.success_count, m.failure_count, m.canceled_count)
  ),
  aside as (
    select
      'set_aside', false, a.workflow_id, a.run_id, null::text, null::timestamptz,
      'a run that can be counted', a.reason
    from meshmetrics.set_aside_runs a
    where exists (select from public.workflow_runs r where r.id = a.run_id)
  )
  select * from runs
  union all select * from buckets
  union all select * from counters
  union all select * from aside
  order by pending, kind, workflow_id, grain, bucket_start, run_id
  limit max_rows;
$$;
