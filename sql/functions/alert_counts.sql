-- Succeeded and failed runs by question: of these workflow versions, those that finished from
-- from_at to until_at, both included. The arrays are columns: a question about several versions
-- has a row for each. A question without any such run has no row.
--
-- Exact, in one pass for all questions: where until_at is infinity from the ledger at the edge, and
-- from minutes, quarters and days where whole ones lie inside, so that a busy workflow's week is a
-- hundred rows to read; else from the ledger alone.
create or replace function meshmetrics.alert_counts(
  questions integer[],
  workflow_ids uuid[],
  from_at timestamptz[],
  until_at timestamptz[]
)
returns table (question integer, successes bigint, failures bigint)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set jit = off
set enable_seqscan = off -- planned once, whatever the tables were like then (decision 3)
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  minutes_from timestamptz; -- older ones are not kept: the ledger has them
begin
  select k.since into minutes_from from meshmetrics.kept_from k where k.grain = 'minute';
  return query
  with asked as (
    select
      q.question, q.workflow_id, q.from_at, q.until_at,
      q.until_at = 'infinity' and q.from_at > now() - interval '40 days' as by_buckets
    from unnest(questions, workflow_ids, from_at, until_at) q (question, workflow_id, from_at, until_at)
  ),
  edges as (
    select
      a.*,
      date_trunc('minute', a.from_at + interval '1 minute' - interval '1 microsecond') as minute_from,
      date_bin(
        '15 minutes', a.from_at + interval '15 minutes' - interval '1 microsecond',
        '2000-01-01 00:00:00+00'
      ) as quarter_from,
      date_trunc('day', a.from_at + interval '1 day' - interval '1 microsecond') as day_from
    from asked a
    where a.by_buckets
  ),
  spans as materialized (
    select
      e.question, e.workflow_id, e.from_at, e.day_from, e.quarter_from, m.minute_from,
      m.minute_from - interval '1 microsecond' as ledger_until
    from edges e
    cross join lateral (
      select case when e.minute_from < minutes_from then e.quarter_from else e.minute_from end
    ) m (minute_from)
    union all
    select a.question, a.workflow_id, a.from_at, 'infinity', 'infinity', 'infinity', a.until_at
    from asked a
    where not a.by_buckets
  )
  select s.question, sum(r.successes)::bigint, sum(r.failures)::bigint
  from spans s
  cross join lateral (
    select b.success_count as successes, b.failure_count as failures
    from public.workflow_run_buckets b
    where s.day_from < 'infinity' -- else there is nothing to look up
      and b.workflow_id = s.workflow_id and b.grain = 'day' and b.bucket_start >= s.day_from
    union all
    select b.success_count, b.failure_count
    from public.workflow_run_buckets b
    where s.quarter_from < s.day_from
      and b.workflow_id = s.workflow_id and b.grain = 'quarter'
      and b.bucket_start >= s.quarter_from and b.bucket_start < s.day_from
    union all
    select b.success_count, b.failure_count
    from public.workflow_run_buckets b
    where s.minute_from < s.quarter_from -- else there is nothing to look up
      and b.workflow_id = s.workflow_id and b.grain = 'minute'
      and b.bucket_start >= s.minute_from and b.bucket_start < s.quarter_from
    union all
    select (c.outcome = 'success')::integer, (c.outcome = 'failure')::integer
    from meshmetrics.counted_runs c
    where c.workflow_id = s.workflow_id and c.outcome in ('success', 'failure')
      and c.finished_at >= s.from_at and c.finished_at <= s.ledger_until
  ) r
  group by s.question;
end;
$$;
