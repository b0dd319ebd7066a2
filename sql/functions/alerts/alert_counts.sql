-- Succeeded and failed runs by question: of these workflow versions, those that finished from
-- from_at to until_at, both included. The arrays are columns: a question about several versions
-- has a row for each. A question without any such run has no row.
--
-- Exact, in one pass for all questions: from the ledger at the edges, and from minutes, quarters and
-- days where whole ones lie inside, so that a busy workflow's week is a hundred rows to read.
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
  epoch constant timestamptz := '2000-01-01 00:00:00+00';
  tick constant interval := '1 microsecond';
  minutes_kept timestamptz; -- older ones are not kept: the ledger has them
begin
  select k.since into minutes_kept from meshmetrics.kept_from k where k.grain = 'minute';
  return query
  with windows as (
    select
      q.question, q.workflow_id, q.from_at, q.until_at + tick as before_at,
      q.from_at > now() - interval '40 days' as by_buckets
    from unnest(questions, workflow_ids, from_at, until_at) q (question, workflow_id, from_at, until_at)
  ),
  -- A window begins with a piece of the ledger, then has minutes, quarters, days, and then
  -- quarters, minutes and a piece of the ledger again. Where no whole one of a grain lies inside, its
  -- two bounds are the upper one of the finer grain, and so there is nothing between them to read.
  spans as materialized (
    select
      a.question, a.workflow_id, a.from_at, a.before_at, k.minute_from, k.minute_to,
      q.quarter_from, q.quarter_to, d.day_from, d.day_to
    from windows a
    cross join lateral (
      select
        date_trunc('minute', a.from_at + interval '1 minute' - tick) as minute_from,
        date_bin('15 minutes', a.from_at + interval '15 minutes' - tick, epoch) as quarter_from,
        date_trunc('day', a.from_at + interval '1 day' - tick) as day_from,
        date_trunc('minute', a.before_at) as minute_to,
        case
          when a.before_at < 'infinity' then date_bin('15 minutes', a.before_at, epoch)
          else 'infinity'
        end as quarter_to,
        date_trunc('day', a.before_at) as day_to
      offset 0 -- each is worked out once, not wherever it is named
    ) e
    cross join lateral (
      select
        case when whole then e.minute_from else a.before_at end as minute_from,
        case when whole then e.minute_to else a.before_at end as minute_to
      from (select a.by_buckets and e.minute_from < e.minute_to as whole) w
      offset 0
    ) m
    cross join lateral (
      select
        case when whole then e.quarter_from else m.minute_to end as quarter_from,
        case when whole then e.quarter_to else m.minute_to end as quarter_to
      from (select a.by_buckets and e.quarter_from < e.quarter_to as whole) w
      offset 0
    ) q
    cross join lateral (
      select
        case when whole then e.day_from else q.quarter_to end as day_from,
        case when whole then e.day_to else q.quarter_to end as day_to
      from (select a.by_buckets and e.day_from < e.day_to as whole) w
    ) d
    cross join lateral (
      select
        case when m.minute_from < minutes_kept then q.quarter_from else m.minute_from end as minute_from,
        case when q.quarter_to < minutes_kept then q.quarter_to else m.minute_to end as minute_to
    ) k
  )
  select s.question, sum(r.successes)::bigint, sum(r.failures)::bigint
  from spans s
  cross join lateral (
    select b.success_count as successes, b.failure_count as failures
    from public.workflow_run_buckets b
    where s.day_from < s.day_to -- else there is nothing to look up; so below
      and b.workflow_id = s.workflow_id and b.grain = 'day'
      and b.bucket_start >= s.day_from and b.bucket_start < s.day_to
    union all
    select b.success_count, b.failure_count
    from public.workflow_run_buckets b
    where s.quarter_from < s.day_from
      and b.workflow_id = s.workflow_id and b.grain = 'quarter'
      and b.bucket_start >= s.quarter_from and b.bucket_start < s.day_from
    union all
    select b.success_count, b.failure_count
    from public.workflow_run_buckets b
    where s.day_to < s.quarter_to
      and b.workflow_id = s.workflow_id and b.grain = 'quarter'
      and b.bucket_start >= s.day_to and b.bucket_start < s.quarter_to
    union all
    select b.success_count, b.failure_count
    from public.workflow_run_buckets b
    where s.minute_from < s.quarter_from
      and b.workflow_id = s.workflow_id and b.grain = 'minute'
      and b.bucket_start >= s.minute_from and b.bucket_start < s.quarter_from
    union all
    select b.success_count, b.failure_count
    from public.workflow_run_buckets b
    where s.quarter_to < s.minute_to
      and b.workflow_id = s.workflow_id and b.grain = 'minute'
      and b.bucket_start >= s.quarter_to and b.bucket_start < s.minute_to
    union all
    select (c.outcome = 'success')::integer, (c.outcome = 'failure')::integer
    from meshmetrics.counted_runs c
    where s.from_at < s.minute_from
      and c.workflow_id = s.workflow_id and c.outcome in ('success', 'failure')
      and c.finished_at >= s.from_at and c.finished_at < s.minute_from
    union all
    select (c.outcome = 'success')::integer, (c.outcome = 'failure')::integer
    from meshmetrics.counted_runs c
    where s.minute_to < s.before_at
      and c.workflow_id = s.workflow_id and c.outcome in ('success', 'failure')
      and c.finished_at >= s.minute_to and c.finished_at < s.before_at
  ) r
  group by s.question;
end;
$$;
