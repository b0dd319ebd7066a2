-- Succeeded and failed runs of these workflow versions that finished from from_at to until_at, both
-- included. Exact: from the ledger at the edges, and from buckets where whole ones lie inside, so
-- that a busy workflow's day is a hundred rows to read.
create or replace function meshmetrics.alert_count(
  ids uuid[],
  from_at timestamptz,
  until_at timestamptz,
  out successes bigint,
  out failures bigint
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set enable_seqscan = off -- planned once, whatever the tables were like then (decision 3)
set plan_cache_mode = force_generic_plan
as $$
declare
  epoch constant timestamptz := '2000-01-01 00:00:00+00';
  tick constant interval := '1 microsecond';
  -- [from_at, before_at) is ledger, minutes, quarters, minutes, ledger: these are the four bounds.
  before_at timestamptz := until_at;
  minute_from timestamptz;
  quarter_from timestamptz;
  quarter_to timestamptz := until_at;
  minute_to timestamptz := until_at;
  minutes_kept timestamptz;
begin
  if until_at < 'infinity' then
    before_at := until_at + tick;
    quarter_to := date_bin('15 minutes', before_at, epoch);
    minute_to := date_trunc('minute', before_at);
  end if;
  if from_at > now() - interval '40 days' then
    quarter_from := date_bin('15 minutes', from_at + interval '15 minutes' - tick, epoch);
    minute_from := date_trunc('minute', from_at + interval '1 minute' - tick);
  end if;
  if quarter_from < quarter_to then
    -- Minutes that are not kept any more: the ledger has them.
    select k.since into minutes_kept from meshmetrics.kept_from k where k.grain = 'minute';
    if minute_from < minutes_kept then
      minute_from := quarter_from;
    end if;
    if quarter_to < minutes_kept then
      minute_to := quarter_to;
    end if;
    select coalesce(sum(b.success_count), 0), coalesce(sum(b.failure_count), 0)
    into successes, failures
    from (
      select q.success_count, q.failure_count
      from public.workflow_run_buckets q
      where q.workflow_id = any (ids) and q.grain = 'quarter'
        and q.bucket_start >= quarter_from and q.bucket_start < quarter_to
      union all
      select m.success_count, m.failure_count
      from public.workflow_run_buckets m
      where m.workflow_id = any (ids) and m.grain = 'minute'
        and m.bucket_start >= minute_from and m.bucket_start < quarter_from
      union all
      select m.success_count, m.failure_count
      from public.workflow_run_buckets m
      where m.workflow_id = any (ids) and m.grain = 'minute'
        and m.bucket_start >= quarter_to and m.bucket_start < minute_to
      union all
      select (c.outcome = 'success')::integer, (c.outcome = 'failure')::integer
      from meshmetrics.counted_runs c
      where c.workflow_id = any (ids) and c.outcome in ('success', 'failure')
        and c.finished_at >= from_at and c.finished_at < minute_from
      union all
      select (c.outcome = 'success')::integer, (c.outcome = 'failure')::integer
      from meshmetrics.counted_runs c
      where c.workflow_id = any (ids) and c.outcome in ('success', 'failure')
        and c.finished_at >= minute_to and c.finished_at < before_at
    ) b;
  else
    select count(*) filter (where c.outcome = 'success'), count(*) filter (where c.outcome = 'failure')
    into successes, failures
    from meshmetrics.counted_runs c
    where c.workflow_id = any (ids) and c.outcome in ('success', 'failure')
      and c.finished_at >= from_at and c.finished_at <= until_at;
  end if;
end;
$$;
